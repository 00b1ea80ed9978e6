"""The recurrences of the exact clock: when each token of a chain of stages passes each handshake, compiled.

A token is a word (pixel and step), a window's fold, a result, an image; its time is the clock cycle, counted from
reset, at whose end valid and ready meet. Every time is a maximum over times of the same token further up (plus the
registers between) and of older tokens further down (room). So tokens can be taken in any order that knows these:
`advance` goes round the processes, and each goes on until it needs a time that is not known yet.

A stage has three processes, which share its record and its rings of times in `mem`:
    write      words enter the ring (W) when there is a word, a cycle has passed and the windows have left a row
    schedule   windows enter the buffer's output register (G), the scheduler (B), its output register (X), leave (L)
    gather     results leave their queue (R), words the pack, the pools, and enter the FIFO (P)
and a first layer has a fourth, `repeat`, between the two last. A pipeline with one enable for all its registers
(array, pool) stands still from the cycle in which a result is seen (v) to the one in which it is taken (d).
"""

from __future__ import annotations

import numba
import numpy as np

CREDITS = 16  # of lif_pe
RESULTS = 64  # ring of results between array and spike_pack: more than twice the credits
STALLS = 64  # ring of standstills ahead in an array: more than twice its longest pipeline
NEVER = -(1 << 60)
WINDOW_VALID = 3  # cycles after reset until window_buffer's geometry stands
UPDATE = 5  # cycles from a current to its result at the end of the queue: lif_update and stream_fifo

# Fields of the records: what is given, rings of times (their place in `mem`), counts, and times.
_STAGE = (
    "first", "readout", "direct", "height", "width", "stride", "padding", "kernel_h", "kernel_w", "out_h", "out_w",
    "words", "time_in", "time_out", "folds", "steps", "depth", "array", "classes", "fifo", "pool", "pools",
)  # fmt: skip
RINGS = ("wrote", "rows", "ready", "left", "pushed", "popped", "accepted", "freed", "stall_from", "stall_to")
_STAGE_COUNTS = (
    "written",  # words taken in
    "room_row", "room_line", "room_at",  # the row of windows whose first word bounds the ring, that word, since when
    "rows_done", "column", "fold", "positions",  # the window being scheduled: its next fold, and positions inside
    "issued", "results",  # results that entered the update, and that left their queue
    "sums", "packets", "repetition",  # of a first layer: currents formed, packets of them repeated, place in the next
    "stalls", "stalls_done", "stall_all", "stall_past",  # standstills of the array, and their cycles
    "part", "pushes",  # parts in the pack, words in the FIFO
    "busy", "stalled",  # synapse steps, and cycles in which one waits
)  # fmt: skip
_STAGE_TIMES = (
    "wrote_at",  # W of the last word
    "walk_at", "beat_at", "left_at",  # G of the window's first beat, B of the last beat known, L of the last step
    "x1", "x2", "x3",  # X of the last steps of the last three beats
    "queue_at", "queue_before",  # a first layer's last two steps into the array
    "repeat_at", "result_at", "word_at", "push_at",  # last repetition, R, the pack's last word, P
)  # fmt: skip
_POOL, _POOL_TIMES = ("ends", "beats", "place"), ("beat_at", "c", "d1", "d2")  # see `_pool`
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

jit = numba.njit(cache=True, nogil=True)


@jit
def advance(stages, pools, mem, ends, source, sink, in_at, out_at):
    """Take every token of the chain as far as the `len(in_at)` input beats reach; the records keep the state.

    Args:
        stages, pools, mem, ends: records and rings, see `clock.build`.
        source, sink: for each cycle of a repeating pattern, cycles until it is next open; empty: always open.
        in_at, out_at: where the times of input and output beats go.
    """
    moved = True
    while moved:
        moved = False
        for k in range(len(stages)):
            stage, above = stages[k], stages[max(k - 1, 0)]
            if stage.readout:
                moved |= _read_out(stage, above, mem, ends, source, sink, in_at, out_at)
                continue
            if not stage.first:
                moved |= _write(stage, above, mem)
            elif ends.axi:
                moved |= _write_axi(stage, mem, ends, source, in_at)
            else:
                moved |= _write_plain(stage, mem, ends, source, in_at)
            if stage.direct:
                moved |= _schedule_direct(stage, mem)
                moved |= _repeat(stage, mem)
            else:
                moved |= _schedule(stage, mem)
            if k + 1 < len(stages):
                moved |= _gather(stage, stages[k + 1].written, pools, mem)
            else:
                moved |= _gather(stage, ends.drained, pools, mem)
                moved |= _drain(stage, mem, ends, sink, out_at)


# --- the ends -------------------------------------------------------------------------------------------------------


@jit
def _open(pattern, cycle):
    return cycle + pattern[cycle % len(pattern)] if len(pattern) else cycle


@jit
def _take(ends, sink, seen, out_at):
    """The sink takes an output beat that is seen from cycle `seen` on; a stalling sink refuses the first beat once."""
    if ends.refuses and ends.given_at < 0:
        seen += 1
    ends.given_at = _open(sink, max(seen, ends.given_at + 1))
    out_at[ends.given] = ends.given_at
    ends.given += 1
    return ends.given_at


@jit
def _offer(ends, source):
    """When the source offers its next beat: it starts in an open cycle after the last was taken, and then holds."""
    return _open(source, max(0, ends.beat_at + 1))


@jit
def _accept(ends, in_at, at):
    in_at[ends.beats] = at
    ends.beats += 1
    ends.beat_at = at


@jit
def _drain(stage, mem, ends, sink, out_at):
    """A spiking stage alone: the sink empties its FIFO."""
    moved = ends.drained < stage.pushes
    while ends.drained < stage.pushes:
        at = _take(ends, sink, mem[stage.pushed + (ends.drained & stage.pushed_mask)] + 1, out_at)
        mem[stage.popped + (ends.drained & stage.popped_mask)] = at
        ends.drained += 1
    return moved


# --- the words' way in ----------------------------------------------------------------------------------------------


@jit
def _room(stage, mem, word):
    """The cycle from which `word` has a place in the ring; -1 while not known."""
    while stage.room_line <= word - stage.depth:
        if stage.room_row == stage.rows_done:
            return -1
        stage.room_at = mem[stage.rows + (stage.room_row & stage.rows_mask)] + 1
        stage.room_row += 1
        image, row = divmod(stage.room_row, stage.out_h)
        top = max(0, row * stage.stride - stage.padding)
        stage.room_line = image * stage.words + top * stage.width * stage.time_in
    return stage.room_at


@jit
def _put(stage, mem, at):
    mem[stage.wrote + (stage.written & stage.wrote_mask)] = at
    stage.written += 1
    stage.wrote_at = at


@jit
def _write(stage, above, mem):
    moved = False
    while stage.written < above.pushes:
        room = _room(stage, mem, stage.written)
        if room < 0:
            break
        seen = mem[above.pushed + (stage.written & above.pushed_mask)] + 1
        _put(stage, mem, max(seen, stage.wrote_at + 1, room))
        moved = True
    return moved


@jit
def _write_plain(stage, mem, ends, source, in_at):
    moved = False
    while ends.beats < len(in_at):
        room = _room(stage, mem, stage.written)
        if room < 0:
            break
        _put(stage, mem, max(_offer(ends, source), room))
        _accept(ends, in_at, stage.wrote_at)
        moved = True
    return moved


@jit
def _write_axi(stage, mem, ends, source, in_at):
    """axis_in: beats are split into units (ratio_in to one), units joined to pixels (ratio_out to one)."""
    moved = False
    while ends.beats < len(in_at) or ends.unit % ends.ratio_in:
        room = _room(stage, mem, stage.written)
        if room < 0:
            break
        first = ends.unit % ends.ratio_in == 0  # of its beat
        if ends.ratio_in > 1:
            if first:
                # the split word is free from the cycle in which its last unit leaves
                _accept(ends, in_at, max(_offer(ends, source), ends.unit_at))
            seen = max(ends.beat_at, ends.unit_at) + 1
        else:
            seen = _offer(ends, source)
        keep = ends.unit < ends.keep
        if ends.ratio_out > 1:
            at = max(seen, ends.pixel_at)  # the joined pixel must have left
            if keep:
                ends.part += 1
                if ends.part == ends.ratio_out:
                    ends.part = 0
                    _put(stage, mem, max(at + 1, stage.wrote_at + 1, room))
                    ends.pixel_at = stage.wrote_at
        else:
            at = max(seen, room)
            if keep:
                at = max(at, stage.wrote_at + 1)
                _put(stage, mem, at)
        ends.unit_at = at
        ends.unit = ends.unit + 1 if ends.unit + 1 < ends.units else 0
        if ends.ratio_in == 1:
            _accept(ends, in_at, at)
        moved = True
    return moved


# --- window_buffer and synapse_list -----------------------------------------------------------------------------------


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
def _leave(stage, mem):
    """The window's last beat has entered: the geometry moves on; behind the last window of a row its room is freed."""
    beats = stage.positions * stage.time_in * stage.folds
    left_at = stage.x3 if beats > 2 else stage.beat_at if beats == 2 else stage.walk_at
    if beats > 1:
        stage.beat_at = stage.x2
    stage.fold = 0
    stage.column += 1
    if stage.column == stage.out_w:
        mem[stage.rows + (stage.rows_done & stage.rows_mask)] = left_at
        stage.rows_done += 1
        stage.column = 0


@jit
def _begin(stage, mem):
    """X of the fold's first step; NEVER while its window is not known to be complete."""
    if stage.fold:
        return stage.left_at
    positions, complete = _window(stage, mem)
    if complete < 0:
        return NEVER
    stage.positions = positions
    return _enter(stage, complete)


@jit
def _schedule(stage, mem):
    """Spikes: a step a cycle but for a fold's last, which waits for a credit."""
    moved = False
    while stage.issued - stage.results < CREDITS:
        start = _begin(stage, mem)
        if start == NEVER:
            break
        steps = stage.steps
        count = stage.positions * steps
        end = start + count - 1
        if stage.positions > 2:
            stage.x3, stage.x2 = end - 2 * steps, end - steps
        elif stage.positions == 2:
            stage.x3, stage.x2 = stage.x1, end - steps
        else:
            stage.x3, stage.x2 = stage.x2, stage.x1
        stage.x1 = end
        granted = NEVER
        if stage.issued >= CREDITS:
            granted = mem[stage.left + ((stage.issued - CREDITS) & stage.left_mask)] + 1
        stage.left_at = max(end + 1, granted)
        stage.busy += count
        stage.stalled += stage.left_at - end - 1
        _issue(stage, mem, stage.left_at + stage.array)
        stage.fold += 1
        if stage.fold == stage.time_in * stage.folds:
            _leave(stage, mem)
        moved = True
    return moved


@jit
def _issue(stage, mem, at):
    """A current enters the membranes' update."""
    mem[stage.ready + (stage.issued & stage.ready_mask)] = at + UPDATE
    stage.issued += 1


# --- an array that can stand still ----------------------------------------------------------------------------------


@jit
def _enabled(stage, mem, at):
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
def _sum(stage, mem, at, room):
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


# --- the first layer ------------------------------------------------------------------------------------------------


@jit
def _flow(stage, start, count):
    """A fold's steps through the queue of two, into an array that does not stand still; returns L of the last.

    What `_stumble` comes to then: from the second step on the queue holds one, and X, L and its exit follow each other.
    """
    left = max(start, stage.queue_before) + 1
    into = max(left, stage.queue_at) + 1  # the first step leaves the queue, the second one enters it
    steps = stage.steps
    for back in range(min(stage.positions, 3) - 1, -1, -1):
        step = count - 1 - back * steps
        stage.x3, stage.x2 = stage.x2, stage.x1
        stage.x1 = start if step == 0 else left if step == 1 else into + step - 2
    stage.queue_before = into + count - 2 if count > 1 else stage.queue_at
    stage.queue_at = into + count - 1
    return left if count == 1 else into + count - 2


@jit
def _stumble(stage, mem, start, count):
    """A fold's steps through the queue of two, into an array that stands still now and then; returns L of the last."""
    x, left = start, NEVER
    for step in range(1, count + 1):
        left = max(x, stage.queue_before) + 1
        into = _enabled(stage, mem, max(left, stage.queue_at) + 1)
        stage.queue_before, stage.queue_at = stage.queue_at, into
        if step % stage.steps == 0:
            stage.x3, stage.x2, stage.x1 = stage.x2, stage.x1, x
        x = left
    return left


@jit
def _schedule_direct(stage, mem):
    """Pixels: the steps pass a queue of two, and the array stands still while the repeater holds two packets."""
    moved = False
    while stage.sums // stage.folds < stage.packets + 2:
        start = _begin(stage, mem)
        if start == NEVER:
            break
        count = stage.positions * stage.steps
        if stage.stalls_done == stage.stalls:
            left = _flow(stage, start, count)
        else:
            left = _stumble(stage, mem, start, count)
        stage.left_at = left
        stage.busy += count
        stage.stalled += left - start - count
        packet = stage.sums // stage.folds
        room = mem[stage.freed + ((packet - 2) & stage.freed_mask)] + 1 if packet > 1 else 0
        mem[stage.accepted + (stage.sums & stage.accepted_mask)] = _sum(stage, mem, stage.queue_at, room)
        stage.sums += 1
        stage.fold += 1
        if stage.fold == stage.folds:
            _leave(stage, mem)
        moved = True
    return moved


@jit
def _repeat(stage, mem):
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


# --- results to words -----------------------------------------------------------------------------------------------


@jit
def _gather(stage, taken, pools, mem):
    """spike_pack, spike_pool, stream_fifo; `taken`: words that are known to have left the FIFO."""
    moved = False
    while stage.results < stage.issued:
        place = stage.results & stage.left_mask
        at = max(mem[stage.ready + place], stage.result_at + 1)
        if stage.part == stage.folds - 1:
            if stage.pushes - taken >= stage.fifo:
                break
            at = max(at, stage.word_at)
            stage.word_at = _pool(stage, pools, mem, at + 1)
            stage.part = 0
        else:
            stage.part += 1
        mem[stage.left + place] = at
        stage.result_at = at
        stage.results += 1
        moved = True
    return moved


@jit
def _pool(stage, pools, mem, seen):
    """A word seen from `seen` on goes through the pools into the FIFO; returns when the first of them takes it.

    A pool holds a beat and its output; it takes the next where the output is empty or just leaving. d1, d2: when its
    last output but one and its last were taken, c: when the last moved to the output.
    """
    first = NEVER
    for i in range(stage.pool, stage.pool + stage.pools):
        pool = pools[i]
        at = max(seen, pool.beat_at + 1, pool.d1)
        if at > pool.c:
            at = max(at, pool.d2)
        pool.beat_at = at
        if i == stage.pool:
            first = at
        else:
            pools[i - 1].d2 = at
        ends = mem[pool.ends + pool.place]  # the beat completes a window
        pool.place = pool.place + 1 if pool.place + 1 < pool.beats else 0
        if not ends:
            return first
        pool.c = max(at + 1, pool.d2)
        pool.d1 = pool.d2
        seen = pool.c + 1
    at = max(seen, stage.push_at + 1)
    if stage.pushes >= stage.fifo:
        at = max(at, mem[stage.popped + ((stage.pushes - stage.fifo) & stage.popped_mask)] + 1)
    mem[stage.pushed + (stage.pushes & stage.pushed_mask)] = at
    stage.pushes += 1
    stage.push_at = at
    if stage.pools:
        pools[stage.pool + stage.pools - 1].d2 = at
        return first
    return at


# --- the read-out -----------------------------------------------------------------------------------------------------


@jit
def _read_out(stage, above, mem, ends, source, sink, in_at, out_at):
    """synapse_list, array, arg-max and axis_out; `above` is the record itself where the read-out stands alone."""
    moved = False
    alone = stage.first == 1
    while (ends.beats < len(in_at)) if alone else (stage.written < above.pushes):
        if alone:
            seen = _offer(ends, source)
        else:
            seen = mem[above.pushed + (stage.written & above.pushed_mask)] + 1
        at = max(seen, stage.x1)
        if alone:
            _accept(ends, in_at, at)
        _put(stage, mem, at)
        start = max(at + 1, stage.left_at)
        left = _enabled(stage, mem, start + 1)
        stage.x1 = start
        for _ in range(stage.steps - 1):
            stage.x1 = left
            left = _enabled(stage, mem, left + 1)
        stage.left_at = left
        stage.busy += stage.steps
        stage.stalled += left - start - stage.steps
        if stage.written % stage.words == 0:
            taken = _sum(stage, mem, left, ends.image_at + 1)
            logits = taken + stage.classes + 1
            if ends.axi:
                ends.image_at = max(logits, ends.given_at)
                for _ in range(stage.classes + 1):
                    _take(ends, sink, ends.image_at + 1, out_at)
            else:
                ends.image_at = _take(ends, sink, logits, out_at)
        moved = True
    return moved
