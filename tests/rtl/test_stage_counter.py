"""stage_counter against its golden twin: it has no streams, so a small top turns the cycles into beats."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from scaflow.quant.golden.beats import unpack
from scaflow.quant.golden.stage_counter import StageCounter, stage_counter
from scaflow.sim.build import RTL, BuildError, build, lint
from scaflow.sim.rtl import simulate_top

MODULE = RTL / "stage_counter.sv"
MUTANTS = (
    ("if (!rst_n)", "if (rst_n)"),
    ("else if (!valid)", "else if (valid)"),
    ("else if (ready)", "else if (!ready)"),
    ("busy <= busy + 1'b1", "busy <= busy"),
    ("starved <= starved + 1'b1", "starved <= stalled + 1'b1"),
    ("stalled <= stalled + 1'b1", "stalled <= busy + 1'b1"),
    ("counters = {stalled, starved, busy};", "counters = {starved, stalled, busy};"),
)

pytestmark = pytest.mark.rtl


def counted(directory: Path, cfg: StageCounter, beats: list[int], module: Path = MODULE) -> list[int]:
    """What the counters hold before each cycle of `beats`; the first cycle after reset is the first beat's."""
    width = 3 * cfg.counter_bits
    (directory / "top.sv").write_text(
        f"""module top (
  input logic clk, input logic rst_n,
  input logic in_valid, output logic in_ready, input logic [1:0] in_data,
  output logic out_valid, input logic out_ready, output logic [{width - 1}:0] out_data
);
  assign in_ready = out_ready;
  assign out_valid = in_valid;
  stage_counter #(.COUNTER_BITS({cfg.counter_bits})) counter (
    .clk, .rst_n, .valid(in_valid && in_data[0]), .ready(in_data[1]), .counters(out_data)
  );
endmodule
"""
    )
    return simulate_top(directory, "top", beats, expect=len(beats), sources=[directory / "top.sv", module]).y


def cycles(n: int = 400) -> list[int]:
    rng = random.Random(n)
    return [rng.randrange(4) for _ in range(n)]


@pytest.mark.parametrize("bits", [1, 5, 32])
def test_equal_to_the_twin(bits: int, tmp_path: Path) -> None:
    """Also where the counters run over."""
    assert counted(tmp_path, StageCounter(bits), cycles()) == stage_counter(StageCounter(bits), cycles())


def test_the_sum_is_the_number_of_cycles(tmp_path: Path) -> None:
    seen = [sum(unpack(word, 32, 3)) for word in counted(tmp_path, StageCounter(32), cycles())]
    assert seen == list(range(len(seen)))


def test_lint() -> None:
    for bits in (1, 32):
        lint("stage_counter", [MODULE], {"COUNTER_BITS": bits})


def test_no_bits_are_refused() -> None:
    with pytest.raises(BuildError, match="COUNTER_BITS=0 must be at least 1"):
        build("stage_counter", [MODULE], {"COUNTER_BITS": 0})


@pytest.mark.parametrize("mutant", MUTANTS, ids=range(len(MUTANTS)))
def test_mutant(mutant: tuple[str, str], tmp_path: Path) -> None:
    text = MODULE.read_text()
    assert text.count(mutant[0]) == 1
    broken = tmp_path / "stage_counter.sv"
    broken.write_text(text.replace(*mutant))
    cfg = StageCounter(32)
    assert counted(tmp_path, cfg, cycles(), broken) != stage_counter(cfg, cycles())
