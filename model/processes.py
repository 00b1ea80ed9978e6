"""Programs that this process starts: they, and all that they start in turn, end with it, whatever ends it.

Each has a process group of its own. Before it there comes a guard into the group, a shell that reads a pipe of which
this process alone holds the other end: when the process is gone, by whatever signal, the guard kills the group. So no
handler has to run, and a compiler below a make below a shell is reached as well.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

Stream = int | IO[str] | None

_GUARD = ("/bin/sh", "-c", "read _; kill -KILL 0")
_LOOK = 0.5  # seconds between looks at the parent

_lock = threading.RLock()  # a signal's handler may come while its own thread holds it
_groups: set[int] = set()
_stopped = False


@contextmanager
def started(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdout: Stream = None,
    stderr: Stream = None,
) -> Iterator[subprocess.Popen[str]]:
    """A program at work; leaving waits for its end, leaving by an exception kills it and all that it started.

    Raises:
        KeyboardInterrupt: `stop` was called before it began.
        OSError: there is no such program.
    """
    quiet = subprocess.DEVNULL
    with subprocess.Popen(_GUARD, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, env={}, process_group=0) as guard:
        try:
            with _lock:
                if _stopped:
                    raise KeyboardInterrupt
                _groups.add(guard.pid)
            with subprocess.Popen(
                command, cwd=cwd, env=env, stdin=quiet, stdout=stdout, stderr=stderr, text=True, errors="replace",
                process_group=guard.pid,
            ) as process:  # fmt: skip
                try:
                    yield process
                    process.wait()
                except BaseException:
                    _kill(guard.pid)
                    raise
        finally:
            with _lock:
                _groups.discard(guard.pid)
            _kill(guard.pid)  # not waited for yet, so the number is still its own


def run(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdout: Stream = subprocess.PIPE,
    stderr: Stream = subprocess.STDOUT,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, whatever its exit code; what it printed goes where `subprocess.run` would put it."""
    with started(command, cwd=cwd, env=env, stdout=stdout, stderr=stderr) as process:
        out, err = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def stop() -> None:
    """Kill all programs; none is started until `resume`."""
    global _stopped
    with _lock:
        _stopped = True
        for group in tuple(_groups):
            _kill(group)


def resume() -> None:
    """Programs may be started again."""
    global _stopped
    _stopped = False


def end_with_parent() -> None:
    """Let this process end when the one that started it has: for Python's own worker processes, and ranks."""
    parent = multiprocessing.parent_process()
    pid = os.getppid() if parent is None else parent.pid

    def watch() -> None:
        while os.getppid() == pid:
            time.sleep(_LOOK)
        os._exit(1)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()


def _kill(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
