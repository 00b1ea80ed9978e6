"""Times of a list stage's windows, in window_buffer and synapse_list.

C window complete   G, B, X, L  a beat enters the buffer's output register, the scheduler, its output register, and
leaves it
"""

from __future__ import annotations

from scaflow.hw.timing.records import NEVER, jit


@jit
def _window(stage, mem):
    """The next window: (kernel positions inside, cycle from which it is complete, -1 while not known)."""
    image, row = divmod(stage.rows_done, stage.out_h)
    top = row * stage.stride - stage.padding
    left = stage.column * stage.stride - stage.padding
    bottom = min(top + stage.kernel_h, stage.height)
    right = min(left + stage.kernel_w, stage.width)
    need = image * stage.words + ((bottom - 1) * stage.width + right) * stage.time_in
    if need > stage.written:
        return 0, -1
    positions = (bottom - max(top, 0)) * (right - max(left, 0))
    return positions, mem[stage.wrote + ((need - 1) & stage.wrote_mask)] + 1


@jit
def _enter(stage, complete):
    """A window's first beat: sets its G and B, returns X of its first step.

    `beat_at` is B of the beat before; x1 X of its last step. Every further beat of the window has G = B of the beat
    before and B = X of the last step of the beat before.
    """
    stage.walk_at = max(complete, stage.beat_at)
    stage.beat_at = max(stage.walk_at + 1, stage.x1)
    return max(stage.beat_at + 1, stage.left_at)


@jit
def leave(stage, mem):
    """The window's last beat has entered: the geometry moves on; behind the last window of a row its room is freed."""
    beats = stage.positions * stage.time_in * stage.folds
    left_at = stage.x3 if beats > 2 else stage.beat_at if beats == 2 else stage.walk_at
    if beats > 1:
        stage.beat_at = stage.x2
    stage.column += 1
    if stage.column == stage.out_w:
        mem[stage.rows + (stage.rows_done & stage.rows_mask)] = left_at
        stage.rows_done += 1
        stage.column = 0


@jit
def begin(stage, mem):
    """X of a window's first step, its beats a fold in `positions`; NEVER while it is not known to be complete."""
    positions, complete = _window(stage, mem)
    if complete < 0:
        return NEVER
    stage.positions = positions
    return _enter(stage, complete)
