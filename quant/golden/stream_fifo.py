"""Golden twin of hw/rtl/stream_fifo.sv: a queue hands every beat on, in order."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StreamFifo:
    width: int  # bits of a beat
    depth: int  # beats held, at least 2


def stream_fifo(cfg: StreamFifo, beats: list[int]) -> list[int]:
    return [beat & ((1 << cfg.width) - 1) for beat in beats]
