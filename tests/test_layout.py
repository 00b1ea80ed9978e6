"""The rooms and the pairings: imports point left only, and every RTL module has its header, twin and test."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("model", "quant", "hw", "sim", "flow")  # each imports only itself and what stands to its left
WITHOUT_TORCH = ("hw", "sim")


def imported(path: Path, package: str) -> Iterator[tuple[int, str]]:
    """The absolute module names a file imports, with their lines, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: -(node.level - 1) or None] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield node.lineno, module
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def import_problems(root: Path) -> list[str]:
    problems = set()
    for room in ROOMS:
        right = ROOMS[ROOMS.index(room) + 1 :]
        for path in sorted((root / room).rglob("*.py")):
            package = ".".join(["scaflow", *path.relative_to(root).parts[:-1]])
            for line, name in imported(path, package):
                where = f"{path.relative_to(root)}:{line}"
                head, _, rest = name.partition(".")
                if head == "scaflow" and rest.split(".")[0] in right:
                    problems.add(f"{where}: {room}/ imports {rest.split('.')[0]}/, which stands to its right")
                if head in ROOMS:
                    problems.add(f"{where}: imports {head!r}, a second copy of the room; say scaflow.{head}")
                if head == "torch" and room in WITHOUT_TORCH:
                    problems.add(f"{where}: {room}/ imports torch")
    return sorted(problems)


def pairing_problems(root: Path) -> list[str]:
    problems = []
    for path in sorted((root / "hw" / "rtl").glob("*.sv")):
        stem, text = path.stem, path.read_text()
        where = f"hw/rtl/{path.name}"
        header = text.split("\nmodule ", 1)[0]
        golden = f"quant/golden/{stem}.py"
        if not header.startswith(f"/// {stem} - "):
            problems.append(f"{where}: the first line must be `/// {stem} - <what it is>`")
        if not re.search(rf"^/// Golden +{re.escape(golden)}$", header, re.MULTILINE):
            problems.append(f"{where}: no header line `/// Golden      {golden}`")
        if len(re.findall(r"^module (\w+)", text, re.MULTILINE)) != 1 or f"\nmodule {stem} " not in text:
            problems.append(f"{where}: must hold the one module {stem}")
        if not (root / golden).is_file():
            problems.append(f"{where}: its twin {golden} is missing")
        else:
            functions = [
                n.name for n in ast.parse((root / golden).read_text()).body if isinstance(n, ast.FunctionDef)
            ]
            if stem not in functions:
                problems.append(f"{golden}: has no function {stem}")
        if not (root / "tests" / "rtl" / f"test_{stem}.py").is_file():
            problems.append(f"{where}: its test tests/rtl/test_{stem}.py is missing")
    return problems


def test_imports_point_left():
    assert import_problems(ROOT) == []


def test_every_module_has_header_twin_and_test():
    assert len(list((ROOT / "hw" / "rtl").glob("*.sv"))) >= 1
    assert pairing_problems(ROOT) == []


@pytest.mark.parametrize("room", WITHOUT_TORCH)
def test_hardware_rooms_load_without_torch(room):
    """Also what they import from the left must not bring torch in."""
    modules = [f"scaflow.{room}.{path.stem}" for path in sorted((ROOT / room).glob("*.py"))]
    assert modules
    code = "import sys, importlib\n"
    code += f"for name in {modules!r}: importlib.import_module(name)\nsys.exit('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert result.returncode == 0, result.stderr or f"{room}/ brings torch in through an import"


def test_the_import_root_links_to_every_room():
    """Static tools follow these links; an import hook they would not see."""
    root = ROOT / "src" / "scaflow"
    assert {path.name: path.resolve() for path in root.iterdir() if path.name != "__pycache__"} == {
        room: ROOT / room for room in ROOMS
    }


def test_no_room_is_imported_twice():
    """With a bare `import model` somewhere, the folder would be loaded beside scaflow.model."""
    assert [room for room in ROOMS if room in sys.modules] == []


PLANTED = [
    (
        "quant/a.py",
        "from scaflow.sim import rtl",
        "quant/a.py:1: quant/ imports sim/, which stands to its right",
    ),
    (
        "hw/a.py",
        "def f():\n    from ..flow import cli",
        "hw/a.py:2: hw/ imports flow/, which stands to its right",
    ),
    ("model/a.py", "import scaflow.hw.mem", "model/a.py:1: model/ imports hw/, which stands to its right"),
    (
        "quant/golden/a.py",
        "from ... import hw",
        "quant/golden/a.py:1: quant/ imports hw/, which stands to its right",
    ),
    (
        "flow/a.py",
        "import model",
        "flow/a.py:1: imports 'model', a second copy of the room; say scaflow.model",
    ),
    ("hw/a.py", "from torch import nn", "hw/a.py:1: hw/ imports torch"),
]


@pytest.mark.parametrize(("path", "text", "problem"), PLANTED)
def test_a_planted_import_is_found(tmp_path, path, text, problem):
    target = tmp_path / path
    target.parent.mkdir(parents=True)
    target.write_text(text + "\n")
    assert import_problems(tmp_path) == [problem]


def test_imports_to_the_left_are_allowed(tmp_path):
    (tmp_path / "hw").mkdir()
    (tmp_path / "hw" / "a.py").write_text(
        "from scaflow.quant.graph import Graph\nfrom . import mem\nimport numpy\n"
    )
    assert import_problems(tmp_path) == []


def test_a_module_without_header_twin_and_test_is_found(tmp_path):
    rtl, golden, tests = tmp_path / "hw" / "rtl", tmp_path / "quant" / "golden", tmp_path / "tests" / "rtl"
    for folder in (rtl, golden, tests):
        folder.mkdir(parents=True)
    (rtl / "adder.sv").write_text("// adds\nmodule add (\n);\nendmodule\n")
    assert pairing_problems(tmp_path) == [
        "hw/rtl/adder.sv: the first line must be `/// adder - <what it is>`",
        "hw/rtl/adder.sv: no header line `/// Golden      quant/golden/adder.py`",
        "hw/rtl/adder.sv: must hold the one module adder",
        "hw/rtl/adder.sv: its twin quant/golden/adder.py is missing",
        "hw/rtl/adder.sv: its test tests/rtl/test_adder.py is missing",
    ]
    (rtl / "adder.sv").write_text(
        "/// adder - adds\n/// Golden      quant/golden/adder.py\nmodule adder (\n);\nendmodule\n"
    )
    (golden / "adder.py").write_text("def subtract(cfg, beats):\n    return beats\n")
    (tests / "test_adder.py").write_text("")
    assert pairing_problems(tmp_path) == ["quant/golden/adder.py: has no function adder"]
    (golden / "adder.py").write_text("def adder(cfg, beats):\n    return beats\n")
    assert pairing_problems(tmp_path) == []


@pytest.mark.parametrize("path", sorted((ROOT / "bench").glob("*.py")), ids=lambda path: path.stem)
def test_the_benches_import_what_is_there(path):
    """Benches run by hand alone: what moves under them would be noticed late."""
    missing = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scaflow."):
            module = importlib.import_module(node.module)
            missing += [f"{node.module}.{a.name}" for a in node.names if not _has(module, a.name)]
    assert missing == []


def _has(module: ModuleType, name: str) -> bool:
    return hasattr(module, name) or importlib.util.find_spec(f"{module.__name__}.{name}") is not None


def test_every_folder_that_is_kept_has_its_line_in_the_layout():
    """So that nothing generated comes in with a commit."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a checkout: git does not tell what is kept")
    kept = {path.split("/")[0] for path in listed.stdout.splitlines() if "/" in path} - {".ci"}
    layout = (ROOT / "README.md").read_text().split("## Layout", 1)[1].split("```")[1]
    named = set(re.findall(r"^([\w.]+)/", layout, re.MULTILINE))
    assert kept <= named and named - kept <= {"build"}
