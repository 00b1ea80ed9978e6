"""Golden twin of hw/rtl/frame_close.sv: a frame's token in its last beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class FrameClose:
    inputs: ClassVar[tuple[str, ...]] = ("in", "ends")
    outputs: ClassVar[tuple[str, ...]] = ("out",)
    width: int
    beats: int  # results of a frame
    marked: int  # 1: the highest bit of a beat says that it is a result's last; 0: each beat is a result


def frame_close(cfg: FrameClose, streams: list[list[int]]) -> list[list[int]]:
    """streams: beats, and a token a frame. Returns the beats up to the frame whose token has not come."""
    beats, tokens = streams
    out, results = [], 0
    for beat in beats:
        results += beat >> cfg.width - 1 if cfg.marked else 1
        ends = 0
        if results == cfg.beats:
            if not tokens:
                break
            ends, *tokens = tokens
            results = 0
        out.append(beat | ends << cfg.width)
    return [out]
