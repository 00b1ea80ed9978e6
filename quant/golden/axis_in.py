"""Golden twin of hw/rtl/axis_in.sv: frames of bytes cut into pixels, of whose bytes the highest bits are kept."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from scaflow.quant.golden.beats import pack


@dataclass(frozen=True)
class AxisIn:
    axi_bytes: int  # of an AXI4-Stream beat
    pixel_bytes: int
    frame_pixels: int
    pixel_bits: int = 8  # of each byte the highest go on

    @property
    def frame_beats(self) -> int:
        return -(-self.frame_pixels * self.pixel_bytes // self.axi_bytes)

    @property
    def frame_cycles(self) -> int:
        """A frame's way in: a unit a cycle, those of its last beat that are dropped included."""
        return self.frame_beats * self.axi_bytes // gcd(self.axi_bytes, self.pixel_bytes)


def axis_in(cfg: AxisIn, beats: list[int]) -> list[int]:
    """beats: axi_bytes bytes with tlast above them. Returns pixels, pixel_bits a byte, lowest byte first."""
    pixels = []
    for start in range(0, len(beats), cfg.frame_beats):
        frame = b"".join(
            (beat & (1 << 8 * cfg.axi_bytes) - 1).to_bytes(cfg.axi_bytes, "little")
            for beat in beats[start : start + cfg.frame_beats]
        )
        whole = min(len(frame) // cfg.pixel_bytes, cfg.frame_pixels) * cfg.pixel_bytes
        cuts = range(0, whole, cfg.pixel_bytes)
        seen = [byte >> (8 - cfg.pixel_bits) for byte in frame]
        pixels += [pack(seen[cut : cut + cfg.pixel_bytes], cfg.pixel_bits) for cut in cuts]
    return pixels


def frame_error(cfg: AxisIn, beats: list[int]) -> bool:
    """Whether tlast was ever missing from a frame's last beat, or set on another."""
    lasts = [bool(beat >> 8 * cfg.axi_bytes) for beat in beats]
    return lasts != [i % cfg.frame_beats == cfg.frame_beats - 1 for i in range(len(beats))]
