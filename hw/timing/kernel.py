"""The recurrences of the exact clock, compiled: when each token of a chain of stages passes each handshake.

A token is a word (pixel and step), a window's fold, a result, an image; its time is the clock cycle, counted from
reset, at whose end valid and ready meet. Every time is a maximum over times of the same token further up (plus the
registers between) and of older tokens further down (room). So tokens can be taken in any order that knows these:
`advance` goes round the processes, and each goes on until it needs a time that is not known yet.

A record is a stage, or a neuron, a join, a fork between stages (links.py). A stage has two processes, which share its
record and its rings of times in `mem`:
    write      words enter the ring (W) when there is a word, a cycle has passed and the windows have left a row
    schedule   windows become synapse steps, which enter the scheduler's output register (X) and leave it (L); results
               leave their queue (R), words the pack, the pools, and enter the FIFO (P)
An event stage has `scan` before `schedule`; in a first layer `repeat` does what comes behind L. The read-out is a
process of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from scaflow.hw import compiled
from scaflow.hw.timing.events import scan
from scaflow.hw.timing.lanes import Array, Record
from scaflow.hw.timing.links import fork, join, neuron
from scaflow.hw.timing.records import EVENTS, FORK, IMAGES, JOIN, LAYER, NEURON, READOUT
from scaflow.hw.timing.results import repeat
from scaflow.hw.timing.steps import schedule
from scaflow.hw.timing.words import drain, read_out, write, write_axi, write_events, write_plain


def _advance(sources: str) -> Callable[..., None]:
    """`advance`, kept on disk between runs. numba renews what it keeps when this file changes; that `sources` is in the
    function makes it do so when one of the others does."""

    @compiled.cached(_nrt=False)
    def advance(
        stages: Record,
        pools: Record,
        mem: Array,
        tables: Array,
        ends: Record,
        walks: Array,
        source: Array,
        sink: Array,
        in_at: Array,
        out_at: Array,
    ) -> None:
        """Take every token of the chain as far as the `len(in_at)` input beats reach; the records keep the state.

        Args:
            stages, pools, mem, tables, ends: records and rings, see layout.py.
            walks: what the event stages' banks hold of each window, see `walks.bank_walks`; and what is told of events.
            source, sink: int64 [lanes, 2 + period]: the period of a pattern, the cycle of it that is the times' origin,
                and for each cycle how many until it is next open; or [lanes, 0]: always open.
            in_at, out_at: where the times of input and output beats go.
        """
        moved = sources != ""
        while moved:
            moved = False
            for k in range(len(stages)):
                stage, above = stages[k], stages[stages[k].above]
                taken = ends.drained if stage.below < 0 else stages[stage.below].fed_words
                if stage.kind == READOUT:
                    moved |= read_out(stage, above, mem, walks, ends, source, sink, in_at, out_at)
                elif stage.kind == NEURON:
                    moved |= neuron(stage, above, pools, mem, tables, taken)
                elif stage.kind == JOIN:
                    moved |= join(stage, above, stages[stage.other], pools, mem, tables, taken)
                elif stage.kind == FORK:
                    moved |= fork(stage, stages, mem)
                if stage.kind != LAYER:
                    continue
                if not stage.first:
                    moved |= write(stage, above, mem)
                elif ends.entry == IMAGES:
                    moved |= write_axi(stage, mem, ends, source, in_at)
                elif ends.entry == EVENTS:
                    moved |= write_events(stage, mem, ends, walks, source, in_at)
                else:
                    moved |= write_plain(stage, mem, ends, source, in_at)
                if stage.event:
                    moved |= scan(stage, mem)
                moved |= schedule(stage, pools, mem, tables, walks, taken)
                if stage.direct:
                    moved |= repeat(stage, pools, mem, tables, taken)
                if stage.below < 0:
                    moved |= drain(stage, mem, ends, sink, out_at)

    return advance


_texts = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
advance = _advance(hashlib.sha256(_texts).hexdigest())
