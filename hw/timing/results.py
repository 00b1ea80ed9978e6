"""Times of results: out of the queue that credits stand for (R), into words, through pools, into the FIFO (P)."""

from __future__ import annotations

from scaflow.hw.timing.lanes import Array, Flag, Record, Times, get, let, now, put, where
from scaflow.hw.timing.records import HEAD, SHALLOW, jit


@jit
def blocked(stage: Record, mem: Array, taken: int) -> Flag:
    """The next result completes a word, and it is not known when the FIFO has room for it, or stream_width, whose words
    are taken as far as there is room.

    taken: words that are known to have left the FIFO.
    """
    while stage.unsaid > 0 and stage.pushes - taken < stage.fifo:
        push(stage, mem, now(stage.push_at) + 1)
        stage.unsaid -= 1
    return stage.part == stage.packs - 1 and (stage.unsaid > 0 or stage.pushes - taken >= stage.fifo)


@jit
def repeat(stage: Record, pools: Record, mem: Array, tables: Array, taken: int) -> Flag:
    """stream_repeat: each packet of currents time_out times; a repetition needs a credit, for its last round, and the
    first one its current too."""
    at, result = now(stage.repeat_at), now(stage.result_at)
    before = stage.issued
    while not blocked(stage, mem, taken):
        start = at + 1
        if stage.repetition < stage.folds:
            current = stage.packets * stage.folds + stage.repetition
            if current >= stage.sums:
                break
            start = max(start, get(mem, stage.accepted + (current & stage.accepted_mask)) + 1)
        at = max(start + (stage.rounds - 1), granted(stage, mem))
        result = returned(stage, pools, mem, tables, at + stage.narrow, result)
        stage.repetition += 1
        if stage.repetition == stage.folds * stage.time_out:
            put(mem, stage.freed + (stage.packets & stage.freed_mask), at)
            stage.packets += 1
            stage.repetition = 0
    let(stage.repeat_at, at)
    let(stage.result_at, result)
    return stage.issued > before


@jit
def granted(stage: Record, mem: Array) -> Times:
    """The cycle from which there is a credit for the next result."""
    return get(mem, stage.returned + (stage.issued & stage.returned_mask)) + 1


@jit
def begins(stage: Record, mem: Array) -> Times:
    """The cycle from which the last step of the next result is taken: there is a credit, and of the results before it
    all but one are served, or will be when the sums come."""
    return max(granted(stage, mem), now(stage.served_at) + 1)


@jit
def served(stage: Record, left: Times) -> Times:
    """A result's last step left at `left`: the cycle in which its sums have been through the update's first stage, and
    narrow the spikes through the change of width."""
    at = max(left, now(stage.served_at) + stage.rounds)
    let(stage.served_at, at)
    return at + (stage.array + stage.narrow * (stage.rounds + 1))


@jit
def returned(stage: Record, pools: Record, mem: Array, tables: Array, at: Times, before: Times) -> Times:
    """R of the next result, whose currents enter the update at `at`; `before`: R of the last one. Its word, if it
    completes one, goes on."""
    result = max(at + stage.update, before + 1)
    stage.part += 1
    if stage.bare:
        stage.part = 0
        push(stage, mem, max(result, now(stage.push_at) + 1))
        result = now(stage.push_at)
    elif stage.part == stage.packs:
        stage.part = 0
        result = max(result, now(stage.word_at))
        let(stage.word_at, pass_on(stage, pools, mem, tables, result + 1))
    put(mem, stage.returned + (stage.issued & stage.returned_mask), result)
    stage.issued += 1
    return result


@jit
def pass_on(stage: Record, pools: Record, mem: Array, tables: Array, seen: Times) -> Times:
    """A word seen from `seen` on goes through the pools into the FIFO; returns when the first of them takes it.

    A pool holds a beat and its output; it takes the next where the output is empty or just leaving. d1, d2: when its
    last output but one and its last were taken, c: when the last moved to the output.
    """
    first = seen
    for i in range(stage.pool, stage.pool + stage.pools):
        pool = pools[i]
        at = max(seen, now(pool.beat_at) + 1, now(pool.d1))
        at = where(at > now(pool.c), max(at, now(pool.d2)), at)
        let(pool.beat_at, at)
        if i == stage.pool:
            first = at
        else:
            let(pools[i - 1].d2, at)
        ends = tables[pool.ends + pool.place]
        pool.place = pool.place + 1 if pool.place + 1 < pool.beats else 0
        if not ends:
            return first
        moved = max(at + 1, now(pool.d2))
        let(pool.c, moved)
        let(pool.d1, now(pool.d2))
        seen = moved + 1
    if stage.parts == 1:
        push(stage, mem, max(seen, now(stage.push_at) + 1))
    else:  # stream_width takes it as the last word of the pixel before leaves; its own follow
        let(stage.push_at, max(seen, now(stage.push_at)))
        stage.unsaid = stage.parts
    if stage.pools:
        let(pools[stage.pool + stage.pools - 1].d2, now(stage.push_at))
        return first
    return now(stage.push_at)


@jit
def push(stage: Record, mem: Array, at: Times) -> None:
    """The FIFO takes a word, where there is room from `at` on."""
    if stage.pushes >= stage.fifo:
        at = max(at, get(mem, stage.popped + ((stage.pushes - stage.fifo) & stage.popped_mask)) + 1)
    put(mem, stage.pushed + (stage.pushes & stage.pushed_mask), at)
    stage.pushes += 1
    let(stage.push_at, at)


@jit
def queued(stage: Record, mem: Array, word: int) -> Times:
    """The cycle from which a word is seen at the end of the FIFO, once the word before it is known to have left.

    A deep queue stores a word behind its head unless the head takes it at once; it fetches it as soon as the head has a
    place for it, which takes two cycles more.
    """
    pushed = get(mem, stage.pushed + (word & stage.pushed_mask))
    if stage.fifo <= SHALLOW:
        return pushed + 1
    fetched = now(stage.fetch_at)
    later = max(pushed + 1, fetched + 1)
    at_once = fetched <= pushed - 3
    if word >= HEAD:
        place = get(mem, stage.popped + ((word - HEAD) & stage.popped_mask)) + 1
        later = max(later, place)
        at_once = at_once & (place <= pushed)
    let(stage.fetch_at, where(at_once, fetched, later))
    return where(at_once, pushed + 1, later + 3)
