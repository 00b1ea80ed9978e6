"""Golden twin of hw/rtl/readout.sv: the non-firing integrator and its arg-max."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from scaflow.quant.golden.beats import address_bits, batches, ceil_div, pack, unpack


@dataclass(frozen=True)
class Readout:
    channels: int
    classes: int
    simd: int
    steps: int
    pixels: int
    time_steps: int
    weight_bits: int
    logit_bits: int
    list: np.ndarray = field(metadata={"bits": "group_bits", "signed": False})  # [steps, 1]
    weights: np.ndarray = field(metadata={"bits": "weight_bits"})  # [simd, steps*pixels, classes]
    bias: np.ndarray = field(metadata={"bits": "logit_bits"})  # [1, classes], T times a step's bias

    @property
    def group_bits(self) -> int:
        return address_bits(ceil_div(self.channels, self.simd))


def readout(cfg: Readout, beats: list[int]) -> list[int]:
    """beats: words in order pixel, t. Returns (CLASSES logits, class) an image."""
    kept = [int(g) * cfg.simd + lane for g in cfg.list[:, 0] for lane in range(cfg.simd)]
    # [simd, steps*pixels, classes] -> [pixels, kept channel, classes]
    table = cfg.weights.reshape(cfg.simd, cfg.steps, cfg.pixels, cfg.classes).transpose(2, 1, 0, 3)
    table = table.reshape(cfg.pixels, cfg.steps * cfg.simd, cfg.classes).astype(np.int64)
    out = []
    for image in batches(beats, cfg.pixels * cfg.time_steps):
        logits = cfg.bias[0].astype(np.int64)
        for i, word in enumerate(image):
            spikes = np.array(unpack(word, 1, cfg.channels) + [0] * cfg.simd)[kept]
            logits = logits + spikes @ table[i // cfg.time_steps]
        out.append(pack(logits, cfg.logit_bits) | int(np.argmax(logits)) << (cfg.classes * cfg.logit_bits))
    return out
