"""Golden twin of hw/rtl/spike_sum.sv: sums over windows of pixels, on whole maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaflow.quant.golden.beats import pack, unpack


@dataclass(frozen=True)
class SpikeSum:
    channels: int
    in_bits: int
    out_bits: int  # holds a window of the largest numbers
    height: int  # of the map that comes in
    width: int
    size: int  # pixels of a window, each way; also the stride
    time_steps: int


def spike_sum(cfg: SpikeSum, beats: list[int]) -> list[int]:
    """beats: CHANNELS numbers in order map, y, x, t, for whole maps. Returns the same of the pooled maps."""
    rows, columns = cfg.height // cfg.size, cfg.width // cfg.size
    numbers = np.array([unpack(beat, cfg.in_bits, cfg.channels) for beat in beats], dtype=np.int64)
    maps = numbers.reshape(-1, cfg.height, cfg.width, cfg.time_steps, cfg.channels)
    whole = maps[:, : rows * cfg.size, : columns * cfg.size]
    windows = whole.reshape(-1, rows, cfg.size, columns, cfg.size, cfg.time_steps, cfg.channels)
    return [pack(word, cfg.out_bits) for word in windows.sum((2, 4)).reshape(-1, cfg.channels)]
