"""Times of words and of what leaves a chain: the ends, the way into a stage's ring, the FIFO's way out, read-out."""

from __future__ import annotations

from scaflow.hw.timing.array import enabled, flows, formed
from scaflow.hw.timing.lanes import Array, Flag, Record, Times, get, let, most, now, pick, put, where, with_lane
from scaflow.hw.timing.records import EVENTS, PLAIN, count, count_flow, count_some, jit
from scaflow.hw.timing.results import queued

# --- the ends -------------------------------------------------------------------------------------------------------


@jit
def _open(stalls: Array, cycle: int) -> Times:
    """The first cycle from `cycle` on that is open, in the pattern of each lane."""
    if stalls.shape[1]:
        for lane in range(len(stalls)):
            length, origin = stalls[lane, 0], stalls[lane, 1]
            at = pick(cycle, lane)
            cycle = with_lane(cycle, lane, at + stalls[lane, 2 + (origin + at) % length])
    return cycle


@jit
def _take(ends: Record, sink: Array, seen: Times, out_at: Array) -> Times:
    """The sink takes an output beat that is seen from cycle `seen` on; a stalling sink refuses the first beat once."""
    if ends.refuses:
        ends.refuses = 0
        seen += 1
    taken = _open(sink, max(seen, now(ends.given_at) + 1))
    let(ends.given_at, taken)
    put(out_at, ends.given, taken)
    ends.given += 1
    return taken


@jit
def _offer(ends: Record, source: Array) -> Times:
    """When the source offers its next beat: it starts in an open cycle after the last was taken, and then holds."""
    return _open(source, max(now(ends.reset), now(ends.beat_at) + 1))


@jit
def _accept(ends: Record, in_at: Array, at: Times) -> None:
    put(in_at, ends.beats, at)
    ends.beats += 1
    let(ends.beat_at, at)


@jit
def drain(stage: Record, mem: Array, ends: Record, sink: Array, out_at: Array) -> Times:
    """A spiking stage alone: the sink empties its FIFO."""
    moved = ends.drained < stage.pushes
    while ends.drained < stage.pushes:
        at = _take(ends, sink, queued(stage, mem, ends.drained), out_at)
        put(mem, stage.popped + (ends.drained & stage.popped_mask), at)
        ends.drained += 1
    return moved


# --- the words' way in ----------------------------------------------------------------------------------------------


@jit
def _room(stage: Record, mem: Array, word: int) -> Flag:
    """It is known since when `word` has a place in the ring, and `room_at` says it.

    A list stage's ring holds `depth` words, and the window's last beat frees what lies before the next row of windows.
    An event stage's ring holds `depth` rows, and the first window of a row, leaving its queue, frees those above it.
    """
    place = word // (stage.width * stage.time_in) if stage.event else word
    while stage.room_line <= place - stage.depth:
        if stage.room_row == stage.rows_done:
            return False
        freed = get(mem, stage.rows + (stage.room_row & stage.rows_mask)) + 1
        let(stage.room_at, freed + stage.event)  # an event stage's in_ready is a register
        if stage.event:
            image, row = divmod(stage.room_row, stage.out_h)
            stage.room_line = image * stage.height + row * stage.stride - stage.padding
            stage.room_row += 1
        else:
            stage.room_row += 1
            image, row = divmod(stage.room_row, stage.out_h)
            top = max(0, row * stage.stride - stage.padding)
            stage.room_line = image * stage.words + top * stage.width * stage.time_in
    return True


@jit
def entered(stage: Record, mem: Array, at: Times) -> None:
    put(mem, stage.wrote + (stage.written & stage.wrote_mask), at)
    stage.written += 1
    let(stage.wrote_at, at)


@jit
def _step(stage: Record, mem: Array, at: Times) -> None:
    """window_row's next step, at `at`: the row that is complete with it leaves when the ring has room."""
    let(stage.step_at, at)
    if _complete(stage):
        entered(stage, mem, max(at + 1, now(stage.room_at)))
    stage.row_t += 1
    if stage.row_t == stage.time_in:
        stage.row_t = 0
        stage.row_step += 1
        last_row = stage.row == stage.height - 1
        if stage.row_step == (stage.row_steps if last_row else stage.row_steps - stage.row_merge):
            stage.row_step = 0
            stage.row = 0 if last_row else stage.row + 1


@jit
def _complete(stage: Record) -> Flag:
    """Does a row of kernel positions leave window_row with its next step?"""
    step = stage.row_step
    own = step >= stage.row_lead and (step - stage.row_lead) % stage.row_every == 0
    late = stage.row > 0 and step < stage.row_merge and (stage.row_merge - 1 - step) % stage.row_every == 0
    return own or late


@jit
def _ready(stage: Record, mem: Array) -> Flag:
    """It is known from when on the next word can enter: `_from` says it."""
    if not stage.rowed:
        return _room(stage, mem, stage.written)
    while True:
        if _complete(stage) and not _room(stage, mem, stage.written):
            return False
        if stage.row_step < stage.row_takes:
            return True
        _step(stage, mem, _from(stage))


@jit
def _from(stage: Record) -> Times:
    """When the next word can enter: the ring, or window_row, whose last row has left or leaves now."""
    if stage.rowed:
        return max(now(stage.step_at) + 1, now(stage.wrote_at))
    return max(now(stage.wrote_at) + 1, now(stage.room_at))


@jit
def _enter(stage: Record, mem: Array, at: Times) -> None:
    """The next word enters at `at`."""
    if stage.rowed:
        put(mem, stage.fed + (stage.fed_words & stage.fed_mask), at)
        _step(stage, mem, at)
    else:
        entered(stage, mem, at)
    stage.fed_words += 1


@jit
def write(stage: Record, above: Record, mem: Array) -> Flag:
    before, rows = stage.fed_words, stage.written
    while _ready(stage, mem) and stage.fed_words < above.pushes:
        _enter(stage, mem, max(queued(above, mem, stage.fed_words), _from(stage)))
    return stage.fed_words > before or stage.written > rows


@jit
def write_plain(stage: Record, mem: Array, ends: Record, source: Array, in_at: Array) -> Flag:
    before, rows = stage.fed_words, stage.written
    while _ready(stage, mem) and ends.beats < len(in_at):
        at = max(_offer(ends, source), _from(stage))
        _enter(stage, mem, at)
        _accept(ends, in_at, at)
    return stage.fed_words > before or stage.written > rows


@jit
def write_axi(stage: Record, mem: Array, ends: Record, source: Array, in_at: Array) -> Times:
    """axis_in: beats are split into units (ratio_in to one), units joined to pixels (ratio_out to one)."""
    rows = stage.written
    moved = False
    while _ready(stage, mem) and (ends.beats < len(in_at) or ends.unit % ends.ratio_in):
        first = ends.unit % ends.ratio_in == 0  # of its beat
        if ends.ratio_in > 1:
            if first:
                # the split word is free from the cycle in which its last unit leaves
                _accept(ends, in_at, max(_offer(ends, source), now(ends.unit_at)))
            seen = max(now(ends.beat_at), now(ends.unit_at)) + 1
        else:
            seen = _offer(ends, source)
        keep = ends.unit < ends.keep
        if ends.ratio_out > 1:
            at = max(seen, now(ends.pixel_at))  # the joined pixel must have left
            if keep:
                ends.part += 1
                if ends.part == ends.ratio_out:
                    ends.part = 0
                    left = max(at + 1, _from(stage))
                    _enter(stage, mem, left)
                    let(ends.pixel_at, left)
        else:
            at = max(seen, _from(stage) if keep or stage.rowed else now(stage.room_at))
            if keep:
                _enter(stage, mem, at)
        let(ends.unit_at, at)
        ends.unit = ends.unit + 1 if ends.unit + 1 < ends.units else 0
        if ends.ratio_in == 1:
            _accept(ends, in_at, at)
        moved = True
    return moved or stage.written > rows


@jit
def write_events(stage: Record, mem: Array, ends: Record, walks: Array, source: Array, in_at: Array) -> Flag:
    """axis_events, by the law of intake.py; what it knows of an event is twice the frames that leave before it counts,
    and 1 more if it is its recording's last."""
    before, rows, moved = stage.fed_words, stage.written, False
    while True:
        if ends.walked < ends.pixels:
            if not _ready(stage, mem):
                break
            left = max(now(ends.moved_at) + 1, now(ends.pixel_at))
            at = max(left + 1, _from(stage))
            _enter(stage, mem, at)
            let(ends.moved_at, left)
            let(ends.pixel_at, at)
            ends.walked += 1
        elif ends.due > 0:
            swapped = max(now(ends.asked_at), now(ends.moved_at)) + 1
            let(ends.swapped_at, swapped)
            let(ends.moved_at, max(swapped + 2, now(ends.pixel_at)))  # the first pixel is read
            ends.walked = 0
            ends.due -= 1
        elif ends.waiting:
            counted = max(now(ends.beat_at), now(ends.swapped_at)) + 1
            let(ends.counted_at, counted)
            let(ends.asked_at, counted)
            ends.waiting = 0
            ends.due = pick(get(walks, ends.events + ends.beats - 1), 0) & 1
        elif ends.beats < len(in_at):
            at = max(_offer(ends, source), now(ends.counted_at))
            _accept(ends, in_at, at)
            let(ends.asked_at, at)
            ends.waiting = 1
            ends.due = pick(get(walks, ends.events + ends.beats - 1), 0) >> 1
        else:
            break
        moved = True
    return moved or stage.fed_words > before or stage.written > rows


# --- the read-out -----------------------------------------------------------------------------------------------------


@jit
def read_out(
    stage: Record,
    above: Record,
    mem: Array,
    walks: Array,
    ends: Record,
    source: Array,
    sink: Array,
    in_at: Array,
    out_at: Array,
) -> Times:
    """The scheduler, array, arg-max and axis_out; `above` is the record itself where the read-out stands alone."""
    moved = False
    alone = stage.first == 1
    while (ends.beats < len(in_at)) if alone else (stage.fed_words < above.pushes):
        if alone:
            at = max(_offer(ends, source), now(stage.room_at))
            _accept(ends, in_at, at)
        else:
            at = max(queued(above, mem, stage.fed_words), now(stage.room_at), now(stage.wrote_at) + 1)
        entered(stage, mem, at)
        stage.fed_words += 1
        left = _events(stage, mem, walks, at) if stage.event else _list(stage, mem, max(at + 1, now(stage.left_at)))
        if stage.written % stage.words == 0:
            taken = formed(stage, mem, left, now(ends.image_at) + 1)
            logits = taken + (stage.classes + 1)
            frame = stage.written // stage.words - 1
            if ends.entry == EVENTS and pick(get(walks, ends.told + frame), 0) == 0:
                let(ends.image_at, taken + stage.classes)  # the sums turn once, and stay
            elif ends.entry != PLAIN:
                loaded = max(logits, now(ends.given_at))
                let(ends.image_at, loaded)
                for _ in range(stage.classes + 1):
                    _take(ends, sink, loaded + 1, out_at)
            else:
                let(ends.image_at, _take(ends, sink, logits, out_at))
        moved = True
    return moved


@jit
def _list(stage: Record, mem: Array, start: Times) -> Times:
    """synapse_list: a word's steps, from X of the first; returns L of the last."""
    if flows(stage, start + 1):
        let(stage.room_at, start + (stage.steps - 1))
        let(stage.left_at, start + stage.steps)
        count_flow(stage, start + 1, stage.steps)
        return start + stage.steps
    left = start
    for _ in range(stage.steps):
        let(stage.room_at, left)
        left = enabled(stage, mem, left + 1)
        count(stage, now(stage.room_at) + 1, left)
    let(stage.left_at, left)
    return left


@jit
def _events(stage: Record, mem: Array, walks: Array, at: Times) -> Times:
    """synapse_word: the banks take a word that is not dropped when they are done with the one before, which makes room
    for the next; its steps pass a queue of two. Returns L of the last."""
    steps = get(walks, stage.walks + stage.loaded)
    stage.loaded += 1
    begun = max(at + 1, now(stage.x1))
    let(stage.room_at, where(steps > 0, begun, now(stage.room_at)))
    x1, before, left_at = now(stage.x1), now(stage.left_before), now(stage.left_at)
    first = max(begun, before) + 1
    start = max(first, left_at)
    if flows(stage, start + 1):  # from the second step on the queue holds one: a step enters as the one before leaves
        left = start + steps
        count_flow(stage, start + 1, steps)
        let(stage.x1, where(steps > 1, left - 1, where(steps > 0, first, x1)))
        let(stage.left_before, where(steps > 1, left - 1, where(steps > 0, left_at, before)))
        let(stage.left_at, where(steps > 0, left, left_at))
        return now(stage.left_at)
    entered = begun
    for i in range(1, most(steps) + 1):
        there = steps >= i
        entered = max(entered, before) + 1
        seen = max(entered, left_at) + 1
        left = enabled(stage, mem, seen)
        count_some(stage, there, seen, left)
        x1 = where(there, entered, x1)
        before, left_at = where(there, left_at, before), where(there, left, left_at)
    let(stage.x1, x1)
    let(stage.left_before, before)
    let(stage.left_at, left_at)
    return left_at
