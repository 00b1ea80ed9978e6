"""Times of the multiply-accumulate array, which has one enable for all its registers: it stands still from the cycle in
which a sum is seen to the one in which it is taken.

`array` cycles lie between a step and its sum, so no more sums can be on their way, or seen, when a step enters.
"""

from __future__ import annotations

from scaflow.hw.timing.lanes import Array, Record, Times, get, let, now, put, some, where
from scaflow.hw.timing.records import jit


@jit
def flows(stage: Record, at: Times) -> bool:
    """No standstill is known that ends behind cycle `at`."""
    return not some(now(stage.still_at) > at)


@jit
def enabled(stage: Record, mem: Array, at: Times) -> Times:
    """The first cycle from `at` on in which the array takes a step."""
    if flows(stage, at):
        return at
    for number in range(stage.sums - stage.array, stage.sums):
        taken = get(mem, stage.taken + (number & stage.taken_mask))
        at = where(at >= get(mem, stage.formed + (number & stage.formed_mask)), max(at, taken), at)
    return at


@jit
def formed(stage: Record, mem: Array, at: Times, room: Times) -> Times:
    """The array took a window's last step: the cycle in which its sum is taken, where there is room from `room` on."""
    seen = at + stage.array
    if not flows(stage, at):
        for number in range(stage.sums - stage.array, stage.sums):  # standstills between step and sum
            before = get(mem, stage.formed + (number & stage.formed_mask))
            seen += where(at < before, get(mem, stage.taken + (number & stage.taken_mask)) - before, 0)
    taken = max(seen, room)
    put(mem, stage.formed + (stage.sums & stage.formed_mask), seen)
    put(mem, stage.taken + (stage.sums & stage.taken_mask), taken)
    let(stage.still_at, where(taken > seen, taken, now(stage.still_at)))
    stage.sums += 1
    return taken
