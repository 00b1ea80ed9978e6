"""axis_in against its twin."""

from __future__ import annotations

import math
import random

import pytest

from scaflow.quant.golden.axis_in import AxisIn, frame_error
from scaflow.sim.suite import RtlSuite, compare


class TestAxisIn(RtlSuite):
    stem = "axis_in"
    directed = (
        AxisIn(axi_bytes=4, pixel_bytes=1, frame_pixels=16),
        AxisIn(axi_bytes=4, pixel_bytes=1, frame_pixels=9),  # 3 bytes of the last beat are dropped
        AxisIn(axi_bytes=1, pixel_bytes=3, frame_pixels=5),
        AxisIn(axi_bytes=4, pixel_bytes=3, frame_pixels=7),  # through single bytes
        AxisIn(axi_bytes=2, pixel_bytes=2, frame_pixels=4),  # wires
        AxisIn(axi_bytes=4, pixel_bytes=3, frame_pixels=7, pixel_bits=2),
        AxisIn(axi_bytes=4, pixel_bytes=1, frame_pixels=9, pixel_bits=1),
        AxisIn(axi_bytes=3, pixel_bytes=1, frame_pixels=64),
        AxisIn(axi_bytes=8, pixel_bytes=3, frame_pixels=16, pixel_bits=4),
        AxisIn(axi_bytes=16, pixel_bytes=2, frame_pixels=32),
        AxisIn(axi_bytes=16, pixel_bytes=3, frame_pixels=56),  # half of the last beat is dropped
        AxisIn(axi_bytes=16, pixel_bytes=1, frame_pixels=9),  # a frame is shorter than a beat
    )
    mutants = (
        ("unit_valid && unit_ready) unit", "unit_valid) unit", 1),
        ("unit_valid && keep", "unit_valid", 1),
        ("(FRAME_BYTES + AXI_BYTES - 1)", "(FRAME_BYTES)", 1),
        ("tlast != last_beat", "tlast"),
        ("s_axis_tdata[8*b+8-PIXEL_BITS+:", "s_axis_tdata[8*b+:", 5),
    )

    def draw(self, rng: random.Random) -> AxisIn:
        return AxisIn(rng.choice((1, 2, 3, 4, 8, 16)), rng.randint(1, 6), rng.randint(1, 60), rng.randint(1, 8))

    def beats(self, cfg: AxisIn, rng: random.Random) -> list[int]:
        bits, n = 8 * cfg.axi_bytes, cfg.frame_beats
        return [
            rng.getrandbits(bits) | (i % n == n - 1) << bits for i in range(n * max(3, 400 // n))
        ]

    def cycles(self, cfg: AxisIn, beats: list[int]) -> int:
        unit = math.gcd(cfg.axi_bytes, cfg.pixel_bytes)
        units = len(beats) * cfg.axi_bytes // unit
        dropped = cfg.frame_beats * cfg.axi_bytes // unit - cfg.frame_pixels * cfg.pixel_bytes // unit
        return units - dropped + (cfg.axi_bytes > unit) + (cfg.pixel_bytes > unit)

    def probes(self, cfg: AxisIn, beats: list[int]) -> dict[str, int]:
        return {"frame_error": frame_error(cfg, beats)}

    @pytest.mark.rtl
    @pytest.mark.parametrize("wrong", [0, 4, 5])
    def test_tlast_out_of_place(self, wrong: int) -> None:
        """One tlast too many (0, 4) or too few (5): frame_error rises, the pixels stay those of the twin."""
        cfg = AxisIn(axi_bytes=2, pixel_bytes=1, frame_pixels=12)
        beats = [i | (i % 6 == 5) << 16 for i in range(30)]
        beats[wrong] ^= 1 << 16
        assert frame_error(cfg, beats)
        assert compare(self.stem, cfg, beats, probes=("frame_error",)).probes == {"frame_error": 1}
