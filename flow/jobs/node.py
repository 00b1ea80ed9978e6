"""A job on a node of a cluster: among copies of its files, whose changes are told as they come about.

The job runs in a process of its own below Ray's, as on one machine; it ends with Ray's, whatever ends that.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from scaflow.flow.jobs import program
from scaflow.flow.jobs.job import Job
from scaflow.flow.jobs.local import Worker
from scaflow.model.files import PART

LOOK = 0.2  # seconds between looks at the process
TELL = 1.0  # seconds between looks at its files
PREFIX = "scaflow-job-"
YOUNG = 60.0  # seconds in which a folder may not be locked yet


@dataclass(frozen=True)
class Parcel:
    """A job with its files, as it travels."""

    job: Job  # without data
    files: dict[str, bytes]  # what it reads, and what its folder holds, below base
    program: dict[str, str]
    machine: dict[str, str]
    threads: dict[str, str]


@dataclass(frozen=True)
class News:
    """What has changed in the job's folder. The first of them says that it is at work, the last has `ended`."""

    files: dict[str, bytes]  # below base
    gone: tuple[str, ...] = ()
    ended: bool = False
    problem: str = ""
    notice: str = ""


def pack(job: Job) -> Parcel:
    """A job with its files as they are now."""
    named = [job.base / name for name in (*job.reads, job.writes) if name in job.reads or (job.base / name).is_dir()]
    paths = [path for place in named for path in (_files(place) if place.is_dir() else [place])]
    files = {str(path.relative_to(job.base)): path.read_bytes() for path in paths}
    return Parcel(replace(job, data=None), files, program.program(), program.machine(), program.thread_settings())


def serve(parcel: Parcel, data: Any) -> Iterator[News]:
    """Carry the job out."""
    if other := program.differing(parcel.program, program.program()):
        yield News({}, ended=True, problem=f"{platform.node()}: another program than here: {other}; install the same")
        return
    other = program.differing(parcel.machine, program.machine())
    yield News({}, notice=f"{platform.node()}: {other}: a training may differ in the last digits" if other else "")
    program.take_settings(parcel.threads)
    os.environ.setdefault("SCAFLOW_BUILD", str(Path.home() / ".cache/scaflow"))
    with _place() as base:
        job = replace(parcel.job, base=base, data=None if data is None else partial(_given, data))
        for name, content in parcel.files.items():
            path = job.base / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        folder, worker = job.base / job.writes, _taken()
        seen, told, problem = _state(folder), time.monotonic(), ""
        try:
            worker.begin(job)
            while not worker.ready(LOOK):
                if time.monotonic() - told > TELL:
                    told = time.monotonic()
                    now = _state(folder)
                    if now != seen:
                        yield _news(job, seen, now)
                        seen = now
            problem = worker.problem().replace(str(base), str(parcel.job.base))  # where what it names comes back to
        except BaseException:  # it is not wanted any more
            worker.stop()
            raise
        _give_back(worker)
        yield replace(_news(job, seen, _state(folder)), ended=True, problem=problem)


@contextmanager
def _place() -> Iterator[Path]:
    """A folder for the copies. Ray may end its processes at any time: what killed ones left goes with the next."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > YOUNG:
                with _locked(left):
                    shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=PREFIX) as scratch, _locked(Path(scratch)):
        yield Path(scratch)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Held until the block or the process ends.

    Raises:
        OSError: another process holds it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


_idle: list[Worker] = []  # of this process of Ray's, which serves one job after the other


def _taken() -> Worker:
    return _idle.pop() if _idle else Worker()


def _give_back(worker: Worker) -> None:
    if worker.alive:
        _idle.append(worker)
    else:
        worker.stop()


def _given(data: Any) -> Any:
    return data


def _news(job: Job, before: dict[Path, Any], now: dict[Path, Any]) -> News:
    files = {}
    for path in now:
        if now[path] != before.get(path):
            try:
                files[str(path.relative_to(job.base))] = path.read_bytes()
            except FileNotFoundError:  # it has gone meanwhile, which the next look finds
                continue
    return News(files, tuple(str(path.relative_to(job.base)) for path in before if path not in now))


def _state(folder: Path) -> dict[Path, Any]:
    """The files, with what tells a changed one from the one before."""
    found = {}
    for path in _files(folder):
        try:
            about = path.stat()
        except FileNotFoundError:
            continue
        found[path] = (about.st_ino, about.st_size, about.st_mtime_ns)
    return found


def _files(folder: Path) -> list[Path]:
    """Those that are whole."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(PART))
