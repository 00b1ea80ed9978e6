"""spike_pool against its twin."""

from __future__ import annotations

import random
from functools import reduce
from operator import and_

from scaflow.quant.golden.spike_pool import SpikePool
from scaflow.sim.suite import RtlSuite


class TestSpikePool(RtlSuite):
    stem = "spike_pool"
    directed = (
        SpikePool(channels=12, height=6, width=6, size=2, time_steps=4),
        SpikePool(channels=12, height=5, width=7, size=2, time_steps=1),  # remainders; a word twice in a row
        SpikePool(channels=7, height=7, width=8, size=3, time_steps=2),
        SpikePool(channels=9, height=2, width=2, size=2, time_steps=1),  # one window
        SpikePool(channels=3, height=3, width=4, size=1, time_steps=3),
    )
    mutants = (
        ("again_1 ? out_data : held", "held", 1),
        ("first_1 ? '0 :", ""),
        ("last_1 <= last_dx && last_dy", "last_1 <= last_dy"),
        ("x < X_BITS'(USED_X)", "1'b1", 2),
        ("dy <= last_y || last_dy", "dy <= last_dy", 1),
        ("assign in_ready = enable", "assign in_ready = 1'b1"),
        ("dx <= last_x || last_dx", "dx <= last_dx", 1),
        ("valid && addr_1 == addr", "addr_1 == addr"),
    )

    def draw(self, rng: random.Random) -> SpikePool:
        size = rng.randint(1, 4)
        height, width = (size * rng.randint(1, 4) + rng.randrange(size) for _ in range(2))
        return SpikePool(rng.randint(1, 80), height, width, size, time_steps=rng.randint(1, 5))

    def beats(self, cfg: SpikePool, rng: random.Random) -> list[int]:
        # sparse spikes, or an OR over a window would be all ones and notice nothing
        def word() -> int:
            return reduce(and_, (rng.getrandbits(cfg.channels) for _ in range(3)))

        words = cfg.height * cfg.width * cfg.time_steps
        return [word() for _ in range(words * max(2, 600 // words))]

    def cycles(self, cfg: SpikePool, beats: list[int]) -> int:
        # dropped pixels behind the last window
        behind = cfg.height % cfg.size * cfg.width + cfg.width % cfg.size
        return len(beats) - behind * cfg.time_steps + 2
