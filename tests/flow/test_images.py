"""Sets with fewer test images than a verb asks for: every verb works on those there are, and states their number."""

from __future__ import annotations

import json

import numpy as np
import pytest
from one_layer import one_layer
from PIL import Image
from typer.testing import CliRunner

from scaflow.flow import chain, cli
from scaflow.flow.activity.events import lay_out
from scaflow.flow.images import test_images as first_images
from scaflow.flow.stages import VARIANTS, open_project
from scaflow.hw.design import design
from scaflow.hw.emit import emit
from scaflow.hw.fold import Fold
from scaflow.model.config import FoldConfig
from scaflow.quant.graph import save

NETWORK = """
name = "one"
dataset = "folder"
time_steps = 2
layers = [{ channels = 4, padding = 0 }]
[data]
path = "set"
shape = [1, 8, 8]
classes = 2
[train]
epochs = 1
validation = 1
[sca]
keep = 1.0
"""


def run(*arguments: str):
    return CliRunner().invoke(cli.app, [*arguments, "--build", "b"])


def read(folder, name: str):
    return json.loads((folder / "b/one" / name).read_text())


def describe(folder, tests: int) -> None:
    """A set with so many test images, and its network."""
    rng = np.random.default_rng(0)
    names = [f"train/{label}/{i}" for label in ("cat", "dog") for i in range(2)]
    for name in (*names, *(f"test/cat/{i}" for i in range(tests))):
        path = folder / f"data/set/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    (folder / "one.toml").write_text(NETWORK)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with compiled designs of a small graph, and a set of a single test image."""
    folder = tmp_path_factory.mktemp("one-image")
    describe(folder, 1)
    rng = np.random.default_rng(3)
    graph = one_layer("one", 2, rng)
    lanes = {"first": Fold(2, 1), "readout": Fold(2, 2)}
    seen = rng.integers(0, 256, (4, 1, 8, 8), dtype=np.uint8)
    laid = {variant: design(graph, lanes) for variant in VARIANTS}
    laid["event"] = lay_out(graph, lanes, FoldConfig.model_validate({"event": {"scheduler": "event"}}), seen)
    for variant, drawn in laid.items():
        (folder / "b/one" / variant).mkdir(parents=True)
        save(graph, folder / f"b/one/{variant}/graph")
        emit(drawn, folder / f"b/one/{variant}/rtl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCAFLOW_BUILD", "restored afterwards")
        patch.setenv("COLUMNS", "200")
        patch.chdir(folder)
        yield folder


@pytest.mark.parametrize(("there", "wanted", "used"), [(1, 20, 1), (3, 20, 3), (3, 3, 3), (3, 2, 2)])
def test_as_many_as_there_are_and_it_is_said(tmp_path, monkeypatch, there, wanted, used):
    monkeypatch.setenv("SCAFLOW_BUILD", str(tmp_path / "b"))
    describe(tmp_path, there)
    said: list[str] = []
    project = open_project(str(tmp_path / "one.toml"), tmp_path / "b", tmp_path / "data")
    assert len(first_images(project, wanted, said.append)) == used
    expected = [f"the test set has {there} image(s) where {wanted} are asked for: all are used"]
    assert said == (expected if there < wanted else [])


@pytest.mark.rtl
@pytest.mark.parametrize("stalls", ["--stalls", pytest.param("--no-stalls", marks=pytest.mark.full)])
def test_sim_on_one_image_has_no_interval(folder, stalls):
    result = run("sim", "one.toml", stalls)
    assert result.exit_code == 0, result.output
    assert "the test set has 1 image(s) where 20 are asked for" in result.stderr
    found = read(folder, "sim.json")
    assert found["images"] == 1
    assert set(found["interval"].values()) == {None}
    assert all(latency > 0 for latency in found["latency"].values())
    assert all(row["compared"] and not row["mismatches"] for row in found["equality"])
    assert {row["compared"] for row in found["equality"] if "golden" in row["rung"]} == {1}


@pytest.mark.rtl
def test_cycles_are_counted_between_the_image_and_itself(folder):
    result = run("cycles", "one.toml")
    assert result.exit_code == 0, result.output
    for stage in read(folder, "cycles.json")["stages"]:
        assert stage["cycles"] == stage["law"]
        assert len(stage["event"]["cycles"]) == chain.CYCLE_IMAGES - 1


@pytest.mark.rtl
def test_the_native_engine_and_the_events_state_one_image(folder):
    result = run("sim", "one.toml", "--engine", "native", "--images", "10000", "--stalls")
    assert result.exit_code == 0, result.output
    found = read(folder, "native.json")
    assert found["images"] == 1 and {row["images"] for row in found["native"]} == {1}
    assert {row["interval"] for row in found["native"]} == {None}
    assert run("activity", "one.toml").exit_code == 0
    assert read(folder, "activity.json")["images"] == 1


@pytest.mark.rtl
def test_the_report_says_that_there_is_no_interval(folder):
    for verb in ("sim", "cycles", "activity"):
        assert run(verb, "one.toml").exit_code == 0
    layers = [{"name": "first", "total": 4, "kept": 3}]
    compiled = {
        "equality": [],
        "accuracy": {"dense": 1.0, "pruned": 1.0, "test_images": 1},
        "channels": {"total": 4, "kept": 3, "layers": layers},
        "removed": [],
        "provenance": {},
    }
    cells = {"target": "ecp5-85", "lut": 1, "ff": 1, "bram": 0, "dsp": 0, "fmax_mhz": 100.0}
    synth = {"synth": [cells | {"variant": variant} for variant in chain.DESIGNS]}
    (folder / "b/one/compile.json").write_text(json.dumps(compiled))
    (folder / "b/one/synth.json").write_text(json.dumps(synth))
    np.savez(folder / "b/one/raster.npz", first=np.zeros((2, 4, 6, 6), np.uint8))
    result = run("report", "one.toml")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("n/a") == len(chain.DESIGNS)
    assert (folder / "b/one/report.html").read_text().count("n/a") == len(chain.DESIGNS)
