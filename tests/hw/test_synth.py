"""Synthesis: cells counted per stage, results cached, and failures that name step, log and remedy."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest

from scaflow.hw import synth
from scaflow.hw.synth import Resources, count, overfull, route, synthesize

FIFO = """
  stream_fifo #(.WIDTH({width}), .DEPTH({depth})) {name} (
    .clk(clk), .rst_n(rst_n),
    .in_valid({i}_valid), .in_ready({i}_ready), .in_data({i}_data),
    .out_valid({o}_valid), .out_ready({o}_ready), .out_data({o}_data)
  );"""


def two_fifos(directory: Path, width: int = 8) -> Path:
    """A top of two stages, as the emitter writes it: instances only."""
    first = FIFO.format(width=width, depth=16, name="stage0_fifo", i="in", o="link")
    second = FIFO.format(width=width, depth=5, name="stage1_fifo", i="link", o="out")
    data = f"logic [{width - 1}:0]"
    manifest = {"stages": [{"name": name, "instances": [f"{name}_fifo"]} for name in ("stage0", "stage1")]}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    (directory / "top.sv").write_text(
        "module top (input logic clk, input logic rst_n, input logic in_valid, output logic in_ready,\n"
        f"  input {data} in_data, output logic out_valid, input logic out_ready, output {data} out_data);\n"
        f"  logic link_valid, link_ready; {data} link_data;{first}{second}\nendmodule\n"
    )
    return directory


def test_every_cell_is_counted_once_in_its_stage():
    stat = {
        "modules": {
            "\\lif$top.stage0_lif": {"num_cells_by_type": {"LUT4": 3, "CCU2C": 2, "TRELLIS_FF": 5}},
            "\\fifo$top.stage0_fifo": {"num_cells_by_type": {"TRELLIS_DPR16X4": 2, "L6MUX21": 9}},
            "\\lif$top.stage1_lif": {"num_cells_by_type": {"DP16KD": 1, "MULT18X18D": 4}},
            "\\top": {
                "num_cells_by_type": {
                    "lif$top.stage0_lif": 1,
                    "fifo$top.stage0_fifo": 1,
                    "lif$top.stage1_lif": 1,
                    "LUT4": 1,
                }
            },
        }
    }
    stages = {"stage0_lif": "stage0", "stage0_fifo": "stage0"}
    assert count(stat, "top", "ecp5-85", stages) == {
        "stage0": Resources(lut=3 + 2 * 2 + 2 * 4, ff=5),
        "stage1_lif": Resources(bram=1, dsp=4),
        "top": Resources(lut=1),
    }


def test_a_cell_of_unknown_cost_is_refused():
    stat = {"modules": {"\\top": {"num_cells_by_type": {"LUT2": 1, "XORCY": 2, "MUXCY": 1}}}}
    with pytest.raises(ValueError, match=r"^top: cells of unknown cost in its xc7 netlist: MUXCY, XORCY$"):
        count(stat, "top", "xc7", {})


def test_overfull_names_resource_used_and_available():
    log = (
        "Info: Device utilisation:\n"
        "Info: \t          TRELLIS_IO:   510/   365   139%\n"
        "Info: \t              DP16KD:   208/   208   100%\n"
        "Info: \t        TRELLIS_COMB: 90000/ 83640   107%\n"
    )
    assert overfull(log) == "TRELLIS_IO: 510 of 365, TRELLIS_COMB: 90000 of 83640"


def test_ecp5_is_routed_and_its_stages_sum_to_what_nextpnr_placed(tmp_path):
    lines: list[str] = []
    result = synthesize(two_fifos(tmp_path), "top", "ecp5-85", lines.append, tmp_path / "cache")
    placed = json.loads((result.log / "report.json").read_text())["utilization"]
    assert result.lut == placed["TRELLIS_COMB"]["used"]
    assert result.ff == placed["TRELLIS_FF"]["used"]
    assert (result.bram, result.dsp) == (placed["DP16KD"]["used"], placed["MULT18X18D"]["used"])
    assert sum(result.per_stage.values(), Resources()) == Resources(
        result.lut, result.ff, result.bram, result.dsp
    )
    # Two pointers and a count; Yosys may keep a second copy of the read pointer beside the LUT-RAM.
    assert result.per_stage["stage0"].ff in (4 + 4 + 5, 4 + 4 + 5 + 4)
    assert result.per_stage["stage1"].ff in (3 + 3 + 3, 3 + 3 + 3 + 3)
    routed = re.findall(r"Max frequency for clock .*: ([\d.]+) MHz", (result.log / "nextpnr.log").read_text())
    assert result.fmax_mhz == pytest.approx(float(routed[-1]), abs=0.01)
    assert any("placement" in line for line in lines)
    other = route(result.log, 2)
    assert other > 0
    (result.log / "netlist.json").unlink()
    assert route(result.log, 2) == other  # read
    with pytest.raises(ValueError, match=r"netlist\.json: no such file; remove"):
        route(result.log, 3)


def test_xc7_counts_without_a_clock(tmp_path):
    result = synthesize(two_fifos(tmp_path), "top", "xc7", lambda _: None, tmp_path / "cache")
    assert result.fmax_mhz is None
    assert (result.bram, result.dsp) == (0, 0)
    assert 13 + 9 <= result.ff <= 17 + 12
    assert result.lut > 0


def test_a_folder_may_have_any_name(tmp_path, monkeypatch):
    """The design, the modules of the library, the results and the temporary files lie there."""
    odd = tmp_path / """My $HOME & #1 "a" 'b' `c` (d); 100% \\ ü"""
    (odd / "tmp").mkdir(parents=True)
    shutil.copytree(synth.RTL, odd / "rtl")
    monkeypatch.setattr(synth, "RTL", odd / "rtl")
    monkeypatch.setattr(tempfile, "tempdir", str(odd / "tmp"))
    monkeypatch.chdir(odd)
    result = synthesize(two_fifos(odd), "top", "xc7", print, odd / "cache")
    assert result.lut > 0 and 13 + 9 <= result.ff <= 17 + 12
    assert not list((odd / "tmp").iterdir())


def test_a_repeated_run_reads_the_cache_and_a_changed_memory_does_not(tmp_path):
    (two_fifos(tmp_path) / "weights.mem").write_text("0\n")
    first: list[str] = []
    second: list[str] = []
    changed: list[str] = []
    result = synthesize(tmp_path, "top", "xc7", first.append, tmp_path / "cache")
    assert synthesize(tmp_path, "top", "xc7", second.append, tmp_path / "cache") == result
    (tmp_path / "weights.mem").write_text("1\n")
    assert synthesize(tmp_path, "top", "xc7", changed.append, tmp_path / "cache").log != result.log
    assert len(first) == len(changed) == 2
    assert len(second) == 1 and "unchanged" in second[0]


def test_too_wide_a_design_says_what_does_not_fit(tmp_path):
    with pytest.raises(ValueError, match=r"does not fit the ECP5-85F: TRELLIS_IO: \d+ of 365"):
        synthesize(two_fifos(tmp_path, width=200), "top", "ecp5-85", lambda _: None, tmp_path / "cache")


def test_a_failing_step_names_log_and_last_error_and_leaves_no_result(tmp_path):
    (tmp_path / "top.sv").write_text("module top (input logic clk);\n  missing_part part ();\nendmodule\n")
    with pytest.raises(ValueError, match=r"(?s)Yosys.*failed \(exit code 1\): .*ERROR.*log: .*yosys\.log"):
        synthesize(tmp_path, "top", "xc7", lambda _: None, tmp_path / "cache")
    assert not list(tmp_path.glob("cache/*/result.json"))


def test_missing_inputs_and_tools_are_named(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"target 'ice40' is unknown; use one of ecp5-85, xc7"):
        synthesize(tmp_path, "top", "ice40", lambda _: None, tmp_path)
    with pytest.raises(ValueError, match=r"top\.sv: no such file; compile the network first"):
        synthesize(tmp_path, "top", "xc7", lambda _: None, tmp_path)
    monkeypatch.setattr(synth.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"synthesis cannot run:\n  Yosys: .*pip install.*\n  nextpnr: .*pip install"):
        synthesize(two_fifos(tmp_path), "top", "ecp5-85", lambda _: None, tmp_path)


@pytest.mark.parametrize("content", [b"", b'{"fmax_mhz": 1, "per', b"\0\0\0", b"[]", b"{}"])
def test_a_damaged_result_of_before_is_made_again(tmp_path, monkeypatch, content):
    runs = []

    def run(*_):
        runs.append(1)
        return {"fmax_mhz": 90.0, "per_stage": {"all": {"lut": 1, "ff": 2, "bram": 0, "dsp": 0}}}

    monkeypatch.setattr(synth, "_run", run)
    monkeypatch.setattr(synth, "_tools", lambda *_: "nextpnr")
    (tmp_path / "design").mkdir()
    made = [synthesize(two_fifos(tmp_path / "design"), "top", "ecp5-85", lambda _: None, tmp_path / "c") for _ in "12"]
    assert made[0] == made[1] and runs == [1]
    (made[0].log / "result.json").write_bytes(content)
    assert synthesize(tmp_path / "design", "top", "ecp5-85", lambda _: None, tmp_path / "c") == made[0]
    assert runs == [1, 1]


def test_results_that_are_used_stay_and_older_ones_go_for_others(tmp_path, monkeypatch):
    def run(*_):
        return {"fmax_mhz": 90.0, "per_stage": {"all": {"lut": 1, "ff": 2, "bram": 0, "dsp": 0}}}

    def made(width: int) -> Path:
        return synthesize(two_fifos(tmp_path, width), "top", "ecp5-85", lambda _: None, tmp_path / "cache").log

    monkeypatch.setattr(synth, "_run", run)
    monkeypatch.setattr(synth, "_tools", lambda *_: "nextpnr")
    unused, read, routed = (made(width) for width in (4, 5, 6))
    (routed / "seed-2").mkdir()
    (routed / "seed-2" / synth.ROUTED).write_text('{"fmax_mhz": 91.0}')
    for folder in (unused, read, routed):
        os.utime(folder, (0, 0))
    monkeypatch.setattr(synth.caches, "LIMIT", 0)
    monkeypatch.setattr(synth.caches, "PAUSE", 0)
    assert route(routed, 2) == 91.0
    assert made(5) == read and unused.is_dir()
    other = made(7)
    assert [path.is_dir() for path in (unused, read, routed, other)] == [False, True, True, True]
