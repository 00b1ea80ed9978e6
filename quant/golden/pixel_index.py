"""Golden twin of hw/rtl/pixel_index.sv: each word with its place in the image."""

from __future__ import annotations

from dataclasses import dataclass

from scaflow.quant.golden.beats import address_bits, batches


@dataclass(frozen=True)
class PixelIndex:
    channels: int
    pixels: int
    time_steps: int


def pixel_index(cfg: PixelIndex, beats: list[int]) -> list[int]:
    """beats: words in order pixel, t. Returns (word, pixel, last)."""
    last_bit = cfg.channels + address_bits(cfg.pixels)
    out = []
    for image in batches(beats, cfg.pixels * cfg.time_steps):
        out += [word | i // cfg.time_steps << cfg.channels for i, word in enumerate(image)]
        out[-1] |= 1 << last_bit
    return out
