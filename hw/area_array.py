"""What the area model (hw/area.py) counts in a multiply-accumulate array, which depends on the weights themselves.

Synthesis makes equal bits once: of a bank with few words, and of sums over such banks, there are few different ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scaflow.hw.ram import Family, Ram, rom
from scaflow.quant.golden.beats import ceil_div
from scaflow.quant.golden.mac_array import column_bits

BANK_IN_BLOCK = 32  # a weight bank of more words is kept in block RAM, as mac_array.sv asks


def array(weights: np.ndarray, in_bits: int, weight_bits: int, acc_bits: int, family: Family) -> dict[str, float]:
    """What mac_array's area is a sum over.

    Args:
        weights: of its banks [simd, depth, pe].
    """
    weights = weights[weights.any((1, 2))]  # a lane that stands for no channel is left out
    simd, depth, pe = weights.shape
    multiplied = in_dsp(in_bits, weight_bits, family)
    picked = in_bits > 1 and not multiplied
    term = weight_bits + in_bits if in_bits > 1 else weight_bits
    products = _signed_bits(weights)
    if in_bits > 1:
        products += (products > 0) * in_bits
    columns = _columns(weights, weight_bits) if depth <= BANK_IN_BLOCK else [pe * weight_bits] * simd
    per_lut = 16 if family == "ecp5" else 64
    return {
        **_tree(products, _even_bits(weights), columns if in_bits == 1 else products.sum(1)),
        # a DSP of the xc7 also adds, where nothing stands between the product and the accumulator
        "accumulator_bits": 0 if multiplied and simd == 1 and family == "xc7" else pe * acc_bits,
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
    }


def in_dsp(in_bits: int, weight_bits: int, family: Family) -> bool:
    """Is there a product that Yosys puts into a DSP? Weights of fewer bits pick multiples in mac_array.sv.

    For the xc7 products of fewer than 9 bits are logic, about as much of it as picks would be.
    """
    return in_bits > 1 and weight_bits > 4 and (family == "ecp5" or weight_bits + in_bits > 8)


def bank(pe: int, depth: int, weight_bits: int, family: Family, reads: int = 1) -> Ram:
    """A lane's weights, where they are in block RAM; `reads`: parts of a pattern that pick words."""
    width = pe * weight_bits
    if depth <= BANK_IN_BLOCK:
        return Ram()
    column = column_bits(depth, width)
    whole, rest = divmod(width, column)
    columns = whole * rom(family, depth, column, block=True, reads=reads)
    return columns + rom(family, depth, rest, block=True, reads=reads) if rest else columns


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
    node = np.zeros((2 * leaves, bits.shape[1]), dtype=np.int64)
    node[leaves : leaves + simd] = bits
    zeros = np.zeros_like(node)
    zeros[leaves : leaves + simd] = even
    functions = [0] * leaves + list(columns) + [0] * (leaves - simd)
    found = dict.fromkeys(("adder_bits", "shared_adder_bits", "adders", "added_bits", "sum_bits"), 0.0)
    for n in range(leaves - 1, 0, -1):
        both = (node[2 * n] > 0) & (node[2 * n + 1] > 0)
        node[n] = np.maximum(node[2 * n], node[2 * n + 1]) + both
        zeros[n] = np.where(both, np.minimum(zeros[2 * n], zeros[2 * n + 1]), zeros[2 * n] + zeros[2 * n + 1])
        pairs = (functions[2 * n] + 1) * (functions[2 * n + 1] + 1) - 1
        functions[n] = min(int(node[n].sum()), pairs)
        added = int((node[n] - np.maximum(zeros[2 * n], zeros[2 * n + 1]))[both].sum())
        found["shared_adder_bits" if pairs < added else "adder_bits"] += added
        found["added_bits"] += min(added, pairs)
        found["adders"] += both.sum()
        found["sum_bits"] += functions[n]
    return found


def _signed_bits(weights: np.ndarray) -> np.ndarray:
    """Bits that hold every weight of a lane and neuron: [simd, depth, pe] -> [simd, pe]; 0 where all are zero."""
    most = np.maximum(weights.max(1), ~weights.min(1)).astype(np.int64)
    return np.where(weights.any(1), np.ceil(np.log2(most + 1)).astype(np.int64) + 1, 0)


def _even_bits(weights: np.ndarray) -> np.ndarray:
    """Lowest bits that are zero in every weight of a lane and neuron; 0 where all are zero."""
    used = np.bitwise_or.reduce(weights.astype(np.int64), axis=1)
    return np.where(used, np.log2(np.maximum(used & -used, 1)).astype(np.int64), 0)


def _columns(weights: np.ndarray, weight_bits: int) -> list[int]:
    """Different columns of bits in each bank: equal ones are made and kept once, zeros not at all."""
    bits = weights.astype(np.int64)[..., None] >> np.arange(weight_bits) & 1
    lanes = bits.transpose(0, 2, 3, 1).reshape(len(bits), -1, bits.shape[1])  # [simd, columns, depth]
    return [len(set(map(bytes, lane[lane.any(1)].astype(np.uint8)))) for lane in lanes]
