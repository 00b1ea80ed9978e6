"""Where the program, its interpreter, its builds and its temporary files lie, and what the user's shell holds for other
simulations, changes no simulation.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from axis_top import axis_top

from scaflow.sim import build
from scaflow.sim.native import simulate_native
from scaflow.sim.rtl import simulate_axis

ROOT = Path(build.__file__).resolve().parent.parent
ODD = """My $HOME & #1 "a" 'b' `c` (d); 100% \\ ü"""
MEMORY = 'logic [7:0] table_of [4]; initial $readmemh("table.mem", table_of);'
TOP = axis_top(data="{24'b0, table_of[s_axis_tdata[1:0]]}", more=MEMORY)
FRAME = bytes([3, 0, 0, 0, 1, 0, 0, 0])
WORDS = [[13, 11]]
HERE = """
import json, sys
from pathlib import Path
import numpy as np
import scaflow.sim.build
from scaflow.sim.native import simulate_native
from scaflow.sim.rtl import simulate_axis

frame, rtl = bytes.fromhex(sys.argv[1]), Path("rtl")
cocotb = simulate_axis(rtl, "top", [frame], expect=2, axi_bytes=4, patience=300)
native = simulate_native(rtl, "top", np.frombuffer(frame, np.uint8)[None], expect=2, axi_bytes=4, patience=300)
print(json.dumps([scaflow.sim.build.__file__, sys.executable, cocotb.words, native.words.tolist()]))
"""
# a cocotb user's shell, and a build system's
HOSTILE = {
    **dict.fromkeys(("WAVES", "VM_TRACE", "COCOTB_ENABLE_PROFILING", "COVERAGE", "MAKELEVEL"), "1"),
    **dict.fromkeys(("SIM", "TOPLEVEL", "MODULE", "TESTCASE", "COCOTB_TESTCASE", "COCOTB_TEST_FILTER"), "theirs"),
    **dict.fromkeys(("COCOTB_TOPLEVEL", "COCOTB_TEST_MODULES", "TOPLEVEL_LANG", "COCOTB_RESOLVE_X"), "theirs"),
    **dict.fromkeys(("RANDOM_SEED", "COCOTB_RANDOM_SEED", "COCOTB_LOG_LEVEL", "GPI_LOG_LEVEL"), "theirs"),
    **dict.fromkeys(("PLUSARGS", "COCOTB_PLUSARGS", "EXTRA_ARGS", "SIM_ARGS", "COMPILE_ARGS"), "+theirs"),
    **dict.fromkeys(("GPI_USERS", "GPI_EXTRA", "PYGPI_USERS", "PYGPI_ENTRY_POINT", "LIBPYTHON_LOC"), "/none/theirs.so"),
    **dict.fromkeys(("VERILATOR_ROOT", "VERILATOR_BIN", "PYGPI_PYTHON_BIN", "COCOTB_RESULTS_FILE"), "/none/theirs"),
    **dict.fromkeys(("CXX", "CC", "LINK", "OBJCACHE", "MAKEFILES", "BASH_ENV", "ENV", "SYSTEMC"), "/none/theirs"),
    **dict.fromkeys(("CXXFLAGS", "CPPFLAGS", "LDFLAGS", "LDLIBS", "USER_CPPFLAGS", "USER_LDLIBS"), "--theirs"),
    **dict.fromkeys(("OPT", "OPT_FAST", "OPT_SLOW", "OPT_GLOBAL"), "--theirs"),
    **dict.fromkeys(("MAKEFLAGS", "GNUMAKEFLAGS"), "n"),
}

pytestmark = pytest.mark.rtl


def lay_out(folder: Path) -> Path:
    (folder / "rtl").mkdir(parents=True)
    (folder / "rtl/top.sv").write_text(TOP)
    (folder / "rtl/table.mem").write_text("0a\n0b\n0c\n0d\n")
    return folder / "rtl"


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder with an odd name: program, interpreter, design, builds and temporary files lie below it."""
    plain = lay_out(tmp_path / "plain")  # also compiles Verilator's runtime, which is lent below
    images = np.frombuffer(FRAME, np.uint8)[None]
    assert simulate_axis(plain, "top", [FRAME], expect=2, axi_bytes=4, patience=300).words == WORDS
    assert simulate_native(plain, "top", images, expect=2, axi_bytes=4, patience=300).words.tolist() == WORDS

    home = tmp_path / ODD
    lay_out(home)
    for room in ("model", "quant", "hw", "sim"):
        ignored = shutil.ignore_patterns("__pycache__", "build")
        shutil.copytree(ROOT / room, home / "code/scaflow" / room, ignore=ignored)
    venv.create(home / "venv", symlinks=True, with_pip=False)
    (packages,) = (home / "venv/lib").glob("python*/site-packages")
    (packages / "own.pth").write_text("\n".join([str(home / "code"), *filter(os.path.isdir, sys.path)]))
    (home / "build/sim").mkdir(parents=True)
    for runtime in build.cache_root().glob("runtime-*"):
        (home / "build/sim" / runtime.name).symlink_to(runtime)
    (home / "tmp").mkdir()
    return home


def test_an_odd_folder_and_the_variables_of_others_change_nothing(odd: Path) -> None:
    own = {"SCAFLOW_BUILD": str(odd / "build"), "TMPDIR": str(odd / "tmp")}
    command = [str(odd / "venv/bin/python"), "-c", HERE, FRAME.hex()]
    done = subprocess.run(
        command, cwd=odd, env={**os.environ, **HOSTILE, **own}, text=True, check=False, capture_output=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    program, interpreter, cocotb, native = json.loads(done.stdout.splitlines()[-1])
    assert Path(program).is_relative_to(odd) and Path(interpreter).is_relative_to(odd)
    assert cocotb == native == WORDS
    assert len(list((odd / "build/sim").glob("top-*"))) == 2
    assert not list((odd / "tmp").iterdir())
