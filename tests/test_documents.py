"""The documents are true where a machine can tell: docs/python.md runs as it stands, and named files are there."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from typer.main import get_command

from scaflow.flow.cli import app
from scaflow.model.config import Criterion
from scaflow.model.criteria import CRITERIA

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
ROOMS = "bench|docs|flow|hw|model|quant|sim|tests"
COMMAND = re.compile(r"(?:`|\A(?=scaflow \S+ …))scaflow ([a-z][a-z-]*)([^`\n#]*)")  # in a text; … stands for a value
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


def named_commands() -> Iterator[tuple[str, str, str]]:
    """Where the documents and the texts of the program name a verb, the verb, and what stands behind it."""
    told = [(path, path.read_text()) for path in DOCUMENTS]
    told += [
        (path, f"`{line}")
        for path, text in tuple(told)
        for block in re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    for path in (path for room in ROOMS.split("|") for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
                told.append((path, "".join(map(str, parts))))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                told.append((path, node.value))
    for path, text in told:
        for verb, rest in COMMAND.findall(text):
            yield path.relative_to(ROOT).as_posix(), verb, rest


def test_every_command_that_is_named_has_these_options():
    verbs = get_command(app).commands
    named = set(named_commands())
    assert {verb for _, verb, _ in named} == set(verbs)
    wrong = [
        f"{where}: scaflow {verb} {option}"
        for where, verb, rest in named
        for option in re.findall(r"(?<![\w-])--[a-z-]+", rest)
        if option not in {name for param in verbs[verb].params for name in (*param.opts, *param.secondary_opts)}
    ]
    assert wrong == []


def test_the_two_lists_of_criteria_agree():
    """The description's, which is read without torch, and the table of what they are."""
    assert get_args(Criterion) == tuple(CRITERIA)


def test_pictures_are_small_and_shown():
    shown = {link for path in DOCUMENTS for link in re.findall(r"!\[[^]]*\]\(([^)]+)\)", path.read_text())}
    for path in (ROOT / "docs/pictures").iterdir():
        assert path.stat().st_size < 150_000
        assert f"docs/pictures/{path.name}" in shown
