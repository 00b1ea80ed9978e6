"""Golden twin of hw/rtl/axis_out.sv: class and logits as 32-bit words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AxisOut:
    classes: int
    logit_bits: int  # signed, at most 32
    class_bits: int


def axis_out(cfg: AxisOut, beats: list[int]) -> list[int]:
    """beats: logits, lowest class lowest, then the class. Returns 32-bit words with tlast above them."""
    words = []
    for beat in beats:
        logits = [beat >> cfg.logit_bits * i & (1 << cfg.logit_bits) - 1 for i in range(cfg.classes)]
        signed = [logit - (logit >> cfg.logit_bits - 1 << cfg.logit_bits) for logit in logits]
        words += [beat >> cfg.logit_bits * cfg.classes & (1 << cfg.class_bits) - 1]
        words += [logit & 0xFFFF_FFFF for logit in signed]
        words[-1] |= 1 << 32
    return words
