"""spike_pack against its twin."""

from __future__ import annotations

import random

from scaflow.quant.golden.spike_pack import SpikePack
from scaflow.sim.suite import RtlSuite


class TestSpikePack(RtlSuite):
    stem = "spike_pack"
    directed = (
        SpikePack(pe=4, folds=3, channels=12, steps=1),
        SpikePack(pe=4, folds=3, channels=10, steps=1),  # the last fold is not full
        SpikePack(pe=4, folds=2, channels=13, steps=1),  # pruned channels, in dense shape
        SpikePack(pe=5, folds=1, channels=5, steps=1),
        SpikePack(pe=1, folds=6, channels=6, steps=1),
        SpikePack(pe=8, folds=1, channels=3, steps=1),
        SpikePack(pe=3, folds=3, channels=8, steps=4),  # time steps side by side
        SpikePack(pe=3, folds=1, channels=5, steps=2),
    )
    mutants = (
        ("in_ready = !last || !out_valid || out_ready", "in_ready = 1'b1"),
        ("in_ready = !last || !out_valid || out_ready", "in_ready = !out_valid"),
        ("{in_data[t*PE+:PE], parts[t]}", "{parts[t], in_data[t*PE+:PE]}"),
        ("in_data[t*PE+:PE], parts", "in_data[0+:PE], parts", 6),  # every step is the first one
        ("FOLD_BITS'(FOLDS - 1)", "FOLD_BITS'(FOLDS - 2)"),
        ("else if (out_ready) out_valid", "else out_valid"),
    )

    def draw(self, rng: random.Random) -> SpikePack:
        pe, folds = rng.randint(1, 20), rng.randint(1, 9)
        channels = max(1, pe * folds + rng.randint(-pe, pe))
        return SpikePack(pe=pe, folds=folds, channels=channels, steps=rng.choice([1, 1, 3]))

    def beats(self, cfg: SpikePack, rng: random.Random) -> list[int]:
        return [rng.getrandbits(cfg.steps * cfg.pe) for _ in range(200 * cfg.folds)]

    def cycles(self, cfg: SpikePack, beats: list[int]) -> int:
        return len(beats) + 1
