"""`scaflow sim --engine native`: what it writes, when it runs again, what it refuses and what it notices."""

from __future__ import annotations

import json

import numpy as np
import pytest
from one_layer import one_layer
from typer.testing import CliRunner

from scaflow.flow import cli
from scaflow.flow.native import run as native
from scaflow.hw.design import design
from scaflow.hw.emit import emit
from scaflow.hw.fold import Fold
from scaflow.quant.graph import save

pytestmark = pytest.mark.rtl


def run(*arguments: str):
    return CliRunner().invoke(cli.app, ["sim", "digits", "--engine", "native", "--build", "b", *arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with compiled designs of a small graph, the same one for all."""
    graph = one_layer("digits", 10, np.random.default_rng(3))
    folder = tmp_path_factory.mktemp("native-flow")
    for variant in (*native.NATIVE, "skip"):
        home = folder / "b/digits" / variant
        home.mkdir(parents=True)
        save(graph, home / "graph")
        emit(design(graph, {"first": Fold(2, 1), "readout": Fold(10, 2)}), home / "rtl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCAFLOW_BUILD", "restored afterwards")
        patch.setenv("COLUMNS", "200")
        patch.chdir(folder)
        result = run("--images", "12", "--stalls")
        assert result.exit_code == 0, result.output
        yield folder


def test_every_design_is_run_flowing_and_stalling(folder):
    found = json.loads((folder / "b/digits/native.json").read_text())
    assert [(row["variant"], row["stalls"]) for row in found["native"]] == [
        (variant, stalls) for variant in native.NATIVE for stalls in (False, True)
    ]
    for row in found["native"]:
        assert (row["images"], row["logit_mismatches"], row["cycle_mismatches"]) == (12, 0, 0)
        assert row["cycles_total"] > 12 * row["interval"]["least"] and row["seconds"] > 0
    assert all(row["compared"] and not row["mismatches"] for row in found["equality"])
    counted = [row for row in found["counters"] if row["variant"] == "dense"]
    assert [row["stage"] for row in counted] == ["first", "readout"]
    assert len({row["busy"] + row["starved"] + row["stalled"] for row in counted}) == 1


def test_a_second_run_repeats_nothing_and_other_settings_do(folder, monkeypatch):
    seen = []
    monkeypatch.setattr(native, "run_designs", lambda *arguments: seen.append(arguments[2:4]) or {"equality": []})
    assert "native: up to date" in run("--images", "12", "--stalls").stderr
    assert not seen
    before = (folder / "b/digits/native.json").read_text()
    stamp = (folder / "b/digits/stamps/native.json").read_text()
    run("--images", "13")
    assert seen == [(13, False)]
    (folder / "b/digits/native.json").write_text(before)
    (folder / "b/digits/stamps/native.json").write_text(stamp)


def test_a_finished_design_is_not_run_again_unless_forced_or_changed(folder, monkeypatch):
    again = "native: dense as it ran before"
    assert again not in run("--images", "4", "--variant", "dense").stderr
    assert again in run("--images", "4", "--variant", "dense").stderr
    assert again not in run("--images", "4", "--variant", "dense", "--force").stderr
    monkeypatch.setattr(native, "source_digest", lambda rooms: "another revision of the exact clock")
    assert again not in run("--images", "4", "--variant", "dense").stderr


def test_a_wrong_weight_in_the_hardware_is_found(folder):
    memory = next((folder / "b/digits/compact/rtl").glob("readout*bias*.mem"))
    good = memory.read_text()
    memory.write_text("".join("0" if digit == "7" else "7" for digit in good.splitlines()[0]) + "\n")
    try:
        result = run("--images", "3", "--variant", "compact")
    finally:
        memory.write_text(good)
    assert result.exit_code == 1
    assert "3 native: top = golden, flowing (compact): 3 mismatches in 3" in " ".join(result.stderr.split())


def test_a_wrong_expectation_of_the_cycles_is_found(folder, monkeypatch):
    told = native.predicted

    def off_by_one(*arguments):
        cycles = told(*arguments)
        cycles[1, 3] += 1
        return cycles

    monkeypatch.setattr(native, "predicted", off_by_one)
    result = run("--images", "3", "--variant", "dense")
    assert result.exit_code == 1
    assert "exact clock, flowing (dense): 1 mismatches in 3" in " ".join(result.stderr.split())


def test_an_interruption_leaves_the_last_result_or_nothing(folder, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(native, "simulate", interrupted)
    before = sorted(path.name for path in (folder / "b/digits").iterdir())
    text = (folder / "b/digits/native.json").read_text()
    stamp = folder / "b/digits/stamps/native.json"
    kept = stamp.read_text()
    assert run("--images", "14").exit_code == 130
    assert sorted(path.name for path in (folder / "b/digits").iterdir()) == before
    assert (folder / "b/digits/native.json").read_text() == text and not stamp.is_file()
    stamp.write_text(kept)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--variant", "dense", "--waves", "w.vcd"), ("--waves", "cocotb")),
        (("--engine", "quick"), ("--engine", "'quick'", "'native'")),
    ],
)
def test_what_cannot_be_is_refused_with_one_error(folder, arguments, words):
    result = run(*arguments)
    assert result.exit_code == 2
    assert all(word in " ".join(result.stderr.split()) for word in words)
    assert result.stderr.count("error: ") + result.stderr.count("─ Error ─") == 1 and "Traceback" not in result.output


def test_a_missing_design_is_named_with_its_command(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for more in ((), ("--variant", "skip")):
        result = run("--images", "3", *more)
        assert result.exit_code == 2
        assert "skip/rtl/top.sv" in result.stderr and "run `scaflow compile digits` first" in result.stderr
