"""No folding that the balance, the division at equal lanes or the solver proposes is refused, whatever the network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chains import images_of, readout, spiking

from scaflow.hw.activity import reads
from scaflow.hw.clock import predict
from scaflow.hw.design import design
from scaflow.hw.emit import emit
from scaflow.hw.fold import at_equal_lanes, balanced, dealt, narrowed
from scaflow.hw.solve import Limits, fastest, least_area, problem
from scaflow.model.limits import event_problems
from scaflow.quant.graph import Conv, Graph, Pool, validate
from scaflow.sim.build import lint, sources_of

SEEDS = [seed if seed < 8 else pytest.param(seed, marks=pytest.mark.full) for seed in range(60)]


def network(rng):
    """Up to four layers of any kernel, stride and padding, pruned to any channels."""
    while True:
        steps, colours, *sizes = rng.integers(1, (4, 3, 15, 15), endpoint=True).tolist()
        edge, nodes = (shape := [colours, *sizes]), []
        for i in range(rng.integers(1, 5)):
            kernel = tuple(rng.integers(1, 1 + np.minimum((9, 9), np.add(edge[1:], 2))).tolist())
            padding, stride = int(rng.integers(0, min(kernel))), int(rng.choice((1, 1, 2, 3, 5)))
            sizes = [(size + 2 * padding - k) // stride + 1 for size, k in zip(edge[1:], kernel, strict=True)]
            if min(sizes) < 1 or min(np.add(edge[1:], 2 * padding) - kernel) < 0:
                continue
            out = int(rng.choice((1, 3, 8, 20)))
            kept = tuple(np.flatnonzero(rng.random(out) < rng.choice((0.2, 0.6, 1))).tolist()) or (0,)
            nodes.append(replace(spiking(f"l{i}", out, edge[0], kernel, stride, padding, 1 if nodes else 8), kept=kept))
            edge = [out, *sizes]
            if min(sizes) > 2 and rng.random() < 0.3:
                nodes.append(Pool(f"p{i}", 2))
                edge = [out, *(size // 2 for size in sizes)]
        if nodes:
            return validate(Graph("any", tuple(shape), steps, (*nodes, readout(3, *edge))))


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_balanced(seed):
    graph = network(np.random.default_rng(seed))
    weighted = [node for node in graph.nodes if not isinstance(node, Pool)]
    least = len(weighted) - 1 + 3
    with pytest.raises(ValueError, match=rf"^fold\.lanes={least - 1}: network 'any' needs at least {least}; raise"):
        balanced(graph, least - 1)
    for lanes in (least, least + 1, least + 7, 64, 100_000):
        for granularity in (1, 2, 3):
            folding = balanced(graph, lanes, granularity)
            assert sum(fold.lanes for fold in folding.values()) <= lanes
            assert design(graph, folding).interval
    most = balanced(graph, 100_000)
    for folding in (balanced(graph, least), narrowed(graph, most)):
        laid = design(graph, folding)
        assert predict(laid, images_of(laid, 8)).interval[-1] == laid.interval


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_divided_at_equal_lanes(seed):
    graph = network(np.random.default_rng(seed))
    images = np.random.default_rng(seed).integers(0, 256, (3, *graph.input_shape), dtype=np.uint8)
    seen = reads(graph, images)
    for lanes in (64, 100_000):
        for scheduler in ("list", "auto", "event"):
            asked = {
                node.name: "auto" if event_problems(node.kernel, node.padding, 1, 1) else scheduler
                for node in graph.nodes
                if isinstance(node, Conv)
            } | {"readout": scheduler}
            folding = at_equal_lanes(graph, balanced(graph, lanes), seen, asked)
            assert scheduler == "auto" or folding["readout"].scheduler == scheduler
            predict(design(graph, folding, dealt(graph, folding, seen)), images)


@pytest.mark.parametrize("seed", SEEDS[4:])
def test_what_is_solved(seed):
    graph = network(np.random.default_rng(seed))
    images = np.random.default_rng(seed).integers(0, 256, (3, *graph.input_shape), dtype=np.uint8)
    for schedulers in (("list",), ("list", "event")):
        found = problem(graph, "ecp5", schedulers, reads(graph, images))
        for plan in (fastest(found, Limits()), least_area(found, Limits(), np.inf)):
            laid = design(graph, plan.folding)
            assert laid.interval in (None, plan.interval)


@pytest.mark.rtl
@pytest.mark.parametrize("seed", range(3))
def test_the_modules_take_it(seed, tmp_path):
    """No parameter limit of a module stands against what was laid out, with most lanes and events where they can be."""
    graph = network(np.random.default_rng(100 + seed))
    images = np.random.default_rng(seed).integers(0, 256, (3, *graph.input_shape), dtype=np.uint8)
    seen = reads(graph, images)
    names = [node.name for node in graph.nodes if isinstance(node, Conv)]
    folding = at_equal_lanes(graph, balanced(graph, 400), seen, dict.fromkeys(names, "auto"))
    lint("top", sources_of(emit(design(graph, folding, dealt(graph, folding, seen)), tmp_path / "rtl")))


def test_a_layer_of_many_channels_stays_within_its_adders():
    """128 lanes are not divided into 128 synapses a cycle, nor are many channels searched in too few banks."""
    graph = validate(Graph("wide", (1, 2, 2), 1, (
        spiking("one", 300, 1, (1, 1), in_bits=8), spiking("two", 2, 300, (1, 1)), readout(2, 2, 2, 2),
    )))  # fmt: skip
    seen = reads(graph, np.full((2, 1, 2, 2), 255, np.uint8))
    folding = balanced(graph, 100_000)
    folding = folding | {"two": replace(folding["two"], pe=1, simd=128)}
    for scheduler in ("list", "event"):
        found = at_equal_lanes(graph, folding, seen, {"one": "list", "two": scheduler})
        assert found["two"].simd <= 64
        design(graph, found)
    one_lane = folding | {"two": replace(folding["two"], simd=1)}
    with pytest.raises(ValueError, match=r"^node 'two': no events: simd=1 banks of 300 input channels hold"):
        at_equal_lanes(graph, one_lane, seen, {"one": "list", "two": "event"})
    assert at_equal_lanes(graph, one_lane, seen, {"one": "list", "two": "auto"})["two"].scheduler == "list"


def test_what_no_module_can_be_is_refused_all_at_once():
    graph = validate(Graph("wide", (1, 9, 9), 1, (
        spiking("one", 80, 1, (3, 3), padding=2, in_bits=8), spiking("two", 2, 80, (9, 9)), readout(2, 2, 3, 3),
    )))  # fmt: skip
    folding = balanced(graph, 100)
    wrong = {
        "one": replace(folding["one"], scheduler="event"), "two": replace(folding["two"], simd=80),
        "readout": replace(folding["readout"], scheduler="event", group=(3, 5)),
    }  # fmt: skip
    with pytest.raises(ValueError) as refused:
        design(graph, wrong)
    assert str(refused.value).splitlines() == [
        "node 'one': padding=2 is more than half of the kernel 3x3; use the scheduler auto or list",
        "node 'two': pe=2 must be at least 1, and simd=80 1 to 64",
        "node 'readout': group=[3, 5] must be 1 or 1 positions, which is a row of the kernel, of 1 channel or more",
    ]
