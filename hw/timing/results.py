"""Times of results: out of the queue that credits stand for (R), into words, through pools, into the FIFO (P)."""

from __future__ import annotations

from scaflow.hw.timing.records import CREDITS, HEAD, NEVER, SHALLOW, UPDATE, jit


@jit
def blocked(stage, taken):
    """The next result completes a word, and it is not known when the FIFO has room for it.

    taken: words that are known to have left the FIFO.
    """
    return stage.part == stage.folds - 1 and stage.pushes - taken >= stage.fifo


@jit
def repeat(stage, pools, mem, taken):
    """stream_repeat: each packet of currents time_out times; a repetition needs a credit, the first its current too."""
    at, result = stage.repeat_at, stage.result_at
    before = stage.issued
    while not blocked(stage, taken):
        at += 1
        if stage.repetition < stage.folds:
            current = stage.packets * stage.folds + stage.repetition
            if current >= stage.sums:
                break
            at = max(at, mem[stage.accepted + (current & stage.accepted_mask)] + 1)
        at = max(at, granted(stage, mem))
        result = returned(stage, pools, mem, at, result)
        stage.repeat_at, stage.result_at = at, result
        stage.repetition += 1
        if stage.repetition == stage.folds * stage.time_out:
            mem[stage.freed + (stage.packets & stage.freed_mask)] = at
            stage.packets += 1
            stage.repetition = 0
    return stage.issued > before


@jit
def granted(stage, mem):
    """The cycle from which there is a credit for the next result."""
    return mem[stage.returned + (stage.issued & (CREDITS - 1))] + 1


@jit
def returned(stage, pools, mem, at, before):
    """R of the next result, whose current enters the update at `at`; `before`: R of the last one. Its word, if it
    completes one, goes on."""
    result = max(at + UPDATE, before + 1)
    stage.part += 1
    if stage.part == stage.folds:
        stage.part = 0
        result = max(result, stage.word_at)
        stage.word_at = _pass_on(stage, pools, mem, result + 1)
    mem[stage.returned + (stage.issued & (CREDITS - 1))] = result
    stage.issued += 1
    return result


@jit
def _pass_on(stage, pools, mem, seen):
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


@jit
def queued(stage, mem, word):
    """The cycle from which a word is seen at the end of the FIFO, once the word before it is known to have left.

    A deep queue stores a word behind its head unless the head takes it at once; it fetches it as soon as the head has a
    place for it, which takes two cycles more.
    """
    pushed = mem[stage.pushed + (word & stage.pushed_mask)]
    if stage.fifo <= SHALLOW:
        return pushed + 1
    place = NEVER
    if word >= HEAD:
        place = mem[stage.popped + ((word - HEAD) & stage.popped_mask)] + 1
    if stage.fetch_at <= pushed - 3 and place <= pushed:
        return pushed + 1
    stage.fetch_at = max(pushed + 1, stage.fetch_at + 1, place)
    return stage.fetch_at + 3
