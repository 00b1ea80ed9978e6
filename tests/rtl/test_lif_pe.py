"""lif_pe: synapse steps in, spikes out; the parts work together, a cycle a step."""

import numpy as np

from scaflow.quant.golden.lif_pe import LifPe
from scaflow.sim.suite import RtlSuite

PIXELS = 12
LONGEST = 9  # steps of a window


def shape(pe, simd, in_bits, depth, folds, time_steps, weight_bits, leak, soft, seed=0):
    rng = np.random.default_rng(seed)
    top, fraction = 1 << (weight_bits - 1), 3
    acc = top * simd * LONGEST * ((1 << in_bits) - 1)
    v_bits = ((acc << fraction) * (2 * time_steps + 1)).bit_length() + 1
    typical = (top << in_bits << fraction) * 2
    return LifPe(
        pe, simd, in_bits, depth, folds, time_steps, int(in_bits > 1), weight_bits,
        acc.bit_length() + 1, v_bits, fraction, leak, soft, rng.integers(-top, top, size=(simd, depth, pe)),
        rng.integers(-typical // 4, typical // 2, size=(folds, pe)), rng.integers(1, typical, size=(folds, pe)),
    )  # fmt: skip


class TestLifPe(RtlSuite):
    stem = "lif_pe"
    directed = (
        shape(3, 4, 1, 36, 2, 4, 4, 1, 0),
        shape(4, 1, 8, 18, 2, 3, 8, 1, 0),  # first layer: direct coding
        shape(2, 8, 1, 1, 1, 2, 3, 0, 1),  # one weight a bank
        shape(6, 1, 8, 25, 1, 1, 3, 0, 0),  # one time step, pixels with few weights
        shape(5, 2, 1, 30, 3, 1, 4, 0, 1),
    )
    mutants = (
        ("repeat_ready = current_ready && granted;", "repeat_ready = current_ready;", 1),  # a repetition is lost
        ("granted <= returned || credits > (spent ? 1 : 0);", "granted <= 1'b1;", 1),  # results pile up beyond the FIFO
        (".FOLDS(FOLDS), .TIME_STEPS(TIME_STEPS), .ACC_BITS", ".FOLDS(1), .TIME_STEPS(TIME_STEPS), .ACC_BITS"),
    )

    def draw(self, rng):
        return shape(
            rng.randint(1, 5), rng.randint(1, 6), rng.choice([1, 1, 8]), rng.randint(1, 90), rng.randint(1, 3),
            rng.randint(1, 4), rng.randint(2, 8), rng.randint(0, 3), rng.randint(0, 1), rng.randrange(1000),
        )  # fmt: skip

    def beats(self, cfg, rng):
        act_bits, end_bit = cfg.simd * cfg.in_bits, cfg.simd * (cfg.in_bits + cfg.addr_bits)
        beats = []
        for _ in range(PIXELS * cfg.folds * (1 if cfg.direct else cfg.time_steps)):
            for _ in range(rng.randint(1, LONGEST)):
                step = rng.getrandbits(act_bits)
                for lane in range(cfg.simd):
                    step |= rng.randrange(cfg.depth) << (act_bits + lane * cfg.addr_bits)
                beats.append(step)
            beats[-1] |= 1 << end_bit
        return beats

    def cycles(self, cfg, beats):
        """One cycle a synapse step, and the latencies of the parts."""
        if cfg.direct:
            return None  # windows here may be shorter than T: their law is that of whole stages
        return len(beats) + 3 + (cfg.simd - 1).bit_length() + 4 + 1
