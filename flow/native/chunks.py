"""A test set through a design, chunk by chunk: in processes of this machine, or each chunk a job of an engine.

As jobs, the design travels as its texts, and is built where it runs, once a machine: what one compiler links need not
start beside another one's libraries. What a chunk gave is a file, kept until the design is through, so that no chunk
runs again that has run.
"""

from __future__ import annotations

import hashlib
import platform
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from scaflow.flow import rungs
from scaflow.flow.jobs.job import Engine, Job, work_off
from scaflow.flow.stages import source_digest
from scaflow.hw.emit import TOP, beat_bytes
from scaflow.hw.stalls import stall_pattern
from scaflow.model.files import kept_json, read_json, write_json
from scaflow.sim.native import NativeRun, joined, simulate_native
from scaflow.sim.rtl import SimulationError

Frames = np.ndarray | Sequence[np.ndarray]
FILE = "chunk.json"
KEYS = ("key", "words", "at", "cycles", "counters", "frame_error", "core_seconds")
ROOMS = ("sim", "hw/rtl", "hw/stalls.py", "flow/rungs.py", "flow/native/chunks.py")  # what decides a chunk


def pattern_of(longest: int | None) -> Callable[[int], np.ndarray] | None:
    """The pauses at both ends, by a chunk's number; None: it flows."""
    return None if longest is None else lambda number: stall_pattern(rungs.STALLS, number, longest)


def drive(
    rtl: Path,
    frames: Frames,
    expect: int,
    longest: int | None,
    chunk: int,
    *,
    first: int = 0,
    whole: int | None = None,
    workers: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> NativeRun:
    """Run frames, uint8 the bytes of each, through an emitted top; the arguments are those of `simulate_native`.

    Args:
        longest: cycles of the longest standstill at an end; None: flowing.

    Raises:
        SimulationError: it breaks off.
        ValueError: the design cannot be built here.
    """
    return simulate_native(
        rtl,
        TOP,
        frames,
        axi_bytes=beat_bytes(rtl),
        expect=expect,
        stalls=pattern_of(longest),
        chunk=chunk,
        first=first,
        whole=whole,
        workers=workers,
        patience=50_000_000,  # longer than any pause of a pattern
        progress=progress,
    )


def work_through(
    engine: Engine,
    folder: Path,
    title: str,
    rtl: Path,
    frames: Frames,
    expect: int,
    longest: int | None,
    chunk: int,
    progress: Callable[[int], None],
    say: Callable[[str], None],
) -> NativeRun:
    """The same as `drive`, every chunk a job; those that `folder` holds the results of are not run.

    Args:
        progress: told how many frames are through.

    Raises:
        ValueError: a chunk breaks off, or a machine cannot build the design.
    """
    texts = partial(_texts, rtl.resolve())
    decisive = [source_digest(ROOMS), repr((expect, longest)), *(f"{name} {_digest(t)}" for name, t in texts().items())]
    starts = range(0, len(frames), chunk)
    jobs: dict[Job, int] = {}
    through = 0
    for number, start in enumerate(starts):
        part = frames[start : start + chunk]
        frame_digests = [_digest(frame.tobytes()) for frame in part]
        key = _digest("\n".join([*decisive, str(number), *frame_digests]).encode())
        found = kept_json(folder / str(number) / FILE, KEYS)
        if found is not None and found["key"] == key:
            through += len(part)
            continue
        arguments = (str(rtl), number, len(frames), key, part, expect, longest)
        jobs[Job(f"{title}, chunk {number}", _work, arguments, folder, str(number), data=texts)] = len(part)
    if kept := len(starts) - len(jobs):
        say(f"{title}: {kept} of {len(starts)} chunks as they ran before")
    progress(through)

    def ended(job: Job) -> None:
        nonlocal through
        through += jobs[job]
        progress(through)

    work_off(list(jobs), engine, ended)
    return joined([_read(folder / str(number) / FILE) for number in range(len(starts))])


def _work(
    base: Path,
    name: str,
    number: int,
    whole: int,
    key: str,
    frames: Frames,
    expect: int,
    longest: int | None,
    texts: dict[str, bytes],
) -> None:
    """One chunk, in base/<number>/.

    Args:
        name: of the design's folder where it comes from.
        whole: frames of all chunks.
    """
    with tempfile.TemporaryDirectory(prefix="rtl-", dir=base) as scratch:
        for file, content in texts.items():
            (Path(scratch) / file).write_bytes(content)
        try:
            run = drive(Path(scratch), frames, expect, longest, len(frames), first=number, whole=whole, workers=1)
        except SimulationError as error:
            raise ValueError(f"{name}: {error}") from None
        except ValueError as error:
            raise ValueError(f"{platform.node()}: {error}") from None
    found = {
        "key": key,
        "words": run.words.tolist(),
        "at": run.at.tolist(),
        "cycles": run.cycles,
        "counters": None if run.counters is None else run.counters.tolist(),
        "frame_error": run.frame_error,
        "core_seconds": run.core_seconds,
    }
    write_json(base / str(number) / FILE, found)


def _read(path: Path) -> NativeRun:
    found = read_json(path, "remove the file and run this again", KEYS)
    words = np.array(found["words"], np.uint32)
    return NativeRun(
        words=words,
        at=np.array(found["at"], np.int64),
        chunks=(range(len(words)),),
        cycles=tuple(found["cycles"]),
        counters=None if found["counters"] is None else np.array(found["counters"], np.int64),
        frame_error=found["frame_error"],
        seconds=None,
        core_seconds=found["core_seconds"],
    )


def _texts(rtl: Path) -> dict[str, bytes]:
    """The emitted top with its memories and its manifest, by name."""
    return {path.name: path.read_bytes() for path in sorted(rtl.iterdir()) if path.suffix in (".sv", ".mem", ".json")}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
