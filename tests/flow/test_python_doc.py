"""docs/python.md runs as it stands: its blocks, one after the other, as one program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOC = Path(__file__).parents[2] / "docs" / "python.md"


def program() -> str:
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", DOC.read_text(), re.MULTILINE | re.DOTALL))


@pytest.mark.rtl
def test_the_blocks_run(tmp_path):
    build = os.environ.get("SCAFLOW_BUILD", Path("build").absolute())  # where the simulations of the tests are built
    result = subprocess.run(
        [sys.executable, "-c", program()],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "SCAFLOW_BUILD": str(build), "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    assert re.findall(r"^(\w+): \d+ x \d+, [\d,]+ cycles an image$", result.stdout, re.MULTILINE) == [
        "conv0",
        "conv1",
        "readout",
    ]
