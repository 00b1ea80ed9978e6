"""Golden twin of hw/rtl/lif_update.sv: the membrane equation of the integer contract."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from scaflow.quant.golden.beats import pack, unpack


@dataclass(frozen=True)
class LifUpdate:
    pe: int
    folds: int
    time_steps: int
    acc_bits: int
    v_bits: int
    fraction_bits: int
    leak_shift: int  # 0: no leak
    soft_reset: int  # 0: hard
    bias: np.ndarray = field(metadata={"bits": "v_bits"})  # [folds, pe]
    threshold: np.ndarray = field(metadata={"bits": "v_bits"})  # [folds, pe]


def lif_update(cfg: LifUpdate, beats: list[int]) -> list[int]:
    """beats: PE accumulators in order pixel, t, fold. Returns PE spikes a beat."""
    out = []
    v = np.zeros((cfg.folds, cfg.pe), dtype=np.int64)
    for i, beat in enumerate(beats):
        fold, t = i % cfg.folds, i // cfg.folds % cfg.time_steps
        acc = np.array(unpack(beat, cfg.acc_bits, cfg.pe, signed=True), dtype=np.int64)
        before = np.zeros(cfg.pe, dtype=np.int64) if t == 0 else v[fold]
        leaked = before - (before >> cfg.leak_shift) if cfg.leak_shift else before
        u = leaked + (acc << cfg.fraction_bits) + cfg.bias[fold]
        spikes = u >= cfg.threshold[fold]
        v[fold] = np.where(spikes, u - cfg.threshold[fold] if cfg.soft_reset else 0, u)
        out.append(pack(spikes, 1))
    return out
