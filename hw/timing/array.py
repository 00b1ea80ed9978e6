"""Times of the multiply-accumulate array, which has one enable for all its registers: it stands still from the cycle in
which a sum is seen to the one in which it is taken."""

from __future__ import annotations

from scaflow.hw.timing.records import STALLS, jit


@jit
def enabled(stage, mem, at):
    """The first cycle from `at` on in which the array takes a step."""
    while stage.stalls_done < stage.stalls:
        place = stage.stalls_done & (STALLS - 1)
        seen, taken = mem[stage.stall_from + place], mem[stage.stall_to + place]
        if at < seen:
            break
        stage.stall_past += taken - seen
        stage.stalls_done += 1
        at = max(at, taken)
    return at


@jit
def formed(stage, mem, at, room):
    """The array took a window's last step: the cycle in which its sum is taken, where there is room from `room` on."""
    seen = at - stage.stall_past + stage.array + stage.stall_all
    taken = max(seen, room)
    if taken > seen:
        place = stage.stalls & (STALLS - 1)
        mem[stage.stall_from + place] = seen
        mem[stage.stall_to + place] = taken
        stage.stalls += 1
        stage.stall_all += taken - seen
    return taken
