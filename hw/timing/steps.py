"""Times of synapse steps, from either scheduler to the membranes' update: X enters the scheduler's output register, L
leaves it."""

from __future__ import annotations

from scaflow.hw.timing import events, windows
from scaflow.hw.timing.array import enabled, flows, formed
from scaflow.hw.timing.lanes import Array, Flag, Record, Times, get, let, most, now, put, where
from scaflow.hw.timing.records import count, count_flow, count_fold, count_some, jit
from scaflow.hw.timing.results import begins, blocked, returned, served


@jit
def schedule(stage: Record, pools: Record, mem: Array, tables: Array, walks: Array, taken: int) -> Flag:
    """Window by window, of pixels as long as the repeater has room, of spikes to the end of their results."""
    before = stage.windows + stage.pushes
    while True:
        if stage.direct:
            if stage.windows == stage.packets + 2:
                break
        elif blocked(stage, mem, taken):
            break
        if stage.fold == 0 and not (stage.queued > stage.loaded if stage.event else windows.complete(stage)):
            break
        if stage.event and stage.folds == 1:
            if stage.direct:
                events.once_direct(stage, mem, walks)
                _form(stage, mem)
            else:
                events.once(stage, mem, walks)
                at = served(stage, now(stage.left_at))
                let(stage.result_at, returned(stage, pools, mem, tables, at, now(stage.result_at)))
        else:
            start = now(stage.left_at)
            if stage.fold == 0:
                start = events.begin(stage, mem, walks) if stage.event else windows.begin(stage, mem)
            if stage.direct:
                _pixel(stage, mem, start)
            elif not _walk(stage, pools, mem, tables, start, taken):
                break
            if stage.event:
                events.leave(stage, mem)
            else:
                windows.leave(stage, mem)
        stage.windows += 1
    return stage.windows + stage.pushes > before


@jit
def _walk(stage: Record, pools: Record, mem: Array, tables: Array, start: Times, taken: int) -> Flag:
    """The folds of a window of spikes: a step a cycle, but the last waits until its result can begin. False where they
    block."""
    beats, beat = now(stage.beats), stage.steps
    steps = beats * beat
    folds = stage.folds if stage.event else stage.folds * stage.time_in
    x1, x2, x3, left, result = now(stage.x1), now(stage.x2), now(stage.x3), now(stage.left_at), now(stage.result_at)
    while stage.fold < folds and not blocked(stage, mem, taken):
        end = start + steps - 1
        x3 = where(beats > 2, end - 2 * beat, where(beats == 2, x1, x2))
        x2 = where(beats > 1, end - beat, x1)
        x1 = end
        left = max(end + 1, begins(stage, mem))
        count_fold(stage, start, steps, left)
        result = returned(stage, pools, mem, tables, served(stage, left), result)
        start = left
        stage.fold += 1
    let(stage.x1, x1)
    let(stage.x2, x2)
    let(stage.x3, x3)
    let(stage.left_at, left)
    let(stage.result_at, result)
    if stage.fold < folds:
        return False
    stage.fold = 0
    return True


@jit
def _pixel(stage: Record, mem: Array, start: Times) -> None:
    """The folds of a first layer's window."""
    for _ in range(stage.folds):
        if not stage.event and flows(stage, now(stage.queue_at) + 1):
            _flow(stage, start, stage.positions * stage.steps)
        else:
            _stumble(stage, mem, start, now(stage.beats) * stage.steps)
        start = now(stage.left_at)
        _form(stage, mem)


@jit
def _form(stage: Record, mem: Array) -> None:
    """A current is formed and enters the repeater, which holds two packets; narrow, round by round, behind a register
    that takes it when the last round of the one before has left."""
    packet, current = stage.windows, stage.sums
    room = now(stage.queue_at)
    if packet > 1:
        room = get(mem, stage.freed + ((packet - 2) & stage.freed_mask)) + 1
    if stage.narrow:
        taken = formed(stage, mem, now(stage.queue_at), now(stage.served_at))
        entered = max(taken + 1, room)
        let(stage.served_at, entered + (stage.rounds - 1))
    else:
        entered = formed(stage, mem, now(stage.queue_at), room)
    put(mem, stage.accepted + (current & stage.accepted_mask), entered)


@jit
def _flow(stage: Record, start: Times, steps: int) -> None:
    """A list's fold of steps through the queue of two, into an array that does not stand still.

    What `_stumble` comes to then: from the second step on the queue holds one, and X, L and its exit follow each other.
    """
    left = max(start, now(stage.queue_before)) + 1
    into = max(left, now(stage.queue_at)) + 1  # the first step leaves the queue, the second one enters it
    for back in range(min(stage.positions, 3) - 1, -1, -1):
        step = steps - 1 - back * stage.steps
        let(stage.x3, now(stage.x2))
        let(stage.x2, now(stage.x1))
        let(stage.x1, start if step == 0 else left if step == 1 else into + (step - 2))
    let(stage.queue_before, into + (steps - 2) if steps > 1 else now(stage.queue_at))
    let(stage.queue_at, into + (steps - 1))
    let(stage.left_at, left if steps == 1 else into + (steps - 2))
    count(stage, start + 1, left)
    if steps > 1:
        count(stage, left + 1, into)
        count_flow(stage, into + 1, steps - 2)


@jit
def _stumble(stage: Record, mem: Array, start: Times, steps: int) -> None:
    """A fold's steps through the queue of two, into an array that stands still now and then."""
    x, before, at = start, now(stage.queue_before), now(stage.queue_at)
    for step in range(1, most(steps) + 1):
        taken = steps >= step
        left = max(x, before) + 1
        into = enabled(stage, mem, max(left, at) + 1)
        before, at = where(taken, at, before), where(taken, into, at)
        if step % stage.steps == 0:
            let(stage.x3, where(taken, now(stage.x2), now(stage.x3)))
            let(stage.x2, where(taken, now(stage.x1), now(stage.x2)))
            let(stage.x1, where(taken, x, now(stage.x1)))
        count_some(stage, taken, x + 1, left)
        x = where(taken, left, x)
    let(stage.queue_before, before)
    let(stage.queue_at, at)
    let(stage.left_at, x)
