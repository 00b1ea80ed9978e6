"""Locks on files, held by a process; the system gives one back when its process ends, however that happens.

Who holds a lock may remove its file: who waited for it then takes the one that stands there afterwards. Child processes
do not inherit locks.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HELD = {errno.EAGAIN, errno.EACCES}
WITHOUT = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}  # a file system without locks


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock `path`. Waiting on a file system without locks is going on as if alone.

    Raises:
        BlockingIOError: another holds it, and `wait` is false.
        OSError: there are no locks here, and `wait` is false; its file cannot be made.
    """
    handle = None
    try:
        handle = opened(path, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if not wait or error.errno not in WITHOUT:
            raise
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def opened(path: Path, kind: int) -> int:
    """A locked handle of the file that stands at `path`, not of one that was removed meanwhile.

    Args:
        kind: as of fcntl.flock.

    Raises:
        BlockingIOError: another holds it.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue
        except PermissionError:  # it may be another user's, or cannot be made
            if not path.exists():
                raise
            handle = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(handle, kind)
            if _stands(path, handle):
                return handle
        except BaseException as error:
            os.close(handle)
            if isinstance(error, OSError) and error.errno in HELD:
                raise BlockingIOError(error.errno, error.strerror, str(path)) from None
            raise
        os.close(handle)


def _stands(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
