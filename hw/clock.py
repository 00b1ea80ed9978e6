"""The exact clock: the cycle in which each beat of a design passes its ends, image by image, without simulating.

It agrees with the RTL in every beat, with finite queues, back-pressure and stalls at both ends; how is told in
hw/timing/kernel.py. Cycles count from reset: cycle 0 is the first whose closing edge finds rst_n high.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from scaflow.hw.design import Design
from scaflow.hw.timing import records
from scaflow.hw.timing.events import bank_walks
from scaflow.hw.timing.kernel import advance
from scaflow.hw.timing.layout import layout, standstill
from scaflow.quant.graph import execute

BATCH = 64  # images timed between two calls of `progress`


@dataclass(frozen=True)
class StageCycles:
    """What the counters at a scheduler's output hold."""

    name: str
    busy: int  # a synapse step is taken
    stalled: int  # one waits

    def starved(self, total: int) -> int:
        """Of `total` cycles since reset, those without a step to take."""
        return total - self.busy - self.stalled


@dataclass(frozen=True)
class Clock:
    """Cycles since reset in which beats are accepted."""

    in_at: np.ndarray  # int64 [N, input beats of an image]
    out_at: np.ndarray  # int64 [N, output beats of an image]
    stages: tuple[StageCycles, ...]

    @property
    def latency(self) -> np.ndarray:
        """int64 [N]: cycles from an image's first beat in to its last beat out, both included."""
        return self.out_at[:, -1] - self.in_at[:, 0] + 1

    @property
    def interval(self) -> np.ndarray:
        """int64 [N - 1]: cycles from the last beat out of an image to that of the next."""
        return np.diff(self.out_at[:, -1])


def predict(
    design: Design,
    images: np.ndarray,
    source_stalls: np.ndarray | None = None,
    sink_stalls: np.ndarray | None = None,
    progress: Callable[[int], None] = lambda done: None,
    until: int | None = None,
) -> Clock:
    """Time a whole design, from AXI4-Stream to AXI4-Stream.

    Args:
        images: uint8 [N, C, H, W], one after the other.
        source_stalls, sink_stalls: bool [cycles since reset, repeating]: the source may begin to offer a beat (which
            then stays), the sink takes one. None: always. Where either is given, the sink also refuses until it has
            seen valid once.
        progress: called with the number of images timed so far.
        until: the cycle since reset in which the counters are read; None: when all stages have come to rest, which
            can be after the last beat out (a pool drops rows that are computed all the same).

    Raises:
        ValueError: a pattern that never opens; or the design stands still for good: says what waits for what.
    """
    return Timer(design, None, source_stalls, sink_stalls, until).run(images, progress)


def stage_cycles(
    design: Design,
    name: str,
    images: np.ndarray,
    source_stalls: np.ndarray | None = None,
    sink_stalls: np.ndarray | None = None,
) -> Clock:
    """Time one stage alone between plain streams, as `hw.emit.emit_stage` writes it; otherwise as `predict`.

    Raises:
        ValueError: as `predict`, or the design has no such stage.
    """
    if name not in [stage.name for stage in design.stages]:
        raise ValueError(f"stage {name!r}: the design has {', '.join(stage.name for stage in design.stages)}")
    return Timer(design, name, source_stalls, sink_stalls).run(images)


class Timer:
    """A chain that images are fed to; every call goes on where the last one ended."""

    def __init__(
        self,
        design: Design,
        stage: str | None = None,
        source_stalls: np.ndarray | None = None,
        sink_stalls: np.ndarray | None = None,
        until: int | None = None,
    ) -> None:
        """The whole design, or one stage between plain streams; otherwise as `predict`."""
        self._graph = design.graph
        self._chain = [s for s in design.stages if stage in (None, s.name)]
        self._state = layout(self._chain, None if stage else design.instances()[0].cfg)
        self._state.stages["until"] = -records.NEVER if until is None else until
        self._state.ends["refuses"] = source_stalls is not None or sink_stalls is not None
        self._source, self._sink = _gaps(source_stalls, "source"), _gaps(sink_stalls, "sink")

    def run(
        self,
        images: np.ndarray,
        progress: Callable[[int], None] = lambda done: None,
        spikes: Mapping[str, np.ndarray] | None = None,
    ) -> Clock:
        """Feed images and return their times.

        Args:
            images: uint8 [N, C, H, W].
            progress: called with the number of images timed.
            spikes: the trace of `quant.graph.execute` on the images, where it is at hand; only event stages need it.

        Raises:
            ValueError: as `predict`.
        """
        state = self._state
        in_at = np.empty((len(images), state.in_beats), np.int64)
        out_at = np.empty((len(images), state.out_beats), np.int64)
        for start in range(0, len(images), BATCH):
            part = slice(start, min(start + BATCH, len(images)))
            given = None if spikes is None else {name: trace[part] for name, trace in spikes.items()}
            walks = self._walks(images[part], given)
            ends = state.ends[0]
            ends["beats"] = ends["given"] = 0
            times = in_at[part].reshape(-1), out_at[part].reshape(-1)
            advance(state.stages, state.pools, state.memory, ends, walks, self._source, self._sink, *times)
            if ends["given"] < out_at[part].size:
                raise ValueError("\n".join(["the design stands still for good:", *standstill(self._chain, state)]))
            progress(part.stop)
        counts = zip(self._chain, state.stages, strict=True)
        return Clock(in_at, out_at, tuple(StageCycles(s.name, int(r["busy"]), int(r["stalled"])) for s, r in counts))

    def _walks(self, images: np.ndarray, spikes: Mapping[str, np.ndarray] | None) -> np.ndarray:
        """The walks of the event stages' banks, one behind the other; the records are told where each has its own."""
        parts, place = [np.empty(0, np.int16)], 0
        for stage, record in zip(self._chain, self._state.stages, strict=True):
            if stage.scheduler != "event":
                continue
            names = [node.name for node in self._graph.nodes]
            node = self._graph.nodes[names.index(stage.name)]
            if node is self._graph.nodes[0]:
                read = images[:, None]
            else:
                spikes = spikes or execute(self._graph, images, trace=True)[1]
                read = spikes[names[names.index(stage.name) - 1]]
            parts.append(bank_walks(read, node, stage.banks, stage.simd).ravel())
            record["walks"] = place - 4 * record["banks"] * record["loaded"]  # windows are numbered from reset on
            place += len(parts[-1])
        return np.concatenate(parts)


def _gaps(pattern: np.ndarray | None, end: str) -> np.ndarray:
    """For each cycle of a pattern, cycles until it is next open."""
    if pattern is None:
        return np.empty(0, np.int64)
    is_open = np.asarray(pattern, bool)
    if not is_open.any():
        raise ValueError(f"{end}_stalls: no cycle of {len(is_open)} is open; open one")
    opened = np.flatnonzero(is_open)
    cycles = np.arange(len(is_open))
    following = np.append(opened, opened[0] + len(is_open))[np.searchsorted(opened, cycles)]
    return (following - cycles).astype(np.int64)
