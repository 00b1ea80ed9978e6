"""The native engine: whole test sets through a generated top at the speed of compiled C++, one process a core.

The images are cut into chunks, each a run of its own from reset, so that no figure depends on the machine. Stimulus,
stream checker and the law of tlast are those of `simulate_axis`; what is driven is in native.cpp.
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scaflow.model import caches, processes
from scaflow.model.environment import environment
from scaflow.model.threads import processors
from scaflow.sim.build import BRIEF, MOMENT, NATIVE, Engine, build, sources_of
from scaflow.sim.rtl import SimulationError, last_words

CHUNK = 250  # frames from one reset to the next
FEW = ((25, MOMENT), (250, BRIEF))  # frames that are through before a compiler has made the simulation faster


@dataclass(frozen=True)
class NativeRun:
    """What a design gave, frame by frame. Cycles count from the reset of the frame's chunk: the first is 0."""

    words: np.ndarray  # uint32 [N, expect], tdata of the output frames
    at: np.ndarray  # int64 [N, 4]: cycles of the first and last beat in, the first and last word out
    chunks: tuple[range, ...]  # the frames of each run from reset
    cycles: tuple[int, ...]  # of each chunk, from reset to the end
    counters: np.ndarray | None  # int64 [chunks, stages, 3]: busy, starved, stalled at the end; None: there are none
    frame_error: bool  # a frame had another length than the design expects; of events one came before its bin
    seconds: float | None  # from the first chunk's start to the last one's end; None: each ran by itself
    core_seconds: float  # of processor time, over all processes

    @property
    def rate(self) -> float | None:
        """Cycles a second."""
        return None if self.seconds is None else sum(self.cycles) / self.seconds

    @property
    def core_rate(self) -> float:
        """Cycles a second of processor time: what one core does that has nothing else to do."""
        return sum(self.cycles) / self.core_seconds


def simulate_native(
    directory: Path,
    top: str,
    frames: np.ndarray | Sequence[np.ndarray],
    *,
    axi_bytes: int,
    expect: int,
    stalls: Callable[[int], np.ndarray] | None = None,
    sources: Sequence[Path] | None = None,
    chunk: int = CHUNK,
    first: int = 0,
    whole: int | None = None,
    engine: Engine | None = None,
    workers: int | None = None,
    seed: int = 0,
    patience: int = 1_000_000,
    progress: Callable[[int], None] = lambda done: None,
) -> NativeRun:
    """Run a generated design with AXI4-Stream ends on frames, `directory/top.sv` with its memories beside it.

    Args:
        frames: the bytes of each, uint8; the last beat of a frame is filled up with zeros and carries tlast.
        axi_bytes: bytes of an input beat.
        expect: words of each output frame; one output frame per input frame.
        stalls: the pattern of a chunk by its number, see scaflow.hw.stalls; None runs freely.
        first: number of the first chunk: one that is run alone, by its number, gives what it gives among others.
        whole: frames of the set that these are a part of, for which the build has to pay; None: there are no others.
        engine: what the design is compiled for; None: for so many frames.
        workers: processes at once; None: one a processor.
        seed: what registers without reset start with.
        patience: cycles without any beat before the run is given up.
        progress: called with the number of frames done, from any thread.

    Raises:
        SimulationError: hang, surplus word, misplaced tlast, or a broken stream law.
        BuildError: the design does not compile.
    """
    files = list(sources) if sources else sources_of(directory / f"{top}.sv")
    few = (brief for most, brief in FEW if (whole or len(frames)) <= most)
    executable = build(top, files, engine=engine or next(few, NATIVE))
    chunks = tuple(range(start, min(start + chunk, len(frames))) for start in range(0, len(frames), chunk))
    board = _Board(len(chunks), first, progress)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="scaflow-native-") as scratch:

        def one(number: int) -> tuple[np.ndarray, _End]:
            part = frames[chunks[number].start : chunks[number].stop]
            pattern = stalls(first + number) if stalls else np.empty(0, np.uint8)
            home = Path(scratch) / str(number)
            home.mkdir()
            arguments = _arguments(home, part, axi_bytes, pattern, expect, patience)
            start_values = ("+verilator+rand+reset+2", f"+verilator+seed+{seed + first + number + 1}")
            caches.used(executable.parent)  # the last chunk may begin hours after the build was looked up
            end = board.watch(number, [str(executable), *arguments, *start_values], directory, home / "log")
            board.tell(number, len(part))
            kind = np.dtype([("at", "<i8", 4), ("words", "<u4", expect)])
            return np.fromfile(home / "out", kind), end

        with ThreadPoolExecutor(workers or processors()) as pool:
            futures = [pool.submit(one, number) for number in range(len(chunks))]
            try:
                for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                    future.result()
                results = [future.result() for future in futures]
            except BaseException:  # a failure, or the user's interruption: no process survives it
                pool.shutdown(wait=False, cancel_futures=True)
                board.stop()
                raise
    seconds = time.monotonic() - start
    rows, ends = np.concatenate([rows for rows, _ in results]), [end for _, end in results]
    counters = np.array([end.counters for end in ends], np.int64)
    return NativeRun(
        words=rows["words"],
        at=rows["at"],
        chunks=chunks,
        cycles=tuple(end.cycles for end in ends),
        counters=counters.reshape(len(ends), -1, 3) if counters.size else None,
        frame_error=any(end.frame_error for end in ends),
        seconds=seconds,
        core_seconds=sum(end.seconds for end in ends),
    )


def joined(runs: Sequence[NativeRun]) -> NativeRun:
    """Runs of consecutive frames, wherever and whenever each was at work, as one."""
    ends = np.cumsum([len(run.words) for run in runs]).tolist()
    counters = [run.counters for run in runs if run.counters is not None]
    return NativeRun(
        words=np.concatenate([run.words for run in runs]),
        at=np.concatenate([run.at for run in runs]),
        chunks=tuple(
            range(end - len(run.words) + chunk.start, end - len(run.words) + chunk.stop)
            for run, end in zip(runs, ends, strict=True)
            for chunk in run.chunks
        ),
        cycles=tuple(cycles for run in runs for cycles in run.cycles),
        counters=np.concatenate(counters) if counters else None,
        frame_error=any(run.frame_error for run in runs),
        seconds=None,
        core_seconds=sum(run.core_seconds for run in runs),
    )


@dataclass(frozen=True)
class _End:
    """The last line of a chunk's simulation."""

    cycles: int
    frame_error: bool
    seconds: float  # of processor time
    counters: tuple[int, ...]


class _Board:
    """The processes at work, and how many frames are done over all of them."""

    def __init__(self, chunks: int, first: int, progress: Callable[[int], None]) -> None:
        self._done, self._first, self._progress = [0] * chunks, first, progress
        self._running: set[subprocess.Popen] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def watch(self, number: int, command: list[str], directory: Path, log: Path) -> _End:
        """Run a chunk to its end, passing on how far it is.

        Raises:
            SimulationError: with the simulator's last words.
        """
        end = None
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "env": environment()}
        with log.open("w") as errors, processes.started(command, cwd=directory, stderr=errors, **pipes) as process:
            self._begun(process)
            for line in process.stdout or ():
                word, *values = line.split()
                if word == "done":
                    self.tell(number, int(values[0]))
                elif word == "end":
                    end = _End(int(values[0]), values[1] != "0", float(values[2]), tuple(map(int, values[3:])))
                else:  # the stream checker speaks on stdout
                    errors.write(line)
        with self._lock:
            self._running.discard(process)
        if process.returncode or end is None:
            raise SimulationError(f"{Path(command[0]).name}, chunk {self._first + number}: {last_words(log)}")
        return end

    def _begun(self, process: subprocess.Popen[str]) -> None:
        with self._lock:
            if self._stopped:
                raise SimulationError("stopped before it began")
            self._running.add(process)

    def tell(self, number: int, done: int) -> None:
        """Chunk `number` has done so many frames."""
        with self._lock:
            self._done[number] = done
            self._progress(sum(self._done))

    def stop(self) -> None:
        """Kill what runs; nothing starts after it."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.kill()


def _arguments(
    home: Path,
    frames: np.ndarray | Sequence[np.ndarray],
    axi_bytes: int,
    pattern: np.ndarray,
    expect: int,
    patience: int,
) -> list[str]:
    """Write what native.cpp reads; returns its arguments."""
    lengths = [-(-len(frame) // axi_bytes) for frame in frames]
    padded = np.zeros((sum(lengths), axi_bytes), np.uint8)
    ends = np.cumsum(lengths)
    for frame, end, length in zip(frames, ends, lengths, strict=True):
        padded[end - length : end].reshape(-1)[: len(frame)] = frame
    padded.tofile(home / "in")
    np.array(lengths, np.uint32).tofile(home / "lengths")
    pattern.astype(np.uint8).tofile(home / "stalls")
    files = [str(home / name) for name in ("in", "lengths", "stalls", "out")]
    return [*files, *map(str, (axi_bytes, expect, patience))]
