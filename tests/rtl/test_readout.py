"""readout: exact logits, the lowest class on a tie, images back to back."""

import numpy as np

from scaflow.quant.golden.readout import Readout
from scaflow.sim.suite import RtlSuite

IMAGES = 6


def shape(classes, simd, depth, weight_bits, longest, tie=False, seed=0, in_bits=1, frames=0, tell_every=0):
    """depth: words that an address tells apart."""
    rng = np.random.default_rng(seed)
    top = 1 << (weight_bits - 1)
    depth = depth << in_bits if in_bits > 1 else depth
    weights = rng.integers(-top, top, size=(simd, depth, classes))
    if in_bits > 1:  # no spike
        weights[:, :: 1 << in_bits] = 0
    bias = rng.integers(-30, 30, size=(1, classes))
    if tie:  # all classes alike: the first one wins
        weights[:], bias[:] = weights[:, :, :1], bias[:, :1]
    logit_bits = ((top * simd * longest + 30) * (IMAGES if frames else 1)).bit_length() + 1
    return Readout(classes, simd, in_bits, depth, weight_bits, logit_bits, weights, bias, frames, tell_every)


class TestReadout(RtlSuite):
    stem = "readout"
    directed = (
        shape(10, 4, 15, 8, 60),
        shape(3, 1, 24, 4, 60, tie=True),
        shape(10, 8, 2, 3, 60),
        shape(4, 2, 7, 5, 60, in_bits=3),  # patterns
        # recordings of any length: told at their ends, after each frame, after every third, too
        shape(10, 2, 16, 5, 60, frames=1),
        shape(2, 1, 15, 5, 60, frames=1, tell_every=1),
        shape(5, 3, 15, 4, 60, frames=1, tell_every=3),
        shape(4, 2, 16, 4, 60, frames=1, tell_every=3, in_bits=2),
        shape(2, 1, 16390, 3, 60),  # a bank in two segments
    )
    mutants = (
        ("> $signed(best)", ">= $signed(best)", 1),  # the highest index on a tie
        ("sum_data[0]) + addend", "sum_data[0])"),  # no bias
        ("(CLASSES) ? '0 : bias", "(CLASSES) ? bias[0][0] : bias"),  # the first class takes one more
        ("(first || ", "("),  # the best of the image before
        ("!searching && !out_valid;", "!searching;"),  # ready dropped
        ("next_begins || next_turn", "next_turn", 4),  # a recording goes on with the sums of the one before
        ("last_turn ? ending : begins", "begins", 4),  # none begins anew
        ("else begins <= next_begins", "else begins <= ending", 4),
        ("if (loads) ending <= coming", "ending <= coming", 4),  # the end of the frame behind
        ("ending || count", "count", 6),  # an end is not told
        ("told ? '0 : count", "count", 5),  # nor are they counted from there
        ("(turn - 1'b1)] <= logit[0]", "(turn)] <= logit[0]", 4),  # sums come to another class
        ("IN_FLIGHT = 5 + $clog2(SIMD)", "IN_FLIGHT = 3", 5),  # too few ends are kept
    )

    def draw(self, rng):
        return shape(
            rng.randint(2, 11), rng.randint(1, 8), rng.randint(1, 40), rng.randint(2, 8), 60,
            rng.random() < 0.2, rng.randrange(1000), rng.choice([1, 1, 2, 4]),
            *rng.choice([(0, 0), (0, 0), (1, 0), (1, rng.randint(1, 5))]),
        )  # fmt: skip

    def beats(self, cfg, rng):
        end_bit, beats = cfg.simd * (cfg.in_bits + cfg.addr_bits), []
        for _ in range(IMAGES * self.length(cfg)):
            step = rng.getrandbits(cfg.simd * cfg.in_bits)
            for lane in range(cfg.simd):
                addr = rng.randrange(cfg.depth >> (cfg.in_bits if cfg.in_bits > 1 else 0))
                step |= addr << (cfg.simd * cfg.in_bits + lane * cfg.addr_bits)
            beats.append(step)
        for image in range(1, IMAGES + 1):
            beats[image * self.length(cfg) - 1] |= 1 << end_bit
        if cfg.frames:  # only those of a frame's last beat are looked at, and the last recording ends
            beats = [beat | rng.randint(0, 1) << end_bit + 1 for beat in beats]
            beats[-1] |= 2 << end_bit
        return beats

    @staticmethod
    def length(cfg):
        """Steps of an image: some images come faster than the arg-max takes them."""
        return (1, 7, 60)[cfg.depth % 3]

    def cycles(self, cfg, beats):
        """Interval: the steps, or the arg-max; then what the last image takes from its last step to its logits."""
        steps = self.length(cfg)
        if cfg.frames and steps < cfg.classes + 2:
            return None  # of frames as short it depends on which are told
        array = 3 + (cfg.simd - 1).bit_length() + (cfg.in_bits > 1) + 2 * (cfg.depth > 16384)
        return steps + (IMAGES - 1) * max(steps, cfg.classes + 2) + array + 1 + cfg.classes
