"""Golden twin of hw/rtl/mac_array.sv: sums of weights selected by activations, exact."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from scaflow.quant.golden.beats import address_bits, pack, unpack

COLUMNS = ((2048, 9), (4096, 4), (8192, 2), (16384, 1))  # words, and bits of a column; fewer words are whole


@dataclass(frozen=True)
class MacArray:
    pe: int
    simd: int
    in_bits: int
    lookup: int  # 1: an activation is a pattern, and picks a word
    weight_bits: int
    acc_bits: int
    depth: int
    # [simd, depth, pe], a bank a lane
    weights: np.ndarray = field(metadata={"bits": "weight_bits", "column": "column_bits"})

    @property
    def column_bits(self) -> int:
        return column_bits(self.depth, self.pe * self.weight_bits)

    @property
    def addr_bits(self) -> int:
        return address_bits(self.depth >> self.in_bits if self.lookup else self.depth)


def column_bits(depth: int, word_bits: int) -> int:
    """Of the columns of a bank: what a block RAM of 16 kbit (a bit in nine more) is deep enough for, or a word."""
    if depth <= 1024:
        return word_bits
    return next((min(word_bits, bits) for words, bits in COLUMNS if depth <= words), word_bits)


def mac_array(cfg: MacArray, beats: list[int]) -> list[int]:
    """beats: (SIMD act, SIMD addr, last). Returns PE accumulators at each last."""
    out, acc = [], np.zeros(cfg.pe, dtype=np.int64)
    act_bits = cfg.simd * cfg.in_bits
    for beat in beats:
        acts = unpack(beat, cfg.in_bits, cfg.simd)
        addrs = unpack(beat >> act_bits, cfg.addr_bits, cfg.simd)
        for lane, (act, addr) in enumerate(zip(acts, addrs, strict=True)):
            if cfg.lookup:
                acc = acc + cfg.weights[lane, addr << cfg.in_bits | act].astype(np.int64)
            elif act:
                acc = acc + act * cfg.weights[lane, addr].astype(np.int64)
        if beat >> (act_bits + cfg.simd * cfg.addr_bits):
            out.append(pack(acc, cfg.acc_bits))
            acc = np.zeros(cfg.pe, dtype=np.int64)
    return out
