"""frame_close against its twin: beats and tokens stall by themselves."""

from __future__ import annotations

import random

from scaflow.quant.golden.frame_close import FrameClose
from scaflow.sim.rtl import Streams
from scaflow.sim.suite import StreamsSuite

FRAMES = 150


class TestFrameClose(StreamsSuite):
    stem = "frame_close"
    directed = (
        FrameClose(width=5, beats=6, marked=1),
        FrameClose(width=5, beats=6, marked=0),
        FrameClose(width=3, beats=1, marked=1),
        FrameClose(width=3, beats=2, marked=0),
    )
    mutants = (
        ("MARKED == 0 || in_data[WIDTH-1]", "1'b1"),
        ("MARKED == 0 || in_data[WIDTH-1]", "in_data[WIDTH-1]", 1),
        ("result && closing;", "closing;"),
        ("!last || ends_valid", "1'b1"),  # the token comes too late
        ("last && ends_data", "ends_data"),
        ("out_ready && open", "out_ready"),
        ("out_ready && in_valid && last", "in_valid && last"),
        ("out_ready && in_valid && last", "out_ready && last"),
        ("out_valid && out_ready && result", "out_valid && result"),
        ("out_valid && out_ready && result", "in_valid && out_ready && result"),
        ("COUNT_BITS'(BEATS - 2)", "COUNT_BITS'(BEATS - 1)"),
        ("closing ? '0 :", ""),
    )

    def held(self, cfg: FrameClose, run: Streams) -> None:
        """A token is taken with its frame's last beat, and every beat leaves as it comes."""
        (given, tokens), (out,) = run.inputs, run.outputs
        assert given.at == out.at
        results = [i for i, beat in enumerate(given.beats) if not cfg.marked or beat >> cfg.width - 1]
        assert tokens.at == [out.at[i] for i in results[cfg.beats - 1 :: cfg.beats]]

    def draw(self, rng: random.Random) -> FrameClose:
        return FrameClose(width=rng.randint(1, 40), beats=rng.choice((1, 2, 3, 4, 9, 16)), marked=rng.randint(0, 1))

    def beats(self, cfg: FrameClose, rng: random.Random) -> list[list[int]]:
        own = cfg.width - cfg.marked
        found = []
        for _ in range(FRAMES * cfg.beats):
            for _ in range(rng.choice((0, 0, 1, 2)) * cfg.marked):
                found.append(rng.getrandbits(own))
            found.append(rng.getrandbits(own) | cfg.marked << own)
        return [found, [rng.getrandbits(1) for _ in range(FRAMES)]]

    def cycles(self, cfg: FrameClose, beats: list[list[int]]) -> int:
        return len(beats[0])
