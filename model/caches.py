"""Folders of what was made once and is found again by a digest, each held within a size: what was used longest ago
goes.

The entries are the files and folders in such a folder, each with a lock of its name in `locks/`. Who looks one up or
makes it does so within `taking`, and may read it for `IDLE` seconds from then on, or from the last `used`, without the
lock: nothing younger goes, and nothing whose lock is held. An entry goes whole or not at all. What is read at once, and
made again where it is gone, needs no lock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from scaflow.model.files import remove, sweep
from scaflow.model.locks import locked

LIMIT = 4 << 30  # bytes of a folder: some thousand builds, some ten syntheses of a network's designs
IDLE = 2 * 3600.0
PAUSE = 600.0  # seconds between two looks at a folder
LOCKS = "locks"
STAMP = "trimmed"  # a lock, too: one process looks


@contextmanager
def taking(entry: Path) -> Iterator[None]:
    """Hold an entry while it is looked up or made; waits for another process that does."""
    with locked(_lock(entry)):
        yield
        used(entry)


def used(entry: Path) -> None:
    """It is in use now: its time is that of its last use."""
    with suppress(OSError):  # there is none, or it is another user's
        os.utime(entry)


def trim(folder: Path) -> None:
    """Let go what was used longest ago where the entries take more than `LIMIT` bytes; to be called after making one.

    Looks at the folder every `PAUSE` seconds at most. Also removes what killed processes left: parts, locks of nothing.
    """
    stamp = folder / LOCKS / STAMP
    with suppress(OSError):  # another process is at it, there are no locks, or no right: it stays as it is
        if stamp.exists() and 0 <= _age(stamp) < PAUSE:
            return
        with locked(stamp, wait=False):
            os.utime(stamp)
            sweep(folder)
            _drop(folder)
            for lock in (folder / LOCKS).iterdir():
                if lock.name != STAMP and not os.path.lexists(folder / lock.name):
                    with suppress(OSError), locked(lock, wait=False):
                        if not os.path.lexists(folder / lock.name):
                            lock.unlink()


def _drop(folder: Path) -> None:
    found = []
    for entry in folder.iterdir():
        if entry.name != LOCKS and not entry.name.startswith(".") and not entry.is_symlink():
            with suppress(FileNotFoundError):
                found.append((_age(entry), _size(entry), entry))
    total = sum(size for _, size, _ in found)
    for _, size, entry in sorted(found, reverse=True):
        if total <= LIMIT:
            return
        with suppress(OSError), locked(_lock(entry), wait=False):
            if _age(entry) >= IDLE:  # asked now that nobody else can take it
                remove(entry)
                total -= size


def _lock(entry: Path) -> Path:
    return entry.parent / LOCKS / entry.name


def _age(path: Path) -> float:
    return time.time() - path.stat().st_mtime


def _size(path: Path) -> int:
    """Bytes on the disk."""
    return sum(part.lstat().st_blocks for part in (path, *path.rglob("*"))) * 512
