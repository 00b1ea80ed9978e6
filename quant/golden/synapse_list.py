"""Golden twin of hw/rtl/synapse_list.sv: the walk over the kept synapse groups of each window."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from scaflow.quant.golden.beats import address_bits, ceil_div


@dataclass(frozen=True)
class SynapseList:
    channels: int
    simd: int
    in_bits: int
    kernel: int  # kernel positions
    folds: int
    steps: int  # length of the list
    list: np.ndarray = field(metadata={"bits": "group_bits", "signed": False})  # [steps, 1] group numbers

    @property
    def group_bits(self) -> int:
        return address_bits(ceil_div(self.channels, self.simd))

    @property
    def addr_bits(self) -> int:
        return address_bits(self.folds * self.kernel * self.steps)


def synapse_list(cfg: SynapseList, beats: list[int]) -> list[int]:
    """beats: (word, k, last). Returns (SIMD act, SIMD addr, last)."""
    word_bits, k_bits = cfg.channels * cfg.in_bits, address_bits(cfg.kernel)
    group_bits = cfg.simd * cfg.in_bits
    out, fold = [], 0
    for beat in beats:
        word = beat & ((1 << word_bits) - 1)
        k = beat >> word_bits & ((1 << k_bits) - 1)
        last = beat >> (word_bits + k_bits)
        for j, (group,) in enumerate(cfg.list):
            act = word >> (int(group) * group_bits) & ((1 << group_bits) - 1)
            addr = (fold * cfg.steps + j) * cfg.kernel + k
            addrs = sum(addr << (lane * cfg.addr_bits) for lane in range(cfg.simd))
            end = int(last and j == cfg.steps - 1)
            out.append(act | addrs << group_bits | end << (group_bits + cfg.simd * cfg.addr_bits))
        fold = (fold + last) % cfg.folds
    return out
