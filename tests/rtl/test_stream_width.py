"""stream_width against its twin."""

from __future__ import annotations

import random

from scaflow.quant.golden.stream_width import StreamWidth
from scaflow.sim.suite import RtlSuite


class TestStreamWidth(RtlSuite):
    stem = "stream_width"
    directed = (
        StreamWidth(in_bits=8, out_bits=8),
        StreamWidth(in_bits=32, out_bits=8),
        StreamWidth(in_bits=8, out_bits=24),
        StreamWidth(in_bits=2, out_bits=1),
        StreamWidth(in_bits=1, out_bits=2),
    )
    mutants = (
        ("in_ready = !full || out_ready;", "in_ready = 1'b1;", 2),
        ("in_ready = !full || (out_ready && last);", "in_ready = !full;", 1),  # a bubble: only the law sees it
        ("{in_data, out_data[OUT_BITS-1:IN_BITS]}", "{out_data[OUT_BITS-IN_BITS-1:0], in_data}", 2),
        ("if (in_ready) word", "if (in_valid) word", 1),
        ("if (full && out_ready) part", "if (full) part", 1),
    )

    def draw(self, rng: random.Random) -> StreamWidth:
        narrow, ratio = rng.randint(1, 40), rng.randint(2, 9)
        bits = (narrow, narrow * ratio) if rng.random() < 0.5 else (narrow * ratio, narrow)
        return StreamWidth(*bits)

    def beats(self, cfg: StreamWidth, rng: random.Random) -> list[int]:
        return [rng.getrandbits(cfg.in_bits) for _ in range(120 * max(1, cfg.out_bits // cfg.in_bits))]

    def cycles(self, cfg: StreamWidth, beats: list[int]) -> int:
        narrow = len(beats) * max(1, cfg.in_bits // cfg.out_bits)
        return narrow if cfg.in_bits == cfg.out_bits else narrow + 1
