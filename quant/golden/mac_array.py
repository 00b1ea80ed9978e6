"""Golden twin of hw/rtl/mac_array.sv: sums of weights selected by activations, exact."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scaflow.quant.golden.beats import address_bits, ceil_div, pack, unpack

COLUMNS = ((2048, 9), (4096, 4), (8192, 2), (16384, 1))  # words, and bits of a column; fewer words are whole
DEEPEST = 16384  # words that a block RAM is deep enough for; a bank of more is cut into segments of so many
PICKED = 8  # segments that are chosen from in a cycle


def column_bits(depth: int, word_bits: int) -> int:
    """Of the columns of a segment: what a block RAM of 16 kbit (a bit in nine more) is deep enough for, or a word."""
    if depth <= 1024:
        return word_bits
    return next(min(word_bits, bits) for words, bits in COLUMNS if depth <= words)


def segments(depth: int) -> tuple[int, ...]:
    """Words of each of the memories that a bank is, one behind the other."""
    whole, rest = divmod(depth, DEEPEST)
    return (DEEPEST,) * whole + (rest,) * (rest > 0)


def cut(depth: int, word_bits: int) -> dict[str, tuple[slice, slice]]:
    """The memories that a bank is: words and bits of each, by what the name of its file ends in."""
    parts: dict[str, tuple[slice, slice]] = {}
    of = segments(depth)
    for s, words in enumerate(of):
        column = column_bits(words, word_bits)
        rows = slice(s * DEEPEST, s * DEEPEST + words)
        for c, first in enumerate(range(0, word_bits, column)):
            name = f"_{s:03d}_{c:03d}" if len(of) > 1 else f"_{c:03d}" if column < word_bits else ""
            parts[name] = rows, slice(first, min(word_bits, first + column))
    return parts


@dataclass(frozen=True)
class MacArray:
    pe: int
    simd: int
    in_bits: int
    lookup: int  # 1: an activation is a pattern, and picks a word; more: so many parts of it pick one each
    places: int  # numbers in a pattern
    weight_bits: int
    acc_bits: int
    depth: int
    # [simd, depth, pe], a bank a lane
    weights: np.ndarray = field(metadata={"bits": "weight_bits", "cut": cut})

    @property
    def addr_bits(self) -> int:
        return addr_bits(self)


def part_bits(in_bits: int, lookup: int, places: int) -> int:
    """Of each number of a pattern, that a part of it takes."""
    return ceil_div(in_bits // places, lookup)


def parts_of(pattern: int, in_bits: int, lookup: int, places: int) -> list[int]:
    """The patterns that pick words, the lowest bits of the numbers first."""
    of_number, each = in_bits // places, part_bits(in_bits, lookup, places)
    numbers = unpack(pattern, of_number, places)
    return [pack([n >> j * each & (1 << each) - 1 for n in numbers], each) for j in range(lookup)]


def words(cfg: Any) -> int:
    """That an address of mac_array, whose fields `cfg` has, tells apart: those that patterns pick count once."""
    pattern: int = cfg.places * part_bits(cfg.in_bits, cfg.lookup, cfg.places) if cfg.lookup else 0
    return int(cfg.depth >> pattern)


def credits(depth: int) -> int:
    """Of lif_pe and direct_pe: results that can be on their way."""
    return 32 if depth > DEEPEST else 16


def addr_bits(cfg: Any) -> int:
    """Of a lane of mac_array, whose fields `cfg` has."""
    return address_bits(words(cfg))


def choosing(depth: int) -> int:
    """Cycles in which the word of a bank's address is chosen from its segments: one in a register behind each of them,
    and one for each time that one of eight is left of them."""
    count = len(segments(depth))
    return 0 if count == 1 else 1 + ceil_div((count - 1).bit_length(), (PICKED - 1).bit_length())


def mac_array(cfg: MacArray, beats: list[int]) -> list[int]:
    """beats: (SIMD act, SIMD addr, last). Returns PE accumulators at each last."""
    out, acc = [], np.zeros(cfg.pe, dtype=np.int64)
    act_bits = cfg.simd * cfg.in_bits
    for beat in beats:
        acts = unpack(beat, cfg.in_bits, cfg.simd)
        addrs = unpack(beat >> act_bits, cfg.addr_bits, cfg.simd)
        for lane, (act, addr) in enumerate(zip(acts, addrs, strict=True)):
            if cfg.lookup:
                each = part_bits(cfg.in_bits, cfg.lookup, cfg.places)
                for j, part in enumerate(parts_of(act, cfg.in_bits, cfg.lookup, cfg.places)):
                    word = cfg.weights[lane, addr << each * cfg.places | part].astype(np.int64)
                    acc = acc + (word << j * each)
            elif act:
                acc = acc + act * cfg.weights[lane, addr].astype(np.int64)
        if beat >> (act_bits + cfg.simd * cfg.addr_bits):
            out.append(pack(acc, cfg.acc_bits))
            acc = np.zeros(cfg.pe, dtype=np.int64)
    return out
