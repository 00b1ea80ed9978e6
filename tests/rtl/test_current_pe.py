"""current_pe: synapse steps in, sums out; it is lif_pe with the four cycles of its update taken out."""

from __future__ import annotations

import random

import numpy as np
import pytest

from scaflow.quant.golden.current_pe import CurrentPe, current_pe
from scaflow.quant.golden.lif_neuron import LifNeuron, lif_neuron
from scaflow.quant.golden.lif_pe import LifPe, lif_pe
from scaflow.quant.golden.mac_array import part_bits, words
from scaflow.sim.rtl import simulate
from scaflow.sim.suite import PATIENCE, RtlSuite

PIXELS = 12
LONGEST = 9  # steps of a window


def shape(
    pe: int, simd: int, in_bits: int, depth: int, folds: int, time_steps: int, weight_bits: int, seed: int = 0,
    lookup: int = 0, places: int = 1, direct: int | None = None,
) -> CurrentPe:  # fmt: skip
    top = 1 << (weight_bits - 1)
    each = part_bits(in_bits, lookup, places) if lookup else 0
    depth <<= places * each
    acc = top * simd * LONGEST * (1 << each * lookup if lookup else (1 << in_bits) - 1)
    direct = int(in_bits > 1 and not lookup) if direct is None else direct
    weights = np.random.default_rng(seed).integers(-top, top, size=(simd, depth, pe))
    return CurrentPe(
        pe, simd, in_bits, lookup, places, depth, folds, time_steps, direct, weight_bits, acc.bit_length() + 1, weights
    )


SHAPES = (
    shape(3, 4, 1, 36, 2, 4, 4),
    shape(4, 1, 8, 18, 2, 3, 8),  # first layer: direct coding
    shape(2, 8, 1, 1, 1, 2, 3),  # one weight a bank, and windows of a step: credits run out
    shape(5, 2, 4, 6, 2, 3, 6, lookup=1),  # patterns
    shape(3, 2, 2, 20, 3, 2, 4, direct=0),  # spikes of two bits
)


def windows(cfg: CurrentPe, rng: random.Random) -> list[int]:
    act_bits, end_bit = cfg.simd * cfg.in_bits, cfg.simd * (cfg.in_bits + cfg.addr_bits)
    pixels, longest = (20 * PIXELS, 1) if cfg.depth == 1 else (PIXELS, LONGEST)
    beats = []
    for _ in range(pixels * cfg.folds * (1 if cfg.direct else cfg.time_steps)):
        for _ in range(rng.randint(1, longest)):
            step = rng.getrandbits(act_bits)
            for lane in range(cfg.simd):
                step |= rng.randrange(words(cfg)) << (act_bits + lane * cfg.addr_bits)
            beats.append(step)
        beats[-1] |= 1 << end_bit
    return beats


def neurons(cfg: CurrentPe) -> tuple[LifPe, LifNeuron]:
    """lif_pe with the array of `cfg`, and its neurons alone."""
    rng = np.random.default_rng(cfg.pe)
    fraction = 3
    v_bits = cfg.acc_bits + fraction + cfg.time_steps.bit_length() + 2
    typical = 1 << (cfg.acc_bits + fraction - 3)
    bias = rng.integers(-typical // 4, typical // 2, (cfg.folds, cfg.pe))
    threshold = rng.integers(1, typical, (cfg.folds, cfg.pe))
    array = (cfg.simd, cfg.in_bits, cfg.lookup, cfg.places, cfg.depth, cfg.folds, cfg.time_steps, cfg.direct)
    whole = LifPe(
        cfg.pe, cfg.pe, *array, cfg.weight_bits, cfg.acc_bits, v_bits, fraction, 1, 0, cfg.weights, bias, threshold
    )
    return whole, LifNeuron(cfg.pe, cfg.folds, cfg.time_steps, cfg.acc_bits, v_bits, fraction, 1, 0, bias, threshold)


class TestCurrentPe(RtlSuite):
    stem = "current_pe"
    directed = SHAPES
    mutants = (
        ("granted <= returned || credits > (spent ? 1 : 0)", "granted <= 1'b1", 1),  # sums pile up beyond the FIFO
        ("granted <= returned || credits > (spent ? 1 : 0)", "granted <= 1'b1", 2),
        ("(spent ? 1 : 0)", "(spent ? 12 : 0)", 2),  # credits are there and are not given: a bubble
        ("repeat_valid && granted", "repeat_valid", 1),  # a sum is given twice
        (".out_ready(granted)", ".out_ready(1'b1)", 1),  # or lost
        ("spent = mac_valid && mac_ready && last", "spent = mac_valid && mac_ready"),
        ("mac_valid = in_valid && (granted || !last)", "mac_valid = in_valid", 2),
        ("in_ready = mac_ready && (granted || !last)", "in_ready = mac_ready", 2),
        (".FOLDS(FOLDS), .TIME_STEPS(TIME_STEPS)\n", ".FOLDS(1), .TIME_STEPS(TIME_STEPS)\n", 1),
        (".LOOKUP(LOOKUP)", ".LOOKUP(0)", 3),
    )

    def draw(self, rng: random.Random) -> CurrentPe:
        return shape(
            rng.randint(1, 5), rng.randint(1, 6), rng.choice([1, 1, 8]), rng.randint(1, 90), rng.randint(1, 3),
            rng.randint(1, 4), rng.randint(2, 8), rng.randrange(1000),
        )  # fmt: skip

    def beats(self, cfg: CurrentPe, rng: random.Random) -> list[int]:
        return windows(cfg, rng)

    def cycles(self, cfg: CurrentPe, beats: list[int]) -> int | None:
        if cfg.direct:
            return None  # windows here may be shorter than T: test_the_cycles_are_those_of_lif_pe
        multiplied = cfg.in_bits > 1 or cfg.lookup > 0
        return len(beats) + 3 + (cfg.simd * max(1, cfg.lookup) - 1).bit_length() + multiplied + 1


@pytest.mark.rtl
@pytest.mark.parametrize("cfg", SHAPES[:4], ids=["coded", "direct", "short", "patterns"])
def test_the_cycles_are_those_of_lif_pe(cfg: CurrentPe) -> None:
    """Each step is taken in the same cycle, each sum comes four cycles before the spikes of it."""
    beats, whole = windows(cfg, random.Random(5)), neurons(cfg)[0]
    options = {"expect": len(current_pe(cfg, beats)), "patience": PATIENCE}
    ours, theirs = simulate("current_pe", cfg, beats, **options), simulate("lif_pe", whole, beats, **options)
    assert ours.in_at == theirs.in_at
    assert [at + 4 for at in ours.out_at] == theirs.out_at


@pytest.mark.parametrize("cfg", SHAPES, ids=range(len(SHAPES)))
def test_neurons_behind_it_are_lif_pe(cfg: CurrentPe) -> None:
    """Of the twins; each module is held against its own."""
    beats = windows(cfg, random.Random(6))
    whole, neuron = neurons(cfg)
    spikes = lif_pe(whole, beats)
    assert lif_neuron(neuron, current_pe(cfg, beats)) == spikes
    assert 0 < sum(map(int.bit_count, spikes)) < len(spikes) * cfg.pe
