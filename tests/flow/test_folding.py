"""`scaflow fold`: what it finds is a design with these figures, what it refuses, and what the report shows of it."""

from __future__ import annotations

import json
import re
import tomllib

import numpy as np
import pytest
from typer.testing import CliRunner

from scaflow.flow import cli
from scaflow.flow.fold import report as fold_report
from scaflow.flow.jobs.local import Local
from scaflow.flow.stages import open_project, shipped
from scaflow.hw.design import design
from scaflow.hw.fold import given
from scaflow.model.config import FoldConfig
from scaflow.quant.graph import Conv, Graph, Pool, Readout, load, save


def network(first: int, second: int) -> Graph:
    """Two convolutions and a read-out of digits, with random weights."""
    rng = np.random.default_rng(first)

    def conv(name, out, into, bits, in_bits):
        top = (1 << (bits - 1)) - 1
        weight = rng.integers(-top, top + 1, (out, into, 3, 3))
        scale = int(weight.std() * 4 * (100 if in_bits > 1 else 2) * 8)
        return Conv(
            name=name, weight=weight, bias=rng.integers(-scale, scale, out), threshold=np.full(out, scale), stride=1,
            padding=1, leak_shift=1, reset="hard", fraction_bits=3, weight_bits=bits, in_bits=in_bits,
            kept=tuple(range(out)),
        )  # fmt: skip

    readout = Readout("readout", rng.integers(-90, 90, (10, second, 4, 4)), rng.integers(-9, 9, 10), 8)
    nodes = (conv("conv0", first, 1, 8, 8), conv("conv1", second, first, 4, 1), Pool("pool1", 2), readout)
    return Graph("digits", (1, 8, 8), 3, nodes)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The command in a folder where the dense and the compact network have been compiled."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCAFLOW_BUILD", "restored afterwards")
    for name, channels in (("dense", (8, 12)), ("compact", (4, 5))):
        folder = tmp_path / "build/digits" / name
        folder.mkdir(parents=True)
        save(network(*channels), folder / "graph")
    return lambda *arguments: CliRunner().invoke(cli.app, ["fold", "digits", *arguments])


def found(tmp_path):
    return json.loads((tmp_path / "build/digits/fold.json").read_text())


def test_the_best_rate_within_a_budget(run, tmp_path):
    result = run("--max-luts", "6000", "--scheduler", "list")
    assert result.exit_code == 0, result.output
    fold = found(tmp_path)
    assert fold["lut"] <= 6000 and fold["device"] == "ecp5-85"
    assert fold["fps"] == pytest.approx(100e6 / fold["interval"])
    assert sum(stage["lut"] for stage in fold["stages"]) == pytest.approx(fold["lut"], abs=len(fold["stages"]))
    # what the user pastes is the design with that interval
    section = tomllib.loads((tmp_path / "build/digits/fold.toml").read_text())["fold"]
    config = FoldConfig(**section)
    graph = load(tmp_path / "build/digits/compact/graph")
    assert design(graph, given(graph, config.pe, config.simd, config.neurons)).interval == fold["interval"]
    assert section["pe"] == [stage["pe"] for stage in fold["stages"][:2]]
    for line in (fold["toml"], "6,000 LUTs", f"{fold['interval']:,.0f}"):
        assert line in result.stdout


def test_the_least_area_for_a_rate_and_both_gains(run, tmp_path):
    assert run("--target-fps", "20000", "--scheduler", "list", "--device", "xc7z020").exit_code == 0
    slow = found(tmp_path)
    assert slow["fps"] >= 20_000
    assert run("--target-fps", "60000", "--scheduler", "list", "--device", "xc7z020").exit_code == 0
    fast = found(tmp_path)
    assert fast["fps"] >= 60_000 and fast["lut"] > slow["lut"]
    gains = slow["gains"]
    assert gains["dense"]["fps"] >= 20_000
    assert gains["same_lanes"]["interval"] < gains["dense"]["interval"]
    assert gains["same_lanes"]["lut"] < gains["dense"]["lut"]
    assert gains["same_area"]["interval"] < gains["same_lanes"]["interval"]
    assert gains["same_area"]["lut"] <= gains["dense"]["lut"]


def test_the_width_of_the_way_in_is_the_descriptions(run, tmp_path):
    """It prices the ends, is pasted back with a list design, and stays in [fold] beside an event design."""
    assert run("--max-luts", "6000", "--scheduler", "list").exit_code == 0
    usual = found(tmp_path)
    assert usual["axi_bytes"] == 4 and "axi_bytes" not in usual["toml"]
    text = shipped()["digits"].read_text()
    (tmp_path / "wide.toml").write_text(text.replace("[fold]\n", "[fold]\naxi_bytes = 16\n"))
    arguments = ("fold", "wide.toml", "--max-luts", "6000", "--scheduler")
    assert CliRunner().invoke(cli.app, [*arguments, "list"]).exit_code == 0
    wide = found(tmp_path)
    assert wide["stages"][-1]["lut"] > usual["stages"][-1]["lut"] + 20
    config = FoldConfig(**tomllib.loads(wide["toml"])["fold"])
    assert wide["axi_bytes"] == config.axi_bytes == 16
    at = {name: open_project(name, tmp_path / "build", tmp_path / "data") for name in ("digits", "wide.toml")}
    assert fold_report.collect(at["wide.toml"])["fold"] == wide and fold_report.collect(at["digits"]) == {}
    assert CliRunner().invoke(cli.app, [*arguments, "event"]).exit_code == 0
    first, second, *_ = found(tmp_path)["toml"].splitlines()
    assert (first, second) == ("# beside this in [fold]: axi_bytes = 16", "[fold.event]")


def test_an_impossible_rate_is_refused_with_the_best_and_the_best_is_possible(run, tmp_path):
    refused = run("--target-fps", "1e7", "--scheduler", "list", "--device", "xc7z010")
    assert refused.exit_code == 2
    assert not (tmp_path / "build/digits/fold.json").exists()
    best = re.search(r"cannot be met; the best is ([\d,]+) images/s", refused.stderr)
    assert best, refused.stderr
    rate = float(best[1].replace(",", ""))
    assert run("--target-fps", str(rate - 1), "--scheduler", "list", "--device", "xc7z010").exit_code == 0
    assert found(tmp_path)["fps"] == pytest.approx(rate, abs=1)
    assert run("--target-fps", str(rate + 1), "--scheduler", "list", "--device", "xc7z010").exit_code == 2


def test_too_small_a_budget_is_refused_with_the_least(run):
    refused = run("--max-luts", "500", "--scheduler", "list")
    assert refused.exit_code == 2
    least = re.search(r"it takes ([\d,]+) LUTs", refused.stderr)
    assert least, refused.stderr
    assert run("--max-luts", str(int(least[1].replace(",", "")) + 1), "--scheduler", "list").exit_code == 0


@pytest.mark.parametrize("scheduler", ["event", "auto"])
def test_event_stages_meet_the_rate_by_the_exact_clock(run, tmp_path, scheduler):
    result = run("--target-fps", "30000", "--scheduler", scheduler)
    assert result.exit_code == 0, result.output
    fold = found(tmp_path)
    assert fold["fps"] >= 30_000
    chosen = [stage["scheduler"] for stage in fold["stages"][:2]]
    if scheduler == "event":
        assert chosen == ["event", "event"]
        section = tomllib.loads(fold["toml"])["fold"]
        assert FoldConfig(**section).event.scheduler == ("event", "event")


def test_a_request_that_says_too_little_or_too_much_is_refused(run):
    assert "give one of --target-fps" in run().stderr
    assert "give one of --target-fps" in run("--target-fps", "10", "--max-luts", "10").stderr
    both = run("--device", "ecp6")
    assert both.exit_code == 2
    assert "--device 'ecp6' is unknown; use one of ecp5-25" in both.stderr and "give one of" in both.stderr


def test_a_fold_too_early_names_the_stage_before(run, tmp_path):
    (tmp_path / "build/digits/dense/graph.json").unlink()
    result = run("--max-luts", "9000")
    assert result.exit_code == 2
    assert "dense/graph.json" in result.stderr and "run `scaflow compile digits` first" in result.stderr


def test_the_report_has_the_folding_of_the_networks_that_are_there(run, tmp_path):
    project = open_project("digits", tmp_path / "build", tmp_path / "data")
    assert fold_report.collect(project) == {} and fold_report.sections({}) == []
    run("--max-luts", "6000", "--scheduler", "list")
    collected = fold_report.collect(project)
    plan, gains = fold_report.sections(collected)
    assert [row[0] for row in plan.rows] == ["conv0", "conv1", "readout", "ends"]
    assert [row[0] for row in gains.rows] == ["dense", "pruned, same lanes", "pruned, same area"]
    assert all(len(row) == len(part.columns) for part in (plan, gains) for row in part.rows)
    assert list(gains.plots()) == ["Images a second"]
    save(network(5, 5), tmp_path / "build/digits/compact/graph")  # trained anew since
    assert fold_report.collect(project) == {}


def test_a_sweep_has_what_each_request_alone_gives_and_goes_on_where_it_stopped(run, tmp_path, monkeypatch):
    folder = tmp_path / "build/digits"
    asked = ("--max-luts", "2300", "--max-luts", "6000")
    alone = []
    for luts in asked[1::2]:
        assert run("--max-luts", luts).exit_code == 0
        alone.append({key: value for key, value in json.loads((folder / "fold.json").read_text()).items()})
    assert alone[0]["fps"] < alone[1]["fps"]
    (folder / "fold.json").unlink()
    found = run(*asked, "--max-luts", "10", "--jobs", "1")
    assert found.exit_code == 0, found.output
    whole = (folder / "fold-sweep.json").read_bytes()
    *points, refused = json.loads(whole)["points"]
    assert [point | {"graphs": one["graphs"]} for point, one in zip(points, alone, strict=True)] == alone
    assert "not even the smallest design fits 10 LUTs" in refused["impossible"]
    assert refused["impossible"] in " ".join(found.output.split())
    assert not (folder / "fold.json").exists()
    monkeypatch.setattr(Local, "start", None)  # nothing is left to be done
    assert run(*asked, "--max-luts", "10").exit_code == 0
    assert (folder / "fold-sweep.json").read_bytes() == whole
