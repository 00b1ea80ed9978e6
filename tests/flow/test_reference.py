"""The reference networks: their accuracy on whole test sets, and their designs without training and without torch."""

from __future__ import annotations

import fnmatch
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scaflow.flow import cli
from scaflow.flow.designs import reference
from scaflow.flow.designs.reference import KEPT, kept
from scaflow.flow.stages import TRAININGS, VARIANTS, shipped
from scaflow.model.config import load_network
from scaflow.model.data import dataset_of
from scaflow.model.events.dataset import framed, recorded_in
from scaflow.model.fetch import provide
from scaflow.quant.graph import execute, load, validate

ROOT = Path(__file__).parents[2]
CHANNELS = {  # all and kept, as the README, docs/density.md and docs/reference/README.md say
    "digits": (24, 12),
    "fashion": (208, 104),
    "mnist": (88, 44),
    "swift": (48, 48),
    "nmnist": (72, 56),
}
BLOCKED = ("torch", "brevitas", "qonnx", "onnx", "onnxruntime")


def run(*arguments: str):
    return CliRunner().invoke(cli.app, arguments)


@pytest.mark.parametrize("training", TRAININGS)
@pytest.mark.parametrize("name", kept())
def test_accuracy(name, training):
    network = load_network(shipped()[name])
    try:
        provide(network, ROOT / "data", print)
    except ValueError as error:
        pytest.skip(f"{network.dataset} cannot be obtained here: {error}")
    data = dataset_of(network, ROOT / "data", few=0)
    graph = validate(load(KEPT / name / training))
    channels = sum(len(node.kept) for node in graph.nodes if hasattr(node, "kept"))
    assert channels == CHANNELS[name][TRAININGS.index(training)]
    logits = execute(graph, data.test_images, lengths=data.test_lengths)
    right = int((logits.argmax(1) == data.test_labels).sum())
    figures = json.loads((KEPT / name / "figures.json").read_text())
    kept_count = reference.expected(network, ROOT / "data", figures, data.test_images)
    if kept_count is None:
        pytest.skip(f"of the recordings in {ROOT / 'data'} no count is kept")
    assert right == kept_count[training]


def test_accuracy_on_real_recordings(tmp_path, monkeypatch):
    """Of nmnist, which has learnt from simulated ones alone."""
    path = next((p / "shared/data/nmnist-small.zip" for p in ROOT.parents
                 if (p / "shared/data/nmnist-small.zip").is_file()), None)  # fmt: skip
    if path is None:
        pytest.skip("shared/data/nmnist-small.zip is not there: no real recordings")
    monkeypatch.setenv("SCAFLOW_BUILD", str(tmp_path))
    network = load_network(shipped()["nmnist"])
    with recorded_in(network, path) as found:
        real = framed(network, found)
    kept_counts = json.loads((KEPT / "nmnist/figures.json").read_text())["recorded"]
    counted = {
        training: int((execute(graph, real.frames, lengths=real.lengths).argmax(1) == real.labels).sum())
        for training in TRAININGS
        for graph in [load(KEPT / "nmnist" / training)]
    }
    assert counted == kept_counts[reference.frames_digest(real.frames)]
    assert counted["pruned"] >= 0.965 * len(real.labels)


def test_every_reference_network_is_shipped_whole():
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    patterns = package["scaflow.flow.designs"]
    files = [path.relative_to(KEPT.parent).as_posix() for path in KEPT.rglob("*") if path.is_file()]
    assert [file for file in files if not any(fnmatch.fnmatch(file, pattern) for pattern in patterns)] == []
    whole = {f"{training}.{kind}" for training in TRAININGS for kind in ("json", "npz")} | {"figures.json"}
    for name in kept():
        assert name in shipped()
        assert {path.name for path in (KEPT / name).iterdir()} == whole


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory):
    """A build folder with the designs of digits, and the command as it runs where torch cannot be imported."""
    folder = tmp_path_factory.mktemp("reference")
    for name in BLOCKED:
        (folder / f"blocked/{name}").mkdir(parents=True)
        (folder / f"blocked/{name}/__init__.py").write_text(f"raise ImportError('{name} is blocked')\n")
    (folder / "build").mkdir()
    built = Path(os.environ.get("SCAFLOW_BUILD", "build")).absolute() / "sim"  # simulators that other tests have built
    built.mkdir(parents=True, exist_ok=True)
    (folder / "build/sim").symlink_to(built)
    env = {**os.environ, "PYTHONPATH": str(folder / "blocked")}

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "scaflow.flow.cli", *arguments]
        return subprocess.run(line, capture_output=True, text=True, check=False, cwd=folder, env=env)

    result = command("reference", "digits")
    assert result.returncode == 0, result.stderr
    return folder / "build/digits", command


def test_the_designs_are_those_of_the_kept_graphs(laid_out):
    folder, command = laid_out
    for variant, training in (("dense", "dense"), ("skip", "pruned")):
        assert (folder / f"{variant}/graph.json").read_bytes() == (KEPT / f"digits/{training}.json").read_bytes()
    compiled = json.loads((folder / "compile.json").read_text())
    assert [(row["compared"], row["mismatches"]) for row in compiled["equality"]] == [(360, 0)] * 3
    assert compiled["channels"]["kept"] == CHANNELS["digits"][1]
    assert "torch" not in compiled["provenance"]
    assert "reference: up to date" in command("reference", "digits").stderr


@pytest.mark.rtl
def test_the_later_verbs_go_on_from_there_without_torch(laid_out):
    folder, command = laid_out
    for verb in (
        ("activity", "digits", "--images", "8"),
        ("sim", "digits", "--engine", "native", "--variant", "compact", "--images", "4"),
        ("fold", "digits", "--max-luts", "8000"),
        ("sim", "digits", "--variant", "compact", "--images", "2", "--no-stalls"),
    ):
        result = command(*verb)
        assert result.returncode == 0, result.stderr
    empty = {"equality": [], "stages": [], "synth": [], "counters": []}
    stages = [
        {
            "name": name, "pe": 1, "simd": 1, "kept_in": {"kept": 1, "total": 1}, "kept_out": {"kept": 1, "total": 1},
            "cycles": dict.fromkeys(VARIANTS, 8), "law": dict.fromkeys(VARIANTS, 8),
        }
        for name in ("conv0", "conv1", "readout")
    ]  # fmt: skip
    speed = dict.fromkeys((*VARIANTS, "event"), 8)
    (folder / "cycles.json").write_text(json.dumps(empty | {"stages": stages}))
    (folder / "sim.json").write_text(json.dumps(empty | {"interval": speed, "latency": speed}))
    (folder / "synth.json").write_text(json.dumps(empty))
    result = command("report", "digits")
    assert result.returncode == 0, result.stderr
    page = (folder / "report.html").read_text()
    assert "All equalities hold." in page
    assert "Dataflow: the stages of the event design" in page


def test_a_blocked_import_is_noticed(laid_out):
    """What the fixture relies on: the training does import torch, and ends."""
    _, command = laid_out
    result = command("train", "digits", "--build", "other")
    assert result.returncode != 0
    assert "is blocked" in result.stderr


def test_a_training_in_the_folder_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCAFLOW_BUILD", "")  # the command sets it: to be restored
    for left in ("dense/model.pt", "pruned/checkpoint.pt", "pruned/model.onnx", "stamps/compile.json"):
        path = tmp_path / "build/digits" / left
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine")
        result = run("reference", "digits")
        assert result.exit_code == 2
        assert left in result.stderr.replace("\\", "/")
        assert "another folder by --build" in result.stderr
        assert path.read_bytes() == b"mine"
        assert not (tmp_path / "build/digits/compile.json").exists()
        path.unlink()


def test_another_network_of_the_same_name_is_refused_and_another_folding_is_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCAFLOW_BUILD", "")
    text = shipped()["digits"].read_text()
    (tmp_path / "wider.toml").write_text(text.replace("channels = 8", "channels = 12"))
    result = run("reference", "wider.toml")
    assert result.exit_code == 2
    assert "wider.toml is not the network of the kept graphs: layers differ" in result.stderr
    (tmp_path / "folded.toml").write_text(text.replace("lanes = 32", "lanes = 16"))
    assert run("reference", "folded.toml").exit_code == 0
    manifest = json.loads((tmp_path / "build/digits/dense/rtl/manifest.json").read_text())
    assert sum(stage["pe"] * stage["simd"] for stage in manifest["stages"]) <= 16


def test_a_network_without_kept_graphs_is_refused():
    result = run("reference", "vgg16")
    assert result.exit_code == 2
    assert f"there are those of {', '.join(kept())}" in result.stderr


def test_other_answers_than_the_kept_ones_are_counted(tmp_path, monkeypatch):
    """A graph, a data set or a golden model that changed shows in the equalities."""
    shutil.copytree(KEPT / "digits", tmp_path / "graphs/digits")
    (tmp_path / "graphs/digits/figures.json").write_text('{"correct": {"dense": 360, "pruned": 343}}\n')
    monkeypatch.setattr(reference, "KEPT", tmp_path / "graphs")
    monkeypatch.setattr(reference.laying, "lay_out_designs", lambda *_: {"equality": []})
    project = cli.stages.open_project("digits", tmp_path / "build", tmp_path / "data")
    reference.stage(project, print).run()
    rows = json.loads((project / "compile.json").read_text())["equality"]
    assert [row["mismatches"] for row in rows] == [9, 0]
