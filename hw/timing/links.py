"""Times of what lies between stages: forks, joins, and neurons by themselves. Each enters what it takes in `wrote`."""

from __future__ import annotations

from scaflow.hw.timing.lanes import Array, Flag, Record, let, now
from scaflow.hw.timing.records import jit
from scaflow.hw.timing.results import blocked, granted, pass_on, push, queued, returned
from scaflow.hw.timing.words import entered


@jit
def neuron(stage: Record, above: Record, pools: Record, mem: Array, tables: Array, taken: int) -> Flag:
    """lif_neuron takes a beat of currents against a credit."""
    before = stage.fed_words
    while stage.fed_words < above.pushes and not blocked(stage, mem, taken):
        at = max(queued(above, mem, stage.fed_words), granted(stage, mem), now(stage.wrote_at) + 1)
        entered(stage, mem, at)
        stage.fed_words += 1
        let(stage.result_at, returned(stage, pools, mem, tables, at, now(stage.result_at)))
    return stage.fed_words > before


@jit
def join(stage: Record, above: Record, other: Record, pools: Record, mem: Array, tables: Array, taken: int) -> Flag:
    """stream_join takes a beat of each, as the sum before it leaves or has left."""
    before = stage.fed_words
    while stage.fed_words < min(above.pushes, other.pushes) and not blocked(stage, mem, taken):
        there = max(queued(above, mem, stage.fed_words), queued(other, mem, stage.fed_words))
        at = max(there, now(stage.wrote_at) + 1, now(stage.word_at))
        entered(stage, mem, at)
        stage.fed_words += 1
        let(stage.word_at, pass_on(stage, pools, mem, tables, at + 1))
    return stage.fed_words > before


@jit
def fork(stage: Record, stages: Record, mem: Array) -> Flag:
    """stream_fork offers a beat to each of its queues until it has it; the last one lets it go."""
    above = stages[stage.above]
    moved = False
    while True:
        word = stage.fed_words
        if not stage.offered:
            if word == above.pushes:
                return moved
            let(stage.step_at, max(queued(above, mem, word), now(stage.wrote_at) + 1))
            stage.offered = 1
        left, last = 0, now(stage.step_at)
        for k in range(stage.branch, stage.branch + stage.branches):
            branch = stages[k]
            if branch.pushes == word:
                if word - stages[branch.below].fed_words >= branch.fifo:
                    left += 1
                    continue
                push(branch, mem, max(now(stage.step_at), now(branch.push_at) + 1))
                moved = True
            last = max(last, now(branch.push_at))
        if left:
            return moved
        entered(stage, mem, last)
        stage.fed_words += 1
        stage.offered = 0
        moved = True
