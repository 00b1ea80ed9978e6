"""stream_fifo against its twin."""

from __future__ import annotations

import random

from scaflow.quant.golden.stream_fifo import StreamFifo
from scaflow.sim.suite import RtlSuite


class TestStreamFifo(RtlSuite):
    stem = "stream_fifo"
    directed = (
        StreamFifo(width=1, depth=2),
        StreamFifo(width=8, depth=3),
        StreamFifo(width=70, depth=16),
        StreamFifo(width=5, depth=65),  # the smallest in block RAM
    )
    mutants = (
        ("in_ready = count_q != FULL", "in_ready = 1'b1"),
        ("if (pop)  read_q  <= read_q  == LAST", "if (pop)  read_q  <= read_q  == LAST - 1'b1"),
        ("pop      = out_valid && out_ready", "pop      = out_valid"),
        ("if (push != pop) count_q", "if (push) count_q"),
        ("behind == '0 && !fetched", "!fetched", 3),  # overtakes what is in the memory
        ("!fetched && !coming && room", "!coming && room", 3),  # overtakes what is on its way
        ("(direct || fetch) != pop", "(direct || coming) != pop", 3),  # too many words in the head
    )

    def draw(self, rng: random.Random) -> StreamFifo:
        return StreamFifo(width=rng.randint(1, 200), depth=rng.choice((rng.randint(2, 40), rng.randint(65, 90))))

    def beats(self, cfg: StreamFifo, rng: random.Random) -> list[int]:
        return [rng.getrandbits(cfg.width) for _ in range(3000)]

    def cycles(self, cfg: StreamFifo, beats: list[int]) -> int:
        return len(beats) + 1
