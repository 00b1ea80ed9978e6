"""The exact clock: the cycle in which each beat of a design passes its ends, image by image, without simulating.

It agrees with the RTL in every beat, with finite queues, back-pressure and stalls at both ends; how is told in
hw/clock_kernel.py. Cycles count from reset: cycle 0 is the first whose closing edge finds rst_n high.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scaflow.hw import clock_kernel as kernel
from scaflow.hw.clock_layout import layout, standstill
from scaflow.hw.design import Design

BATCH = 64  # images timed between two calls of `progress`


@dataclass(frozen=True)
class StageCycles:
    """What the counters at a scheduler's output hold when all images have passed."""

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
    progress: Callable[[int], None] | None = None,
) -> Clock:
    """Time a whole design, from AXI4-Stream to AXI4-Stream.

    Args:
        images: uint8 [N, C, H, W], one after the other.
        source_stalls, sink_stalls: bool [cycles since reset, repeating]: the source may begin to offer a beat (which
            then stays), the sink takes one. None: always. Where either is given, the sink also refuses until it has
            seen valid once.
        progress: called with the number of images timed so far.

    Raises:
        ValueError: a pattern that never opens; or the design stands still for good: says what waits for what.
    """
    return Timer(design, None, source_stalls, sink_stalls).run(images, progress)


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
    ) -> None:
        """The whole design, or one stage between plain streams."""
        self._chain = [s for s in design.stages if stage in (None, s.name)]
        self._state = layout(self._chain, None if stage else design.instances()[0].cfg)
        self._state.ends["refuses"] = source_stalls is not None or sink_stalls is not None
        self._source, self._sink = _gaps(source_stalls, "source"), _gaps(sink_stalls, "sink")

    def run(self, images: np.ndarray, progress: Callable[[int], None] | None = None) -> Clock:
        """Feed images, uint8 [N, C, H, W], and return their times.

        Raises:
            ValueError: as `predict`.
        """
        state = self._state
        in_at = np.empty((len(images), state.in_beats), np.int64)
        out_at = np.empty((len(images), state.out_beats), np.int64)
        for start in range(0, len(images), BATCH):
            part = slice(start, min(start + BATCH, len(images)))
            state.ends["beats"] = state.ends["given"] = 0
            kernel.advance(
                state.stages, state.pools, state.memory, state.ends[0], self._source, self._sink,
                in_at[part].reshape(-1), out_at[part].reshape(-1),
            )  # fmt: skip
            if state.ends["given"] < out_at[part].size:
                raise ValueError("\n".join(["the design stands still for good:", *standstill(self._chain, state)]))
            if progress:
                progress(part.stop)
        counts = zip(self._chain, state.stages, strict=True)
        return Clock(in_at, out_at, tuple(StageCycles(s.name, int(r["busy"]), int(r["stalled"])) for s, r in counts))


def _gaps(pattern: np.ndarray | None, end: str) -> np.ndarray:
    """For each cycle of a pattern, cycles until it is next open."""
    if pattern is None:
        return np.empty(0, np.int64)
    is_open = np.asarray(pattern, bool)
    if not is_open.any():
        raise ValueError(f"{end}_stalls: no cycle of {len(is_open)} is open; open one")
    gaps, gap = np.empty(len(is_open), np.int64), 0
    for cycle in reversed(range(2 * len(is_open))):
        gap = 0 if is_open[cycle % len(is_open)] else gap + 1
        gaps[cycle % len(is_open)] = gap
    return gaps
