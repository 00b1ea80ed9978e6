"""What a user is told when something fails: a message and an exit code, never a traceback.

Expected failures carry their own words: ValueError of the rooms, SimulationError, and what the system says of files,
in `of_system`. What nobody expected is written down with its traceback, and the message says where.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from scaflow.flow.interruption import exit_code, interruptions

REFUSED, NOT_EQUAL, UNEXPECTED, PIPE_CLOSED = 2, 1, 70, 141

MAKE_ROOM = "make room there, or choose another folder (--build, --data, $TMPDIR)"
RIGHTS = "change its rights, or choose another folder (--build, --data)"
REMEDIES = {
    errno.ENOSPC: MAKE_ROOM,
    errno.EDQUOT: MAKE_ROOM,
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EACCES: RIGHTS,
    errno.EPERM: RIGHTS,
    errno.EROFS: "choose a folder that can be written (--build, --data)",
    errno.ENOTDIR: "a part of this path is a file; remove or rename it, or choose another folder (--build, --data)",
    errno.EEXIST: "a file stands where a folder is needed; remove or rename it, or choose another (--build, --data)",
    errno.EISDIR: "a folder stands where a file is needed; remove or rename it",
    errno.ENOENT: "it was there a moment ago, or is a broken link; run this again",
    errno.ELOOP: "links lead in a circle; remove one",
    errno.ENAMETOOLONG: "choose a shorter name, or a folder nearer to the root",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "the system has too many files open; end some programs",
    errno.ENOMEM: "end other programs, or use a machine with more memory",
    errno.EAGAIN: "the system allows no more processes (ulimit -u); end some",
    errno.EIO: "the disk or its connection fails; the system's log tells more",
    errno.ESTALE: "the server has given the folder up; mount it again",
    errno.ENOEXEC: "it is damaged, or made for another processor; remove it",
}


class Printer(Console):
    """A console whose reader may go away: `scaflow ... | head` ends quietly, as other commands do."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        _silence()
        raise SystemExit(PIPE_CLOSED)


@contextlib.contextmanager
def guarded(err: Console) -> Iterator[None]:
    """A failure becomes a message and an exit code: 2 refused, 1 wrong hardware, 130 interrupted (143 by SIGTERM), 70
    unexpected."""
    from scaflow.sim.errors import SimulationError

    try:
        with interruptions():
            yield
    except BrokenPipeError:
        _silence()
        raise SystemExit(PIPE_CLOSED) from None
    except KeyboardInterrupt as interruption:
        err.print("[bold]interrupted[/]: finished stages are kept; `demo` and `train --resume` go on from there")
        raise typer.Exit(exit_code(interruption)) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        text, code = _told(error, SimulationError)
        err.print(f"[bold red]error:[/] {escape(text)}", highlight=False, soft_wrap=True)
        raise typer.Exit(code) from None


def _told(error: Exception, wrong_hardware: type[Exception]) -> tuple[str, int]:
    if isinstance(error, ValueError):
        return str(error), REFUSED
    if isinstance(error, wrong_hardware):
        return str(error), NOT_EQUAL
    if isinstance(error, OSError) and error.errno is not None:
        return of_system(error, _places()), REFUSED
    starved = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)  # torch's
    if isinstance(error, MemoryError) or starved:
        return f"out of memory ({error or 'no details'}): {REMEDIES[errno.ENOMEM]}", REFUSED
    if isinstance(error, BrokenExecutor):
        remedy = "out of memory, most often: free some and run this again"
        return f"a process of this command was ended from outside ({error}); {remedy}", REFUSED
    return _unexpected(error), UNEXPECTED


def of_system(error: OSError, places: dict[str, Path]) -> str:
    """The path, the reason and a remedy.

    Args:
        places: where this command writes; the fullest are named where the error has no path.
    """
    number = error.errno or 0
    reason = error.strerror or os.strerror(number)
    path = error.filename2 or error.filename
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    remedy = REMEDIES.get(number, "see to that and run this again")
    if number == errno.EEXIST and path and Path(path).is_dir():
        remedy = "remove or rename it"
    if path is not None and not isinstance(path, int):
        return f"{path}: {reason}; {remedy}"
    free = [f"{name} {place}: {_free(place)} free" for name, place in places.items()]
    return f"{reason}; {remedy}\n" + "\n".join(f"  {line}" for line in free)


def _free(place: Path) -> str:
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        return f"{shutil.disk_usage(place).free // 1024:,} KiB"
    except OSError as error:
        return f"unknown ({error.strerror})"


def _asked() -> tuple[str, dict[str, Any]]:
    """The verb at work and its options."""
    context = typer.main.get_current_context(silent=True)
    return (context.info_name or "scaflow", context.params) if context else ("scaflow", {})


def _places() -> dict[str, Path]:
    _, options = _asked()
    named = {"--build": options.get("build"), "--data": options.get("folder"), "--waves": options.get("waves")}
    return {
        **{name: Path(place) for name, place in named.items() if place is not None},
        "temporary files": Path(tempfile.gettempdir()),
    }


def _unexpected(error: Exception) -> str:
    verb, options = _asked()
    whole = "".join(traceback.format_exception(error))
    told = f"scaflow {verb}, {time.strftime('%Y-%m-%d %H:%M:%S')}\noptions: {options}\n{sys.version}\n\n{whole}"
    where = _write_down(f"unexpected-{verb}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt", told, options)
    reason = f"{type(error).__name__}: {error}".strip().partition("\n")[0][:500]
    advice = "please report it, with that file" if where else "it could not be written down"
    return f"unexpected, at work on `scaflow {verb}`: {reason}\n  the traceback is in {where}; {advice}"


def _write_down(name: str, text: str, options: dict[str, Any]) -> Path | None:
    """In the network's folder, else in the build folder, else among temporary files."""
    build, net = options.get("build"), options.get("net")
    folders = [Path(build) / Path(net).stem] if build and net else []
    for folder in (*folders, *([Path(build)] if build else []), Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError):
            if folder.is_dir():
                (folder / name).write_text(text)
                return folder / name
    return None


def _silence() -> None:
    """Nothing more can be said there: keeps the interpreter from complaining of that when it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
