"""Golden twin of hw/rtl/readout.sv: the non-firing integrator and its arg-max."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from scaflow.quant.golden.beats import address_bits, pack, unpack
from scaflow.quant.golden.mac_array import column_bits


@dataclass(frozen=True)
class Readout:
    classes: int
    simd: int
    depth: int
    weight_bits: int
    logit_bits: int
    weights: np.ndarray = field(metadata={"bits": "weight_bits", "column": "column_bits"})  # [simd, depth, classes]
    bias: np.ndarray = field(metadata={"bits": "logit_bits"})  # [1, classes], T times a step's bias

    @property
    def column_bits(self) -> int:
        return column_bits(self.depth, self.classes * self.weight_bits)

    @property
    def addr_bits(self) -> int:
        return address_bits(self.depth)


def readout(cfg: Readout, beats: list[int]) -> list[int]:
    """beats: (SIMD act, SIMD addr, last). Returns (CLASSES logits, class) an image."""
    lanes = np.arange(cfg.simd)
    weights, bias = cfg.weights.astype(np.int64), cfg.bias[0].astype(np.int64)
    out, logits = [], bias
    for beat in beats:
        acts = np.array(unpack(beat, 1, cfg.simd))
        logits = logits + acts @ weights[lanes, unpack(beat >> cfg.simd, cfg.addr_bits, cfg.simd)]
        if beat >> (cfg.simd * (1 + cfg.addr_bits)):
            out.append(pack(logits, cfg.logit_bits) | int(np.argmax(logits)) << (cfg.classes * cfg.logit_bits))
            logits = bias
    return out
