"""spike_sum against its twin."""

from __future__ import annotations

import random

import pytest

from scaflow.hw.mem import parameters
from scaflow.quant.golden.spike_sum import SpikeSum
from scaflow.sim.build import RTL, BuildError, lint
from scaflow.sim.suite import RtlSuite


def whole(channels: int, in_bits: int, height: int, width: int, size: int, time_steps: int) -> SpikeSum:
    """The shape whose sums just hold a window of the largest numbers."""
    out_bits = (size * size * ((1 << in_bits) - 1)).bit_length()
    return SpikeSum(channels, in_bits, out_bits, height, width, size, time_steps)


class TestSpikeSum(RtlSuite):
    stem = "spike_sum"
    directed = (
        whole(12, 1, 6, 6, 2, 4),
        whole(12, 2, 5, 7, 2, 1),  # remainders; a word twice in a row
        whole(7, 3, 7, 8, 3, 2),
        SpikeSum(channels=5, in_bits=1, out_bits=6, height=2, width=2, size=2, time_steps=1),  # one window; idle bits
        whole(3, 4, 3, 4, 1, 3),
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
        ("earlier[c] + OUT_BITS'(beat[c])", "earlier[c] | OUT_BITS'(beat[c])"),
        ("OUT_BITS'(beat[c])", "OUT_BITS'($signed(beat[c]))", 1),
    )

    def draw(self, rng: random.Random) -> SpikeSum:
        size = rng.randint(1, 4)
        height, width = (size * rng.randint(1, 4) + rng.randrange(size) for _ in range(2))
        return whole(rng.randint(1, 30), rng.randint(1, 4), height, width, size, time_steps=rng.randint(1, 5))

    def beats(self, cfg: SpikeSum, rng: random.Random) -> list[int]:
        words, bits = cfg.height * cfg.width * cfg.time_steps, cfg.channels * cfg.in_bits
        largest = [(1 << bits) - 1] * words  # a map of them: the sums fill their bits
        return [*largest, *(rng.getrandbits(bits) for _ in range(words * max(2, 600 // words)))]

    def cycles(self, cfg: SpikeSum, beats: list[int]) -> int:
        # dropped pixels behind the last window
        behind = cfg.height % cfg.size * cfg.width + cfg.width % cfg.size
        return len(beats) - behind * cfg.time_steps + 2


@pytest.mark.rtl
def test_too_few_bits_are_refused() -> None:
    with pytest.raises(BuildError, match="OUT_BITS=3 must hold SIZE=2 squared"):
        lint("spike_sum", [RTL / "spike_sum.sv"], parameters(SpikeSum(4, 2, 3, 4, 4, 2, 1)))
