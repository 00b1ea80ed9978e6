"""axis_out against its twin."""

from __future__ import annotations

import random

from scaflow.quant.golden.axis_out import AxisOut
from scaflow.sim.suite import RtlSuite


class TestAxisOut(RtlSuite):
    stem = "axis_out"
    directed = (
        AxisOut(classes=10, logit_bits=18, class_bits=4),
        AxisOut(classes=1, logit_bits=32, class_bits=1),
        AxisOut(classes=2, logit_bits=1, class_bits=32),
        AxisOut(classes=3, logit_bits=9, class_bits=2, frames=1),
    )
    mutants = (
        ("$signed(beat[i*LOGIT_BITS+:LOGIT_BITS])", "beat[i*LOGIT_BITS+:LOGIT_BITS]"),
        ("(m_axis_tready && last)", "m_axis_tready"),
        ("COUNT_BITS'(CLASSES)", "COUNT_BITS'(CLASSES - 1)"),
        ("if (in_ready) beat", "if (in_valid) beat"),
        ("{!beat[CLASSES*LOGIT_BITS+CLASS_BITS],", "{1'b0,", 3),
        ("{!beat[CLASSES*LOGIT_BITS+CLASS_BITS],", "{beat[CLASSES*LOGIT_BITS+CLASS_BITS],", 3),
        ("assign m_axis_tlast = last", "assign m_axis_tlast = 1'b0"),
    )

    def draw(self, rng: random.Random) -> AxisOut:
        class_bits, frames = rng.randint(1, 8), rng.randint(0, 1)
        return AxisOut(rng.randint(1, 20), logit_bits=rng.randint(2, 32), class_bits=class_bits, frames=frames)

    def beats(self, cfg: AxisOut, rng: random.Random) -> list[int]:
        return [rng.getrandbits(cfg.classes * cfg.logit_bits + cfg.class_bits + cfg.frames) for _ in range(100)]

    def cycles(self, cfg: AxisOut, beats: list[int]) -> int:
        return len(beats) * (cfg.classes + 1) + 1
