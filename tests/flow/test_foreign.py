"""Foreign files of paths that part and meet, and of groups, as a design: RTL = golden model of what was imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scaflow.flow.foreign import import_design
from scaflow.quant.graph import Conv, Join, SumPool, load

SCRIPT = Path(__file__).parents[1] / "quant" / "foreign_paths.py"


@pytest.mark.rtl
@pytest.mark.parametrize(("kind", "node"), [("residual", Join), ("pooled", SumPool), ("grouped", Conv)])
def test_a_foreign_file_becomes_a_design_that_is_equal(kind, node, tmp_path) -> None:
    command = [sys.executable, SCRIPT, "net.onnx", "ints.npz", kind]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    found = import_design(tmp_path / "net.onnx", tmp_path / "build", 48, 2, lambda line: None)
    assert any(isinstance(n, node) for n in load(tmp_path / "build/graph").nodes)
    assert [row["mismatches"] for row in found["equality"]] == [0, 0]
    assert found["equality"][-1]["compared"] == 2
