"""Times of synapse steps, from either scheduler to the membranes' update: X enters the scheduler's output register, L
leaves it."""

from __future__ import annotations

from scaflow.hw.timing import events, windows
from scaflow.hw.timing.array import enabled, formed
from scaflow.hw.timing.records import CREDITS, NEVER, UPDATE, count, count_all, jit


@jit
def schedule(stage, mem, walks):
    """Fold by fold: a result enters against a credit, in a first layer against a place in the repeater."""
    moved = False
    while True:
        packet = stage.sums // stage.folds
        if stage.issued == stage.results + CREDITS and not stage.direct:
            break
        if packet == stage.packets + 2 and stage.direct:
            break
        if stage.event and stage.folds == 1:
            if not events.once(stage, mem, walks, _granted(stage, mem)):
                break
        else:
            start = stage.left_at
            if stage.fold == 0:
                start = events.begin(stage, mem, walks) if stage.event else windows.begin(stage, mem)
                if start == NEVER:
                    break
            _fold(stage, mem, start)
        if stage.direct:
            room = mem[stage.freed + ((packet - 2) & stage.freed_mask)] + 1 if packet > 1 else 0
            mem[stage.accepted + (stage.sums & stage.accepted_mask)] = formed(stage, mem, stage.queue_at, room)
            stage.sums += 1
        else:
            _issue(stage, mem, stage.left_at + stage.array)
        stage.fold += 1
        if stage.fold == stage.folds * (1 if stage.event else stage.time_in):
            stage.fold = 0
            if stage.event:
                events.leave(stage, mem)
            else:
                windows.leave(stage, mem)
        moved = True
    return moved


@jit
def _granted(stage, mem):
    """The cycle from which there is a credit for the next result, which must be known."""
    if stage.direct or stage.issued < CREDITS:
        return NEVER
    return mem[stage.left + ((stage.issued - CREDITS) & stage.left_mask)] + 1


@jit
def _fold(stage, mem, start):
    """The steps of a fold, from X of the first to L of the last."""
    steps = stage.positions * stage.steps
    if not stage.direct:
        _walk(stage, mem, start, steps)
    elif stage.stalls_done == stage.stalls:
        _flow(stage, start, steps)
    else:
        _stumble(stage, mem, start, steps)


@jit
def _walk(stage, mem, start, steps):
    """Spikes: a step a cycle, but the last waits for its credit."""
    end = start + steps - 1
    if stage.positions > 2:
        stage.x3, stage.x2 = end - 2 * stage.steps, end - stage.steps
    elif stage.positions == 2:
        stage.x3, stage.x2 = stage.x1, end - stage.steps
    else:
        stage.x3, stage.x2 = stage.x2, stage.x1
    stage.x1 = end
    stage.left_at = max(end + 1, _granted(stage, mem))
    if not count_all(stage, start, steps, stage.left_at):
        for seen in range(start + 1, end + 1):
            count(stage, seen, seen)
        count(stage, end + 1, stage.left_at)


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


@jit
def _issue(stage, mem, at):
    """A current enters the membranes' update."""
    mem[stage.ready + (stage.issued & stage.ready_mask)] = at + UPDATE
    stage.issued += 1


@jit
def repeat(stage, mem):
    """stream_repeat: each packet of currents time_out times; a repetition needs a credit, the first its current too."""
    moved = False
    while stage.issued - stage.results < CREDITS:
        at = stage.repeat_at + 1
        if stage.repetition < stage.folds:
            current = stage.packets * stage.folds + stage.repetition
            if current >= stage.sums:
                break
            at = max(at, mem[stage.accepted + (current & stage.accepted_mask)] + 1)
        if stage.issued >= CREDITS:
            at = max(at, mem[stage.left + ((stage.issued - CREDITS) & stage.left_mask)] + 1)
        stage.repeat_at = at
        _issue(stage, mem, at)
        stage.repetition += 1
        if stage.repetition == stage.folds * stage.time_out:
            mem[stage.freed + (stage.packets & stage.freed_mask)] = at
            stage.packets += 1
            stage.repetition = 0
        moved = True
    return moved
