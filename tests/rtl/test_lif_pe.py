"""lif_pe: synapse steps in, spikes out; the parts work together, a cycle a step."""

import numpy as np

from scaflow.quant.golden.beats import ceil_div
from scaflow.quant.golden.lif_pe import LifPe
from scaflow.quant.golden.lif_update import ZERO
from scaflow.quant.golden.mac_array import part_bits, words
from scaflow.sim.suite import RtlSuite

PIXELS = 12
LONGEST = 9  # steps of a window


def shape(
    pe, simd, in_bits, depth, folds, time_steps, weight_bits, leak, soft, seed=0, neurons=None, lookup=0, places=1,
    decay=(1, 0), back=False, pixels=0,
):  # fmt: skip
    neurons = neurons or pe
    rows = folds * ceil_div(pe, neurons)
    rng = np.random.default_rng(seed)
    top, fraction = 1 << (weight_bits - 1), 3
    each = part_bits(in_bits, lookup, places) if lookup else 0
    depth <<= places * each
    acc = top * simd * LONGEST * (1 << each * lookup if lookup else (1 << in_bits) - 1)
    v_bits = ((acc << fraction) * (2 * (PIXELS if pixels else time_steps) + 1)).bit_length() + 1
    typical = (top << (each * lookup if lookup else in_bits) << fraction) * 2
    bias = rng.integers(-typical // 4, typical // 2, (rows, neurons))
    threshold = rng.integers(1, typical, (rows, neurons))
    return LifPe(
        pe, neurons, simd, in_bits, lookup, places, depth, folds, time_steps,
        int(in_bits > 1 and not lookup and not pixels),
        weight_bits, acc.bit_length() + 1, v_bits, fraction, leak, soft,
        rng.integers(-top, top, size=(simd, depth, pe)), bias, threshold, *decay,
        threshold - rng.integers(1, typical, threshold.shape) if back else ZERO, pixels,
    )  # fmt: skip


class TestLifPe(RtlSuite):
    stem = "lif_pe"
    directed = (
        shape(3, 4, 1, 36, 2, 4, 4, 1, 0),
        shape(4, 1, 8, 18, 2, 3, 8, 1, 0),  # first layer: direct coding
        shape(2, 8, 1, 1, 1, 2, 3, 0, 1),  # one weight a bank
        shape(6, 1, 8, 25, 1, 1, 3, 0, 0),  # one time step, pixels with few weights
        shape(5, 2, 1, 30, 3, 1, 4, 0, 1),
        shape(7, 2, 1, 36, 2, 4, 4, 1, 0, neurons=2),  # narrow: a round has a neuron to spare
        shape(5, 1, 8, 25, 2, 3, 3, 1, 1, neurons=2),
        shape(12, 1, 1, 18, 1, 2, 4, 1, 0, neurons=1),  # rounds take longer than any window
        shape(6, 1, 1, 18, 1, 1, 4, 0, 0, neurons=3),
        shape(5, 2, 4, 6, 2, 3, 6, 1, 0, lookup=1),  # patterns
        shape(4, 2, 16, 3, 2, 3, 5, 1, 1, lookup=4, places=2),  # of two pixels, in parts of 2 bits of each
        shape(5, 1, 1, 18, 2, 4, 4, 0, 0, neurons=2, decay=(230, 8), back=True),  # narrow, with levels of a reset
        shape(3, 1, 4, 18, 2, 3, 4, 0, 2, decay=(5, 3)),  # a delayed one, of a first layer
        shape(5, 2, 1, 18, 2, 1, 4, 2, 0, neurons=2, pixels=4),  # frames
        shape(4, 1, 4, 18, 1, 1, 4, 0, 1, pixels=3, decay=(230, 8)),  # of pixels of 4 bits
        shape(1, 17, 1, 16385, 2, 3, 2, 0, 0),  # banks in segments: a credit is out for 17 cycles
    )
    mutants = (
        # a repetition is lost
        ("repeat_ready = current_ready && (granted || !last);", "repeat_ready = current_ready;", 1),
        ("(returned || credits > (spent ? 1 : 0)) &&", "", 1),  # results pile up beyond the FIFO
        (".FOLDS(FOLDS * ROUNDS), .TIME_STEPS(TIME_STEPS), ", ".FOLDS(ROUNDS), .TIME_STEPS(TIME_STEPS), "),
        (".FOLDS(FOLDS * ROUNDS), .TIME_STEPS(TIME_STEPS), ", ".FOLDS(FOLDS), .TIME_STEPS(TIME_STEPS), ", 5),
        (".FOLDS(FOLDS * ROUNDS), .TIME_STEPS(TIME_STEPS)\n", ".FOLDS(FOLDS), .TIME_STEPS(TIME_STEPS)\n", 6),
        ("spent = current_valid && current_ready && last", "spent = current_valid && current_ready", 6),
        ("last = turn == ($clog2(ROUNDS))'(ROUNDS - 1)", "last = turn == '0", 6),  # a result has room too early
        ("spent ? behind == '0 :", "spent ? 1'b1 :", 7),  # a third result begins while two are to be served
        ("behind <= BITS'(ROUNDS);", "behind <= BITS'(ROUNDS + 1);", 7),  # one comes a cycle too early
        ("behind <= BITS'(ROUNDS);", "behind <= BITS'(ROUNDS - 1);", 5),  # or too late
        ("behind + BITS'(ROUNDS - 1)", "behind + BITS'(ROUNDS)", 7),
        ("acc_valid || waiting", "acc_valid", 7),  # a sum that has to wait is lost
        (".out_ready(current_valid && current_ready && last_round)", ".out_ready(current_valid)", 13),
        ("round <= last_round ? '0 : round", "round <= round", 13),  # five rounds, of three
        (".MAP_PIXELS(MAP_PIXELS)", ".MAP_PIXELS(MAP_PIXELS + 1)", 14),
        (".DECAY_FACTOR(DECAY_FACTOR)", ".DECAY_FACTOR(1)", 12),
        (", .V_RESET_FILE(V_RESET_FILE)", "", 11),
        ("acc_ready = 1'b1", "acc_ready = sum_ready", 8),  # the array stands still meanwhile
    )

    def draw(self, rng):
        pe = rng.randint(1, 5)
        return shape(
            pe, rng.randint(1, 6), rng.choice([1, 1, 8]), rng.randint(1, 90), rng.randint(1, 3),
            rng.randint(1, 4), rng.randint(2, 8), rng.randint(0, 3), rng.randint(0, 1), rng.randrange(1000),
            rng.randint(1, pe), decay=rng.choice([(1, 0), (rng.randint(0, 255), 8)]), back=False,
        )  # fmt: skip

    def beats(self, cfg, rng):
        act_bits, end_bit = cfg.simd * cfg.in_bits, cfg.simd * (cfg.in_bits + cfg.addr_bits)
        beats = []
        for _ in range(PIXELS * cfg.folds * (1 if cfg.direct else cfg.time_steps)):
            for _ in range(rng.randint(1, LONGEST) if cfg.depth <= 16384 else 1):
                step = rng.getrandbits(act_bits)
                for lane in range(cfg.simd):
                    step |= rng.randrange(words(cfg)) << (act_bits + lane * cfg.addr_bits)
                beats.append(step)
            beats[-1] |= (1 | (cfg.map_pixels and rng.random() < 0.4) << 1) << end_bit
        return beats

    def cycles(self, cfg, beats):
        """One cycle a synapse step, and the latencies of the parts; narrow, a result waits while another is served."""
        if cfg.direct:
            return None  # windows here may be shorter than T: their law is that of whole stages
        ends = [i + 1 for i, beat in enumerate(beats) if beat >> cfg.simd * (cfg.in_bits + cfg.addr_bits)]
        # the cycles in which a result's last step is taken, and in which its sums would be served
        last, begun = 0, -cfg.rounds
        for steps in np.diff(ends, prepend=0).tolist():
            last = max(last + steps, begun + 1)
            begun = max(last, begun + cfg.rounds)
        narrow = cfg.rounds + 1 if cfg.rounds > 1 else 0
        array = 3 + (cfg.simd * max(1, cfg.lookup) - 1).bit_length() + (cfg.in_bits > 1) + 2 * (cfg.depth > 16384)
        return begun + array + 4 + 1 + narrow
