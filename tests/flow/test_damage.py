"""Files that a power cut, a full disk or another program has damaged: made again where they are kept for speed alone,
else refused with file, reason and remedy; never a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from one_layer import one_layer
from typer.testing import CliRunner

from scaflow.flow import chain, cli, synth
from scaflow.flow.finn import report as finn_report
from scaflow.flow.fold import report as fold_report
from scaflow.flow.native import report as native_report
from scaflow.flow.native import run as native
from scaflow.flow.report import collect as report
from scaflow.flow.report.page import accuracy_plot, render
from scaflow.flow.stages import DESIGNS, TRAININGS, open_project
from scaflow.flow.study import runs as study
from scaflow.hw.design import design
from scaflow.hw.emit import emit
from scaflow.hw.fold import Fold
from scaflow.model.files import write_json
from scaflow.quant.graph import save

DAMAGES = {
    "empty": lambda good: b"",
    "cut off": lambda good: good[: len(good) // 2],
    "zeros": lambda good: bytes(len(good)),
    "of another program": lambda good: b'{"a": 1}\n',
    "no text": lambda good: b"\xff\xfe\x00\x01" * 20,
}
EXPORTED = [f"{training}/{name}" for training in TRAININGS for name in ("model.pt", "model.onnx")]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Designs of a small graph, the same one for all."""
    graph = one_layer("digits", 10, np.random.default_rng(3))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCAFLOW_BUILD", "restored afterwards")
    project = open_project("digits", Path("build"), Path("data"))
    for variant in DESIGNS:
        (project / variant).mkdir(parents=True)
        save(graph, project / f"{variant}/graph")
        emit(design(graph, {"first": Fold(2, 1), "readout": Fold(10, 2)}), project / f"{variant}/rtl")
    return project


def refused(arguments: tuple[str, ...], path: Path) -> str:
    """What the command says; it must refuse, and name the file."""
    result = CliRunner().invoke(cli.app, arguments)
    text = result.stderr
    assert result.exit_code == 2, (result.exit_code, text, result.exception)
    assert "Traceback" not in text and "unexpected" not in text
    assert path.name in text and any(word in text for word in ("compile", "again", "damaged", "cannot be read")), text
    return text


@pytest.mark.parametrize("verb", [("sim", "--variant", "skip"), ("sim", "--variant", "skip", "--engine", "native")])
@pytest.mark.parametrize("name", ["graph.json", "graph.npz", "rtl/manifest.json", "rtl/top.sv", "*bias*.mem"])
@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_design_is_refused_before_it_is_simulated(project, monkeypatch, verb, name, how):
    monkeypatch.setattr(chain, "_in_processes", lambda work, jobs, *_: [work(*job) for job in jobs])
    path = next((project / "skip/rtl").glob(name)) if "*" in name else project / f"skip/{name}"
    path.write_bytes(DAMAGES[how](path.read_bytes()))
    refused((verb[0], "digits", *verb[1:], "--images", "2"), path)


@pytest.mark.parametrize(
    ("verb", "name"),
    [
        ("synth", "event/graph.npz"),
        ("synth", "event/rtl/manifest.json"),
        ("activity", "event/graph.npz"),
        ("activity", "event/rtl/manifest.json"),
        ("cycles", "dense/graph.npz"),
        ("cycles", "dense/rtl/manifest.json"),
    ],
)
def test_so_do_the_other_verbs(project, monkeypatch, verb, name):
    monkeypatch.setattr(chain, "_in_processes", lambda work, jobs, *_: [work(*job) for job in jobs])
    monkeypatch.setattr("scaflow.flow.rungs.run_stage_alone", lambda *_: pytest.fail("it was simulated"))
    monkeypatch.setattr(synth, "synthesize", lambda *_: pytest.fail("it was synthesised"))
    path = project / name
    path.write_bytes(b"")
    refused((verb, "digits"), path)
    assert not (project / f"{verb}.json").exists() and not (project / f"stamps/{verb}.json").exists()


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_graph_is_not_folded(project, how):
    path = project / "compact/graph.json"
    path.write_bytes(DAMAGES[how](path.read_bytes()))
    refused(("fold", "digits", "--max-luts", "20000"), path)


@pytest.mark.parametrize("name", EXPORTED)
@pytest.mark.parametrize("how", ["empty", "zeros", "no text"])
def test_a_damaged_network_is_refused(project, name, how):
    for other in EXPORTED:
        (project / other).parent.mkdir(exist_ok=True)
        (project / other).write_bytes(DAMAGES[how](b"1234567890"))
    verb = "export" if name.endswith(".pt") else "compile"
    refused((verb, "digits"), project / (EXPORTED[0] if verb == "export" else EXPORTED[1]))


def test_what_the_native_engine_keeps_is_made_again(project, monkeypatch):
    monkeypatch.setattr(native, "run_once", lambda *_: (None, np.zeros((1, 4))))
    monkeypatch.setattr(native, "_count", lambda *_: None)
    run = ("sim", "digits", "--engine", "native", "--images", "2", "--variant", "dense")
    assert CliRunner().invoke(cli.app, run).exit_code == 0
    assert "as it ran before" in CliRunner().invoke(cli.app, run).stderr
    for damage in DAMAGES.values():
        path = project / "native/dense.json"
        path.write_bytes(damage(path.read_bytes()))
        result = CliRunner().invoke(cli.app, run)
        assert result.exit_code == 0 and "as it ran before" not in result.stderr


@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_figures_are_refused_with_the_verb_that_makes_them(project, how):
    for name, keys in report.KEYS.items():
        write_json(project / name, {key: [] for key in keys})
    for name, verb in report.MAKERS.items():
        good = (project / name).read_bytes()
        (project / name).write_bytes(DAMAGES[how](good))
        assert f"run `scaflow {verb} digits` again" in refused(("report", "digits"), project / name)
        (project / name).write_bytes(good)
    assert not (project / "report.json").exists() and not (project / "report.html").exists()


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize(
    ("name", "collect"),
    [
        ("fold.json", fold_report.collect),
        ("finn.json", finn_report.collect),
        ("native.json", lambda project: native_report.collect(project, [])),
    ],
)
def test_so_are_those_of_further_verbs(project, name, collect, how):
    (project / name).write_bytes(DAMAGES[how](b'{"stages": []}\n'))
    with pytest.raises(ValueError, match=rf"{name}: damaged.*\n  run `scaflow .* digits.*` again, or remove the file"):
        collect(project)


@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_curves_are_refused(project, how):
    path = project / "dense/log.csv"
    path.write_bytes(DAMAGES[how](b"stage,epoch,validation_accuracy\nfloat,0,0.5\nfloat,1,0.9\n"))
    if how == "cut off":
        path.write_bytes(b"stage,epoch,validation_accuracy\nfloat,0,0.5\nfloat,")
    with pytest.raises(ValueError, match=r"log\.csv: damaged.*\n  remove the file"):
        accuracy_plot({"dense": path})


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_raster_is_refused(project, monkeypatch, how):
    np.savez(project / "raster.npz", conv0=np.zeros((4, 8, 8, 8), np.uint8))
    path = project / "raster.npz"
    path.write_bytes(DAMAGES[how](path.read_bytes()))
    for name in ("cycle_plot", "channel_plot"):
        monkeypatch.setattr(f"scaflow.flow.report.page.{name}", lambda _: None)
    with pytest.raises(ValueError, match=r"raster\.npz: damaged.*\n  run `scaflow compile digits` again"):
        render(project, {})


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_row_of_a_study_is_made_again_and_a_damaged_study_refused(project, how):
    (run, *_) = [run for run in study.plan(project, ["weight"], [0]) if run.criterion]
    write_json(run.result, {"criterion": "dense", "seed": 0, "accuracy": 0.5, "settings": run.settings})
    assert run.finished
    run.result.write_bytes(DAMAGES[how](run.result.read_bytes()))
    assert not run.finished and run in study._left([run])
    study.collect(project, [run])
    path = project / "study.json"
    path.write_bytes(DAMAGES[how](path.read_bytes()))
    with pytest.raises(ValueError, match=r"study\.json: damaged.*\n  remove the file"):
        study.bring_back(project, [run])


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_stamp_means_not_up_to_date(project, monkeypatch, how):
    ran = []

    def simulated(*_):
        ran.append(1)
        return {"equality": []}

    monkeypatch.setattr(chain, "simulate_designs", simulated)
    for _ in range(2):
        assert CliRunner().invoke(cli.app, ["sim", "digits"]).exit_code == 0
    assert ran == [1]
    for name in ("stamps/sim.json", "sim.json"):
        path = project / name
        path.write_bytes(DAMAGES[how](path.read_bytes()))
        assert CliRunner().invoke(cli.app, ["sim", "digits"]).exit_code == 0
        assert json.loads(path.read_text())
    assert ran == [1, 1, 1]
