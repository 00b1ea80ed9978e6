"""Times of an event stage's windows, in synapse_event: event_window scans, the banks look ahead, event_replay repeats.

A bank holds a word in each of three registers in front of the combined beat. Once a window's first beat has fired,
every further one fires in the next cycle, but where the replay has no room; word i+1 of a bank then moves up in the
cycle in which word i gives its last event, as does word i+2 behind it, and word i+3 is read in that cycle. So of each
bank's walk only the window's first word, and when its last four words end, decide when the next window is loaded and
fires.
"""

from __future__ import annotations

import numba
import numpy as np

from scaflow.hw.timing.array import enabled
from scaflow.hw.timing.records import AHEAD, NEVER, count, count_all, jit
from scaflow.hw.timing.results import granted
from scaflow.quant.graph import Conv


def bank_walks(spikes: np.ndarray, node: Conv, bank: tuple[int, ...], banks: int) -> np.ndarray:
    """What each bank holds of each window: events up to the last word with one, the last but one, two and three.

    Args:
        spikes: uint8 [N, T, C, H, W], what the node reads.
        bank: of each channel, -1 for a channel that is not walked.

    Returns:
        int16 [N, OH, OW, T, banks, 4]; a bank without events walks one, and words that are not there hold none.
    """
    spikes = np.ascontiguousarray(spikes)
    return _walks(spikes, np.asarray(bank, np.int64), banks, *node.kernel, node.stride, node.padding)


@numba.njit(cache=True, nogil=True)
def _walks(spikes, bank, banks, kernel_h, kernel_w, stride, padding):
    images, steps, channels, height, width = spikes.shape
    out_h = (height + 2 * padding - kernel_h) // stride + 1
    out_w = (width + 2 * padding - kernel_w) // stride + 1
    out = np.empty((images, out_h, out_w, steps, banks, 4), np.int16)
    events = np.empty((banks, height, width), np.int16)
    for i in range(images):
        for t in range(steps):
            events[:] = 0
            for c in range(channels):
                if bank[c] >= 0:
                    found = events[bank[c]]
                    for y in range(height):
                        for x in range(width):
                            found[y, x] += spikes[i, t, c, y, x] != 0
            for oy in range(out_h):
                top = oy * stride - padding
                for ox in range(out_w):
                    left = ox * stride - padding
                    for b in range(banks):
                        last = second = third = fourth = 0
                        for y in range(max(0, top), min(height, top + kernel_h)):
                            for x in range(max(0, left), min(width, left + kernel_w)):
                                if events[b, y, x]:
                                    last, second, third, fourth = last + events[b, y, x], last, second, third
                        walk = out[i, oy, ox, t, b]
                        walk[0], walk[1], walk[2], walk[3] = max(last, 1), second, third, fourth
    return out


@jit
def scan(stage, mem):
    """event_window: a column and t of a row of windows a cycle, while there is a place in the queue for a window; those
    that end one enter it behind three registers."""
    before = stage.queued
    look_at = stage.look_at
    row_words = stage.width * stage.time_in
    while True:
        image, y = divmod(stage.scan_row, stage.out_h)
        newest = min(y * stage.stride - stage.padding + stage.kernel_h, stage.height) - 1
        start = image * stage.words + newest * row_words
        steps = stage.last + 1 if y == stage.out_h - 1 else stage.last + 1 - stage.merge
        step, t, wait = stage.scan_step, stage.scan_t, False
        while step < steps:
            own = step >= stage.lead and (step - stage.lead) % stage.stride == 0
            late = y > 0 and step < stage.merge and (stage.merge - 1 - step) % stage.stride == 0
            need = start + (step * stage.time_in + t if step < stage.width else row_words - 1)
            wait = need >= stage.written or stage.queued == stage.loaded + AHEAD
            if wait:
                break
            there = mem[stage.wrote + (need & stage.wrote_mask)]
            place = mem[stage.loads + (stage.queued & stage.loads_mask)]  # of the window that leaves it
            look_at = max(look_at, there, place) + 1
            if own or late:
                mem[stage.queue + (stage.queued & stage.queue_mask)] = look_at + 3
                stage.queued += 1
            t += 1
            if t == stage.time_in:
                t = 0
                step += 1
        stage.scan_step, stage.scan_t = step, t
        if wait:
            break
        stage.scan_step = 0
        stage.scan_row += 1
    stage.look_at = look_at
    return stage.queued > before


@jit
def _walk(walks, place):
    return walks[place], walks[place + 1], walks[place + 2], walks[place + 3]


@jit
def _load(stage, mem, walks):
    """The next window is loaded: the cycle from which all banks have its first word, its beats in `positions`; NEVER
    while not known."""
    window = stage.loaded
    if window == stage.queued:
        return NEVER
    at = max(mem[stage.queue + (window & stage.queue_mask)] + 1, stage.issue_at)
    mem[stage.loads + (window & stage.loads_mask)] = at
    stage.loaded += 1
    if window % (stage.out_w * stage.time_in) == 0:  # the first of a row
        mem[stage.rows + (stage.rows_done & stage.rows_mask)] = at
        stage.rows_done += 1
    walk = stage.walks + 4 * stage.banks * window
    ready, beats, stage.issue_at = NEVER, 0, at + 1
    for b in range(stage.banks):
        issued = max(at + 1, mem[stage.moved + b])
        ahead = max(issued + 1, mem[stage.stepped + b])
        entered = max(ahead + 1, mem[stage.ended + b])
        mem[stage.ahead + b], mem[stage.entered + b] = ahead, entered
        last, second, third, fourth = _walk(walks, walk + 4 * b)
        # a second word is read as the first moves up, a third as it moves up again
        if not fourth:
            stage.issue_at = max(stage.issue_at, entered if third else ahead if second else issued)
        ready = max(ready, entered + 1)
        beats = max(beats, last)
    stage.positions = beats
    return ready


@jit
def _fired(stage, mem, walks, first, rest):
    """The window's beats have fired: where that leaves the banks. Beat 0 fired at `first`, beat i at `rest` + i."""
    walk = stage.walks + 4 * stage.banks * (stage.loaded - 1)
    for b in range(stage.banks):
        last, second, third, fourth = _walk(walks, walk + 4 * b)
        if fourth:
            stage.issue_at = max(stage.issue_at, _fire(stage, mem, first, rest, fourth - 1))
        ahead, entered = mem[stage.ahead + b], mem[stage.entered + b]
        mem[stage.ended + b] = _fire(stage, mem, first, rest, last - 1)
        mem[stage.stepped + b] = _fire(stage, mem, first, rest, second - 1) if second else entered
        mem[stage.moved + b] = _fire(stage, mem, first, rest, third - 1) if third else entered if second else ahead
    stage.fire_at = _fire(stage, mem, first, rest, stage.positions - 1)


@jit
def _fire(stage, mem, first, rest, beat):
    if rest == NEVER:  # they fired as it came
        return mem[stage.fires + beat]
    return rest + beat if beat else first


@jit
def begin(stage, mem, walks):
    """Several folds: the window is written into the replay's memory, which holds two. X of its first step, or NEVER."""
    ready = _load(stage, mem, walks)
    if ready == NEVER:
        return NEVER
    window = stage.loaded - 1
    first = max(ready, stage.fire_at + 1)
    if window > 1:
        first = max(first, mem[stage.replayed + ((window - 2) & stage.replayed_mask)] + 1)
    _fired(stage, mem, walks, first, first)
    return max(max(first + 1, stage.x1) + 1, stage.left_at)


@jit
def leave(stage, mem):
    """The window's last step is read out of the memory when the one before enters the output register."""
    mem[stage.replayed + ((stage.loaded - 1) & stage.replayed_mask)] = stage.x2


@jit
def once(stage, mem, walks):
    """One fold: the window passes a queue of two; False while it is not known when."""
    ready = _load(stage, mem, walks)
    if ready == NEVER:
        return False
    first = max(ready, stage.fire_at + 1, stage.left_before + 1)
    if stage.direct:
        _once_direct(stage, mem, first)
        _fired(stage, mem, walks, first, NEVER)
        return True
    # from the second step on the queue holds one: a step fires as the one before leaves
    beats = stage.positions
    start = max(first, stage.left_at)
    end = start + beats
    left = max(end, granted(stage, mem))
    _fired(stage, mem, walks, first, start)
    if not count_all(stage, start, beats, left):
        for seen in range(start + 1, end):
            count(stage, seen, seen)
        count(stage, end, left)
    stage.left_before = end - 1 if beats > 1 else stage.left_at
    stage.left_at = left
    return True


@jit
def _once_direct(stage, mem, fired):
    """The same for pixels, which pass a second queue of two, into an array that can stand still."""
    for i in range(stage.positions):
        fired = max(fired, stage.left_before + 1)
        mem[stage.fires + i] = fired
        seen = max(fired, stage.left_at) + 1
        left = max(seen, stage.queue_before + 1)
        into = enabled(stage, mem, max(left, stage.queue_at) + 1)
        stage.queue_before, stage.queue_at = stage.queue_at, into
        stage.left_before, stage.left_at = stage.left_at, left
        count(stage, seen, left)
        fired += 1
