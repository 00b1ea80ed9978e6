"""Golden twin of hw/rtl/readout.sv: the non-firing integrator and its arg-max."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from scaflow.quant.golden.beats import address_bits, pack, unpack
from scaflow.quant.golden.lif_update import OPTIONAL
from scaflow.quant.golden.mac_array import cut


@dataclass(frozen=True)
class Readout:
    classes: int
    simd: int
    in_bits: int  # of a pattern that picks a word; 1: a spike
    depth: int
    weight_bits: int
    logit_bits: int
    weights: np.ndarray = field(metadata={"bits": "weight_bits", "cut": cut})  # [simd, depth, classes]
    bias: np.ndarray = field(metadata={"bits": "logit_bits"})  # [1, classes], T times a step's bias; of frames once
    frames: int = field(default=0, metadata=OPTIONAL)  # 1: sums go on over the frames of a recording
    tell_every: int = field(default=0, metadata=OPTIONAL)  # so many frames are told; 0: the last of a recording alone

    @property
    def addr_bits(self) -> int:
        return address_bits(self.depth >> self.in_bits if self.in_bits > 1 else self.depth)


def readout(cfg: Readout, beats: list[int]) -> list[int]:
    """beats: (SIMD act, SIMD addr, last). Returns (CLASSES logits, class) an image.

    Of frames with `ends` above: a frame's, those of which it is told, added up since the recording began.
    """
    lanes = np.arange(cfg.simd)
    weights, bias = cfg.weights.astype(np.int64), cfg.bias[0].astype(np.int64)
    last_bit = cfg.simd * (cfg.in_bits + cfg.addr_bits)
    out, logits, untold = [], bias, 0
    for beat in beats:
        acts = np.array(unpack(beat, cfg.in_bits, cfg.simd))
        addrs = np.array(unpack(beat >> (cfg.simd * cfg.in_bits), cfg.addr_bits, cfg.simd))
        if cfg.in_bits > 1:
            logits = logits + weights[lanes, addrs << cfg.in_bits | acts].sum(0)
        else:
            logits = logits + acts @ weights[lanes, addrs]
        if beat >> last_bit & 1:
            ends, untold = beat >> last_bit + 1 if cfg.frames else 1, untold + 1
            if ends or untold == cfg.tell_every:
                told = pack(logits, cfg.logit_bits) | int(np.argmax(logits)) << (cfg.classes * cfg.logit_bits)
                if cfg.frames:
                    told |= ends << cfg.classes * cfg.logit_bits + address_bits(cfg.classes)
                out.append(told)
                untold = 0
            logits = bias + (0 if ends else logits)
    return out
