"""Work for test_cluster.py, in a module that the processes of a node can import."""

import os
import signal
import time
from pathlib import Path

TOLD = 2.5  # seconds in which a file has come back


def write(base: Path, name: str, text: str) -> None:
    (base / "own" / name).write_text(text)


def join(base: Path, given: str) -> None:
    """What it reads, what its folder held and what it is given, in one file."""
    parts = [(base / name).read_text() for name in ("read/a", "read/b/c", "own/before")]
    (base / "own/before").unlink()
    (base / "own/joined").write_text(" ".join((*parts, given)))


def refuse(base: Path) -> None:
    (base / "own/begun").write_text("")
    raise ValueError("lanes: 3 is odd")


def stumble(base: Path) -> None:
    raise RuntimeError("nobody expected it")


def crash(base: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def lose(base: Path) -> None:
    """End the process of Ray's above."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def lose_once(base: Path) -> None:
    begun = base / "own/begun"
    if begun.is_file():
        (base / "own/done").write_text("from what came back")
        return
    begun.write_text("")
    time.sleep(TOLD)
    lose(base)


def stay(base: Path) -> None:
    (base / "own/pid").write_text(str(os.getpid()))
    time.sleep(600)


def given() -> str:
    return "given"
