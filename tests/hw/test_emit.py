"""The emitted top: pinned text, the same bytes each time, instances only; and it runs."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from scaflow.hw.clock import predict
from scaflow.hw.design import design
from scaflow.hw.emit import emit, emit_stage
from scaflow.hw.fold import Fold
from scaflow.quant.golden.beats import pack, unpack
from scaflow.quant.graph import execute
from scaflow.sim.build import MODULE, lint, sources_of
from scaflow.sim.rtl import simulate_axis, simulate_top

FOLDING = {"first": Fold(4, 1), "middle": Fold(2, 2), "dense": Fold(3, 4), "readout": Fold(3, 2)}
GOLDEN = Path(__file__).parent / "golden" / "sample_top.sv"


def test_top_is_as_pinned(graph, tmp_path):
    assert emit(design(graph, FOLDING), tmp_path / "rtl").read_text() == GOLDEN.read_text()


def test_same_graph_same_bytes(graph, tmp_path):
    first, second = (emit(design(graph, FOLDING), tmp_path / name).parent for name in "ab")
    files = sorted(path.name for path in first.iterdir())
    assert files == sorted(path.name for path in second.iterdir())
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in files)


def test_emitting_replaces_what_was_there(graph, tmp_path):
    (tmp_path / "rtl").mkdir()
    (tmp_path / "rtl/stale.mem").write_text("0\n")
    emit(design(graph, FOLDING), tmp_path / "rtl")
    assert not (tmp_path / "rtl/stale.mem").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["rtl"]  # nothing half-written beside it


def test_manifest_tells_the_lanes_and_the_law(graph, tmp_path):
    laid = design(graph, FOLDING)
    emit(laid, tmp_path / "rtl")
    stages = json.loads((tmp_path / "rtl/manifest.json").read_text())["stages"]
    assert [(s["name"], s["kept_in"], s["kept_out"]) for s in stages] == [
        ("first", 1, 4), ("middle", 4, 3), ("dense", 3, 7), ("readout", 7, 3),
    ]  # fmt: skip
    assert [s["law"] for s in stages] == [stage.law for stage in laid.stages]


@pytest.mark.rtl
def test_top_equals_the_golden_model(graph, tmp_path):
    images = np.random.default_rng(1).integers(0, 256, size=(5, *graph.input_shape), dtype=np.uint8)
    logits = execute(graph, images)
    emit(design(graph, FOLDING), tmp_path / "rtl")
    frames = [image.transpose(1, 2, 0).tobytes() for image in images]
    run = simulate_axis(tmp_path / "rtl", "top", frames, axi_bytes=4, expect=4, stalls=0.3, seed=2)
    assert not run.frame_error
    assert [words[0] for words in run.words] == logits.argmax(1).tolist()
    assert [unpack(pack(words[1:], 32), 32, 3, signed=True) for words in run.words] == logits.tolist()


@pytest.mark.rtl
@pytest.mark.parametrize(("time_steps", "pe"), [(5, 3), (7, 2), (8, 6), (20, 4)])
def test_a_first_layer_with_more_steps_than_synapses_takes_the_cycles_of_the_law(graph, tmp_path, time_steps, pe):
    graph = replace(graph, time_steps=time_steps)  # windows of 4, 6 and 9 positions
    stage = design(graph, FOLDING | {"first": Fold(pe, 1)}).stages[0]
    images = np.random.default_rng(1).integers(0, 256, size=(6, *graph.input_shape), dtype=np.uint8)
    _, height, width = stage.out_edge.shape
    words = height * width * time_steps
    emit_stage(design(graph, FOLDING | {"first": Fold(pe, 1)}), "first", tmp_path / "rtl")
    run = simulate_top(tmp_path / "rtl", "top", images.ravel().tolist(), expect=len(images) * words, engine=MODULE)
    ends = run.out_at[words - 1 :: words]
    assert ends[-1] - ends[-2] == stage.law


@pytest.mark.rtl
def test_a_stage_alone_takes_the_cycles_of_the_law(graph, tmp_path):
    """And its words are the golden spikes, kept channels first."""
    images = np.random.default_rng(1).integers(0, 256, size=(3, *graph.input_shape), dtype=np.uint8)
    _, spikes = execute(graph, images, trace=True)
    laid = design(graph, FOLDING)
    before, stage = laid.stages[:2]

    def words(array, order):  # [N, T, C, H, W] -> beats in order pixel, t
        rows = array.transpose(0, 3, 4, 1, 2)[..., list(order)].reshape(-1, len(order))
        return [pack(row, 1) for row in rows.tolist()]

    emit_stage(laid, "middle", tmp_path / "rtl")
    wanted = words(spikes["middle"], stage.out_order)
    beats = words(spikes["first_pool"], before.out_order)
    run = simulate_top(tmp_path / "rtl", "top", beats, expect=len(wanted), engine=MODULE)
    assert run.y == wanted
    ends = run.out_at[len(wanted) // 3 - 1 :: len(wanted) // 3]
    assert [b - a for a, b in pairwise(ends)] == [stage.law, stage.law]


def test_counters_are_hardware_of_their_own(graph, tmp_path):
    """Without them nothing is left; with them the rest of the text stays as it is."""
    laid = design(graph, FOLDING)
    plain = emit(laid, tmp_path / "plain").read_text()
    counted = emit(laid, tmp_path / "counted", counters=True).read_text()
    assert "counter" not in plain
    assert "  output logic [383:0] counters\n" in counted  # 4 stages, 3 counters of 32 bits
    assert counted.count("stage_counter #(") == 4
    head, tail = counted.split("  output logic [383:0] counters\n")
    body = tail.split("  stage_counter #(")[0]
    assert head.rstrip().removesuffix(",") + "\n" + body + "endmodule\n" == plain
    for stage in laid.stages:
        tap = next(i.name for i in stage.instances if i.module.startswith("synapse_"))
        assert f".valid({tap}_valid),\n    .ready({tap}_ready)," in counted


@pytest.mark.rtl
def test_counters_are_those_of_the_exact_clock_and_disturb_nothing(graph, tmp_path):
    images = np.random.default_rng(1).integers(0, 256, size=(5, *graph.input_shape), dtype=np.uint8)
    laid = design(graph, FOLDING)
    frames = [image.transpose(1, 2, 0).tobytes() for image in images]
    runs = []
    for counters in (False, True):
        emit(laid, tmp_path / "rtl", counters=counters)
        stages = len(laid.stages) if counters else 0
        runs.append(simulate_axis(tmp_path / "rtl", "top", frames, axi_bytes=4, expect=4, counters=stages))
    plain, counted = runs
    assert (counted.words, counted.out_end) == (plain.words, plain.out_end) and not plain.counters
    cycles = counted.since_reset
    assert cycles == counted.out_end[-1] + 17  # the input starts in cycle 0; after the last word come 16 more
    assert [sum(counts) for counts in counted.counters] == [cycles] * 4
    told = [[s.busy, s.starved(cycles), s.stalled] for s in predict(laid, images).stages]
    assert counted.counters == told


@pytest.mark.rtl
def test_a_top_with_counters_has_no_warning(graph, tmp_path):
    top = emit(design(graph, FOLDING), tmp_path / "rtl", counters=True)
    lint("top", sources_of(top))
