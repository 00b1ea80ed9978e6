"""`scaflow sim --engine native`: what it writes, when it runs again, what it refuses and what it notices."""

from __future__ import annotations

import io
import json
import math
import platform
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from one_layer import one_layer
from rich.console import Console
from typer.testing import CliRunner

from scaflow.flow import cli
from scaflow.flow.jobs import local
from scaflow.flow.jobs.job import End, Job
from scaflow.flow.native import chunks
from scaflow.flow.native import run as native
from scaflow.flow.native.report import native_section
from scaflow.flow.stages import open_project
from scaflow.hw.design import design
from scaflow.hw.emit import emit
from scaflow.hw.fold import Fold
from scaflow.quant.graph import save
from scaflow.sim.build import BuildError
from scaflow.sim.rtl import SimulationError

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


class Here:
    """Jobs in this process, one after the other; an interruption instead of one too many."""

    room = True

    def __init__(self, allowed: float = math.inf) -> None:
        self.begun: list[str] = []
        self._allowed = allowed
        self._ends: list[End] = []

    def start(self, job: Job) -> None:
        if len(self.begun) == self._allowed:
            raise KeyboardInterrupt
        self.begun.append(job.title)
        self._ends.append(End(job, local._problem(job)))

    def ended(self, seconds: float) -> list[End]:
        ends, self._ends = self._ends, []
        return ends


def test_jobs_give_the_figures_of_one_machine_and_none_runs_again_after_an_interruption(folder, monkeypatch):
    monkeypatch.setattr(native, "CHUNK", 5)
    monkeypatch.setattr(native, "COUNTED_IMAGES", 5)
    project, said = open_project("digits", Path("b"), Path("data")), io.StringIO()
    run = partial(native.run_designs, project, ["dense"], 12, True, Console(file=said, width=200))
    native.forget(project)
    alone = run()
    native.forget(project)
    with pytest.raises(KeyboardInterrupt):
        run(lambda: nullcontext(Here(allowed=4)))
    rest = Here()
    together = run(lambda: nullcontext(rest))
    assert rest.begun == [f"native: dense, {name}" for name in ("random stalls, chunk 1", "random stalls, chunk 2",
                                                                "counters, chunk 0")]  # fmt: skip
    assert "native: dense, flowing: 3 of 3 chunks as they ran before" in said.getvalue()
    assert "native: dense, random stalls: 1 of 3 chunks as they ran before" in said.getvalue()
    assert not (project / "native/dense").exists()  # only until the design is through
    assert all(row[-2] == "-" and row[-1] != "-" for row in native_section(together["native"]).rows)
    for row in together["native"]:
        assert row["seconds"] is None and row["kcycles_per_second"] is None and row["kcycles_per_core_second"] > 0
    for row in (*alone["native"], *together["native"]):
        for name in ("seconds", "kcycles_per_second", "kcycles_per_core_second"):
            del row[name]
    assert json.dumps(together) == json.dumps(alone)


def test_a_chunk_is_kept_for_the_same_design_images_and_pauses_alone(folder, tmp_path):
    rtl, frames = Path("b/digits/dense/rtl"), np.arange(4 * 64, dtype=np.uint8).reshape(4, 64)

    def begun(frames=frames, longest=None, rtl=rtl) -> list[str]:
        engine = Here()
        chunks.work_through(engine, tmp_path, "t", rtl, frames, 11, longest, 2, lambda done: None, lambda line: None)
        return engine.begun

    both, second = ["t, chunk 0", "t, chunk 1"], ["t, chunk 1"]
    assert begun() == both
    assert begun() == []
    assert begun(np.concatenate([frames[:3], frames[:1]])) == second
    assert begun() == second
    assert begun(longest=40) == begun(longest=50) == begun() == both
    kept = tmp_path / "1/chunk.json"
    kept.write_bytes(kept.read_bytes()[:100])
    assert begun() == second
    memory = next(rtl.glob("readout*bias*.mem"))
    good = memory.read_text()
    memory.write_text(good.replace("0", "1"))
    try:
        assert begun() == both
    finally:
        memory.write_text(good)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (SimulationError("top, chunk 1: Error: it hangs"), "b/digits/dense/rtl: top, chunk 1: Error: it hangs"),
        (BuildError("`g++` is not on PATH"), f"{platform.node()}: `g++` is not on PATH"),
    ],
)
def test_a_chunk_that_breaks_off_names_its_design_and_one_that_cannot_be_built_its_machine(
    folder, tmp_path, monkeypatch, error, told
):
    def broken(*arguments, first, whole, workers):
        assert (first, whole, workers) == (1, 300, 1)
        raise error

    monkeypatch.setattr(chunks, "drive", broken)
    with pytest.raises(ValueError) as refused:
        chunks._work(tmp_path, "b/digits/dense/rtl", 1, 300, "key", np.zeros((1, 64), np.uint8), 11, None, {})
    assert str(refused.value) == told
    assert list(tmp_path.iterdir()) == []


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
        (("--engine", "cocotb", "--ray", "here:1"), ("--ray: cocotb", "--engine native")),
        (("--ray", "here"), ("--ray 'here': give HOST:PORT",)),
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
