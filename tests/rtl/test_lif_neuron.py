"""lif_neuron: currents in, spikes out, a beat a cycle; behind current_pe it is what lif_pe is."""

from __future__ import annotations

import random

import numpy as np

from scaflow.quant.golden.beats import pack
from scaflow.quant.golden.lif_neuron import LifNeuron
from scaflow.quant.golden.lif_update import ZERO
from scaflow.sim.rtl import Run
from scaflow.sim.suite import RtlSuite

PIXELS = 60
CREDITS = 16


def shape(
    pe: int, folds: int, time_steps: int, acc_bits: int, fraction_bits: int, leak_shift: int, soft_reset: int,
    seed: int = 0, decay: tuple[int, int] = (1, 0), back: bool = False, pixels: int = 0,
) -> LifNeuron:  # fmt: skip
    reach = 1 << (acc_bits - 1 + fraction_bits)
    rng = np.random.default_rng(seed)
    bias = rng.integers(-reach // 4, reach // 4 + 1, size=(folds, pe))
    threshold = rng.integers(1, reach, size=(folds, pe))
    v_bits = ((reach + reach // 4) * (PIXELS if pixels else time_steps) + reach).bit_length() + 1
    return LifNeuron(
        pe, folds, time_steps, acc_bits, v_bits, fraction_bits, leak_shift, soft_reset, bias, threshold, *decay,
        threshold - rng.integers(1, reach, size=(folds, pe)) if back else ZERO, pixels,
    )  # fmt: skip


class TestLifNeuron(RtlSuite):
    stem = "lif_neuron"
    directed = (
        shape(4, 3, 4, 8, 3, 1, 0),
        shape(5, 1, 4, 6, 2, 2, 1),
        shape(3, 2, 1, 9, 0, 0, 0),
        shape(9, 1, 1, 5, 2, 0, 0),
        shape(3, 2, 1, 6, 2, 0, 0, decay=(115, 7), back=True, pixels=5),  # frames
    )
    mutants = (
        ("in_ready <= returned || credits > (spent ? 1 : 0)", "in_ready <= 1'b1"),  # spikes pile up beyond the FIFO
        ("CREDITS = 16", "CREDITS = 5"),  # a credit is out for longer: the law sees it
        ("spent != returned", "spent"),  # it does not come back
        (".in_valid(spent)", ".in_valid(in_valid)"),  # a beat that waits is taken again and again
        (".FOLDS(FOLDS)", ".FOLDS(1)"),
        (".TIME_STEPS(TIME_STEPS)", ".TIME_STEPS(1)"),
        (".LEAK_SHIFT(LEAK_SHIFT)", ".LEAK_SHIFT(0)"),
        (".SOFT_RESET(SOFT_RESET)", ".SOFT_RESET(0)", 1),
        (".FRACTION_BITS(FRACTION_BITS)", ".FRACTION_BITS(0)"),
        (".DECAY_FACTOR(DECAY_FACTOR)", ".DECAY_FACTOR(1)", 4),
        (".DECAY_SHIFT(DECAY_SHIFT)", ".DECAY_SHIFT(8)", 4),
        (", .V_RESET_FILE(V_RESET_FILE)", "", 4),
        (".MAP_PIXELS(MAP_PIXELS)", ".MAP_PIXELS(4)", 4),
    )

    def draw(self, rng: random.Random) -> LifNeuron:
        return shape(
            rng.randint(1, 8), rng.randint(1, 5), rng.randint(1, 6), rng.randint(2, 12), rng.randint(0, 6),
            rng.randint(0, 3), rng.randint(0, 1), rng.randrange(1000),
        )  # fmt: skip

    def beats(self, cfg: LifNeuron, rng: random.Random) -> list[int]:
        low, high = -(1 << (cfg.acc_bits - 1)), (1 << (cfg.acc_bits - 1)) - 1
        # V_BITS holds u - threshold: the bound of the first step
        low = max(low, -(((1 << (cfg.v_bits - 1)) + int((cfg.bias - cfg.threshold).min())) >> cfg.fraction_bits))
        return [
            pack([rng.choice([low, high, rng.randint(low, high), rng.randint(0, high)]) for _ in range(cfg.pe)],
                 cfg.acc_bits) | (cfg.map_pixels > 0 and rng.random() < 0.4) << cfg.pe * cfg.acc_bits
            for _ in range(cfg.folds * cfg.time_steps * PIXELS)
        ]  # fmt: skip

    def held(self, cfg: LifNeuron, run: Run) -> None:
        """No more beats are inside than there are credits."""
        assert all(taken > left for taken, left in zip(run.in_at[CREDITS:], run.out_at, strict=False))

    def cycles(self, cfg: LifNeuron, beats: list[int]) -> int:
        return len(beats) + 4 + 1
