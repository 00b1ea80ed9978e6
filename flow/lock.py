"""One run at a time where runs would write over each other, and who is at work there.

BUILD/<net>/.locks/ holds a file a verb, locked by the process at work, and the file `net`, locked by all of them: by
those that make networks and designs for themselves alone, by those that only measure designs in common. The system
gives a lock back when its process ends, however that happens; child processes do not inherit it. Runs that only print
take none.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from scaflow.model.locks import HELD, WITHOUT, opened

MAKERS = {"train", "export", "compile", "import", "reference", "demo"}
APART = {"study"}  # reads and writes nothing of the other verbs
FOLDER, NET = ".locks", "net"
UNWRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM}  # where no run can do harm


@contextmanager
def at_work(folder: Path, verb: str, say: Callable[[str], None]) -> Iterator[None]:
    """Keep other runs off the network in `folder` while `verb` is at work on it. Makes the folder for a maker.

    Raises:
        ValueError: another run is at work: its verb, process, machine and begin.
        OSError: the folder cannot be made.
    """
    if verb not in MAKERS | APART and not folder.is_dir():
        yield  # nothing is there to be measured, which the verb says itself
        return
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            if verb not in APART:
                held.enter_context(_locked(folder, NET, exclusive=verb in MAKERS))
            held.enter_context(_locked(folder, verb, exclusive=True, about=_me(verb)))
            if made and verb in MAKERS:
                held.callback(_unmake, made)  # while it is locked
        except BlockingIOError:
            raise ValueError(_refusal(folder, verb)) from None
        except OSError as error:
            if error.errno in WITHOUT:
                say(f"{folder}: no locks here ({error.strerror}): see to it that no other run is at work on it")
            elif error.errno not in UNWRITABLE:
                raise
        yield


def _unmake(made: Sequence[Path]) -> None:
    """Leave no empty folders where nothing came about.

    Args:
        made: the network's folder, and those above it that came with it.
    """
    locks = made[0] / FOLDER
    with suppress(OSError):
        if [path.name for path in made[0].iterdir()] != [FOLDER]:
            return
        for path in locks.iterdir():
            path.unlink()
        for path in (locks, *made):
            path.rmdir()


@contextmanager
def _locked(folder: Path, name: str, exclusive: bool, about: str = "") -> Iterator[None]:
    """Hold the lock of that name.

    Raises:
        BlockingIOError: another process holds it.
    """
    handle = opened(folder / FOLDER / name, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    try:
        if about:
            with suppress(OSError):  # a full disk: the lock holds all the same
                os.ftruncate(handle, 0)
                os.pwrite(handle, about.encode(), 0)
        yield
    finally:
        os.close(handle)


def _me(verb: str) -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return json.dumps({"verb": verb, "pid": os.getpid(), "host": socket.gethostname(), "since": since})


def _refusal(folder: Path, verb: str) -> str:
    who = [_who(path) for path in sorted((folder / FOLDER).iterdir()) if path.name != NET and _is_held(path)]
    named = "\n".join(f"  {line}" for line in who) or "  which one, it has not said yet"
    return (
        f"{verb}: another run is at work in {folder}:\n{named}\n"
        "  wait for it or end it, or give this run another folder by --build"
    )


def _is_held(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError as error:
        return error.errno in HELD
    finally:
        os.close(handle)


def _who(path: Path) -> str:
    try:
        said = json.loads(path.read_text())
        return f"scaflow {said['verb']}, process {said['pid']} on {said['host']}, since {said['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return f"scaflow {path.name}"
