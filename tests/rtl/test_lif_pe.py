"""lif_pe: windows in, spikes out; the parts work together, and a synapse that is not listed costs no cycle."""

import numpy as np

from scaflow.quant.golden.beats import address_bits, ceil_div
from scaflow.quant.golden.lif_pe import LifPe
from scaflow.sim.suite import RtlSuite

PIXELS = 12


def shape(channels, pe, simd, in_bits, kernel, folds, groups, time_steps, weight_bits, leak, soft, seed=0):
    rng = np.random.default_rng(seed)
    top, steps, fraction = 1 << (weight_bits - 1), len(groups), 3
    acc = top * simd * steps * kernel * ((1 << in_bits) - 1)
    v_bits = ((acc << fraction) * (2 * time_steps + 1)).bit_length() + 1
    typical = (top << in_bits << fraction) * 2
    return LifPe(
        channels, pe, simd, in_bits, kernel, folds, steps, time_steps, int(in_bits > 1), weight_bits,
        acc.bit_length() + 1, v_bits, fraction, leak, soft,
        np.array(groups).reshape(-1, 1), rng.integers(-top, top, size=(simd, folds * kernel * steps, pe)),
        rng.integers(-typical // 4, typical // 2, size=(folds, pe)), rng.integers(1, typical, size=(folds, pe)),
    )  # fmt: skip


class TestLifPe(RtlSuite):
    stem = "lif_pe"
    directed = (
        shape(10, 3, 4, 1, 9, 2, [0, 2], 4, 4, 1, 0),
        shape(1, 4, 1, 8, 9, 2, [0], 3, 8, 1, 0),  # first layer: direct coding
        shape(8, 2, 8, 1, 1, 1, [0], 2, 3, 0, 1),  # one step a window
    )
    mutants = (
        ("repeat_ready = current_ready && granted;", "repeat_ready = current_ready;"),  # a repetition is lost
        ("assign granted = credits != '0;", "assign granted = 1'b1;"),  # results pile up beyond the FIFO
        ("FOLDS * KERNEL * STEPS;", "KERNEL * STEPS;"),  # folds share a memory
    )

    def draw(self, rng):
        channels, simd = rng.randint(1, 20), rng.randint(1, 6)
        groups = ceil_div(channels, simd)
        kept = sorted(rng.sample(range(groups), rng.randint(1, groups)))
        return shape(
            channels, rng.randint(1, 5), simd, rng.choice([1, 1, 8]), rng.randint(1, 9), rng.randint(1, 3), kept,
            rng.randint(1, 4), rng.randint(2, 8), rng.randint(0, 3), rng.randint(0, 1), rng.randrange(1000),
        )  # fmt: skip

    def beats(self, cfg, rng):
        word_bits, k_bits = cfg.channels * cfg.in_bits, address_bits(cfg.kernel)
        beats = []
        for _ in range(PIXELS * (1 if cfg.direct else cfg.time_steps)):
            ks = sorted(rng.sample(range(cfg.kernel), rng.randint(1, cfg.kernel)))
            word = [rng.getrandbits(word_bits) for _ in ks]
            beats += cfg.folds * [
                w | k << word_bits | (k == ks[-1]) << (word_bits + k_bits) for w, k in zip(word, ks, strict=True)
            ]
        return beats

    def cycles(self, cfg, beats):
        """One cycle a synapse step, and the latencies of the parts."""
        latency = 2 + 3 + (cfg.simd - 1).bit_length() + 4 + 1
        if cfg.direct:
            return None  # windows here may be shorter than T: their law is that of whole stages
        return latency + len(beats) * cfg.steps
