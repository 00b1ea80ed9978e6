"""readout: exact logits, the lowest class on a tie, images back to back."""

import numpy as np

from scaflow.quant.golden.beats import ceil_div
from scaflow.quant.golden.readout import Readout
from scaflow.sim.suite import RtlSuite

IMAGES = 6


def shape(channels, classes, simd, groups, pixels, time_steps, weight_bits, tie=False, seed=0):
    rng = np.random.default_rng(seed)
    top = 1 << (weight_bits - 1)
    weights = rng.integers(-top, top, size=(simd, pixels * len(groups), classes))
    bias = rng.integers(-30, 30, size=(1, classes))
    if tie:  # all classes alike: the first one wins
        weights[:], bias[:] = weights[:, :, :1], bias[:, :1]
    logit_bits = (top * simd * len(groups) * pixels * time_steps + 30).bit_length() + 1
    return Readout(
        channels, classes, simd, len(groups), pixels, time_steps, weight_bits, logit_bits,
        np.array(groups).reshape(-1, 1), weights, bias,
    )  # fmt: skip


class TestReadout(RtlSuite):
    stem = "readout"
    directed = (
        shape(16, 10, 4, [0, 1, 3], 5, 4, 8),
        shape(6, 3, 1, [0, 1, 2, 3, 4, 5], 4, 1, 4, tie=True),
        shape(9, 10, 8, [0, 1], 1, 1, 3),  # images come faster than the arg-max takes them
    )
    mutants = (
        ("index == '0 || $signed(candidate) >", "index == '0 || $signed(candidate) >="),  # the highest index on a tie
        ("sum_data[c] + bias[0][c]", "sum_data[c]"),  # no bias
        ("!searching && !out_valid;", "!searching;"),  # ready dropped
        ("{last_pixel && last_t, pixel, in_data}", "{last_t, pixel, in_data}"),  # ends at the first pixel
    )

    def draw(self, rng):
        channels, simd = rng.randint(1, 24), rng.randint(1, 8)
        groups = ceil_div(channels, simd)
        kept = sorted(rng.sample(range(groups), rng.randint(1, groups)))
        return shape(
            channels, rng.randint(2, 11), simd, kept, rng.randint(1, 9), rng.randint(1, 5), rng.randint(2, 8),
            rng.random() < 0.2, rng.randrange(1000),
        )  # fmt: skip

    def beats(self, cfg, rng):
        return [rng.getrandbits(cfg.channels) for _ in range(cfg.pixels * cfg.time_steps * IMAGES)]

    def cycles(self, cfg, beats):
        """Interval: the walk, or the arg-max; then what the last image takes from its last step to its logits."""
        walk = cfg.pixels * cfg.time_steps * cfg.steps
        to_sum = 1 + walk + 1 + 3 + (cfg.simd - 1).bit_length()
        return to_sum + (IMAGES - 1) * max(walk, cfg.classes + 2) + cfg.classes + 1
