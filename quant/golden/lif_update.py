"""Golden twin of hw/rtl/lif_update.sv: the membrane equation of the integer contract."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scaflow.quant.golden.beats import pack, unpack

OPTIONAL = {"optional": True}  # a parameter has the same default
ZERO = np.zeros(0, np.int64)  # levels of a hard reset that are none


@dataclass(frozen=True)
class LifUpdate:
    pe: int
    folds: int
    time_steps: int
    acc_bits: int
    v_bits: int
    fraction_bits: int
    leak_shift: int  # 0: no leak
    soft_reset: int  # 0: hard; 1: soft; 2: soft, behind the decay of the next step
    bias: np.ndarray = field(metadata={"bits": "v_bits"})  # [folds, pe]
    threshold: np.ndarray = field(metadata={"bits": "v_bits"})  # [folds, pe]
    decay_factor: int = field(default=1, metadata=OPTIONAL)
    decay_shift: int = field(default=0, metadata=OPTIONAL)
    # [folds, pe]; ZERO: a hard reset is to 0
    v_reset: np.ndarray = field(default_factory=lambda: ZERO, metadata={"bits": "v_bits", **OPTIONAL})
    map_pixels: int = field(default=0, metadata=OPTIONAL)  # more: frames of so many pixels, and an end of recordings


def lif_update(cfg: LifUpdate, beats: list[int]) -> list[int]:
    """beats: PE accumulators in order pixel, t, fold; or t, pixel, fold, each with a flag. Returns PE spikes a beat."""
    out: list[int] = []
    words = cfg.folds * max(1, cfg.map_pixels)
    left, first = np.zeros((words, cfg.pe), dtype=np.int64), True
    for i, beat in enumerate(beats):
        word, fold = i % words, i % cfg.folds
        acc = np.array(unpack(beat, cfg.acc_bits, cfg.pe, signed=True), dtype=np.int64)
        u = (0 if first else left[word]) + (acc << cfg.fraction_bits) + cfg.bias[fold]
        spikes = u >= cfg.threshold[fold]
        left[word] = remains(cfg, u, spikes, cfg.threshold[fold], cfg.v_reset[fold] if cfg.v_reset.size else 0)
        out.append(pack(spikes, 1))
        if word == words - 1:
            first = bool(beat >> cfg.pe * cfg.acc_bits) if cfg.map_pixels else len(out) // words % cfg.time_steps == 0
    return out


def remains(
    cfg: Any, u: np.ndarray, spikes: np.ndarray, threshold: np.ndarray, v_reset: np.ndarray | int
) -> np.ndarray:
    """What the step after finds of membranes u, of a neuron whose fields `cfg` has."""

    def decay(v: np.ndarray) -> np.ndarray:
        leaked = v - (v >> cfg.leak_shift) if cfg.leak_shift else v
        left: np.ndarray = leaked * cfg.decay_factor >> cfg.decay_shift
        return left

    taken = np.where(spikes, threshold, 0)
    if cfg.soft_reset == 2:
        return decay(u) - taken
    return decay(u - taken if cfg.soft_reset else np.where(spikes, v_reset, u))
