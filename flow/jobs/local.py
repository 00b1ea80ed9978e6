"""Jobs in processes of this machine, in the folders where they are."""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from contextlib import suppress
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from scaflow.flow import workers
from scaflow.flow.jobs.job import End, Job


class Worker:
    """A process for one job after the other: what it has imported serves them all."""

    def __init__(self) -> None:
        self.end, there = multiprocessing.Pipe()
        self.job: Job | None = None
        self._process: BaseProcess = workers.start(_serve, there)
        there.close()

    def begin(self, job: Job) -> None:
        self.job = job
        with suppress(BrokenPipeError, ConnectionResetError):  # it was ended: `problem` says so
            self.end.send(job)

    def ready(self, seconds: float) -> bool:
        """Has the job ended? Waits for it, at most so long."""
        return self.end.poll(seconds)

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def problem(self) -> str:
        """Of a job that has ended: why it failed, if it did."""
        assert self.job is not None
        title, self.job = self.job.title, None
        try:
            return str(self.end.recv())
        except (EOFError, ConnectionResetError):
            self._process.join()
            code = self._process.exitcode or 0
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            return f"{title}: its process was ended ({how}); where memory is short, let less run at once"

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self.end.close()


class Local:
    """At most so many jobs at once."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._workers: list[Worker] = []

    @property
    def _busy(self) -> list[Worker]:
        return [worker for worker in self._workers if worker.job]

    @property
    def room(self) -> bool:
        return len(self._busy) < self._count

    def start(self, job: Job) -> None:
        idle = next((worker for worker in self._workers if not worker.job), None)
        if idle is None:
            idle = Worker()
            self._workers.append(idle)
        idle.begin(job)

    def ended(self, seconds: float) -> list[End]:
        ends, busy = [], self._busy
        through = connection.wait([worker.end for worker in busy], seconds)
        for worker in (worker for worker in busy if worker.end in through):
            job = worker.job
            assert job is not None
            ends.append(End(job, worker.problem()))
            if not worker.alive:
                worker.stop()
                self._workers.remove(worker)
        return ends

    def __enter__(self) -> Local:
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self._workers:
            worker.stop()


def _serve(end: Connection) -> None:
    while True:
        try:
            job = end.recv()
        except EOFError:
            return
        end.send(_problem(job))


def _problem(job: Job) -> str:
    try:
        (job.base / job.writes).mkdir(parents=True, exist_ok=True)
        job.work(job.base, *job.arguments, *((job.data(),) if job.data else ()))
    except (ValueError, OSError) as error:
        return str(error) or type(error).__name__
    except Exception:  # no expected one: its traceback is what there is to say
        return f"{job.title}:\n{traceback.format_exc()}"
    return ""
