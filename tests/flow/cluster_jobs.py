"""Work for test_cluster.py, and what stands there for Ray, in a module that other processes can import."""

import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

from scaflow.flow.jobs.broker import Open, Told
from scaflow.flow.jobs.node import News

TOLD = 2.5  # seconds in which a file has come back


def write(base: Path, name: str, text: str) -> None:
    (base / "own" / name).write_text(text)


def join(base: Path, given: str) -> None:
    """What it reads, what its folder held and what it is given, in one file."""
    parts = [(base / name).read_text() for name in ("read/a", "read/b/c", "own/before")]
    (base / "own/before").unlink()
    (base / "own/joined").write_text(" ".join((*parts, given)))


def refuse(base: Path) -> None:
    log = base / "own/begun"
    log.write_text("")
    raise ValueError(f"lanes: 3 is odd\n  log: {log}")


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


def torn() -> str:
    raise ValueError("images: damaged")


def vanish(end: Connection, address: str, log: Path) -> None:
    """A broker that ends as Ray lets it, some time after the head is gone; a file has come back."""
    end.send(Open(processors=2))
    number = end.recv().number
    end.send(Told(number, News({"own/came": b"back"})))
    words = "rpc_client.h:204: Failed to connect to GCS within 60 seconds. GCS may have been killed. The program will"
    log.write_text(f"some line\n[2026-11-27 22:47:42,631 E 23264 23353] {words} terminate.\n")


def crowd(end: Connection, address: str, log: Path) -> None:
    """A broker with room for the first of three jobs alone, which ends when the third comes."""
    end.send(Open(processors=2))
    first = end.recv().number
    end.send(Told(first, News({})))
    end.recv()
    end.recv()
    end.send(Told(first, News({}, ended=True)))
    time.sleep(600)
