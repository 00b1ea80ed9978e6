"""stream_fork against its twin: each reader stalls by itself."""

from __future__ import annotations

import random

from scaflow.quant.golden.stream_fork import StreamFork
from scaflow.sim.rtl import Streams
from scaflow.sim.suite import StreamsSuite

BEATS = 400


class TestStreamFork(StreamsSuite):
    stem = "stream_fork"
    directed = (StreamFork(width=8, outs=2), StreamFork(width=40, outs=3), StreamFork(width=1, outs=1))
    mutants = (
        ("in_valid ? ~done : '0", "in_valid ? '1 : '0"),  # a reader gets a beat again
        ("in_valid ? ~done : '0", "~done"),
        ("in_valid ? ~done : '0", "in_valid && &(done | out_ready) ? ~done : '0"),  # all readers at once
        ("= &(done | out_ready)", "= |(done | out_ready)"),
        ("= &(done | out_ready)", "= &out_ready"),
        ("else if (in_valid) done", "else done"),  # a reader that was ready before the beat came misses it
        ("in_ready ? '0 : done | out_ready", "done | out_ready"),
        ("in_ready ? '0 : done | out_ready", "in_ready ? '0 : out_ready", 1),  # forgets who took it earlier
    )

    def held(self, cfg: StreamFork, run: Streams) -> None:
        """A beat leaves with the last of its readers, in the same cycle."""
        assert run.inputs[0].at == [max(at) for at in zip(*(reader.at for reader in run.outputs), strict=True)]

    def draw(self, rng: random.Random) -> StreamFork:
        return StreamFork(width=rng.randint(1, 150), outs=rng.randint(1, 6))

    def beats(self, cfg: StreamFork, rng: random.Random) -> list[list[int]]:
        return [[rng.getrandbits(cfg.width) for _ in range(BEATS)]]

    def cycles(self, cfg: StreamFork, beats: list[list[int]]) -> int:
        return BEATS
