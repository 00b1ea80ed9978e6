"""Golden twin of hw/rtl/stream_join.sv: the sum of two streams, number by number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from scaflow.quant.golden.beats import pack, unpack


@dataclass(frozen=True)
class StreamJoin:
    inputs: ClassVar[tuple[str, ...]] = ("a", "b")
    outputs: ClassVar[tuple[str, ...]] = ("out",)
    lanes: int
    a_bits: int
    b_bits: int
    a_shift: int
    b_shift: int
    out_bits: int  # holds every sum
    signed: int  # 0: unsigned


def stream_join(cfg: StreamJoin, streams: list[list[int]]) -> list[list[int]]:
    """streams: LANES numbers a beat, of either way. Returns their sums, as long as there is a beat of both."""
    out = []
    for a, b in zip(*streams, strict=False):
        left = unpack(a, cfg.a_bits, cfg.lanes, signed=bool(cfg.signed))
        right = unpack(b, cfg.b_bits, cfg.lanes, signed=bool(cfg.signed))
        sums = [(x << cfg.a_shift) + (y << cfg.b_shift) for x, y in zip(left, right, strict=True)]
        out.append(pack(sums, cfg.out_bits))
    return [out]
