"""direct_pe against its twin: all spikes of a pixel at once, of pixels and patterns, with folds and without."""

import numpy as np

from scaflow.quant.golden.direct_pe import DirectPe
from scaflow.quant.golden.mac_array import part_bits, words
from scaflow.sim.suite import RtlSuite

PIXELS = 40
LONGEST = 9  # steps of a window


def shape(pe, simd, in_bits, depth, folds, time_steps, weight_bits, seed=0, lookup=0, places=1):
    rng = np.random.default_rng(seed)
    top = 1 << (weight_bits - 1)
    each = part_bits(in_bits, lookup, places) if lookup else 0
    depth <<= places * each
    acc = top * simd * LONGEST * (1 << each * lookup if lookup else (1 << in_bits) - 1)
    acc_bits = acc.bit_length() + 1
    # levels where sums are, the first step's highest; some neurons never fire, some always do
    levels = -np.sort(-rng.integers(-acc // 4, acc // 4, (folds, time_steps, pe)), 1)
    levels[rng.random((folds, time_steps, pe)) < 0.1] = acc // 8
    levels = np.minimum.accumulate(levels, 1)
    levels[:, :, rng.random(pe) < 0.1] = (1 << (acc_bits - 1)) - 1
    levels[:, -1, rng.random(pe) < 0.1] = -(1 << (acc_bits - 1)) - 1
    return DirectPe(
        pe, simd, in_bits, lookup, places, depth, folds, time_steps, weight_bits, acc_bits,
        rng.integers(-top, top, (simd, depth, pe)), levels.reshape(folds, -1),
    )  # fmt: skip


class TestDirectPe(RtlSuite):
    stem = "direct_pe"
    directed = (
        shape(8, 1, 8, 18, 1, 4, 4),
        shape(3, 4, 4, 36, 3, 7, 5),
        shape(5, 2, 2, 6, 2, 2, 6, lookup=1),  # patterns
        shape(12, 1, 1, 1, 1, 6, 2),  # windows of a step, sums of few bits: levels are often met exactly
        shape(1, 3, 8, 9, 9, 3, 3),
        shape(4, 1, 8, 9, 2, 1, 4),
        shape(4, 1, 24, 3, 1, 4, 5, lookup=3, places=3),  # patterns of three pixels, in parts of 3 bits of each
        shape(1, 17, 1, 16385, 2, 3, 2),  # banks in segments: a credit is out for 17 cycles
    )
    mutants = (
        ("0, MIDDLE, 1'b0)", "0, MIDDLE, 1'b1)", 3),  # a sum that is its level fires
        ("MIDDLE, HIGH, above_1[k][p])", "MIDDLE, HIGH, 1'b0)", 1),  # the lowest bits do not count
        ("HIGH, BITS, above_2[k][p])", "HIGH, BITS, 1'b0)"),
        ("level[fold_1]", "level[fold]", 1),  # a level of another fold
        ("level[fold_2]", "level[fold_1]", 1),
        ("F_BITS'(FOLDS - 1)", "F_BITS'(FOLDS - 2)", 1),
        ("BITS'($signed(acc[p])) ^ SIGN", "BITS'(acc[p]) ^ SIGN"),
        ("(t + 1) % (k + 1) == 0", "t % (k + 1) == 0"),
        ("(t + 1) % (k + 1) == 0", "t == k"),  # a neuron fires once
        (" && (k == 0 || !reached_3[k==0?0:k-1][p])", "", 3),  # it fires with a step before its first spike
        ("returned || credits > (spent ? 1 : 0)", "1'b1", 3),  # results pile up beyond the FIFO
        ("spent = mac_valid && mac_ready && last", "spent = mac_valid && mac_ready"),
    )

    def draw(self, rng):
        lookup = rng.choice([0, 0, 1])
        return shape(
            rng.randint(1, 6), rng.randint(1, 6), rng.choice([2, 4]) if lookup else rng.choice([1, 2, 8]),
            rng.randint(1, 40), rng.randint(1, 4), rng.randint(1, 7), rng.randint(2, 8), rng.randrange(1000), lookup,
        )  # fmt: skip

    def beats(self, cfg, rng):
        act_bits, end_bit = cfg.simd * cfg.in_bits, cfg.simd * (cfg.in_bits + cfg.addr_bits)
        beats = []
        short = cfg.depth in (1, 16385)  # a result a cycle, until the queue is full where the sink pauses
        for _ in range(cfg.folds * {1: 800, 16385: 100}.get(cfg.depth, PIXELS)):
            for _ in range(1 if short else rng.randint(1, LONGEST)):
                step = rng.getrandbits(act_bits)
                for lane in range(cfg.simd):
                    step |= rng.randrange(words(cfg)) << (act_bits + lane * cfg.addr_bits)
                beats.append(step)
            beats[-1] |= 1 << end_bit
        return beats

    def cycles(self, cfg, beats):
        """One cycle a synapse step, and the latencies of the parts."""
        more = (cfg.in_bits > 1 or cfg.lookup > 0) + 2 * (cfg.depth > 16384)
        return len(beats) + 3 + (cfg.simd * max(1, cfg.lookup) - 1).bit_length() + more + 5
