"""numba's compiler, as the rooms from here on use it: machine code is kept on disk wherever a place for it can be
written, and made anew where there is none.

numba keeps it beside the source, or in the user's caches, and refuses to decorate a function where it can do neither.

numba (0.68.1) names compiled functions after their types, and a record type after a number that counts the types of
the process. Code that two processes kept for two different records can then have one name, and a third process that
loads both runs the one for the other. So records are named after their fields here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import types

from scaflow.model import places

_record: Any = types.Record
_record.mangling_args = property(lambda record: (type(record).__name__, (record.name,)))

places.settle()
_settings: Any = numba.config
if _settings.CACHE_DIR and not places.writable(Path(_settings.CACHE_DIR)):
    _settings.CACHE_DIR = ""  # of $NUMBA_CACHE_DIR, read when numba was imported


Function = TypeVar("Function", bound=Callable[..., Any])


def cached(**options: Any) -> Callable[[Function], Function]:
    """`numba.njit(nogil=True)` with a cache, where there can be one."""

    def decorate(function: Function) -> Function:
        try:
            return cast(Function, numba.njit(cache=True, nogil=True, **options)(function))
        except RuntimeError:  # "no locator available"
            return cast(Function, numba.njit(nogil=True, **options)(function))

    return decorate
