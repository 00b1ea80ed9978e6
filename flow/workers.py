"""Work in several Python processes at once; they end with this one, whatever ends it."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import connection, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, cast

from scaflow.model import processes

Job = tuple[Any, ...]


def in_processes(
    work: Callable[..., Any], jobs: Sequence[Job], count: int, done: Callable[[Job], None] = lambda job: None
) -> list[Any]:
    """`work(*job)` of every job, in their order, by at most `count` processes.

    Args:
        work: a function of a module, and its results, are passed between processes.
        done: told of each job that is through.

    Raises:
        ValueError: a process was killed.
        Exception: what a job raised; the others are given up.
    """
    results: dict[int, Any] = {}
    staff: dict[Connection, BaseProcess] = {}
    busy: dict[Connection, int] = {}
    waiting = iter(range(len(jobs)))
    try:
        for number in (next(waiting) for _ in range(min(count, len(jobs)))):
            end, process = _hired(work)
            staff[end], busy[end] = process, number
            _hand(end, jobs[number])
        while busy:
            for end in cast(list[Connection], connection.wait(list(busy))):
                number = busy.pop(end)
                results[number] = _answer(end, staff[end], jobs[number])
                done(jobs[number])
                if (following := next(waiting, None)) is not None:
                    busy[end] = following
                    _hand(end, jobs[following])
        return [results[number] for number in range(len(jobs))]
    finally:
        for end, process in staff.items():
            process.kill()
            process.join()
            end.close()


def start(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """A process of Python's own that ends with this one, and leaves the terminal's signals to it."""
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(target, arguments), daemon=True)
    resource_tracker.ensure_running()  # its start would unblock signals
    with _blocked():
        process.start()
    return process


def _run(target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    processes.end_with_parent()
    target(*arguments)


def _hired(work: Callable[..., Any]) -> tuple[Connection, BaseProcess]:
    here, there = multiprocessing.Pipe()
    process = start(_serve, work, there)
    there.close()
    return here, process


def _serve(work: Callable[..., Any], end: Connection) -> None:
    while True:
        job = end.recv()
        try:
            answer: tuple[bool, Any] = True, work(*job)
        except Exception as error:  # whatever it is, it is raised where the result is awaited
            error.add_note(traceback.format_exc())
            answer = False, error
        try:
            end.send(answer)
        except (pickle.PicklingError, TypeError, AttributeError):
            end.send((False, RuntimeError(f"{answer[1]!r} cannot be passed between processes")))


def _hand(end: Connection, job: Job) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # it was ended: that is seen where its answer is awaited
        end.send(job)


def _answer(end: Connection, process: BaseProcess, job: Job) -> Any:
    try:
        well, value = end.recv()
    except (EOFError, ConnectionResetError):
        process.join()
        time.sleep(0.5)  # a signal to all of us ends this process here
        of = ", ".join(part for part in job if isinstance(part, str))
        raise ValueError(
            f"{of}: its process was ended ({_reason(process.exitcode)}); where memory is short, let less run at once"
        ) from None
    if well:
        return value
    raise value


def _reason(code: int | None) -> str:
    return signal.Signals(-code).name if code and code < 0 else f"exit code {code}"


@contextmanager
def _blocked() -> Iterator[None]:
    """What is started inside does not get Ctrl-C or the terminal's end: who started it decides."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
