"""stream_join against its twin: both ways in stall by themselves."""

from __future__ import annotations

import random

import pytest

from scaflow.hw.mem import parameters
from scaflow.quant.golden.stream_join import StreamJoin
from scaflow.sim.build import RTL, BuildError, lint
from scaflow.sim.rtl import Streams
from scaflow.sim.suite import StreamsSuite

BEATS = 400


def summed(lanes: int, a_bits: int, b_bits: int, a_shift: int, b_shift: int, signed: int) -> StreamJoin:
    """The shape whose sums just hold every sum."""
    out_bits = max(a_bits + a_shift, b_bits + b_shift) + 1
    return StreamJoin(lanes, a_bits, b_bits, a_shift, b_shift, out_bits, signed)


class TestStreamJoin(StreamsSuite):
    stem = "stream_join"
    directed = (
        summed(3, 6, 4, 0, 3, 1),
        summed(5, 1, 2, 0, 0, 0),  # spikes, and spikes that were joined before
        summed(1, 3, 5, 2, 0, 1),
        StreamJoin(lanes=2, a_bits=4, b_bits=4, a_shift=0, b_shift=0, out_bits=9, signed=0),
    )
    mutants = (
        ("!out_valid || out_ready", "1'b1"),  # a sum is lost
        ("a_ready = enable && b_valid", "a_ready = enable"),
        ("b_ready = enable && a_valid", "b_ready = enable"),
        ("a_ready = enable && b_valid", "a_ready = !out_valid && b_valid"),  # half the rate
        ("OUT_BITS'($signed(a))", "OUT_BITS'(a)"),
        ("OUT_BITS'($signed(b))", "OUT_BITS'(b)"),
        ("OUT_BITS'(a);", "OUT_BITS'($signed(a));", 3),
        ("wide_a << A_SHIFT", "wide_a", 2),
        ("wide_b << B_SHIFT", "wide_b"),
        ("if (enable) out_data", "if (a_valid) out_data"),
    )

    def held(self, cfg: StreamJoin, run: Streams) -> None:
        """A beat of each way is taken in the same cycle."""
        assert run.inputs[0].at == run.inputs[1].at

    def draw(self, rng: random.Random) -> StreamJoin:
        a_bits, b_bits, a_shift, b_shift = (rng.randint(low, low + 9) for low in (1, 1, 0, 0))
        return summed(rng.randint(1, 20), a_bits, b_bits, a_shift, b_shift, rng.randint(0, 1))

    def beats(self, cfg: StreamJoin, rng: random.Random) -> list[list[int]]:
        return [[rng.getrandbits(cfg.lanes * bits) for _ in range(BEATS)] for bits in (cfg.a_bits, cfg.b_bits)]

    def cycles(self, cfg: StreamJoin, beats: list[list[int]]) -> int:
        return BEATS + 1


@pytest.mark.rtl
@pytest.mark.parametrize(
    "cfg", [StreamJoin(2, 4, 3, 2, 0, 5, 1), StreamJoin(2, 3, 4, 0, 2, 5, 1)], ids=["of_a", "of_b"]
)
def test_too_few_bits_are_refused(cfg: StreamJoin) -> None:
    with pytest.raises(BuildError, match="OUT_BITS=5 must hold"):
        lint("stream_join", [RTL / "stream_join.sv"], parameters(cfg))
