"""A network of recordings, by the command: from a folder of events to its designs, and what is said on the way."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from scaflow.flow import cli
from scaflow.flow.stages import DESIGNS
from scaflow.model.events.arrays import write_npz
from scaflow.model.events.recording import Recording
from scaflow.quant.graph import execute, load

NETWORK = """
name = "moving"
dataset = "folder"
layers = [{ channels = 4, kernel = 3, stride = 2 }]
[data]
path = "set"
shape = [2, 8, 10]
classes = 2
[input]
kind = "frames"
bin_us = 1000
frames = 6
bits = 2
[neuron]
leak_shift = 2
reset = "soft"
[train]
epochs = 6
finetune_epochs = 1
batch = 16
lr = 0.03
validation = 8
[sca]
keep = 0.75
granularity = 1
[fold]
pe = [2]
simd = [1, 1]
"""
EACH = {"train": 30, "test": 6}


def recording(rng: np.random.Generator, right: bool) -> Recording:
    """A bar that moves from the middle to one side, for 4 to 6 ms."""
    length = int(rng.integers(4, 7))
    t = np.sort(rng.integers(0, 1000 * length, 40 * length))
    t -= t[0]
    column = t // 2000 + 5
    x = (column if right else 9 - column) + rng.integers(-1, 2, len(t))
    return Recording(t, x.clip(0, 9), rng.integers(0, 8, len(t)), rng.integers(0, 2, len(t)), 10, 8)


def run(*arguments: str):
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A folder where a network has been trained and compiled, and what the command said."""
    folder, rng = tmp_path_factory.mktemp("recorded"), np.random.default_rng(0)
    (folder / "moving.toml").write_text(NETWORK)
    for part, count in EACH.items():
        for label in ("left", "right"):
            place = folder / "data/set" / part / label
            place.mkdir(parents=True)
            for i in range(count):
                (place / f"{i:02}.npz").write_bytes(write_npz(recording(rng, label == "right")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCAFLOW_BUILD", "")  # the command sets it: to be restored
        patch.setenv("COLUMNS", "200")
        patch.chdir(folder)
        said = {verb: run(verb, "moving.toml").stderr for verb in ("data", "train", "export", "compile")}
        yield folder, said


def test_what_is_said_on_the_way(compiled):
    _, said = compiled
    assert "60 training and 12 test recordings of 2 classes" in said["data"]
    assert "no QONNX form" in said["export"]


def test_what_is_of_images_alone_is_refused(compiled):
    result = CliRunner().invoke(cli.app, ["fold", "moving.toml", "--max-luts", "9000"])
    assert result.exit_code == 2 and "foldings are solved for images alone" in result.stderr
    result = CliRunner().invoke(cli.app, ["study", "moving.toml"])
    assert result.exit_code == 2 and "criteria are compared on images alone" in result.stderr


def test_torch_is_the_golden_model_and_the_network_has_learnt(compiled):
    folder, _ = compiled
    found = json.loads((folder / "build/moving/compile.json").read_text())
    assert {row["rung"][0] for row in found["equality"]} == {"0", "c"}
    assert all(row["mismatches"] == 0 and row["compared"] == 12 for row in found["equality"])
    assert found["accuracy"]["dense"] > 0.8 and found["channels"]["kept"] == 3


def test_each_design_takes_events(compiled):
    folder, _ = compiled
    for design in DESIGNS:
        assert load(folder / f"build/moving/{design}/graph").frames == 6
        assert "axis_events" in (folder / f"build/moving/{design}/rtl/top.sv").read_text()
    pruned, small = (load(folder / f"build/moving/{name}/graph") for name in ("skip", "compact"))
    frames = np.random.default_rng(1).integers(0, 4, (5, 6, 2, 8, 10), dtype=np.uint8)
    lengths = np.array([1, 3, 6, 2, 5])
    assert (execute(pruned, frames, lengths=lengths) == execute(small, frames, lengths=lengths)).all()
