"""What the area model (hw/area.py) counts in a multiply-accumulate array, which depends on the weights themselves.

Synthesis makes equal bits once: of a bank with few words, and of sums over such banks, there are few different ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scaflow.hw.ram import Family, Ram, rom
from scaflow.quant.golden.beats import ceil_div
from scaflow.quant.golden.mac_array import DEEPEST, PICKED, column_bits, segments

BANK_IN_BLOCK = 32  # a weight bank of more words is kept in block RAM, as mac_array.sv asks


@dataclass(frozen=True)
class Lanes:
    """What is known of the weights in the banks of mac_array, [simd, pe] each."""

    bits: np.ndarray  # that hold every weight of a lane and neuron; 0 where all are zero
    even: np.ndarray  # lowest bits that are zero in all of them; 0 where all are zero
    used: np.ndarray  # the bits that some of them have
    depth: int  # words of a bank
    weights: np.ndarray | None  # [simd, depth, pe]; None where nothing else of them matters

    @classmethod
    def of(cls, weights: np.ndarray) -> Lanes:
        reach, used = reaches(weights)
        return cls.reduced(reach.max(1), np.bitwise_or.reduce(used, axis=1), weights.shape[1], weights)

    @classmethod
    def reduced(cls, reach: np.ndarray, used: np.ndarray, depth: int, weights: np.ndarray | None) -> Lanes:
        """From the `reaches` of the weights of a lane and neuron."""
        bits = np.where(used, np.ceil(np.log2(reach + 1)).astype(np.int64) + 1, 0)
        even = np.where(used, np.log2(np.maximum(used & -used, 1)).astype(np.int64), 0)
        return cls(bits, even, used, depth, weights)

    @property
    def working(self) -> int:
        """Neurons with weights."""
        return int(self.bits.any(0).sum())

    @property
    def lanes(self) -> int:
        """Lanes with weights."""
        return int(self.bits.any(1).sum())


def needs_words(depth: int, scheduler: str) -> bool:
    """Does what a bank takes depend on its words one by one? A segment of a list's holds some of every lane and neuron;
    of events there is room for a power of two, and one may hold none."""
    return depth <= BANK_IN_BLOCK or (depth > DEEPEST and scheduler == "event")


def reaches(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far each weight is from zero, for its bits, and the bits it has; maximum and union tell of several."""
    words = weights.astype(np.int64)
    return np.maximum(words, ~words), words


def array(lanes: Lanes, in_bits: int, weight_bits: int, acc_bits: int, family: Family) -> dict[str, float]:
    """What mac_array's area is a sum over."""
    there = lanes.bits.any(1)  # a lane that stands for no channel is left out
    products, even, depth = lanes.bits[there], lanes.even[there], lanes.depth
    simd, pe = products.shape
    multiplied = in_dsp(in_bits, weight_bits, family)
    picked = in_bits > 1 and not multiplied
    term = weight_bits + in_bits if in_bits > 1 else weight_bits
    if in_bits > 1:
        products = products + (products > 0) * in_bits
    columns = [pe * weight_bits] * simd
    if depth <= BANK_IN_BLOCK and lanes.weights is not None:
        columns = _columns(lanes.weights[there], weight_bits)
    per_lut = 16 if family == "ecp5" else 64
    return {
        **_tree(products, even, columns if in_bits == 1 else products.sum(1)),
        # a DSP of the xc7 also adds, where nothing stands between the product and the accumulator
        "accumulator_bits": 0 if multiplied and simd == 1 and family != "ecp5" else pe * acc_bits,
        "neurons_summed": pe,
        "product_bits": sum(columns),
        "bank_logic": sum(columns) * ceil_div(depth, per_lut) if 1 < depth <= BANK_IN_BLOCK else 0,
        "bank_read": sum(columns) if 1 < depth <= BANK_IN_BLOCK else 0,
        "bank_mux": simd * bank(pe, depth, weight_bits, family).muxed,
        "multiplied_bits": simd * pe * term if multiplied else 0,
        # few-bit weights: multiples of the pixel, once a lane; a pick of one by a weight's highest bits; from 3 bits on
        # a sum with a second pick, which has a choice of more than one from 4 bits on
        "multiple_bits": simd * term if picked else 0,
        "picked_bits": simd * pe * term if picked else 0,
        "picked_sum_bits": simd * pe * term if picked and weight_bits > 2 else 0,
        "low_picked_bits": simd * pe * in_bits if picked and weight_bits > 3 else 0,
        "lanes": simd * in_bits,
        **_choices(simd * pe * weight_bits, depth, family),
    }


def in_dsp(in_bits: int, weight_bits: int, family: Family) -> bool:
    """Is there a product that Yosys puts into a DSP? Weights of fewer bits pick multiples in mac_array.sv.

    For the xc7 products of fewer than 9 bits are logic, about as much of it as picks would be.
    """
    return in_bits > 1 and weight_bits > 4 and (family == "ecp5" or weight_bits + in_bits > 8)


def bank(pe: int, depth: int, weight_bits: int, family: Family, reads: int = 1) -> Ram:
    """A lane's weights, where they are in block RAM; `reads`: parts of a pattern that pick words."""
    if depth <= BANK_IN_BLOCK:
        return Ram()
    whole, rest = divmod(depth, DEEPEST)
    found: Ram = whole * _segment(DEEPEST, pe * weight_bits, family, reads)
    return found + _segment(rest, pe * weight_bits, family, reads) if rest else found


def deep_blocks(lanes: Lanes, weight_bits: int, family: Family, reads: int) -> float:
    """Block RAMs of banks in segments: none for a bit that is zero in all words of a segment."""
    blocks, start = 0.0, 0
    for words in segments(lanes.depth):
        used = lanes.used
        if lanes.weights is not None:
            used = np.bitwise_or.reduce(lanes.weights[:, start : start + words].astype(np.int64), axis=1)
        for width in (used[..., None] >> np.arange(weight_bits) & 1).sum((1, 2)).tolist():
            blocks += _segment(words, width, family, reads).blocks
        start += words
    return blocks


def _segment(words: int, width: int, family: Family, reads: int) -> Ram:
    """Of a bank: in columns that a block RAM is deep enough for."""
    column = column_bits(words, width)
    whole, rest = divmod(width, column) if width else (0, 0)
    block = words > BANK_IN_BLOCK
    columns = whole * rom(family, words, column, block, reads)
    return columns + rom(family, words, rest, block, reads) if rest else columns


def _choices(bits: int, depth: int, family: Family) -> dict[str, float]:
    """LUTs and registers of choosing one segment's word: a LUT chooses from four (two on the ECP5), a multiplexer
    behind it from two of these, and so on up to eight."""
    left, luts, registers = len(segments(depth)), 0, 0
    registers = left if left > 1 else 0
    while left > 1:
        whole, rest = divmod(left, PICKED)
        per_lut = 2 if family == "ecp5" else 4
        luts += whole * PICKED // per_lut + (ceil_div(rest, per_lut) if rest > 1 else 0)
        left = whole + (rest > 0)
        registers += left
    return {"choosing_luts": luts * bits, "choosing_registers": registers * bits}


def _tree(bits: np.ndarray, even: np.ndarray, columns: Sequence[int]) -> dict[str, float]:
    """The adder trees of mac_array: bits in adders, adders, and how many of these bits and of the sums' are different.

    Neurons share what is equal, and a sum over lanes with few words in their banks is one of few functions.

    Args:
        bits: of the products of a lane and neuron [simd, pe]; 0: always zero.
        even: of these, the lowest that are always zero: nothing is added to them.
        columns: different bits among the products of a lane.
    """
    simd = len(bits)
    leaves = 1 << (simd - 1).bit_length() if simd > 1 else 1
    node, zeros = (np.zeros((leaves, bits.shape[1]), np.int64) for _ in range(2))
    node[:simd], zeros[:simd] = bits, even
    functions = np.zeros(leaves, np.int64)
    functions[:simd] = columns
    found = dict.fromkeys(("adder_bits", "shared_adder_bits", "adders", "added_bits", "sum_bits"), 0.0)
    while len(node) > 1:
        both = (node[::2] > 0) & (node[1::2] > 0)
        none = np.where(both, np.minimum(zeros[::2], zeros[1::2]), zeros[::2] + zeros[1::2])
        node = np.maximum(node[::2], node[1::2]) + both
        pairs = (functions[::2] + 1) * (functions[1::2] + 1) - 1
        functions = np.minimum(node.sum(1), pairs)
        added = ((node - np.maximum(zeros[::2], zeros[1::2])) * both).sum(1)
        zeros = none
        found["shared_adder_bits"] += float(added[pairs < added].sum())
        found["adder_bits"] += float(added[pairs >= added].sum())
        found["added_bits"] += float(np.minimum(added, pairs).sum())
        found["adders"] += float(both.sum())
        found["sum_bits"] += float(functions.sum())
    return found


def _columns(weights: np.ndarray, weight_bits: int) -> list[int]:
    """Different columns of bits in each bank: equal ones are made and kept once, zeros not at all."""
    words = weights.astype(np.int64)
    places = np.arange(weights.shape[1])[:, None]
    # a column of up to 32 words as a number; of each bank [simd, pe * bits]
    columns = np.concatenate([((words >> bit & 1) << places).sum(1) for bit in range(weight_bits)], axis=1)
    columns.sort(1)
    return [int(n) for n in (columns[:, :1] > 0).sum(1) + (np.diff(columns, axis=1) > 0).sum(1)]
