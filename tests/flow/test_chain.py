"""The whole chain on a small network, by the command: from training to the comparison, and what breaks it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from scaflow.flow import chain, cli, rungs, synth
from scaflow.flow.stages import DESIGNS, open_project
from scaflow.hw.synth import Resources, SynthResult
from scaflow.quant.graph import Join, load
from scaflow.sim.rtl import Frames

NETWORK = """
name = "tiny"
dataset = "digits"
time_steps = 2
layers = [{ channels = 6, stride = 2 }, { channels = 4, pool = 2 }]
[train]
epochs = 3
finetune_epochs = 1
batch = 32
lr = 0.01
validation = 100
train_images = 320
[sca]
keep = 0.6
[fold]
axi_bytes = 8
pe = [2, 2]
simd = [1, 2, 2]
"""

BRANCHED = """
name = "branched"
dataset = "digits"
time_steps = 2
layers = [
  { channels = 4, bits = 6 },
  { channels = 8 },
  { channels = 4, bits = 6, shortcut = -2, pool = 2 },
  { channels = 8, bits = 6, stride = 2, shortcut = -1 },
]
[train]
epochs = 3
finetune_epochs = 1
batch = 32
lr = 0.01
validation = 100
train_images = 320
[sca]
cycles = 0.6
granularity = 2
[fold]
pe = [2, 2, 2, 2]
simd = [1, 2, 2, 2, 2]
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder where `scaflow demo` has run on a small network; only the synthesis is stood in for."""
    folder = tmp_path_factory.mktemp("chain")
    (folder / "tiny.toml").write_text(NETWORK)

    def synthesized(directory, top, target, progress, cache):
        return SynthResult(target, 100, 50, 1, 0, 80.0, {"all": Resources(100, 50, 1, 0)}, directory)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synth, "synthesize", synthesized)
        patch.setenv("SCAFLOW_BUILD", "")  # the command sets it: to be restored
        patch.chdir(folder)
        result = CliRunner().invoke(cli.app, ["demo", "tiny.toml", "--images", "3"])
        assert result.exit_code == 0, result.output
        yield folder, result


def run(*arguments: str):
    return CliRunner().invoke(cli.app, arguments)


@pytest.mark.rtl
def test_the_report_holds_and_is_complete(finished):
    folder, result = finished
    report = json.loads((folder / "build/tiny/report.json").read_text())
    rungs_seen = {row["rung"][0] for row in report["equality"]}
    assert rungs_seen == {"0", "1", "2", "3", "c", "m"}
    assert {row["variant"] for row in report["equality"] if row["rung"][0] == "3"} == set(DESIGNS)
    assert all(row["mismatches"] == 0 < row["compared"] for row in report["equality"])
    assert report["accuracy"]["test_images"] == 360
    assert [stage["name"] for stage in report["stages"]] == ["conv0", "conv1", "readout"]
    for stage in report["stages"]:
        assert stage["cycles"] == stage["law"]
        assert stage["cycles"]["compact"] <= stage["cycles"]["skip"] <= stage["cycles"]["dense"]
    assert "Accuracy on 360 test images" in result.stdout
    assert "All equalities hold." in (folder / "build/tiny/report.html").read_text()


@pytest.mark.rtl
def test_the_chain_of_a_network_with_shortcuts_holds(finished):
    """From training to the RTL: pruned for cycles, through QONNX, equal all the way."""
    folder, _ = finished
    (folder / "branched.toml").write_text(BRANCHED)
    for verb in ("train", "export", "compile", "activity"):
        result = run(verb, "branched.toml", *(["--images", "8"] * (verb == "activity")))
        assert result.exit_code == 0, result.output
    project = open_project("branched.toml", Path("build"), Path("data"))
    compiled = json.loads((project / "compile.json").read_text())
    assert {row["rung"][0] for row in compiled["equality"]} == {"0", "1", "c"}
    assert all(row["mismatches"] == 0 < row["compared"] for row in compiled["equality"])
    assert [layer["name"] for layer in compiled["channels"]["layers"]] == ["fire0", "conv1", "fire2", "fire3"]
    kept = {layer["name"]: layer["kept"] for layer in compiled["channels"]["layers"]}
    assert kept["fire0"] == kept["fire2"] and compiled["channels"]["kept"] < compiled["channels"]["total"] == 24
    manifests = {name: json.loads((project / f"{name}/rtl/manifest.json").read_text()) for name in ("dense", "skip")}
    laws = {name: sum(stage["law"] for stage in found["stages"]) for name, found in manifests.items()}
    assert laws["skip"] <= 0.6 * laws["dense"]
    graph = load(project / "event/graph")
    assert [graph.edge(node.name).kind for node in graph.nodes if isinstance(node, Join)] == ["currents", "currents"]
    told = json.loads((project / "activity.json").read_text())
    assert [row["name"] for row in told["stages"] if row["scheduler"] == "event"][:2] == ["conv0", "conv1"]
    sim = chain.simulate_designs(project, ["event"], 3, True, None, lambda line: None)
    assert all(row["mismatches"] == 0 < row["compared"] for row in sim["equality"]), sim["equality"]


@pytest.mark.rtl
def test_images_come_in_by_beats_as_wide_as_the_description_says(finished):
    folder, _ = finished
    for name in DESIGNS:
        assert json.loads((folder / f"build/tiny/{name}/rtl/manifest.json").read_text())["axi_bytes"] == 8
        assert "[63:0] s_axis_tdata," in (folder / f"build/tiny/{name}/rtl/top.sv").read_text()
    page = " ".join((folder / "build/tiny/report.html").read_text().split())
    assert "An image comes in by 8 bytes a beat, in 64 cycles." in page


@pytest.mark.rtl
def test_an_import_has_the_width_it_is_asked_for(finished):
    folder, _ = finished
    for wrong in ("0", "17"):
        refused = run("import", "build/tiny/pruned/model.onnx", "--axi-bytes", wrong)
        assert refused.exit_code == 2
        assert f"--axi-bytes {wrong}: an input beat has 1 to 16 bytes; give a width among these" in refused.stderr
    result = run("import", "build/tiny/pruned/model.onnx", "--name", "own", "--images", "2", "--axi-bytes", "9")
    assert result.exit_code == 0, result.output
    assert "[71:0] s_axis_tdata," in (folder / "build/own/rtl/top.sv").read_text()


@pytest.mark.rtl
def test_a_second_run_repeats_nothing(finished):
    result = run("demo", "tiny.toml", "--images", "3")
    assert result.exit_code == 0
    for stage in ("train-dense", "train-pruned", "export-dense", "compile", "sim", "cycles", "synth"):
        assert f"{stage}: up to date" in result.stderr


@pytest.mark.rtl
def test_the_designs_bytes_depend_on_the_graph_alone(finished):
    folder, _ = finished
    rtl = folder / "build/tiny/skip/rtl"
    before = {path.name: path.read_bytes() for path in rtl.iterdir()}
    assert run("compile", "tiny.toml", "--force").exit_code == 0
    assert {path.name: path.read_bytes() for path in rtl.iterdir()} == before


@pytest.mark.rtl
def test_a_wrong_weight_in_the_hardware_is_found(finished):
    folder, _ = finished
    memory = next((folder / "build/tiny/compact/rtl").glob("readout*bias*.mem"))
    good = memory.read_text()
    flipped = "".join("0" if digit == "7" else "7" for digit in good.splitlines()[0])
    memory.write_text(flipped + "\n")
    try:
        result = run("sim", "tiny.toml", "--variant", "compact", "--images", "3")
    finally:
        memory.write_text(good)
    assert result.exit_code == 1
    assert "not equal: 3 top = golden" in result.stderr


@pytest.mark.rtl
def test_waves_are_written(finished):
    folder, _ = finished
    result = run(
        "sim", "tiny.toml", "--variant", "compact", "--images", "2", "--no-stalls", "--waves", "w.vcd"
    )
    assert result.exit_code == 0
    assert (folder / "w.vcd").read_text(errors="replace").startswith("$")


LOGITS = np.array([[5, -3, 0], [1, 2, 2]])
WORDS = [[0, 5, (1 << 32) - 3, 0], [1, 1, 2, 2]]


def frames(words: list[list[int]], error: bool = False) -> Frames:
    return Frames(words, [0] * len(words), [1] * len(words), error)


def test_frames_are_compared_with_sign_class_and_number():
    assert rungs.wrong_frames(frames(WORDS), LOGITS) == 0
    assert rungs.wrong_frames(frames([WORDS[0], [2, 1, 2, 2]]), LOGITS) == 1  # the lowest class wins a tie
    assert rungs.wrong_frames(frames([WORDS[0], [1, 1, 2, 3]]), LOGITS) == 1
    assert rungs.wrong_frames(frames(WORDS[:1]), LOGITS) == 2
    assert rungs.wrong_frames(frames(WORDS, error=True), LOGITS) == 2


def test_differing_counts_images():
    a = np.zeros((3, 2, 2))
    b = a.copy()
    b[1] = 1
    assert (rungs.differing(a, a), rungs.differing(a, b), rungs.differing(a, b[:2])) == (0, 1, 3)
