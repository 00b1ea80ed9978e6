"""synapse_list: the list is walked for every beat, and nothing else is."""

import numpy as np

from scaflow.quant.golden.beats import address_bits, ceil_div
from scaflow.quant.golden.synapse_list import SynapseList
from scaflow.sim.suite import RtlSuite


def shape(channels, simd, in_bits, kernel, folds, groups):
    return SynapseList(channels, simd, in_bits, kernel, folds, len(groups), np.array(groups).reshape(-1, 1))


def windows(cfg, rng, count=40):
    """Beats of `count` windows, each with some of the kernel positions, rising."""
    word_bits, k_bits = cfg.channels * cfg.in_bits, address_bits(cfg.kernel)
    beats = []
    for _ in range(count):
        ks = sorted(rng.sample(range(cfg.kernel), rng.randint(1, cfg.kernel)))
        beats += [
            rng.getrandbits(word_bits) | k << word_bits | (k == ks[-1]) << (word_bits + k_bits) for k in ks
        ]
    return beats


class TestSynapseList(RtlSuite):
    stem = "synapse_list"
    directed = (
        shape(20, 8, 1, 9, 3, [0, 2]),  # a partial list, channels that do not fill the last group
        shape(24, 4, 1, 4, 2, [0, 1, 2, 3, 4, 5]),  # the full list: the dense schedule
        shape(2, 1, 8, 9, 1, [1]),  # pixels, one step a beat
    )
    mutants = (
        ("word[list[step]]", "word[step]"),  # the list ignored
        ("!busy || (enable && done)", "!busy || done"),  # takes the next word while stalled
        ("last && done", "last"),  # ends the window at its first step
        ("fold_base + addr_t'(KERNEL * STEPS)", "fold_base"),  # folds share weights
    )

    def draw(self, rng):
        channels, simd = rng.randint(1, 40), rng.randint(1, 9)
        groups = ceil_div(channels, simd)
        kept = sorted(rng.sample(range(groups), rng.randint(1, groups)))
        return shape(channels, simd, rng.choice([1, 1, 8]), rng.randint(1, 10), rng.randint(1, 4), kept)

    def beats(self, cfg, rng):
        return windows(cfg, rng)

    def cycles(self, cfg, beats):
        return 2 + len(beats) * cfg.steps
