"""frame_split against its twin: each reader stalls by itself."""

from __future__ import annotations

import random

from scaflow.quant.golden.frame_split import FrameSplit
from scaflow.sim.rtl import Streams
from scaflow.sim.suite import StreamsSuite

BEATS = 400


class TestFrameSplit(StreamsSuite):
    stem = "frame_split"
    directed = (FrameSplit(width=2), FrameSplit(width=9))
    mutants = (
        ("in_valid && !out_done", "in_valid"),  # a pixel comes again
        ("in_valid && !out_done", "in_valid && ends_has && !out_done"),  # one waits for the token's reader
        ("in_valid && last && !ends_done", "in_valid && last"),
        ("in_valid && last && !ends_done", "in_valid && !ends_done"),
        ("in_data[WIDTH+1]", "in_data[WIDTH]"),
        ("!last || ends_done || ends_ready", "1'b1"),
        ("!last || ends_done || ends_ready", "ends_done || ends_ready"),  # each pixel waits for the token's reader
        ("out_done || out_ready;", "out_ready;"),
        ("{out_has, ends_has}", "{out_has, 1'b0}"),  # a token comes again
        ("{out_has, ends_has}", "{1'b1, ends_has}"),  # a pixel is lost
        ("in_ready ? '0 : {", "{"),
    )

    def held(self, cfg: FrameSplit, run: Streams) -> None:
        """A beat leaves with the last of its readers, in the same cycle."""
        (given,), (pixels, ends) = run.inputs, run.outputs
        tokens = iter(ends.at)
        last = [next(tokens) if beat >> cfg.width & 1 else 0 for beat in given.beats]
        assert given.at == [max(pair) for pair in zip(pixels.at, last, strict=True)]

    def draw(self, rng: random.Random) -> FrameSplit:
        return FrameSplit(width=rng.randint(1, 40))

    def beats(self, cfg: FrameSplit, rng: random.Random) -> list[list[int]]:
        marks = [rng.choice((0, 0, 1, 3)) for _ in range(BEATS - 1)]
        return [[rng.getrandbits(cfg.width) | mark << cfg.width for mark in (*marks, 3)]]

    def cycles(self, cfg: FrameSplit, beats: list[list[int]]) -> int:
        return BEATS
