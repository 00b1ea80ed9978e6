"""When axis_events takes its events and gives its frames: the law of hw/rtl/axis_events.sv, cycle by cycle.

    event k     accepted A, counted G;  frame f  begins to leave at S;  its pixel j moves to the output at M, taken T
    A(k) = max(O(k), G(k-1))            O(k): offered;  A(0): WIDTH*HEIGHT cycles after reset at the earliest
    S    = max(request + 1, M(last pixel of the frame before) + 1)
           request: A(k) where event k lies behind the bin, G(k) where it is its recording's last
    G(k) = max(A(k), S of the last frame before it) + 1
    M(0) = max(S + 3, T + 1), T of the pixel before;  M(j) = max(M(j-1) + 1, T(j-1));  T(j) >= M(j) + 1
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scaflow.quant.golden.axis_events import WORD, AxisEvents

Open = Callable[[int, int], int]  # (beat, cycle) -> the cycle, from this one on, in which an end offers or takes it


@dataclass(frozen=True)
class Intake:
    """Cycles since the one in which an event could first be taken: of each event accepted, of each pixel taken."""

    accepted: list[int]
    taken: list[int]


def intake(cfg: AxisEvents, events: Sequence[int], source: Open | None = None, sink: Open | None = None) -> Intake:
    """The cycles of these beats, from reset.

    Args:
        source, sink: when an end offers an event, or takes a pixel; None: at once.
    """
    source = source or (lambda beat, cycle: cycle)
    sink = sink or (lambda beat, cycle: cycle)
    accepted: list[int] = []
    taken: list[int] = []
    moved, counted, swapped = -1, -1, -1  # M of the last pixel, G of the last event, S of the last frame
    end: int | None = None if cfg.from_first else cfg.bin
    closed = False  # the last event was its recording's last, and its frame has not begun to leave

    def leave(request: int) -> None:
        nonlocal moved, swapped
        swapped = max(request, moved) + 1
        step = max(swapped + 2, taken[-1] if taken else 0)  # the first pixel is read
        for _ in range(cfg.pixels):
            moved = max(step + 1, taken[-1] if taken else 0)
            step = moved  # the next one is read
            taken.append(sink(len(taken), moved + 1))

    for k, beat in enumerate(events):
        t = beat & 0xFFFFFFFF
        at = source(k, max(counted, accepted[-1] + 1 if accepted else 0))
        accepted.append(at)
        if closed:
            leave(counted)
            end, closed = None if cfg.from_first else cfg.bin, False
        if end is None:
            end = t + cfg.bin
        while not (t - end) >> (cfg.time_bits - 1) & 1:
            leave(at)
            end += cfg.bin
        counted = max(at, swapped) + 1
        closed = bool(beat >> WORD)
    if closed:
        leave(counted)
    return Intake(accepted, taken)
