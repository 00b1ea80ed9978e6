"""mac_array: exact sums at the extremes of weights and activations, one beat a cycle."""

import random
from dataclasses import replace

import numpy as np

from scaflow.quant.golden.mac_array import MacArray, mac_array, words
from scaflow.sim.suite import RtlSuite

BEATS = 600
LONGEST = 9  # beats a window


def shape(pe, simd, in_bits, weight_bits, depth, seed=0):
    top = (1 << (weight_bits - 1)) - 1
    rng = np.random.default_rng(seed)
    weights = rng.integers(-top - 1, top + 1, size=(simd, depth, pe))
    weights[0, 0] = top  # both ends occur
    weights[-1, -1] = -top - 1
    reach = (top + 1) * ((1 << in_bits) - 1) * simd * LONGEST
    return MacArray(pe, simd, in_bits, 0, 1, weight_bits, reach.bit_length() + 1, depth, weights)


def patterns(pe, simd, in_bits, weight_bits, words, seed=0, parts=1, places=1):
    """Where activations are patterns of spikes, or of `places` numbers: any weights, but zero for none of them."""
    each = -(-in_bits // places // parts)
    whole = shape(pe, simd, places * each, weight_bits, words << places * each, seed)
    whole.weights[:, :: 1 << places * each] = 0
    acc_bits = (LONGEST * simd << weight_bits + parts * each).bit_length() + 1
    return replace(whole, in_bits=in_bits, lookup=parts, places=places, acc_bits=acc_bits)


def late(cfg):
    """Cycles more: a register behind each segment of 16,384 words, and one behind each choice of one in eight."""
    left, cycles = -(-cfg.depth // 16384), 0
    while left > 1:
        left, cycles = -(-left // 8), cycles + 1
    return cycles + (cycles > 0)


class TestMacArray(RtlSuite):
    stem = "mac_array"
    directed = (
        shape(6, 8, 1, 4, 40),
        shape(1, 1, 1, 2, 1),
        shape(5, 3, 8, 8, 10),  # pixels
        shape(16, 1, 8, 4, 25),  # pixels, and every weight that picks a multiple
        shape(3, 2, 8, 2, 7),
        shape(9, 1, 8, 3, 40),
        shape(4, 5, 1, 3, 77),
        patterns(5, 2, 3, 7, 6),
        patterns(3, 1, 6, 5, 1),
        shape(5, 1, 1, 4, 1100),  # a bank in columns
        patterns(3, 2, 6, 6, 70),
        patterns(5, 1, 24, 7, 3, parts=3, places=3),  # three pixels of 8 bits, by 3, 3 and 2 bits of each
        patterns(3, 3, 10, 4, 5, parts=2, places=2),
        patterns(2, 2, 8, 5, 2, parts=8),
        shape(2, 2, 1, 3, 33000),  # in three segments, the last of which has 232 words
        shape(1, 1, 8, 2, 9 * 16384 + 1),  # one of eight is chosen twice
        patterns(1, 2, 8, 2, 2 * 4096, parts=2),  # parts choose from segments of their own
    )
    mutants = (
        ("in_ready = enable", "in_ready = 1'b1"),  # ready dropped
        ("if (enable && ends) acc <= '0;", "if (!rst_n) acc <= '0;"),  # windows run together
        ("{-once, -(once << 1)", "{-once, once << 1", 3),  # the highest bit loses its sign
        ("2'(weight[p]) & BELOW", "2'(weight[p])", 4),  # a bit counts twice
        ("act ? word : '0", "word"),  # spikes ignored
        ("ACC_BITS'($signed(node[1][p]))", "ACC_BITS'(node[1][p])"),  # sign lost
        ("INDEX_BITS'({addr, part[j]})", "INDEX_BITS'(addr)", 7),  # another pattern's sum
        ("<< (PART * PART_BITS)", "<< PART", 11),  # a part counts for less
        ("int bit_of = i % (IN_BITS / PLACES)", "int bit_of = i / PLACES", 11),  # bits of another pixel
        ("read[b][j][FIRST+:BITS] <= column", "read[b][j][FIRST+:BITS] <= ~column", 9),
        ("REST <= 2048 ? 9", "REST <= 2048 ? 8", 9),  # not the columns that there are files of
        ("pick[v-1] >> 3 : pick[0]", "pick[v-1] : pick[0]", 15),  # the second choice repeats the first
        ("from[n][3'(pick[v])]", "from[n][3'(pick[0])]", 14),  # the segment of the step after
        ("= beside[CHOOSING]", "= beside[0]", 14),  # the activation of a step before
        ("if (enable && ends) out_data", "if (enable) out_data"),  # a sum goes before the next one comes
    )

    def draw(self, rng):
        sides = rng.randint(1, 9), rng.randint(1, 9)
        if rng.random() < 0.3:
            bits, count, seed = rng.randint(2, 8), rng.randint(1, 5), rng.randrange(1000)
            if rng.random() < 0.5:
                return patterns(*sides, rng.randint(1, 5), bits, count, seed)
            of_number, places = rng.randint(2, 8), rng.randint(1, 3)
            parts = rng.randint(-(-of_number // 3), of_number)
            return patterns(*sides, of_number * places, bits, count, seed, parts, places)
        return shape(*sides, rng.choice([1, 1, 1, 8]), rng.randint(2, 8), rng.randint(1, 80), rng.randrange(1000))

    def beats(self, cfg, rng):
        return [self._beat(cfg, rng, i) for i in range(BEATS)]

    def _beat(self, cfg, rng: random.Random, i):
        act_bits = cfg.simd * cfg.in_bits
        acts = rng.choice([rng.getrandbits(act_bits), (1 << act_bits) - 1])
        addrs = sum(rng.randrange(words(cfg)) << (lane * cfg.addr_bits) for lane in range(cfg.simd))
        last = i == BEATS - 1 or i % LONGEST == LONGEST - 1 or rng.random() < 0.25
        return acts | addrs << act_bits | last << (act_bits + cfg.simd * cfg.addr_bits)

    def probes(self, cfg, beats):
        return {"out_data": mac_array(cfg, beats)[-1]}

    def cycles(self, cfg, beats):
        levels = (cfg.simd * max(1, cfg.lookup) - 1).bit_length()
        return len(beats) + 3 + levels + (cfg.in_bits > 1 or cfg.lookup > 0) + late(cfg)
