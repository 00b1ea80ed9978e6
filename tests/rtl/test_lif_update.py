"""lif_update: the membrane equation, threshold inclusive, in every reset and leak mode."""

import numpy as np

from scaflow.quant.golden.beats import pack
from scaflow.quant.golden.lif_update import ZERO, LifUpdate
from scaflow.sim.suite import RtlSuite

PIXELS = 60
FRAMES = 12


def shape(
    pe, folds, time_steps, acc_bits, fraction_bits, leak_shift, soft_reset, seed=0, decay=(1, 0), back=False, pixels=0
):
    reach = 1 << (acc_bits - 1 + fraction_bits)
    rng = np.random.default_rng(seed)
    bias = rng.integers(-reach // 4, reach // 4 + 1, size=(folds, pe))
    threshold = rng.integers(1, reach, size=(folds, pe))
    # the longest recording of frames is not longer than it takes to come from one end to the other
    v_bits = ((reach + reach // 4) * (time_steps if not pixels else FRAMES) + reach).bit_length() + 1
    v_reset = rng.integers(-reach // 2, np.maximum(threshold, 1)) if back else ZERO
    return LifUpdate(
        pe, folds, time_steps, acc_bits, v_bits, fraction_bits, leak_shift, soft_reset, bias, threshold, *decay,
        v_reset, pixels,
    )  # fmt: skip


class TestLifUpdate(RtlSuite):
    stem = "lif_update"
    directed = (
        shape(4, 3, 4, 8, 3, 1, 0),
        shape(5, 1, 4, 6, 2, 2, 1),  # one fold: the membrane is a register
        shape(3, 2, 1, 9, 0, 0, 0),  # one time step
        shape(9, 1, 1, 5, 2, 0, 0),  # and one fold: the comparison is with a constant
        shape(6, 3, 1, 3, 0, 0, 1),  # and met exactly
        shape(6, 1, 1, 3, 0, 0, 1),
        # threshold - bias is one more than V_BITS holds
        LifUpdate(2, 1, 1, 5, 7, 2, 0, 0, np.array([[-32, 0]]), np.array([[32, 1]])),
        shape(2, 2, 5, 4, 4, 3, 1),
        shape(6, 4, 3, 3, 0, 1, 0),  # a coarse grid: the threshold is often met exactly
        shape(4, 3, 4, 6, 2, 2, 1),
        shape(3, 2, 4, 6, 1, 1, 0),
        # other neurons: decays of one, three and five digits, and to nothing; a reset to a level; a delayed reset
        shape(4, 1, 5, 6, 2, 0, 0, decay=(205, 12)),
        shape(3, 3, 5, 5, 3, 0, 0, decay=(171, 8), back=True),
        shape(3, 1, 6, 6, 2, 0, 1, decay=(230, 8)),
        shape(2, 4, 6, 6, 1, 0, 1, decay=(0, 4)),
        shape(4, 1, 6, 5, 2, 1, 2),
        shape(3, 2, 6, 5, 2, 0, 2, decay=(13, 4)),
        shape(2, 4, 6, 5, 1, 3, 2),
        shape(3, 2, 5, 5, 2, 2, 0, back=True),
        # frames: maps of any size, recordings of any length, one behind the other
        shape(3, 1, 1, 6, 2, 2, 0, pixels=1),
        shape(2, 1, 1, 6, 2, 0, 1, decay=(230, 8), pixels=2),
        shape(2, 1, 1, 6, 2, 1, 2, pixels=3),
        shape(3, 2, 1, 6, 2, 2, 0, pixels=32),
        shape(2, 1, 1, 6, 1, 1, 1, pixels=65),
        shape(3, 5, 1, 6, 2, 2, 0, pixels=14, back=True),
    )
    mutants = (
        ("ends[WORDS > 2 ? 2 : 3]", "ends[3]", 21),  # a recording ends a beat late
        ("if (!rst_n) first_t <= 1'b1", "if (!rst_n) first_t <= 1'b0", 22),  # the first one finds what is there
        ("(go && last_word) first_t <= last_t", "(go && last_word) first_t <= 1'b0", 22),  # nothing is ever cleared
        ("(go && last_word) first_t", "(go) first_t", 22),  # only a word of the next one is
        ("? last_t : first_t;", "? first_t : first_t;", 19),
        ("ahead <= W_BITS'(3)", "ahead <= W_BITS'(2)", 23),  # membranes come to others
        ("ahead == W_BITS'(WORDS - 1)", "ahead == '1", 23),  # words beyond the last one
        ("if (go) {next, read}", "if (enable) {next, read}", 23),  # a gap in the beats loses a word
        # >= becomes >, where a membrane comes back soon and where it does not
        ("= stepped(held[p], excess_3[p]);\n            spike[p] = !over[V_BITS-1]",
         "= stepped(held[p], excess_3[p]);\n            spike[p] = !over[V_BITS-1] && over != '0", 1),
        ("= u_3[p] - threshold_3[p];\n            spike[p] = !over[V_BITS-1]",
         "= u_3[p] - threshold_3[p];\n            spike[p] = !over[V_BITS-1] && over != '0", 8),
        ("BITS / 2, 1'b0)", "BITS / 2, 1'b1)", 3),  # the same of a constant
        ("$signed(input_2[p]) >= ", "$signed(input_2[p]) > ", 4),  # and of one time step and more folds
        ("BITS / 2, BITS, above_1[p])", "BITS / 2, BITS, 1'b0)", 3),  # the lower half does not count
        ("threshold[0][p] + ~bias", "threshold[0][p] - bias", 3),  # threshold - bias overflows
        ("$signed(v) >>> LEAK_SHIFT", "v >> LEAK_SHIFT", 1),  # the leak loses the sign
        ("product >>> DECAY_SHIFT", "product >> DECAY_SHIFT", 11),  # so does a product
        ("if (MINUS[i])", "if (1'b0)", 12),  # digits below zero do not count
        ("int i = 8;", "int i = 7;", 13),  # nor does that of 256
        ("!SCALED && !DELAYED", "!SCALED", 15),  # half is taken twice
        ("v[p] = decayed(u) -", "v[p] = u -", 15),  # a delayed reset does not decay
        ("DELAYED ? next[p] : decayed(next[p])", "decayed(next[p])", 16),  # or decays what it has taken off, too
        # or takes the threshold off without a spike
        ("decayed(u_3[p]) - (spike[p] ? threshold_3[p] : '0)", "decayed(u_3[p]) - threshold_3[p]", 17),
        ("back_1, v_reset[in_fold]}", "back_1, v_reset[0]}", 12),  # all are reset to where the first fold is
        ("{left[V_BITS-1], left}", "{1'b0, left}"),  # so does half of it
        ("{x, 1'b1}", "{x, 1'b0}", 8),  # half is rounded down
        ("HALVED || LEAK_SHIFT == 0 ? v", "LEAK_SHIFT < 3 ? v", 1),  # nothing leaks
        # a membrane comes back to another neuron
        ("valid[3]) membrane[word_3] <= v;\n        end", "valid[3]) membrane[word] <= v;\n        end"),
        ("in_ready = enable", "in_ready = 1'b1"),  # ready dropped
        ("(go && next_first)", "1'b0"),  # a pixel inherits the membrane of the one before
        ("else if (!spike[p]) v[p] = u;\n            else v[p] = SOFT_RESET == 1 ? over : back[p]",
         "else if (!spike[p]) v[p] = u;\n            else v[p] = back[p]", 1),  # soft reset becomes hard
        ("else if (!spike[p]) v[p] = u_3[p];\n            else v[p] = SOFT_RESET == 1 ? over : back[p]",
         "else if (!spike[p]) v[p] = u_3[p];\n            else v[p] = back[p]", 9),
        ("else if (!spike[p]) v[p] = u_3[p];\n            else v[p] = SOFT_RESET == 1 ? over : back[p]",
         "else if (!spike[p]) v[p] = u_3[p];\n            else v[p] = SOFT_RESET == 1 ? over : '0", 12),  # or one to 0
        ("else if (!spike[p]) v[p] = u;\n            else v[p] = SOFT_RESET == 1 ? over : back[p]",
         "else if (!spike[p]) v[p] = u;\n            else v[p] = SOFT_RESET == 1 ? over : '0", 18),
    )

    def draw(self, rng):
        sizes = rng.randint(1, 8), rng.randint(1, 5), rng.randint(1, 6), rng.randint(2, 12), rng.randint(0, 6)
        pixels = rng.choice([0, 0, rng.randint(1, 5), rng.randint(6, 40)])
        if pixels:
            sizes = (*sizes[:2], 1, *sizes[3:])
        return shape(*sizes, *self.neuron(rng), pixels=pixels)

    @staticmethod
    def neuron(rng):
        """Leak, reset, seed, decay and whether a hard reset is to a level: half of them a leak by a shift alone."""
        reset, seed = rng.randint(0, 2), rng.randrange(1000)
        if rng.random() < 0.5:
            return rng.randint(0, 3), reset, seed
        shift = rng.randint(0, 10)
        decay = rng.choice([(1, 0), (rng.randint(0, min(1 << shift, 255)), shift)])
        return (0 if decay != (1, 0) else rng.randint(0, 3)), reset, seed, decay, reset == 0

    def beats(self, cfg, rng):
        low, high = -(1 << (cfg.acc_bits - 1)), (1 << (cfg.acc_bits - 1)) - 1
        # V_BITS holds u - threshold: the bound of the first step, far below `low` in every shape that integrates
        low = max(low, -(((1 << (cfg.v_bits - 1)) + int((cfg.bias - cfg.threshold).min())) >> cfg.fraction_bits))
        rows = cfg.folds * cfg.time_steps * PIXELS
        if cfg.map_pixels:
            return self.frames(cfg, rng, low, high)
        return [
            pack([rng.choice([low, high, rng.randint(low, high), rng.randint(0, high)]) for _ in range(cfg.pe)],
                 cfg.acc_bits)
            for _ in range(rows)
        ]  # fmt: skip

    @staticmethod
    def frames(cfg, rng, low, high):
        """Recordings of one frame and more, as many as FRAMES at most; the flag tells nothing but in a last beat."""
        words, beats, length = cfg.map_pixels * cfg.folds, [], 0
        for _ in range(max(12, 300 // words)):
            length += 1
            for word in range(words):
                sums = [rng.choice([low, high, rng.randint(low, high), rng.randint(0, high)]) for _ in range(cfg.pe)]
                ends = rng.random() < 0.4 or (word == words - 1 and length == FRAMES)
                beats.append(pack(sums, cfg.acc_bits) | ends << cfg.pe * cfg.acc_bits)
            length = 0 if ends else length
        return beats

    def cycles(self, cfg, beats):
        return len(beats) + 4
