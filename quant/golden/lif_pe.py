"""Golden twin of hw/rtl/lif_pe.sv, computed from whole windows and not from the twins of its parts."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from scaflow.quant.golden.beats import address_bits, ceil_div, pack, unpack


@dataclass(frozen=True)
class LifPe:
    channels: int  # of the input
    pe: int
    simd: int
    in_bits: int
    kernel: int
    folds: int
    steps: int
    time_steps: int
    direct: int  # 1: a pixel comes once, its current is fed to all time steps
    weight_bits: int
    acc_bits: int
    v_bits: int
    fraction_bits: int
    leak_shift: int
    soft_reset: int
    list: np.ndarray = field(metadata={"bits": "group_bits", "signed": False})  # [steps, 1]
    weights: np.ndarray = field(metadata={"bits": "weight_bits"})  # [simd, folds*steps*kernel, pe]
    bias: np.ndarray = field(metadata={"bits": "v_bits"})  # [folds, pe]
    threshold: np.ndarray = field(metadata={"bits": "v_bits"})  # [folds, pe]

    @property
    def group_bits(self) -> int:
        return address_bits(ceil_div(self.channels, self.simd))


def lif_pe(cfg: LifPe, beats: list[int]) -> list[int]:
    """beats: (word, k, last), each window once a fold. Returns PE spikes in order pixel, t, fold."""
    word_bits, k_bits = cfg.channels * cfg.in_bits, address_bits(cfg.kernel)
    groups = [int(g) for g in cfg.list[:, 0]]
    table = cfg.weights.reshape(cfg.simd, cfg.folds, cfg.steps, cfg.kernel, cfg.pe)

    sums: list[np.ndarray] = []  # one a window and fold
    window: list[tuple[int, list[int]]] = []
    for beat in beats:
        acts = unpack(beat, cfg.in_bits, cfg.channels) + [0] * cfg.simd
        window.append((beat >> word_bits & ((1 << k_bits) - 1), acts))
        if beat >> (word_bits + k_bits):
            fold, acc = len(sums) % cfg.folds, np.zeros(cfg.pe, dtype=np.int64)
            for k, values in window:
                for j, group in enumerate(groups):
                    for lane in range(cfg.simd):
                        acc += values[group * cfg.simd + lane] * table[lane, fold, j, k].astype(np.int64)
            sums.append(acc)
            window = []

    repeats = cfg.time_steps if cfg.direct else 1
    currents = np.array(sums, dtype=np.int64).reshape(-1, 1, cfg.folds, cfg.pe).repeat(repeats, axis=1)
    steps = currents.reshape(-1, cfg.time_steps, cfg.folds, cfg.pe)
    out = []
    for pixel in steps:
        v = np.zeros((cfg.folds, cfg.pe), dtype=np.int64)
        for current in pixel:
            u = (v - (v >> cfg.leak_shift) if cfg.leak_shift else v) + (current << cfg.fraction_bits) + cfg.bias
            spikes = u >= cfg.threshold
            v = np.where(spikes, u - cfg.threshold if cfg.soft_reset else 0, u)
            out += [pack(row, 1) for row in spikes]
    return out
