"""How Yosys (pyosys) is called on a script, in a folder of any name.

It writes scripts for ABC that hold unquoted names, its own and those of temporary files. So it sees its package by a
link in that folder, and its temporary files by a name that stands for the folder.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

from scaflow.model.environment import environment

# Yosys is one global per process and prints from C++: a child of its own keeps both out of the way. The package sets
# both names when it is imported, and its library reads them.
_CHILD = """
import sys, pyosys
sys._pyosys_share_dirname, sys._pyosys_abc = "pyosys/share/", "pyosys/yosys-abc"
from pyosys import libyosys
libyosys.run_pass("script " + sys.argv[1], libyosys.Design())
"""
_PLAIN = re.compile(r"[\w./+-]+", re.ASCII)


def call(folder: Path, script: str) -> tuple[list[str], dict[str, str]]:
    """The command that runs a script in `folder`, and its environment; puts a link there.

    Args:
        script: its name as seen from `folder`; this and all names in it without spaces and signs.

    Raises:
        ValueError: no folder for temporary files can be written.
    """
    spec = importlib.util.find_spec("pyosys")
    assert spec is not None and spec.origin is not None
    link = folder / "pyosys"
    link.unlink(missing_ok=True)
    link.symlink_to(Path(spec.origin).absolute().parent)
    variables = environment()
    if not _PLAIN.fullmatch(variables["TMPDIR"]):
        variables["TMPDIR"] = "/proc/self/cwd"
    return [sys.executable, "-c", _CHILD, script], variables
