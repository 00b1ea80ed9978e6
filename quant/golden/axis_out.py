"""Golden twin of hw/rtl/axis_out.sv: class and logits as 32-bit words."""

from __future__ import annotations

from dataclasses import dataclass, field

from scaflow.quant.golden.lif_update import OPTIONAL


@dataclass(frozen=True)
class AxisOut:
    classes: int
    logit_bits: int  # signed, at most 32
    class_bits: int
    frames: int = field(default=0, metadata=OPTIONAL)  # 1: a beat says, above the class, whether its recording ends


def axis_out(cfg: AxisOut, beats: list[int]) -> list[int]:
    """beats: logits, lowest class lowest, then the class. Returns 32-bit words with tlast above them; of a class bit 31
    says that its recording goes on."""
    words = []
    for beat in beats:
        logits = [beat >> cfg.logit_bits * i & (1 << cfg.logit_bits) - 1 for i in range(cfg.classes)]
        signed = [logit - (logit >> cfg.logit_bits - 1 << cfg.logit_bits) for logit in logits]
        index = beat >> cfg.logit_bits * cfg.classes & (1 << cfg.class_bits) - 1
        goes_on = cfg.frames and not beat >> cfg.logit_bits * cfg.classes + cfg.class_bits
        words += [index | int(goes_on) << 31]
        words += [logit & 0xFFFF_FFFF for logit in signed]
        words[-1] |= 1 << 32
    return words
