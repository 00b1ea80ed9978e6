"""Times of synapse steps, from either scheduler to the membranes' update: X enters the scheduler's output register, L
leaves it."""

from __future__ import annotations

from scaflow.hw.timing import events, windows
from scaflow.hw.timing.array import enabled, formed
from scaflow.hw.timing.records import NEVER, count, count_all, jit
from scaflow.hw.timing.results import blocked, granted, returned


@jit
def schedule(stage, pools, mem, walks, taken):
    """Window by window, of pixels as long as the repeater has room, of spikes to the end of their results."""
    before = stage.windows
    while True:
        if stage.direct:
            if stage.windows == stage.packets + 2:
                break
        elif blocked(stage, taken):
            break
        if stage.event and stage.folds == 1:
            if not events.once(stage, mem, walks):
                break
            if stage.direct:
                _form(stage, mem)
            else:
                at = stage.left_at + stage.array
                stage.result_at = returned(stage, pools, mem, at, stage.result_at)
        else:
            start = stage.left_at
            if stage.fold == 0:
                start = events.begin(stage, mem, walks) if stage.event else windows.begin(stage, mem)
                if start == NEVER:
                    break
            if stage.direct:
                _pixel(stage, mem, start)
            elif not _walk(stage, pools, mem, start, taken):
                break
            if stage.event:
                events.leave(stage, mem)
            else:
                windows.leave(stage, mem)
        stage.windows += 1
    return stage.windows > before


@jit
def _walk(stage, pools, mem, start, taken):
    """The folds of a window of spikes: a step a cycle, but the last waits for its credit. False where they block."""
    positions, beat = stage.positions, stage.steps
    steps = positions * beat
    folds = stage.folds if stage.event else stage.folds * stage.time_in
    x1, x2, x3, left, result = stage.x1, stage.x2, stage.x3, stage.left_at, stage.result_at
    while stage.fold < folds and not blocked(stage, taken):
        end = start + steps - 1
        if positions > 2:
            x3, x2 = end - 2 * beat, end - beat
        elif positions == 2:
            x3, x2 = x1, end - beat
        else:
            x3, x2 = x2, x1
        x1 = end
        left = max(end + 1, granted(stage, mem))
        if not count_all(stage, start, steps, left):
            for seen in range(start + 1, end + 1):
                count(stage, seen, seen)
            count(stage, end + 1, left)
        result = returned(stage, pools, mem, left + stage.array, result)
        start = left
        stage.fold += 1
    stage.x1, stage.x2, stage.x3, stage.left_at, stage.result_at = x1, x2, x3, left, result
    if stage.fold < folds:
        return False
    stage.fold = 0
    return True


@jit
def _pixel(stage, mem, start):
    """The folds of a first layer's window."""
    steps = stage.positions * stage.steps
    for _ in range(stage.folds):
        if stage.stalls_done == stage.stalls:
            _flow(stage, start, steps)
        else:
            _stumble(stage, mem, start, steps)
        start = stage.left_at
        _form(stage, mem)


@jit
def _form(stage, mem):
    """A current is formed and enters the repeater, which holds two packets."""
    packet = stage.windows
    room = mem[stage.freed + ((packet - 2) & stage.freed_mask)] + 1 if packet > 1 else 0
    mem[stage.accepted + (stage.sums & stage.accepted_mask)] = formed(stage, mem, stage.queue_at, room)
    stage.sums += 1


@jit
def _flow(stage, start, steps):
    """A fold's steps through the queue of two, into an array that does not stand still.

    What `_stumble` comes to then: from the second step on the queue holds one, and X, L and its exit follow each other.
    """
    left = max(start, stage.queue_before) + 1
    into = max(left, stage.queue_at) + 1  # the first step leaves the queue, the second one enters it
    for back in range(min(stage.positions, 3) - 1, -1, -1):
        step = steps - 1 - back * stage.steps
        stage.x3, stage.x2 = stage.x2, stage.x1
        stage.x1 = start if step == 0 else left if step == 1 else into + step - 2
    stage.queue_before = into + steps - 2 if steps > 1 else stage.queue_at
    stage.queue_at = into + steps - 1
    stage.left_at = left if steps == 1 else into + steps - 2
    if not count_all(stage, start, steps, stage.left_at):
        count(stage, start + 1, left)
        for step in range(1, steps):
            count(stage, left + 1 if step == 1 else into + step - 1, into + step - 1)


@jit
def _stumble(stage, mem, start, steps):
    """A fold's steps through the queue of two, into an array that stands still now and then."""
    x = start
    for step in range(1, steps + 1):
        left = max(x, stage.queue_before) + 1
        into = enabled(stage, mem, max(left, stage.queue_at) + 1)
        stage.queue_before, stage.queue_at = stage.queue_at, into
        if step % stage.steps == 0:
            stage.x3, stage.x2, stage.x1 = stage.x2, stage.x1, x
        count(stage, x + 1, left)
        x = left
    stage.left_at = x
