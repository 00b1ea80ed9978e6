"""Golden twin of hw/rtl/spike_pool.sv: OR over windows of pixels, on whole maps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import or_


@dataclass(frozen=True)
class SpikePool:
    channels: int
    height: int  # of the map that comes in
    width: int
    size: int  # pixels of a window, each way; also the stride
    time_steps: int


def spike_pool(cfg: SpikePool, beats: list[int]) -> list[int]:
    """beats: words of spikes in order map, y, x, t, for whole maps. Returns the same of the pooled maps."""
    steps, out = cfg.time_steps, []
    for start in range(0, len(beats), cfg.height * cfg.width * steps):
        for oy in range(cfg.height // cfg.size):
            for ox in range(cfg.width // cfg.size):
                pixels = [
                    (oy * cfg.size + dy) * cfg.width + ox * cfg.size + dx
                    for dy in range(cfg.size)
                    for dx in range(cfg.size)
                ]
                out += [
                    reduce(or_, (beats[start + pixel * steps + t] for pixel in pixels)) for t in range(steps)
                ]
    return out
