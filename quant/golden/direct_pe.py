"""Golden twin of hw/rtl/direct_pe.sv, computed from whole windows and not from the twins of its parts."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from scaflow.quant.golden.beats import pack
from scaflow.quant.golden.lif_pe import window_sums
from scaflow.quant.golden.mac_array import addr_bits, cut


@dataclass(frozen=True)
class DirectPe:
    pe: int
    simd: int
    in_bits: int
    lookup: int  # 1 and more: activations are patterns that pick a word, as in mac_array
    places: int
    depth: int
    folds: int
    time_steps: int
    weight_bits: int
    acc_bits: int
    weights: np.ndarray = field(metadata={"bits": "weight_bits", "cut": cut})  # [simd, depth, pe]
    levels: np.ndarray = field(metadata={"bits": "level_bits"})  # [folds, time_steps * pe], see `quant.direct`

    @property
    def level_bits(self) -> int:
        return self.acc_bits + 1

    @property
    def addr_bits(self) -> int:
        return addr_bits(self)


def direct_pe(cfg: DirectPe, beats: list[int]) -> list[int]:
    """beats: (SIMD act, SIMD addr, last), each window once a fold. Returns TIME_STEPS x PE spikes, pixel and fold."""
    levels = cfg.levels.reshape(cfg.folds, cfg.time_steps, cfg.pe)
    steps = np.arange(1, cfg.time_steps + 1)[:, None]
    out = []
    for i, current in enumerate(window_sums(cfg, beats)):
        silent = (current <= levels[i % cfg.folds]).sum(0)  # steps before the first spike
        spikes = (silent < cfg.time_steps) & (steps % (silent + 1) == 0)
        out.append(pack(spikes.ravel(), 1))
    return out
