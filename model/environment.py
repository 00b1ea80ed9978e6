"""What of the user's environment reaches the programs that we start: a list of what may, so that no variable of
another tool, or of another project's simulations, changes what they do.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from fnmatch import fnmatchcase

PASSED = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TZ", "LANG", "LANGUAGE", "LC_*"),
    *("LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_*"),
    # where compilers of modules, Nix, Conda and macOS find their parts
    *("CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH", "COMPILER_PATH", "GCC_EXEC_PREFIX"),
    *("NIX_*", "CONDA_PREFIX", "CONDA_BUILD_SYSROOT", "SDKROOT", "MACOSX_DEPLOYMENT_TARGET", "DEVELOPER_DIR"),
    # caches
    *("CCACHE_*", "XDG_CACHE_HOME", "YOWASP_CACHE_DIR", "MPLCONFIGDIR", "NUMBA_CACHE_DIR"),
    # of Python what says where it is and what it may write; not what changes how programs run
    *("PYTHONPATH", "PYTHONHOME", "PYTHONUTF8", "PYTHONNOUSERSITE", "PYTHONUSERBASE"),
    *("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"),
    "SCAFLOW_*",
)


def environment(of: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of `of` (this process's) that are passed on, and where temporary files go.

    Raises:
        ValueError: no folder for temporary files can be written.
    """
    of = os.environ if of is None else of
    passed = {name: value for name, value in of.items() if any(fnmatchcase(name, pattern) for pattern in PASSED)}
    return passed | {"TMPDIR": temporary()}


def temporary() -> str:
    """The folder for temporary files, absolute and writable.

    Raises:
        ValueError: there is none.
    """
    try:
        return tempfile.gettempdir()
    except FileNotFoundError as error:
        raise ValueError(f"temporary files: {error.strerror}; set TMPDIR to a folder that can be written") from None
