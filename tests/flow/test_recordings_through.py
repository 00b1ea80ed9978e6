"""Recordings through the hardware: sim --recordings, what it tells, writes and refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from scaflow.flow import cli
from scaflow.flow.recordings.figures import delay
from scaflow.hw.clock import predict
from scaflow.hw.design import design
from scaflow.hw.emit import emit
from scaflow.hw.fold import Fold
from scaflow.hw.recordings import intake_of, offered
from scaflow.model.events.binning import Binning
from scaflow.model.events.recording import Recording
from scaflow.quant.graph import Conv, Graph, Readout, execute, save, validate

NETWORK = """
name = "seen"
dataset = "folder"
layers = [{ channels = 4, kernel = 3, padding = 0 }]
[data]
path = "set"
shape = [2, 6, 8]
classes = 2
[input]
kind = "frames"
bin_us = 1000
frames = 4
bits = 2
[train]
epochs = 1
[sca]
keep = 0.5
"""
BINNING = Binning(bin_us=1000, bits=2)


def recording(rng: np.random.Generator, frames: int, columns: int = 8) -> Recording:
    t = np.sort(rng.integers(0, 1000 * frames, 60))
    t[0], t[-1] = 0, 1000 * frames - 1
    x, y = (rng.integers(0, most, 60).astype(np.uint16) for most in (columns, 6))
    return Recording(t, x, y, rng.integers(0, 2, 60).astype(np.uint8), columns, 6)


def network() -> Graph:
    rng = np.random.default_rng(2)
    weight, threshold = rng.integers(-7, 8, (4, 2, 3, 3)), rng.integers(20, 60, 4)
    first = Conv("first", weight, np.zeros(4, int), threshold, 1, 0, 2, "soft", 2, 4, 2, (0, 1, 3))
    readout = Readout("readout", rng.integers(-7, 8, (2, 4, 4, 6)), np.array([3, -2]), 4)
    return validate(Graph("seen", (2, 6, 8), 1, (first, readout), 2, 4))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A network with its designs, and two classes of five recordings, of 1 to 4 frames."""
    graph, folder, rng = network(), tmp_path_factory.mktemp("through"), np.random.default_rng(0)
    (folder / "seen.toml").write_text(NETWORK)
    for variant in ("event", "skip"):
        (folder / "b/seen" / variant).mkdir(parents=True)
        save(graph, folder / "b/seen" / variant / "graph")
    laid = design(graph, {"first": Fold(2, 1), "readout": Fold(2, 1)}, events=intake_of(BINNING, graph.input_shape))
    emit(laid, folder / "b/seen/event/rtl")
    for label in "ab":
        (folder / "given" / label).mkdir(parents=True)
        for i in range(5):
            made = recording(rng, 1 + i % 4)
            np.savez(folder / "given" / label / f"{i}.npz", t=made.t, x=made.x, y=made.y, p=made.p)
    return folder


@pytest.fixture
def run(monkeypatch, folder):
    monkeypatch.setenv("SCAFLOW_BUILD", "restored afterwards")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(folder)
    return lambda *arguments: CliRunner().invoke(cli.app, ["sim", "seen.toml", "--build", "b", *arguments])


@pytest.mark.rtl
def test_labelled_recordings_go_through_the_hardware(run, folder):
    result = run("--engine", "native", "--recordings", "given", "--json", "found.json")
    assert result.exit_code == 0, result.output
    found = json.loads((folder / "found.json").read_text())
    told = found["recordings"]
    right = 0
    for label in range(2):
        for path in sorted((folder / "given" / "ab"[label]).iterdir()):
            taken = offered(Recording(**np.load(path), width=8, height=6), BINNING)
            right += int(execute(network(), taken.frames[None])[0].argmax() == label)
    assert told["accuracy"] == right / 10
    assert (told["count"], told["logit_mismatches"], told["cycle_mismatches"]) == (10, 0, 0)
    assert (told["events"], told["frames"], told["clock_mhz"]) == (60, 2.2, 100)
    assert told["cycles_mean"] / 1e5 == pytest.approx(told["ms_mean"]) and told["ms_mean"] < told["ms_max"]
    assert [(row["compared"], row["mismatches"]) for row in found["equality"]] == [(10, 0), (10, 0)]
    assert f"{right / 10:.2%}" in result.stdout


def test_the_delay_is_that_of_the_last_frame(folder):
    """All frames before it have been worked off: a recording of that frame alone takes as long from its last event."""
    graph = network()
    laid = design(graph, {"first": Fold(1, 1), "readout": Fold(2, 1)}, events=intake_of(BINNING, graph.input_shape))
    rng = np.random.default_rng(5)
    found = recording(rng, 4)
    alone = found.between(3000, 4000)
    alone = predict(laid, [offered(alone, BINNING)])
    assert delay(laid, offered(found, BINNING)) == alone.out_at[0, -1] - alone.in_at[0, -1] + 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--recordings", "given"), "--recordings: whole recordings are for the native engine; add --engine native"),
        (("--engine", "native", "--json", "x.json"), "--json: of what --recordings gives"),
        (("--engine", "native", "--recordings", "given", "--variant", "dense"), "missing; run `scaflow compile seen"),
        (("--engine", "native", "--recordings", "nowhere"), "nowhere"),
    ],
)
def test_what_is_asked_wrongly_is_said(run, folder, arguments, said):
    result = run(*arguments)
    assert result.exit_code == 2 and said in result.stderr, result.stderr
    assert not (folder / "x.json").exists()


def test_recordings_that_do_not_fit_are_all_told(run, folder, tmp_path):
    rng = np.random.default_rng(1)
    for label, made in (("a", recording(rng, 6)), ("b", recording(rng, 5)), ("b", recording(rng, 2))):
        (tmp_path / label).mkdir(exist_ok=True)
        np.savez(tmp_path / label / f"{made.duration}.npz", t=made.t, x=made.x, y=made.y, p=made.p)
    result = run("--engine", "native", "--recordings", str(tmp_path), "--json", "y.json")
    assert result.exit_code == 2 and "2 recording(s) cannot be taken" in result.stderr
    assert "a/5999.npz: 6 frames, and input.frames=4 is the most" in result.stderr
    assert "b/4999.npz: 5 frames" in result.stderr
    assert not (folder / "y.json").exists()


def test_an_image_network_has_no_recordings(run, folder, tmp_path):
    before, after = NETWORK[: NETWORK.index("[input]")], NETWORK[NETWORK.index("[train]") :]
    images = before.replace("shape = [2,", "shape = [1,").replace("[data]", "time_steps = 2\n[data]")
    (tmp_path / "still.toml").write_text(images + after)
    result = CliRunner().invoke(
        cli.app, ["sim", str(tmp_path / "still.toml"), "--engine", "native", "--recordings", "given"]
    )
    assert result.exit_code == 2 and '[input] has kind = "frames"' in result.stderr
