"""Many independent jobs: what one is, and what an engine does with them, on this machine or on a cluster.

A job reads files, and works in a folder of its own: it goes on from what it finds there, and its result is what it
leaves there. So whoever starts jobs knows by the files alone what is still to be done, after any interruption, and a
job can be at work on another machine, among copies of these files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Data = Callable[[], Any]


@dataclass(frozen=True, eq=False)
class Job:
    """`work(base, *arguments)`, in a process of its own, where `base` is a folder with the files named here."""

    title: str  # names it in messages
    work: Callable[..., None]  # a function of a module; a ValueError or OSError that it raises is the user's message
    arguments: tuple[Any, ...]
    base: Path
    writes: str  # the folder of its own, below base
    reads: tuple[str, ...] = ()  # files, and folders with all that is in them, below base
    # gives the last argument, large and the same for many jobs (one object for all of them): images
    data: Data | None = None


@dataclass(frozen=True)
class End:
    """A job that is through; `problem` says why it failed, and is empty where it did not."""

    job: Job
    problem: str = ""


class Engine(Protocol):
    """Works on jobs, and stops them all when its block is left."""

    @property
    def room(self) -> bool:
        """Is another job wanted?"""

    def start(self, job: Job) -> None:
        """Begin a job, now or as soon as a processor is free."""

    def ended(self, seconds: float) -> list[End]:
        """The jobs that have ended since the last call; waits for the first of them, at most so long.

        Raises:
            ValueError: no job can go on; what to do.
        """

    def __enter__(self) -> Engine: ...

    def __exit__(self, *exception: object) -> None: ...


Opened = Callable[[], AbstractContextManager[Engine]]  # opens one, once there is something to do


def work_off(jobs: Sequence[Job], engine: Engine, done: Callable[[Job], None] = lambda job: None) -> None:
    """All of the jobs, whichever ends first.

    Args:
        done: told of each job that is through.

    Raises:
        ValueError: a job failed; the others are stopped.
    """
    waiting = list(reversed(jobs))
    active = 0
    while waiting or active:
        while waiting and engine.room:
            engine.start(waiting.pop())
            active += 1
        for end in engine.ended(1.0):
            active -= 1
            if end.problem:
                raise ValueError(end.problem)
            done(end.job)
