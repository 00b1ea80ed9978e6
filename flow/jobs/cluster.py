"""Jobs on a Ray cluster. Their files are copied to a node and come back as they change, so that a job whose node is
lost goes on elsewhere from its last files, as it would on this machine after a kill.
"""

from __future__ import annotations

import importlib.util
import itertools
import multiprocessing
import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from scaflow.flow import workers
from scaflow.flow.jobs import broker
from scaflow.flow.jobs.job import End, Job
from scaflow.flow.jobs.node import News, pack
from scaflow.model.files import write_bytes

LOSSES = 3  # of a job in a row, without a file of it in between
PAUSE = 2.0  # seconds before a lost job begins again, after its first loss: the cluster has to notice what is gone
ANSWER = 5.0  # seconds for the head to take a connection
JOIN = 30.0  # seconds for Ray to join the cluster
IDLE = 10.0  # seconds in which no job is at work, before it is said what they wait for
LAST = 3  # lines of Ray's words


@dataclass
class _Sent:
    """A job that is with the cluster, or to be sent there again."""

    job: Job
    at_work: bool = False  # not in the cluster's queue any more
    losses: int = 0
    again: float | None = None  # the time to send it again


class Cluster:
    """As many jobs at once as the cluster has processors."""

    def __init__(self, address: str, count: int | None, say: Callable[[str], None]) -> None:
        """
        Args:
            address: HOST:PORT of the head, or auto.
            count: jobs at once; None: as many as there is room for.

        Raises:
            ValueError: Ray is not installed; nobody answers there, or refuses.
        """
        check_address(address)
        self._address, self._count, self._say = address, count, say
        self._sent: dict[int, _Sent] = {}
        self._numbers = itertools.count()
        self._processors = 0
        self._idle: float | None = None  # since when jobs are there and none is at work
        self._said: set[str] = set()
        self._scratch = tempfile.TemporaryDirectory(prefix="scaflow-cluster-")
        self._log = Path(self._scratch.name) / "ray.log"
        self._end, there = multiprocessing.Pipe()
        self._process = workers.start(broker.attend, there, address, self._log)
        there.close()
        try:
            self._join()
        except BaseException:
            self._close()
            raise

    def _join(self) -> None:
        problem = f"no answer of Ray within {JOIN:.0f} s"
        if self._end.poll(JOIN):
            try:
                answer = self._end.recv()
            except (EOFError, ConnectionResetError):
                answer = broker.Open(problem=f"Ray's process ended: {self._last_words()}")
            if not answer.problem:
                self._processors = answer.processors
                self._say(f"cluster {self._address}: {answer.processors} processors")
                return
            problem = answer.problem
        raise ValueError(
            f"--ray {self._address}: {problem}\n  is that the head of a Ray cluster, and this machine one of its nodes?"
            f" `ray start --address {self._address} --num-cpus 0` makes it one that does no work"
        )

    @property
    def room(self) -> bool:
        return self._count is None or len(self._sent) < self._count

    def start(self, job: Job) -> None:
        number = next(self._numbers)
        self._sent[number] = _Sent(job)
        self._send(number)

    def ended(self, seconds: float) -> list[End]:
        until = time.monotonic() + seconds
        ends: list[End] = []
        while True:
            for number, sent in self._sent.items():
                if sent.again is not None and time.monotonic() >= sent.again:
                    self._send(number)
            self._see_idle()
            left = until - time.monotonic()
            try:
                if not self._end.poll(0 if ends else max(0, min(left, PAUSE))):
                    if ends or left <= 0:
                        return ends
                    continue
                told = self._end.recv()
            except (EOFError, ConnectionResetError, BrokenPipeError):
                raise self._gone() from None
            end = self._lost(told.number, told.lost) if told.news is None else self._heard(told.number, told.news)
            if end is not None:
                del self._sent[told.number]
                ends.append(end)

    def _see_idle(self) -> None:
        now = time.monotonic()
        if not self._sent or any(sent.at_work for sent in self._sent.values()):
            self._idle = None
        elif self._idle is None:
            self._idle = now
        elif now - self._idle > IDLE:
            self._say_once(
                f"cluster {self._address}: the jobs wait for a free processor; there were {self._processors} at the"
                " start, and `ray status` shows their use"
            )

    def _say_once(self, line: str) -> None:
        if line and line not in self._said:
            self._said.add(line)
            self._say(line)

    def _send(self, number: int) -> None:
        sent = self._sent[number]
        sent.again = None
        try:
            self._end.send(broker.Start(number, pack(sent.job), sent.job.data))
        except (BrokenPipeError, ConnectionResetError):
            raise self._gone() from None

    def _heard(self, number: int, news: News) -> End | None:
        """Keep what came; the job's end, if it is that."""
        sent = self._sent[number]
        sent.at_work = True
        self._say_once(news.notice)
        for name, content in news.files.items():
            write_bytes(sent.job.base / name, content)
            sent.losses = 0
        for name in news.gone:
            (sent.job.base / name).unlink(missing_ok=True)
        return End(sent.job, news.problem) if news.ended else None

    def _lost(self, number: int, reason: str) -> End | None:
        """Begin it again; the job's end, if that has been tried often enough."""
        sent = self._sent[number]
        sent.at_work = False
        sent.losses += 1
        if sent.losses >= LOSSES:
            return End(sent.job, f"{sent.job.title}: lost with its node or process {LOSSES} times in a row: {reason}")
        self._say(f"{sent.job.title}: lost with its node or process ({reason}); it goes on elsewhere")
        sent.again = time.monotonic() + PAUSE * sent.losses
        return None

    def _gone(self) -> ValueError:
        return ValueError(
            f"--ray {self._address}: the connection with the cluster has ended: {self._last_words()}\n"
            "  what has come back is kept: run this again once the cluster is there"
        )

    def _last_words(self) -> str:
        with suppress(OSError):
            if lines := self._log.read_text(errors="replace").strip().splitlines():
                return "\n".join(broker.brief(line) for line in lines[-LAST:])
        return "without a word"

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()

    def _close(self) -> None:
        self._process.kill()  # Ray ends the jobs of a process that is gone
        self._process.join()
        self._end.close()
        self._scratch.cleanup()


def check_address(address: str) -> None:
    """See that somebody listens there, before Ray is started, which asks for long.

    Raises:
        ValueError: Ray is not installed; no address; nobody answers.
    """
    if importlib.util.find_spec("ray") is None:
        raise ValueError("--ray: Ray is not installed; it comes with an extra: pip install 'scaflow[cluster]'")
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536 or "/" in host:
        raise ValueError(f"--ray {address!r}: give HOST:PORT of the head, as `ray start --head` says it, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(f"--ray {address}: nobody answers there ({reason}); is the cluster's head at work?") from None
