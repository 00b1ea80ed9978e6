"""Times of a list stage's windows, in window_buffer and synapse_list.

C window complete   G, B, X, L  a beat enters the buffer's output register, the scheduler, its output register, and
leaves it
"""

from __future__ import annotations

from scaflow.hw.timing.lanes import Array, Flag, Record, Times, get, let, now, put
from scaflow.hw.timing.records import jit


@jit
def _newest(stage: Record) -> Times:
    """Words up to the newest one that the next window needs; its kernel positions inside the map go to `positions`."""
    image, row = divmod(stage.rows_done, stage.out_h)
    top = row * stage.stride - stage.padding
    left = stage.column * stage.stride - stage.padding
    bottom = min(top + stage.kernel_h, stage.height)
    right = min(left + stage.kernel_w, stage.width)
    stage.positions = (bottom - max(top, 0)) * (right - max(left, 0))
    return image * stage.words + ((bottom - 1) * stage.width + right) * stage.time_in


@jit
def complete(stage: Record) -> Flag:
    """The next window's newest word is known."""
    return _newest(stage) <= stage.written


@jit
def begin(stage: Record, mem: Array) -> Times:
    """The next window's first beat: sets its G and B, and `beats`; returns X of its first step.

    `beat_at` is B of the beat before; x1 X of its last step. Every further beat of the window has G = B of the beat
    before and B = X of the last step of the beat before.
    """
    newest = get(mem, stage.wrote + ((_newest(stage) - 1) & stage.wrote_mask))
    walk = max(newest + 1, now(stage.beat_at))
    beat = max(walk + 1, now(stage.x1))
    let(stage.walk_at, walk)
    let(stage.beat_at, beat)
    let(stage.beats, stage.positions)
    return max(beat + 1, now(stage.left_at))


@jit
def leave(stage: Record, mem: Array) -> None:
    """The window's last beat has entered: the geometry moves on; behind the last window of a row its room is freed."""
    beats = stage.positions * stage.time_in * stage.folds
    left_at = now(stage.x3) if beats > 2 else now(stage.beat_at) if beats == 2 else now(stage.walk_at)
    if beats > 1:
        let(stage.beat_at, now(stage.x2))
    stage.column += 1
    if stage.column == stage.out_w:
        put(mem, stage.rows + (stage.rows_done & stage.rows_mask), left_at)
        stage.rows_done += 1
        stage.column = 0
