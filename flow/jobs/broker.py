"""The process that speaks with Ray, and with it alone: what Ray prints, its signals and its sudden ends stay in here.

Through the pipe come `Start`s and go `Open`, then `Told`s; once the pipe or this process ends, Ray ends the jobs.
"""

from __future__ import annotations

import logging
import os
import pickle
import queue
import re
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from scaflow.flow.jobs.job import Data
from scaflow.flow.jobs.node import News, Parcel, serve

WAIT = 0.1  # seconds for news, before the pipe is looked at
LONG = 160  # characters of Ray's reasons that a user is told
# of Ray: no figures of its use are sent, nothing is printed
SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0", "RAY_LOG_TO_DRIVER": "0"}


@dataclass(frozen=True)
class Open:
    """The connection stands, or not: `problem` is Ray's reason."""

    processors: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Start:
    number: int
    parcel: Parcel
    data: Data | None


@dataclass(frozen=True)
class Told:
    """Of a job: its news; or that it is lost with its process or node, and why."""

    number: int
    news: News | None
    lost: str = ""


def attend(end: Connection, address: str, log: Path) -> None:
    """Begin what is asked for, pass on what comes of it."""
    _print_to(log)
    os.environ.update(SETTINGS)
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL, configure_logging=False)
        there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    except Exception as error:  # Ray's own, and those of what it stands on
        end.send(Open(problem=f"{type(error).__name__}: {error}"))
        return
    end.send(Open(processors=int(there.get("CPU", 0))))
    begin = ray.remote(num_cpus=1, num_returns="streaming", max_retries=0)(serve)
    asked: queue.SimpleQueue[Start | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(end, asked), daemon=True).start()
    shared: dict[bytes, Any] = {}  # data that nodes hold already, by what gives it
    streams: dict[Any, int] = {}
    while True:
        while not (streams and asked.empty()):
            if (start := asked.get()) is None:
                return
            data = None
            if start.data is not None:
                key = pickle.dumps(start.data)
                try:
                    data = shared.get(key) or shared.setdefault(key, ray.put(start.data()))
                except (ValueError, OSError) as error:
                    end.send(Told(start.number, News({}, ended=True, problem=str(error))))
                    continue
            streams[begin.remote(start.parcel, data)] = start.number
        for stream in ray.wait(list(streams), timeout=WAIT)[0]:
            told = _next(stream, streams[stream])
            if told.news is None or told.news.ended:
                del streams[stream]
            end.send(told)


def _listen(end: Connection, asked: queue.SimpleQueue[Start | None]) -> None:
    """In a thread: were both ends to send at once, they would wait for each other."""
    try:
        while True:
            asked.put(end.recv())
    except EOFError:
        asked.put(None)


def _next(stream: Any, number: int) -> Told:
    import ray

    try:
        return Told(number, ray.get(next(stream)))
    except ray.exceptions.RayTaskError as error:
        return Told(number, News({}, ended=True, problem=_cannot(error)))
    except ray.exceptions.RayError as error:
        return Told(number, None, brief(str(error)) or type(error).__name__)
    except StopIteration:
        return Told(number, None, "it ended without a word")


def _cannot(error: Any) -> str:
    """A node that cannot even begin."""
    reason = str(error).strip().splitlines()[-1]
    return f"a node of the cluster ({error.ip}) cannot run the program: {reason}; install there what is installed here"


def brief(words: str) -> str:
    """The first sentence of what Ray says, and the node it speaks of: the rest is where its logs are."""
    plain = " ".join(re.sub(r"^\[.*?\] \S+:\d+: ", "", words.strip()).split())  # without time, process and line
    sentence = re.split(r"(?<=\w)\.(?:\s|$)", plain, maxsplit=1)[0]
    if len(sentence) > LONG:
        sentence = sentence[:LONG].rstrip() + "…"
    node = re.search(r"\bIP: ([\w.:]*\w)", plain)
    return f"{sentence}; node {node[1]}" if node and node[1] not in sentence else sentence


def _print_to(log: Path) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(handle, stream)
    os.close(handle)
