"""Golden twin of hw/rtl/current_pe.sv, computed from whole windows and not from the twins of its parts."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from scaflow.quant.golden.beats import pack
from scaflow.quant.golden.lif_pe import window_sums
from scaflow.quant.golden.mac_array import addr_bits, cut


@dataclass(frozen=True)
class CurrentPe:
    pe: int
    simd: int
    in_bits: int
    lookup: int  # 1 and more: activations are patterns that pick a word, as in mac_array
    places: int
    depth: int
    folds: int
    time_steps: int
    direct: int  # 1: a pixel comes once, its current goes to all time steps
    weight_bits: int
    acc_bits: int
    weights: np.ndarray = field(metadata={"bits": "weight_bits", "cut": cut})  # [simd, depth, pe]

    @property
    def addr_bits(self) -> int:
        return addr_bits(self)


def current_pe(cfg: CurrentPe, beats: list[int]) -> list[int]:
    """beats: (SIMD act, SIMD addr, last), each window once a fold. Returns PE sums in order pixel, t, fold."""
    repeats = cfg.time_steps if cfg.direct else 1
    pixels = window_sums(cfg, beats).reshape(-1, 1, cfg.folds, cfg.pe).repeat(repeats, axis=1)
    return [pack(row, cfg.acc_bits) for row in pixels.reshape(-1, cfg.pe)]
