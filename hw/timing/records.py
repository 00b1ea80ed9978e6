"""The records that the exact clock's compiled functions share: one a stage, one a pool, one for the ends of the chain.

All fields are int64: what is given, the places of rings and tables in one array `mem`, counts, and times.
"""

from __future__ import annotations

import numba
import numpy as np

NEVER = -(1 << 60)  # a time before all others
CREDITS = 16  # of lif_pe
SHALLOW, HEAD = 64, 4  # of stream_fifo: beats of the deepest queue without a head, and the head of a deeper one
AHEAD = 16  # windows queued in event_window
STALLS = 64  # ring of standstills ahead in an array: more than twice its longest pipeline
WINDOW_VALID = 3  # cycles after reset until window_buffer's geometry stands
UPDATE = 5  # cycles from a current to its result at the end of its queue: lif_update and stream_fifo

_STAGE = (
    "first", "readout", "direct", "event",  # its place, and which variants it has
    "height", "width", "stride", "padding", "kernel_h", "kernel_w", "out_h", "out_w", "words", "time_in", "time_out",
    "folds", "steps",  # steps of a beat of window_buffer; an event scheduler's beats are steps
    "depth",  # of the ring: words, or rows where events are scheduled
    "array", "classes", "fifo", "pool", "pools",  # cycles from a step to its sum; pools: the first, and how many
    "banks", "lead", "last", "merge", "walks",  # see events.py
    "until",  # the cycle in which the counters are read
)  # fmt: skip
RINGS = (
    "wrote", "rows", "returned", "pushed", "popped", "accepted", "freed", "stall_from", "stall_to",
    "queue", "loads", "replayed", "ahead", "entered", "moved", "stepped", "ended", "fires",
)  # fmt: skip
_STAGE_COUNTS = (
    "written",  # words taken in
    "room_row", "room_line", "room_at",  # the row of windows that bounds the ring, its first word or row, since when
    "rows_done", "column", "fold", "positions",  # the window being scheduled: its next fold, and its beats a fold
    "windows", "issued",  # windows done, results of them
    "sums", "packets", "repetition",  # of a first layer: currents formed, packets of them repeated, place in the next
    "stalls", "stalls_done", "stall_all", "stall_past",  # standstills of the array, and their cycles
    "part", "pushes",  # parts in the pack, words in the FIFO
    "busy", "stalled",  # synapse steps, and cycles in which one waits
    "scan_row", "scan_step", "scan_t", "queued", "loaded",  # event_window; windows into and out of its queue
)  # fmt: skip
_STAGE_TIMES = (
    "wrote_at",  # W of the last word
    "walk_at", "beat_at", "left_at",  # G of the window's first beat, B of the last beat known, L of the last step
    "x1", "x2", "x3",  # X of the last steps of the last three beats
    "queue_at", "queue_before",  # a first layer's last two steps into the array
    "repeat_at", "result_at", "word_at", "push_at", "fetch_at",  # last repetition, R, the pack's last word, P; `queued`
    "look_at", "issue_at", "fire_at", "left_before",  # see events.py
)  # fmt: skip
_POOL, _POOL_TIMES = ("ends", "beats", "place"), ("beat_at", "c", "d1", "d2")  # see `words.pool`
_ENDS = (
    "axi", "ratio_in", "ratio_out", "units", "keep", "refuses",  # axis_in; the sink refuses its first beat once
    "beats", "unit", "part",  # input beats accepted, and axis_in's place
    "given", "drained",  # output beats taken, now and in all
)  # fmt: skip
_ENDS_TIMES = ("beat_at", "unit_at", "pixel_at", "given_at", "image_at")  # the last of each


def _record(*names: str) -> np.dtype:
    return np.dtype([(name, np.int64) for name in names])


STAGE = _record(*_STAGE, *RINGS, *(f"{ring}_mask" for ring in RINGS), *_STAGE_COUNTS, *_STAGE_TIMES)
POOL = _record(*_POOL, *_POOL_TIMES)
ENDS = _record(*_ENDS, *_ENDS_TIMES)
TIMES = frozenset((*_STAGE_TIMES, *_POOL_TIMES, *_ENDS_TIMES))  # begin as NEVER

# What calls them all is cached: kernel.advance. None of them allocates: without numba's runtime the arrays they pass on
# are not counted, by atomic instructions that take five times as long as the work itself.
jit = numba.njit(nogil=True, _nrt=False)


@jit
def count(stage, seen, left):
    """A step is seen at the scheduler's output from `seen` on and leaves it at `left`."""
    if left < stage.until:
        stage.busy += 1
        stage.stalled += left - seen
    elif seen < stage.until:
        stage.stalled += stage.until - seen


@jit
def count_all(stage, start, steps, left):
    """Steps from X of the first to L of the last; each is seen when the one before has left. True if all count."""
    if left >= stage.until:
        return False
    stage.busy += steps
    stage.stalled += left - start - steps
    return True
