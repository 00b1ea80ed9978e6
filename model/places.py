"""Where generated files and caches go when the usual place cannot be written: an installation of another user, no home.

Libraries keep caches below $XDG_CACHE_HOME or ~/.cache (numba, matplotlib, fontconfig, nextpnr's compiled form). Where
that cannot be written they fail, or complain, or begin anew each time; then `settle` points them all to one folder of
this user among the temporary files.
"""

from __future__ import annotations

import os
import stat
import tempfile
from functools import cache
from pathlib import Path

from scaflow.model.environment import temporary

# variable -> its default below the home; what the user has set and can be written stays
_HOMES = {"XDG_CACHE_HOME": ".cache", "MPLCONFIGDIR": ".config/matplotlib"}
_SET = ("NUMBA_CACHE_DIR", "YOWASP_CACHE_DIR")  # without a default of ours


def build_folder() -> Path:
    """The folder of everything generated: $SCAFLOW_BUILD, or `build` of the working directory."""
    return Path(os.environ.get("SCAFLOW_BUILD", "build")).absolute()


def generated(name: str) -> Path:
    """`name` in the build folder; where that cannot be written, in the caches.

    Raises:
        ValueError: no folder can be written.
    """
    folder = build_folder() / name
    if writable(folder):
        return folder
    settle()
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "scaflow" / name


def settle() -> None:
    """Point the caches of libraries, here and in the programs that we start, to where they can be written.

    Raises:
        ValueError: no folder can be written.
    """
    temporary()
    for name, default in _HOMES.items():
        home = os.path.expanduser("~")  # "/" where it is empty, "~" where there is none
        folder = os.environ.get(name) or (f"{home}/{default}" if os.path.isabs(home) and home != "/" else "")
        if not folder or not writable(Path(folder)):
            os.environ[name] = str(_own() / name.lower())
    for name in _SET:
        if os.environ.get(name) and not writable(Path(os.environ[name])):
            del os.environ[name]  # it falls back to the caches


@cache
def writable(folder: Path) -> bool:
    """Can a file be made in it? The folder is made where it is not there; no other question gives the truth on
    read-only mounts, for root, and in /proc."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@cache
def _own() -> Path:
    """A folder of this user alone: what lies in a cache is loaded as code."""
    folder = Path(temporary()) / f"scaflow-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        about = folder.lstat()
        if stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid() and not about.st_mode & 0o022:
            return folder
    except FileExistsError:
        pass
    return Path(tempfile.mkdtemp(prefix="scaflow-"))
