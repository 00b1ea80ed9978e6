"""Times of an event stage's windows, in synapse_event: event_window scans, the banks look ahead, event_replay repeats.

A bank holds a word in each of three registers in front of the combined beat. Once a window's first beat has fired,
every further one fires in the next cycle, but where the replay has no room; word i+1 of a bank then moves up in the
cycle in which word i gives its last event, as does word i+2 behind it, and word i+3 is read in that cycle. So of each
bank's walk only the window's first word, and when its last four words end, decide when the next window is loaded and
fires. Where banks share readers, only how long these read a window and how long the fullest bank walks it.
"""

from __future__ import annotations

from scaflow.hw.timing.array import enabled
from scaflow.hw.timing.lanes import Array, Flag, Record, Times, get, let, most, now, put, where
from scaflow.hw.timing.records import AHEAD, PLACES, WINDOWS, WORDS, count_fold, count_some, jit
from scaflow.hw.timing.results import begins


@jit
def scan(stage: Record, mem: Array) -> Flag:
    """event_window: a column and t of a row of windows a cycle, while there is a place in the queue for a window; those
    that end one enter it behind three registers."""
    before = stage.queued
    look_at = now(stage.look_at)
    row_words = stage.width * stage.time_in
    while True:
        image, y = divmod(stage.scan_row, stage.out_h)
        newest = min(y * stage.stride - stage.padding + stage.kernel_h, stage.height) - 1
        start = image * stage.words + newest * row_words
        steps = stage.last + 1 if y == stage.out_h - 1 else stage.last + 1 - stage.merge
        step, t, wait = stage.scan_step, stage.scan_t, False
        while step < steps:
            own = step >= stage.lead and (step - stage.lead) % stage.stride_w == 0
            late = y > 0 and step < stage.merge and (stage.merge - 1 - step) % stage.stride_w == 0
            need = start + (step * stage.time_in + t if step < stage.width else row_words - 1)
            wait = need >= stage.written or stage.queued == stage.loaded + AHEAD
            if wait:
                break
            there = get(mem, stage.wrote + (need & stage.wrote_mask)) + 1  # its flags are in the ring
            place = get(mem, stage.loads + (stage.queued & stage.loads_mask))  # of the window that leaves it
            look_at = max(look_at, there, place) + 1
            if own or late:
                put(mem, stage.queue + (stage.queued & stage.queue_mask), look_at + 3)
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
    let(stage.look_at, look_at)
    return stage.queued > before


@jit
def _walk(stage: Record, walks: Array, b: int) -> tuple[Times, ...]:
    """Of a bank in the window that was loaded last, see walks.py."""
    place = stage.walks + stage.walk * (stage.loaded - 1) + WORDS * b
    return get(walks, place), get(walks, place + 1), get(walks, place + 2), get(walks, place + 3)


@jit
def _loaded(stage: Record, mem: Array) -> Times:
    """The next window leaves the queue, in the cycle that is returned."""
    window = stage.loaded
    at = max(get(mem, stage.queue + (window & stage.queue_mask)) + 1, now(stage.issue_at))
    put(mem, stage.loads + (window & stage.loads_mask), at)
    stage.loaded += 1
    if window % (stage.out_w * stage.time_in) == 0:  # the first of a row
        put(mem, stage.rows + (stage.rows_done & stage.rows_mask), at)
        stage.rows_done += 1
    return at


@jit
def _load(stage: Record, mem: Array, walks: Array) -> Times:
    """The next window is loaded: returns the cycle from which all banks have its first word; sets its `beats`."""
    at = _loaded(stage, mem)
    ready, beats, issue = at, at - at, at + 1
    for b in range(stage.banks):
        issued = max(at + 1, get(mem, stage.moved + b))
        ahead = max(issued + 1, get(mem, stage.stepped + b))
        entered = max(ahead + 1, get(mem, stage.ended + b))
        put(mem, stage.ahead + b, ahead)
        put(mem, stage.entered + b, entered)
        last, second, third, fourth = _walk(stage, walks, b)
        # a second word is read as the first moves up, a third as it moves up again
        read = where(third > 0, entered, where(second > 0, ahead, issued))
        issue = where(fourth > 0, issue, max(issue, read))
        ready = max(ready, entered + 1)
        beats = max(beats, last)
    let(stage.issue_at, issue)
    let(stage.beats, beats)
    return ready


@jit
def _fired(stage: Record, mem: Array, walks: Array, first: Times, rest: Times) -> None:
    """The window's beats have fired: where that leaves the banks. Beat 0 fired at `first`, beat i at `rest` + i."""
    issue = now(stage.issue_at)
    for b in range(stage.banks):
        last, second, third, fourth = _walk(stage, walks, b)
        issue = where(fourth > 0, max(issue, _fire(first, rest, fourth - 1)), issue)
        entered = get(mem, stage.entered + b)
        put(mem, stage.ended + b, _fire(first, rest, last - 1))
        put(mem, stage.stepped + b, where(second > 0, _fire(first, rest, second - 1), entered))
        before = where(second > 0, entered, get(mem, stage.ahead + b))
        put(mem, stage.moved + b, where(third > 0, _fire(first, rest, third - 1), before))
    let(stage.issue_at, issue)
    let(stage.fire_at, _fire(first, rest, now(stage.beats) - 1))


@jit
def _fire(first: Times, rest: Times, beat: int) -> Times:
    return where(beat > 0, rest + beat, first)


@jit
def _load_shared(stage: Record, mem: Array, walks: Array) -> Times:
    """The same where readers are shared: they wait for places of words and windows, which a window that has been walked
    gives back. The banks begin when the readers are done."""
    at = _loaded(stage, mem)
    window = stage.loaded - 1
    words = get(walks, stage.walks + stage.walk * window + 1)
    read, held = at + words, at - at  # the last word is read; places taken by the windows before
    for before in range(window - 1, max(window - WINDOWS, 0) - 1, -1):
        walked = get(mem, stage.walked + (before & stage.walked_mask))
        held += walked - get(mem, stage.walked_less + (before & stage.walked_less_mask))
        free = PLACES - held if before > window - WINDOWS else at - at  # words with a place while `before` has its own
        read = max(read, where(free < words, walked + words - max(free, 0), read))
    let(stage.issue_at, read)
    let(stage.beats, get(walks, stage.walks + stage.walk * window))
    return read + 5


@jit
def _fired_shared(stage: Record, mem: Array, walks: Array, first: Times) -> None:
    """The window's beats have fired from `first` on. Its words are kept as the distance of two times."""
    window = stage.loaded - 1
    walked = first + now(stage.beats) - 1
    put(mem, stage.walked + (window & stage.walked_mask), walked)
    words = get(walks, stage.walks + stage.walk * window + 1)
    put(mem, stage.walked_less + (window & stage.walked_less_mask), walked - words)
    let(stage.fire_at, walked)


@jit
def begin(stage: Record, mem: Array, walks: Array) -> Times:
    """Several folds: the window is written into the replay's memory, which holds two. Returns X of its first step."""
    ready = _load_shared(stage, mem, walks) if stage.shared else _load(stage, mem, walks)
    window = stage.loaded - 1
    first = max(ready, now(stage.fire_at) + 1)
    if window > 1:
        first = max(first, get(mem, stage.replayed + ((window - 2) & stage.replayed_mask)) + 1)
    if stage.shared:
        _fired_shared(stage, mem, walks, first)
    else:
        _fired(stage, mem, walks, first, first)
    return max(max(first + 2, now(stage.x1)) + 1, now(stage.left_at))


@jit
def leave(stage: Record, mem: Array) -> None:
    """The window's last step is read out of the memory when the one before enters the output register."""
    put(mem, stage.replayed + ((stage.loaded - 1) & stage.replayed_mask), now(stage.x2))


@jit
def once(stage: Record, mem: Array, walks: Array) -> None:
    """One fold: the window passes a queue of two."""
    ready = _load(stage, mem, walks)
    before = now(stage.left_at)
    first = max(ready, now(stage.fire_at) + 1, now(stage.left_before) + 1)
    # from the second step on the queue holds one: a step fires as the one before leaves
    beats = now(stage.beats)
    start = max(first, before)
    end = start + beats
    left = max(end, begins(stage, mem))
    _fired(stage, mem, walks, first, start)
    count_fold(stage, start, beats, left)
    let(stage.left_before, where(beats > 1, end - 1, before))
    let(stage.left_at, left)


@jit
def once_direct(stage: Record, mem: Array, walks: Array) -> None:
    """The same for pixels, which pass a second queue of two, into an array that can stand still."""
    fired = max(_load(stage, mem, walks), now(stage.fire_at) + 1)
    for b in range(stage.banks):  # where they stand if the words that move them are not there
        entered = get(mem, stage.entered + b)
        put(mem, stage.stepped + b, entered)
        put(mem, stage.moved + b, where(_walk(stage, walks, b)[1] > 0, entered, get(mem, stage.ahead + b)))
    before, left_at, issue = now(stage.left_before), now(stage.left_at), now(stage.issue_at)
    queue_before, queue_at, beats = now(stage.queue_before), now(stage.queue_at), now(stage.beats)
    for i in range(1, most(beats) + 1):
        there = beats >= i
        at = max(fired, before + 1)
        seen = max(at, left_at) + 1
        left = max(seen, queue_before + 1)
        into = enabled(stage, mem, max(left, queue_at) + 1)
        queue_before, queue_at = where(there, queue_at, queue_before), where(there, into, queue_at)
        before, left_at = where(there, left_at, before), where(there, left, left_at)
        count_some(stage, there, seen, left)
        for b in range(stage.banks):
            last, second, third, fourth = _walk(stage, walks, b)
            issue = where(fourth == i, max(issue, at), issue)
            put(mem, stage.moved + b, where(third == i, at, get(mem, stage.moved + b)))
            put(mem, stage.stepped + b, where(second == i, at, get(mem, stage.stepped + b)))
            put(mem, stage.ended + b, where(last == i, at, get(mem, stage.ended + b)))
        let(stage.fire_at, where(there, at, now(stage.fire_at)))
        fired = at + 1
    let(stage.left_before, before)
    let(stage.left_at, left_at)
    let(stage.queue_before, queue_before)
    let(stage.queue_at, queue_at)
    let(stage.issue_at, issue)
