"""The documents are true where a machine can tell: docs/python.md runs as it stands, and named files are there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from scaflow.model.config import Criterion
from scaflow.model.criteria import CRITERIA

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
ROOMS = "bench|docs|flow|hw|model|quant|sim|tests"
FILE = re.compile(rf"(?:{ROOMS})(?:/[\w.-]+)*/[\w-]+\.(?:py|sv|cpp|toml|md|json|png|j2)")


@pytest.mark.rtl
def test_the_blocks_of_python_md_run(tmp_path):
    text = (ROOT / "docs/python.md").read_text()
    program = "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    build = Path(os.environ.get("SCAFLOW_BUILD", "build")).absolute()  # where the simulations of the tests are built
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "SCAFLOW_BUILD": str(build), "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    told = re.findall(r"^(\w+): \d+ x \d+, [\d,]+ cycles an image$", result.stdout, re.MULTILINE)
    assert told == ["conv0", "conv1", "readout"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_file_that_is_named_is_there(document):
    links = re.findall(r"\]\(([^)#:]+)\)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []
    spoken = re.findall(r"`([^`\n]+)`", document.read_text())
    named = {match[0] for text in spoken for match in FILE.finditer(text) if not re.search(r"[<*…]", text)}
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_the_two_lists_of_criteria_agree():
    """The description's, which is read without torch, and the table of what they are."""
    assert get_args(Criterion) == tuple(CRITERIA)


def test_pictures_are_small_and_shown():
    shown = {link for path in DOCUMENTS for link in re.findall(r"!\[[^]]*\]\(([^)]+)\)", path.read_text())}
    for path in (ROOT / "docs/pictures").iterdir():
        assert path.stat().st_size < 150_000
        assert f"docs/pictures/{path.name}" in shown
