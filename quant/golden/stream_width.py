"""Golden twin of hw/rtl/stream_width.sv: a stream regrouped by a whole ratio, lowest part first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StreamWidth:
    in_bits: int
    out_bits: int  # a multiple or a divisor of in_bits


def stream_width(cfg: StreamWidth, beats: list[int]) -> list[int]:
    """Parts that do not fill an output beat stay inside."""
    if cfg.in_bits >= cfg.out_bits:
        mask = (1 << cfg.out_bits) - 1
        return [beat >> low & mask for beat in beats for low in range(0, cfg.in_bits, cfg.out_bits)]
    ratio = cfg.out_bits // cfg.in_bits
    groups = [beats[i : i + ratio] for i in range(0, len(beats) - ratio + 1, ratio)]
    return [sum(part << cfg.in_bits * i for i, part in enumerate(group)) for group in groups]
