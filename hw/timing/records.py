"""The records that the exact clock's compiled functions share: one a stage, one a pool, one for the ends of the chain.

What is given, the places of rings in one array `mem`, and counts are int64, the same in all lanes. Times, and what else
depends on what a lane is fed, are int32 a lane; so is `mem`. Times count from an origin that moves on with the images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numba
import numpy as np

from scaflow.hw.compiled import Function
from scaflow.hw.timing.lanes import CACHE_LINE, Record, Times, let, now, where

NEVER = -(1 << 30)  # a time before all others; its negative is one behind them
CREDITS = 16  # of lif_neuron, and as many as a join needs
SHALLOW, HEAD = 64, 4  # of stream_fifo: beats of the deepest queue without a head, and the head of a deeper one
AHEAD = 16  # windows queued in event_window
WORDS = 4  # of a bank's walk that matter, see walks.py
PLACES, WINDOWS = 16, 4  # words and windows on the way from shared readers through the banks, in synapse_event
WINDOW_VALID = 3  # cycles after reset until window_buffer's geometry stands
QUEUED = 1  # cycles through a queue that is empty: those from a sum to its end in current_pe
UPDATE = 4 + QUEUED  # from a current to its result: lif_update or comparisons, and the queue
LAYER, READOUT, NEURON, JOIN, FORK, BRANCH = range(6)  # what a record stands for; a branch is a queue behind a fork

_STAGE = (
    "kind", "first", "direct", "event",  # what it is, its place, and which variants it has
    "above", "other", "below",  # records whose queues it reads, a join two; the one that reads its own, -1: the sink
    "branch", "branches",  # of a fork: the record of the first, and how many
    "height", "width", "stride", "stride_w", "padding", "kernel_h", "kernel_w", "out_h", "out_w", "words", "time_in",
    "time_out",
    # window_row: is there one; its steps of a row, those that take in, the first that is complete, how many from one to
    # the next, and how many are also the first of the next row
    "rowed", "row_steps", "row_takes", "row_lead", "row_every", "row_merge",
    "folds", "packs", "update", "bare", "steps",  # results to a word; cycles to one; do results go on as they are?
    # steps of a beat of window_buffer; an event scheduler's beats are steps
    "depth",  # of the ring: words, or rows where events are scheduled
    "array", "classes", "fifo", "pool", "pools",  # cycles from a step to its sum; pools: the first, and how many
    "parts",  # words of the FIFO to one of the pack: the time steps, where it holds them side by side
    "rounds", "narrow",  # cycles in which a result's sums are served; are these more than one?
    "shared", "banks", "lead", "last", "merge", "walks", "walk",  # see events.py; numbers a window in its walks
)  # fmt: skip
RINGS = (
    "wrote", "fed", "rows", "returned", "pushed", "popped", "accepted", "freed", "formed", "taken",
    "queue", "loads", "replayed", "ahead", "entered", "moved", "stepped", "ended", "walked", "walked_less",
)  # fmt: skip
_STAGE_COUNTS = (
    "fed_words", "written",  # words taken in; those in the ring, the same where window_row does not join them
    "row", "row_step", "row_t",  # window_row's next step
    "room_row", "room_line",  # the row of windows that bounds the ring, and its first word or row
    "rows_done", "column", "fold", "positions",  # the window being scheduled: its next fold, its kernel positions
    "windows", "issued",  # windows done, results of them
    "sums", "packets", "repetition",  # sums formed, packets of them repeated, place in the next
    "part", "pushes",  # parts in the pack, words in the FIFO
    "unsaid",  # words of the last pixel that have not left stream_width
    "offered",  # a fork offers its next word since `step_at`
    "scan_row", "scan_step", "scan_t", "queued", "loaded",  # event_window; windows into and out of its queue
)  # fmt: skip
_STAGE_TIMES = (
    "wrote_at",  # W of the last word
    "step_at",  # window_row's last step
    "room_at",  # since when the ring is bounded by `room_row`; in a read-out, since when the next word has room
    "walk_at", "beat_at", "left_at",  # G of the window's first beat, B of the last beat known, L of the last step
    "x1", "x2", "x3",  # X of the last steps of the last three beats
    "queue_at", "queue_before",  # a first layer's last two steps into the array
    "still_at",  # the array's last standstill ends
    "served_at",  # the last result's step from which on its sums are served; a first layer's last sum in the repeater
    "repeat_at", "result_at", "word_at", "push_at", "fetch_at",  # last repetition, R, the pack's last word, P; `queued`
    "look_at", "issue_at", "fire_at", "left_before",  # see events.py
    "until",  # the cycle in which the counters are read
)  # fmt: skip
COUNTERS = (
    "beats",  # of a fold of the window being scheduled
    "busy", "stalled",  # synapse steps, and cycles in which one waits
)  # fmt: skip
PLAIN, IMAGES, EVENTS = range(3)  # entry: a stream, axis_in, axis_events
_POOL, _POOL_TIMES = ("ends", "beats", "place"), ("beat_at", "c", "d1", "d2")  # see `results.pass_on`
_ENDS = (
    "entry", "ratio_in", "ratio_out", "units", "keep", "refuses",  # axis_in; the sink refuses its next beat once
    # axis_events: pixels of a frame, of the one that leaves; frames that leave before the event in hand counts; is it?
    "pixels", "walked", "due", "waiting",
    "events", "told",  # places in the walks: of the first event, of the first frame since reset
    "beats", "unit", "part",  # input beats accepted, and axis_in's place
    "given", "drained",  # output beats taken, now and in all
)  # fmt: skip
_ENDS_TIMES = (  # of each the last
    "reset", "beat_at", "unit_at", "pixel_at", "given_at", "image_at",
    "counted_at", "asked_at", "swapped_at", "moved_at",  # of axis_events: G, request, S, M of intake.py
)  # fmt: skip
TIMES = frozenset((*_STAGE_TIMES, *_POOL_TIMES, *_ENDS_TIMES))  # begin as NEVER


@dataclass(frozen=True)
class Kinds:
    """The records' types."""

    stage: np.dtype[Any]
    pool: np.dtype[Any]
    ends: np.dtype[Any]


@cache
def kinds(lanes: int) -> Kinds:
    def record(counts: Sequence[str], own: Sequence[str]) -> np.dtype[Any]:
        size = 8 * len(counts)
        start = size + -size % CACHE_LINE
        offsets = [*range(0, size, 8), *range(start, start + 4 * lanes * len(own), 4 * lanes)]
        formats = [np.int64] * len(counts) + [(np.int32, (lanes,))] * len(own)
        size = start + 4 * lanes * len(own)
        size += -size % CACHE_LINE
        whole: Any = {"names": [*counts, *own], "formats": formats, "offsets": offsets, "itemsize": size}
        kind: np.dtype[Any] = np.dtype(whole)
        return kind

    rings = (*RINGS, *(f"{ring}_mask" for ring in RINGS))
    return Kinds(
        record((*_STAGE, *rings, *_STAGE_COUNTS), (*_STAGE_TIMES, *COUNTERS)),
        record(_POOL, _POOL_TIMES),
        record(_ENDS, _ENDS_TIMES),
    )


# What calls them all is cached: kernel.advance. None of them allocates: without numba's runtime the arrays they pass on
# are not counted, by atomic instructions that take five times as long as the work itself.
_options: dict[str, Any] = {"nogil": True, "_nrt": False}
jit: Callable[[Function], Function] = numba.njit(**_options)


@jit
def count(stage: Record, seen: Times, left: Times) -> None:
    """A step is seen at the scheduler's output from `seen` on and leaves it at `left`."""
    count_some(stage, seen <= left, seen, left)


@jit
def count_some(stage: Record, there: Times, seen: Times, left: Times) -> None:
    """The same where there is one."""
    until = now(stage.until)
    let(stage.busy, now(stage.busy) + where(there & (left < until), 1, 0))
    let(stage.stalled, now(stage.stalled) + where(there, max(min(left, until) - seen, 0), 0))


@jit
def count_flow(stage: Record, seen: Times, steps: int) -> None:
    """Steps are seen from `seen` on, and each leaves in the cycle it is seen."""
    let(stage.busy, now(stage.busy) + max(min(now(stage.until) - seen, steps), 0))


@jit
def count_fold(stage: Record, start: Times, steps: int, left: Times) -> None:
    """A fold's steps, from X of the first to L of the last; each other one leaves in the cycle it is seen."""
    count_flow(stage, start + 1, steps - 1)
    count(stage, start + steps, left)
