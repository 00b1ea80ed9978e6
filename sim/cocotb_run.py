"""How a simulation with cocotb in it is started: the folder it runs in and its environment, both composed here alone.

cocotb's own runner would hand over this process's whole environment, and obey WAVES and LIBPYTHON_LOC in it. It also
divides what it hands over at `;`, `,` and `:`; so everything that may lie in a folder with such a name is a link.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import find_libpython

from scaflow.model import environment as passed
from scaflow.sim import lean, toolchain


def lay_out(scratch: Path, directory: Path) -> Path:
    """The folder to run in: links to the files of `directory`, whose memories the design reads by bare names. Beside it
    are the links that `environment` names.

    Raises:
        ValueError: this Python has no shared library, which cocotb loads.
    """
    here = scratch / "run"
    here.mkdir()
    for path in directory.absolute().iterdir():
        (here / path.name).symlink_to(path)
    (scratch / "cocotb").symlink_to(toolchain.COCOTB.absolute())
    (scratch / "libpython").symlink_to(_libpython())
    for number, folder in enumerate(_folders()):
        if os.pathsep in folder:
            (scratch / f"path{number}").symlink_to(folder)
    return here


def environment(scratch: Path, bench: str, top: str, seed: int, results: Path) -> dict[str, str]:
    """What the simulation of `top` under the module `bench` knows of its surroundings, in the folder of `lay_out`.

    Args:
        results: where cocotb writes what came of it.
    """
    env = passed.environment()
    libraries = [f"../{toolchain.LIBRARIES}", *filter(None, [env.get("LD_LIBRARY_PATH")])]  # before another cocotb's
    folders = [
        str(scratch / f"path{number}") if os.pathsep in folder else folder for number, folder in enumerate(_folders())
    ]
    return env | {
        "LD_LIBRARY_PATH": os.pathsep.join(libraries),
        "PYTHONPATH": os.pathsep.join(folders),
        "PYGPI_PYTHON_BIN": sys.executable,
        "PYGPI_USERS": ",".join(lean.ENTRIES),
        "GPI_USERS": f"../libpython;../cocotb/{_interface()},initialize",
        "COCOTB_TOPLEVEL": top,
        "COCOTB_TEST_MODULES": bench,
        "COCOTB_RESULTS_FILE": str(results),
        "COCOTB_RANDOM_SEED": str(seed),
        "COCOTB_REWRITE_ASSERTION_FILES": "",  # none: pytest is not there to do it
        "COCOTB_TRUST_INERTIAL_WRITES": "1",  # Verilator's are
    }


def _folders() -> list[str]:
    """Where this process finds modules."""
    return [os.path.abspath(folder) for folder in sys.path]


@cache
def _libpython() -> str:
    found = find_libpython.find_libpython()
    if found is None:
        raise ValueError(
            f"the simulator cannot run: {sys.executable} has no shared library (libpython), which cocotb loads; "
            "install it (Debian: apt-get install libpython3-dev), or use a Python that was built with --enable-shared"
        )
    return found


def _interface() -> str:
    """cocotb's compiled module."""
    there = (f"simulator{suffix}" for suffix in EXTENSION_SUFFIXES)
    return next(name for name in there if (toolchain.COCOTB / name).is_file())
