"""Golden twin of hw/rtl/frame_split.sv: the pixels of frames, and a token a frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class FrameSplit:
    inputs: ClassVar[tuple[str, ...]] = ("in",)
    outputs: ClassVar[tuple[str, ...]] = ("out", "ends")
    width: int  # bits of a pixel


def frame_split(cfg: FrameSplit, streams: list[list[int]]) -> list[list[int]]:
    """streams: pixels, with last and end above them. Returns the pixels, and the ends of the last ones."""
    (beats,) = streams
    mask = (1 << cfg.width) - 1
    return [[beat & mask for beat in beats], [beat >> cfg.width + 1 for beat in beats if beat >> cfg.width & 1]]
