"""Stages whose input comes slower than they work through it: a stride passes over most pixels, one lane does the rest.

Whatever the folding, a stage takes the longer of its work and the way in of its words, by law, exact clock and RTL.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chains import assert_as_simulated, images_of, readout, spiking, stage_beats, with_stage

from scaflow.hw import ring
from scaflow.hw.clock import predict, stage_cycles
from scaflow.hw.cycles import arriving, waits
from scaflow.hw.design import design
from scaflow.hw.emit import emit, emit_stage
from scaflow.hw.fold import Fold
from scaflow.quant.golden.beats import pack
from scaflow.quant.golden.window_buffer import ring_depth
from scaflow.quant.graph import Conv, Graph, Pool, execute, validate
from scaflow.sim.build import MODULE
from scaflow.sim.rtl import simulate_top


def network(name, shape, steps, *layers, classes=3):
    """layers: (channels, kernel, stride, padding), each with a Pool behind it where a fifth number says so."""
    nodes, edge = [], shape
    for i, (channels, kernel, stride, padding, *pool) in enumerate(layers):
        nodes.append(spiking(f"l{i}", channels, edge[0], kernel, stride, padding, 1 if nodes else 8))
        sizes = [(size + 2 * padding - k) // stride + 1 for size, k in zip(edge[1:], kernel, strict=True)]
        if pool:
            nodes.append(Pool(f"p{i}", pool[0]))
            sizes = [size // pool[0] for size in sizes]
        edge = (channels, *sizes)
    return validate(Graph(name, shape, steps, (*nodes, readout(classes, *edge))))


ONE, TWO, THREE = (1, 1), (2, 2), (3, 3)
NETWORKS = {
    "downsampling": network("downsampling", (1, 8, 7), 3, (5, THREE, 1, 1), (4, ONE, 2, 0), (3, THREE, 1, 1)),
    "passed_over": network("passed_over", (2, 11, 9), 2, (4, THREE, 1, 1), (5, THREE, 5, 0), (3, TWO, 1, 1)),
    "first": network("first", (2, 9, 10), 1, (3, ONE, 3, 0), (4, THREE, 2, 1)),
    # the rows of windows are so uneven that a ring of two of them would cost cycles
    "uneven": network("uneven", (1, 11, 5), 2, (6, ONE, 1, 0), (2, (1, 5), 5, 0)),
    "uneven_first": network("uneven_first", (1, 12, 9), 3, (5, (3, 4), 4, 1), (2, ONE, 1, 0)),
    "pooled": network("pooled", (3, 13, 12), 1, (6, THREE, 2, 0), (5, ONE, 2, 0, 2), classes=2),
}  # fmt: skip
FOLDS = {
    "uneven": {"l0": Fold(6, 1), "l1": Fold(1, 5)},
    "uneven_first": {"l0": Fold(4, 1), "l1": Fold(2, 4)},
}


def few(graph):
    """A lane a layer."""
    return {n.name: Fold(3 if n.name == "readout" else 1, 1) for n in graph.nodes if not isinstance(n, Pool)}


def many(graph):
    """All lanes that there can be."""
    return {n.name: Fold(*n.weight.shape[:2]) for n in graph.nodes if not isinstance(n, Pool)}


def folded(name, kind):
    graph = NETWORKS[name]
    return design(graph, {"few": few, "many": many, "own": lambda graph: many(graph) | FOLDS[name]}[kind](graph))


CASES = [(name, kind) for name in NETWORKS for kind in ("few", "many", "own") if kind != "own" or name in FOLDS]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_law_and_clock_agree(name, kind):
    laid = folded(name, kind)
    images = images_of(laid, 6)
    for stage in laid.stages:
        assert set(stage_cycles(laid, stage.name, images).interval) == {stage.law}, stage.name
    assert predict(laid, images).interval[-1] == laid.interval


def test_a_stage_that_waits_takes_its_words_way_in():
    stage = folded("downsampling", "many").stages[1]
    assert stage.law == arriving(stage.in_edge) == 8 * 7 * 3  # its work: 4 x 4 windows, 3 steps
    assert folded("downsampling", "few").stages[1].law == 4 * 4 * 3 * 5 * 4


@pytest.mark.parametrize(("shape", "cycles"), [
    ((1, 9, 9), 84), ((2, 9, 7), 64), ((3, 5, 7), 108), ((4, 6, 5), 30), ((6, 5, 5), 76), ((8, 3, 3), 18),
])  # fmt: skip
def test_an_image_comes_in_by_whole_beats(shape, cycles):
    """Of 4 bytes, split and joined to pixels by the bytes that both are made of; a stage that is faster waits."""
    graph = network("way_in", shape, 1, (1, ONE, 1, 0), (1, TWO, 3, 0), classes=2)
    laid = design(graph, many(graph))
    assert laid.interval == cycles
    assert predict(laid, images_of(laid, 6)).interval[-1] == cycles


def test_uneven_rows_ask_for_a_deeper_ring():
    for name, place, least in (("uneven", 1, 64), ("uneven_first", 0, 64)):
        laid = folded(name, "own")
        stage, node = laid.stages[place], [n for n in laid.graph.nodes if isinstance(n, Conv)][place]
        buffer = stage.instances[0]
        _, height, width = stage.in_edge.shape
        assert waits(node, stage.in_edge, -(-stage.kept_in // stage.simd) * stage.folds)
        assert least == ring_depth(
            height, width, node.kernel[0], node.stride, node.padding, stage.in_edge.time_steps
        )
        assert buffer.cfg.depth == 2 * least
        buffer = replace(buffer, cfg=replace(buffer.cfg, depth=least))
        shallow = replace(stage, instances=(buffer, *stage.instances[1:]))
        laid = with_stage(laid, shallow)
        assert stage_cycles(laid, stage.name, images_of(laid, 9)).interval[-1] > stage.law


def test_a_stage_that_never_waits_has_the_ring_of_its_windows():
    laid = folded("downsampling", "few")
    for stage, node in zip(laid.stages, laid.graph.nodes[:-1], strict=False):
        _, height, width = stage.in_edge.shape
        least = ring_depth(height, width, node.kernel[0], node.stride, node.padding, stage.in_edge.time_steps)
        assert ring.depth(laid.graph, node, stage.in_edge, 1, 1, stage.kept_in, stage.kept_out) == least


ALONE = [(name, kind, i) for name, kind in CASES for i in range(2) if (name, kind) != ("pooled", "few")]


@pytest.mark.rtl
@pytest.mark.parametrize(("name", "kind", "place"), ALONE)
def test_a_stage_alone_takes_the_cycles_of_law_and_clock(name, kind, place, tmp_path):
    laid = folded(name, kind)
    stage, images = laid.stages[place], images_of(laid, 3)
    clock = stage_cycles(laid, stage.name, images)
    emit_stage(laid, stage.name, tmp_path / "rtl")
    beats = stage_beats(laid, stage.name, images)
    run = simulate_top(tmp_path / "rtl", "top", beats, expect=clock.out_at.size, engine=MODULE)
    spikes = execute(laid.graph, images, trace=True)[1]
    names = [node.name for node in laid.graph.nodes]
    after = [stage.name, *(n for n in names[names.index(stage.name) + 1 :][:1] if n.startswith("p"))][-1]
    rows = spikes[after].transpose(0, 3, 4, 1, 2)[..., list(stage.out_order)].reshape(-1, len(stage.out_order))
    assert run.y == [pack(row, 1) for row in rows.tolist()]
    assert run.out_at == (clock.out_at - clock.in_at[0, 0]).ravel().tolist()
    ends = run.out_at[len(run.y) // 3 - 1 :: len(run.y) // 3]
    assert np.diff(ends).tolist() == [stage.law] * 2


@pytest.mark.rtl
@pytest.mark.parametrize("stalls", [False, True])
@pytest.mark.parametrize(("name", "kind", "scheduler"), [
    ("downsampling", "many", "list"), ("downsampling", "many", "event"), ("passed_over", "many", "list"),
    ("passed_over", "few", "event"), ("first", "many", "list"), ("uneven", "own", "list"),
    ("uneven_first", "own", "list"), ("pooled", "many", "list"),
    *(pytest.param(name, "many", "event", marks=pytest.mark.full) for name in ("first", "pooled")),
])  # fmt: skip
def test_the_whole_top(name, kind, scheduler, stalls, tmp_path):
    """Logits of the golden model, cycles of the exact clock, and of list designs the law's interval."""
    laid = folded(name, kind)
    if scheduler == "event":
        folding = {s.name: Fold(s.pe, s.simd, "list" if s.out_edge is None else "event") for s in laid.stages}
        laid = design(laid.graph, folding)
    images = images_of(laid, 12)
    rng = np.random.default_rng(3)
    source, sink = ((rng.random(997) < chance) if stalls else None for chance in (0.5, 0.05))
    emit(laid, tmp_path / "rtl", counters=True)
    clock, run = assert_as_simulated(laid, images, source, sink, tmp_path / "rtl")
    assert run.words[:, 0].tolist() == execute(laid.graph, images).argmax(1).tolist()
    if scheduler == "list" and not stalls:
        assert clock.interval[-1] == laid.interval
