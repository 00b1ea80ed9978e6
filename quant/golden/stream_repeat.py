"""Golden twin of hw/rtl/stream_repeat.sv: each packet several times in a row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StreamRepeat:
    width: int  # bits of a beat
    folds: int  # beats of a packet
    time_steps: int  # repetitions


def stream_repeat(cfg: StreamRepeat, beats: list[int]) -> list[int]:
    """beats: order packet, fold. Returns order packet, t, fold; of an unfinished packet what came, once."""
    out = []
    for start in range(0, len(beats), cfg.folds):
        packet = beats[start : start + cfg.folds]
        out += packet * (cfg.time_steps if len(packet) == cfg.folds else 1)
    return out
