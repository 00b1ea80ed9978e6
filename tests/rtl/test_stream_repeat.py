"""stream_repeat against its twin."""

from __future__ import annotations

import random

from scaflow.quant.golden.stream_repeat import StreamRepeat
from scaflow.sim.suite import RtlSuite


class TestStreamRepeat(RtlSuite):
    stem = "stream_repeat"
    directed = (
        StreamRepeat(width=8, folds=4, time_steps=4),
        StreamRepeat(width=8, folds=1, time_steps=4),
        StreamRepeat(width=40, folds=5, time_steps=1),
        StreamRepeat(width=1, folds=1, time_steps=1),
        StreamRepeat(width=9, folds=3, time_steps=2),
    )
    mutants = (
        ("held != COUNT_BITS'(DEPTH)", "held != COUNT_BITS'(DEPTH - 1)", 1),  # slower: the law sees it
        ("held != COUNT_BITS'(DEPTH)", "1'b1"),
        ("held > COUNT_BITS'(fold)", "held >= COUNT_BITS'(fold)"),
        ("TIME_BITS'(TIME_STEPS - 1)", "'0"),
        ("read - ADDR_BITS'(FOLDS - 1)", "read - ADDR_BITS'(FOLDS)"),
        ("pop = out_valid && out_ready", "pop = out_valid"),
    )

    def draw(self, rng: random.Random) -> StreamRepeat:
        return StreamRepeat(width=rng.randint(1, 150), folds=rng.randint(1, 17), time_steps=rng.randint(1, 9))

    def beats(self, cfg: StreamRepeat, rng: random.Random) -> list[int]:
        packets = max(5, 1500 // (cfg.folds * cfg.time_steps))
        return [rng.getrandbits(cfg.width) for _ in range(packets * cfg.folds)]

    def cycles(self, cfg: StreamRepeat, beats: list[int]) -> int:
        return len(beats) * cfg.time_steps + 1
