"""Golden twin of hw/rtl/stage_counter.sv: cycles that are busy, starved and stalled."""

from __future__ import annotations

from dataclasses import dataclass

from scaflow.quant.golden.beats import pack


@dataclass(frozen=True)
class StageCounter:
    counter_bits: int


def stage_counter(cfg: StageCounter, beats: list[int]) -> list[int]:
    """beats: one a cycle since reset, valid in bit 0, ready in bit 1. Returns (busy, starved, stalled) before each."""
    busy = starved = stalled = 0
    out = []
    for beat in beats:
        out.append(pack([count % (1 << cfg.counter_bits) for count in (busy, starved, stalled)], cfg.counter_bits))
        if not beat & 1:
            starved += 1
        elif beat & 2:
            busy += 1
        else:
            stalled += 1
    return out
