"""Times of words and of what leaves a chain: the ends, the way into a stage's ring, pack, pools, FIFO, read-out."""

from __future__ import annotations

from scaflow.hw.timing.array import enabled, formed
from scaflow.hw.timing.records import count, jit
from scaflow.hw.timing.results import queued

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
def drain(stage, mem, ends, sink, out_at):
    """A spiking stage alone: the sink empties its FIFO."""
    moved = ends.drained < stage.pushes
    while ends.drained < stage.pushes:
        at = _take(ends, sink, queued(stage, mem, ends.drained), out_at)
        mem[stage.popped + (ends.drained & stage.popped_mask)] = at
        ends.drained += 1
    return moved


# --- the words' way in ----------------------------------------------------------------------------------------------


@jit
def _room(stage, mem, word):
    """The cycle from which `word` has a place in the ring; -1 while not known.

    A list stage's ring holds `depth` words, and the window's last beat frees what lies before the next row of windows.
    An event stage's ring holds `depth` rows, and the first window of a row, leaving its queue, frees those above it.
    """
    place = word // (stage.width * stage.time_in) if stage.event else word
    while stage.room_line <= place - stage.depth:
        if stage.room_row == stage.rows_done:
            return -1
        stage.room_at = mem[stage.rows + (stage.room_row & stage.rows_mask)] + 1
        if stage.event:
            stage.room_at += 1  # in_ready is a register
            image, row = divmod(stage.room_row, stage.out_h)
            stage.room_line = image * stage.height + row * stage.stride - stage.padding
            stage.room_row += 1
        else:
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
def write(stage, above, mem):
    moved = False
    while stage.written < above.pushes:
        room = _room(stage, mem, stage.written)
        if room < 0:
            break
        seen = queued(above, mem, stage.written)
        _put(stage, mem, max(seen, stage.wrote_at + 1, room))
        moved = True
    return moved


@jit
def write_plain(stage, mem, ends, source, in_at):
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
def write_axi(stage, mem, ends, source, in_at):
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


# --- the read-out -----------------------------------------------------------------------------------------------------


@jit
def read_out(stage, above, mem, ends, source, sink, in_at, out_at):
    """synapse_list, array, arg-max and axis_out; `above` is the record itself where the read-out stands alone."""
    moved = False
    alone = stage.first == 1
    while (ends.beats < len(in_at)) if alone else (stage.written < above.pushes):
        seen = _offer(ends, source) if alone else queued(above, mem, stage.written)
        at = max(seen, stage.x1)
        if alone:
            _accept(ends, in_at, at)
        _put(stage, mem, at)
        start = max(at + 1, stage.left_at)
        left = start
        for _ in range(stage.steps):
            stage.x1 = left
            left = enabled(stage, mem, left + 1)
            count(stage, stage.x1 + 1, left)
        stage.left_at = left
        if stage.written % stage.words == 0:
            taken = formed(stage, mem, left, ends.image_at + 1)
            logits = taken + stage.classes + 1
            if ends.axi:
                ends.image_at = max(logits, ends.given_at)
                for _ in range(stage.classes + 1):
                    _take(ends, sink, ends.image_at + 1, out_at)
            else:
                ends.image_at = _take(ends, sink, logits, out_at)
        moved = True
    return moved
