"""Graphs with shortcuts through the hardware: top = golden, cycles = exact clock, queues as deep as they must be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scaflow.flow.rungs import run_images, run_stage_alone, wrong_frames
from scaflow.hw.activity import reads
from scaflow.hw.clock import predict, stage_cycles
from scaflow.hw.design import Design, design, from_manifest
from scaflow.hw.emit import emit
from scaflow.hw.fold import at_equal_lanes, balanced, dealt, narrowed
from scaflow.model.files import read_json
from scaflow.quant.compact import compact
from scaflow.quant.graph import Conv, Graph, Join, Neuron, execute, validate
from tests.hw.graphs import added, folding, preactivated


def _partly() -> Graph:
    """A neuron that is pruned where others still read its current; it leaks by any part, to a level of its own."""
    graph = preactivated(seed=4, kept=(0, 2, 3, 5))
    own = {"kept": (0, 3, 5), "decay": (230, 8), "leak_shift": 0, "v_reset": np.array([-40, 0, 0, 60, 0, -3])}
    return validate(replace(graph, nodes=tuple(replace(n, **own) if n.name == "fire0" else n for n in graph.nodes)))


GRAPHS = {
    "preactivated": preactivated(),
    "pruned": preactivated(seed=1, kept=(0, 2, 3, 5)),
    "soft": preactivated(seed=2, time_steps=3, height=5, width=5, reset="soft"),
    "partly": _partly(),
    "added": added(),
}


def _images(graph: Graph, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *graph.input_shape)).astype(np.uint8)


@pytest.mark.rtl
@pytest.mark.parametrize("scheduler", ["list", "event"])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.full] * (name not in ("partly", "added"))) for name in GRAPHS]
)
def test_the_top_equals_golden_in_the_cycles_of_the_clock(name: str, scheduler: str, tmp_path: Path) -> None:
    graph = GRAPHS[name]
    fold, images = folding(graph, scheduler), _images(graph, 3)
    laid = design(graph, fold, dealt(graph, fold, reads(graph, images)))
    logits, spikes = execute(graph, images, trace=True)
    told = {n.name: spikes[n.name].mean() for n in graph.nodes if isinstance(n, Conv | Neuron)}
    assert all(0.02 < rate < 0.98 for rate in told.values()), told  # nothing is silent, nothing always fires
    emit(laid, tmp_path / "rtl")
    clock = predict(laid, images)
    flowing = run_images(tmp_path / "rtl", images, len(graph.readout.weight), 0.0)
    assert wrong_frames(flowing, logits) == 0
    assert flowing.out_end == clock.out_at[:, -1].tolist()
    assert flowing.in_start == clock.in_at[:, 0].tolist()
    stalling = run_images(tmp_path / "rtl", images, len(graph.readout.weight), 0.4)
    assert wrong_frames(stalling, logits) == 0


@pytest.mark.rtl
@pytest.mark.parametrize("name", ["partly", "added"])
def test_queues_that_are_full_hold_up_what_is_before_them(name: str, tmp_path: Path) -> None:
    """The slowest stages last, and a beat or two in each queue: joins, neurons and forks stand still now and then."""
    graph, images = GRAPHS[name], _images(GRAPHS[name], 3)
    fold = folding(graph, "event", pe=3)
    fold |= {node: replace(f, pe=1, simd=1) for node, f in fold.items() if node in ("after", "inner2")}
    shallow = {part.name: 2 for part in design(graph, fold).parts if part.kind != "fork"}
    laid = design(graph, fold, fifo_depths=shallow)
    emit(laid, tmp_path / "rtl", counters=True)
    seen = run_images(tmp_path / "rtl", images, len(graph.readout.weight), 0.0, counters=len(laid.stages))
    clock = predict(laid, images, until=seen.since_reset)
    assert wrong_frames(seen, execute(graph, images)) == 0
    assert seen.out_end == clock.out_at[:, -1].tolist()
    assert seen.in_start == clock.in_at[:, 0].tolist()
    told = [[stage.busy, stage.starved(seen.since_reset), stage.stalled] for stage in clock.stages]
    assert seen.counters == told
    assert sum(stalled for _, _, stalled in told) > seen.since_reset


@pytest.mark.rtl
@pytest.mark.parametrize("scheduler", ["list", pytest.param("event", marks=pytest.mark.full)])
def test_each_stage_alone_takes_the_cycles_of_its_law(scheduler: str, tmp_path: Path) -> None:
    graph = GRAPHS["pruned"]
    laid, images = design(graph, folding(graph, scheduler, pe=3)), _images(graph, 3)
    for stage in laid.stages[1:5]:
        run = run_stage_alone(laid, stage.name, images, tmp_path / stage.name)
        assert run.mismatches == 0
        assert list(run.cycles) == stage_cycles(laid, stage.name, images).interval.tolist()
        assert stage.law in (None, *run.cycles)


def _skips(laid: Design) -> dict[str, int]:
    """Queues that lead from a fork to a join: how deep they must be."""
    joins = {node.name for node in laid.graph.nodes if isinstance(node, Join)}
    forks = [part for part in laid.parts if part.kind == "fork"]
    queues = [(q.name, least) for part in forks for q, least in zip(part.queues, part.least, strict=True)]
    return {name: least for name, least in queues if name.split("_to_")[1] in joins}


@pytest.mark.parametrize("scheduler", ["list", "event"])
@pytest.mark.parametrize("make", [preactivated, added])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("size", [(6, 7), (9, 5)])
def test_a_skip_queue_is_as_deep_as_it_must_be_and_no_deeper(make, scheduler, steps, size) -> None:
    graph = make(time_steps=steps, height=size[0], width=size[1])
    fold, images = folding(graph, scheduler), _images(graph, 2)
    least = _skips(design(graph, fold))
    assert least
    freely = predict(design(graph, fold, fifo_depths=dict.fromkeys(least, 4096)), images).interval
    tight = predict(design(graph, fold, fifo_depths=least), images).interval
    laid = predict(design(graph, fold), images).interval
    assert (freely <= laid).all() and (laid <= 1.07 * freely).all() and (tight > laid).all()
    for name, depth in least.items():
        with pytest.raises(ValueError, match=f"fork .* waits for room in {name} of {depth - 1} beats"):
            predict(design(graph, fold, fifo_depths={name: depth - 1}), images)


@pytest.mark.rtl
def test_one_word_less_hangs_and_the_simulation_says_so(tmp_path: Path) -> None:
    graph = GRAPHS["added"]
    fold, images = folding(graph, "list"), _images(graph, 2)
    name, depth = next(iter(_skips(design(graph, fold)).items()))
    emit(design(graph, fold, fifo_depths={name: depth}), tmp_path / "least")
    logits = execute(graph, images)
    assert wrong_frames(run_images(tmp_path / "least", images, len(graph.readout.weight), 0.0), logits) == 0
    emit(design(graph, fold, fifo_depths={name: depth - 1}), tmp_path / "rtl")
    with pytest.raises(ValueError, match="no beat"):
        run_images(tmp_path / "rtl", images, len(graph.readout.weight), 0.0)


def test_a_design_is_laid_out_again_from_its_manifest(tmp_path: Path) -> None:
    graph = GRAPHS["preactivated"]
    laid = design(graph, folding(graph, "event"), fifo_depths={"stem_to_join1": 200, "join2": 32})
    emit(laid, tmp_path / "rtl")
    again = from_manifest(graph, read_json(tmp_path / "rtl/manifest.json", "", ()))
    assert [(i.name, i.reads) for i in again.instances()] == [(i.name, i.reads) for i in laid.instances()]
    depths = {q.name: q.cfg.depth for part in again.parts for q in part.queues}
    assert (depths["stem_to_join1"], depths["join2_stream_fifo"]) == (200, 32)


def test_a_dealt_trunk_loses_no_channel_that_one_of_its_readers_does_without() -> None:
    """Channel 2 is pruned where the first reader's banks are dealt, and needed behind."""
    graph = GRAPHS["partly"]
    fold = folding(graph, "event")
    orders = dealt(graph, fold, reads(graph, _images(graph, 4)))
    assert set(orders["fire0"]) == {0, 2, 3, 5}
    for stage in design(graph, fold, orders).stages:
        if stage.name in ("stem", "outer1"):
            assert stage.out_order is not None and set(stage.out_order[: stage.kept_out]) == {0, 2, 3, 5}


def test_currents_that_are_joined_have_one_pe() -> None:
    graph = GRAPHS["preactivated"]
    fold = folding(graph, "list")
    with pytest.raises(ValueError, match=r"pe of stem 2, outer1 3: their currents are joined; give all the same"):
        design(graph, {**fold, "outer1": replace(fold["outer1"], pe=3)})


def test_a_folding_balances_a_graph_and_what_pruning_left_of_it() -> None:
    graph, images = GRAPHS["pruned"], _images(GRAPHS["pruned"], 4)
    small, _ = compact(graph, images)
    for lanes in (10, 24, 60):
        fold = balanced(graph, lanes)
        assert sum(f.lanes for f in fold.values()) <= lanes
        fewer = narrowed(small, fold)
        events = at_equal_lanes(small, fewer, reads(small, images), dict.fromkeys(fewer, "auto"))
        for choice, of in ((fold, graph), (fewer, small), (events, small)):
            assert choice["stem"].pe == choice["outer1"].pe
            assert predict(design(of, choice), images).interval.min() > 0
    intervals = [max(s.law or 0 for s in design(graph, balanced(graph, lanes)).stages) for lanes in (10, 24, 60)]
    assert intervals == sorted(intervals, reverse=True) and intervals[0] > 2 * intervals[-1]
    with pytest.raises(ValueError, match="needs at least 10; raise"):
        balanced(graph, 9)
