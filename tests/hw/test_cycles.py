"""The cycle law against counting by hand: padding is never visited, folds and steps are rounded up."""

from dataclasses import replace

import numpy as np
import pytest
from chains import readout, spiking

from scaflow.hw.clock import stage_cycles
from scaflow.hw.cycles import inside, node_law
from scaflow.hw.design import design
from scaflow.hw.fold import Fold
from scaflow.quant.graph import Graph, Pool


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "positions"),
    [
        (5, 3, 1, 1, [2, 3, 3, 3, 2]),
        (5, 3, 1, 0, [3, 3, 3]),
        (6, 3, 2, 1, [2, 3, 3]),
        (4, 4, 1, 0, [4]),
        (3, 5, 1, 2, [3, 3, 3]),
    ],
)
def test_positions_inside(size, kernel, stride, padding, positions):
    assert inside(size, kernel, stride, padding) == positions


def law(graph, name, *counts):
    node, edge = next((n, e) for n, e in zip(graph.nodes, graph.edges(), strict=True) if n.name == name)
    return node_law(graph, node, edge, *counts)


def test_spiking_layer(graph):
    # 4x3 map, 3x3 kernel, padding 1: (2+3+3+2) * (2+3+2) = 70 positions, 3 steps in time
    assert law(graph, "middle", 1, 1, 6, 5) == 3 * 70 * 6 * 5
    assert law(graph, "middle", 2, 4, 6, 5) == 3 * 70 * 2 * 3
    assert law(graph, "middle", 2, 4, 4, 3) == 3 * 70 * 1 * 2


def test_first_layer_counts_an_accumulation_once_but_at_least_a_cycle_a_step(graph):
    # 8x7 map: (2 + 6*3 + 2) * (2 + 5*3 + 2) = 418 positions; no window has fewer than 4 > T = 3
    assert law(graph, "first", 2, 1, 1, 6) == 3 * 418


def test_fewer_neurons_than_sums(graph):
    # a middle layer of 4x3 windows of 4, 6 or 9 positions, 3 steps in time, 2 folds
    assert law(graph, "middle", 2, 4, 4, 3, 4) == 3 * 70 * 2  # no window is shorter than the rounds
    assert law(graph, "middle", 2, 4, 4, 3, 9) == 3 * 12 * 9 * 2  # none is longer
    # 6 results a pixel: those of 4 steps wait for one another, and the first of these not for the 6 before them
    rows = [4, 6, 4], *[[6, 9, 6]] * 2, [4, 6, 4]
    last, served = 0, 0
    for n in [n for _ in range(3) for row in rows for n in row for _ in range(6)]:
        last = max(last + n, served + 1)
        served = max(last, served + 5)
    two = last
    for n in [n for row in rows for n in row for _ in range(6)]:
        last = max(last + n, served + 1)
        served = max(last, served + 5)
    assert 3 * 70 * 2 < law(graph, "middle", 2, 4, 4, 3, 5) == last - two < 6 * sum(max(5, n) for r in rows for n in r)
    # 8x7 windows of a first layer, each current fed 3 times in 4 rounds: longer than any takes to be formed
    first, *rest = graph.nodes
    soft = replace(graph, nodes=(replace(first, reset="soft"), *rest))
    assert law(soft, "first", 4, 1, 1, 4, 4) == 3 * 4 * 8 * 7
    assert law(graph, "first", 4, 1, 1, 4, 4) == 418  # after hard reset all its spikes come at once, in no rounds


@pytest.mark.parametrize(("pe", "neurons"), [(12, 1), (12, 2), (6, 1), (12, 7)])
def test_the_law_of_few_neurons_is_that_of_the_exact_clock(pe, neurons):
    """Windows of 4 to 9 steps in 12, 6 and 2 rounds."""
    nodes = (spiking("one", 8, 1, (3, 3), 1, 1, 8), spiking("two", 12, 8, (3, 3), 1, 1), readout(2, 12, 6, 7))
    narrow = {"one": Fold(8, 1, neurons=neurons), "two": Fold(pe, 8, neurons=neurons)}
    laid = design(Graph("narrow", (1, 6, 7), 3, nodes), narrow | {"readout": Fold(2, 8)})
    for stage in laid.stages:
        clock = stage_cycles(laid, stage.name, np.zeros((6, 1, 6, 7), np.uint8))
        assert clock.interval[-1] == stage.law


def test_read_out(graph):
    assert law(graph, "readout", 3, 2, 7, 3) == 1 * 3 * 4
    assert law(graph, "readout", 3, 7, 7, 3) == 5  # the arg-max: classes + 2


@pytest.mark.parametrize(
    ("time_steps", "kernel", "padding", "stride", "pools", "pe"),
    [
        (8, (3, 3), 1, 1, (), 4),  # windows of 4 and 6 steps are shorter than words, those of 9 longer
        (11, (1, 2), 0, 1, (2,), 4),
        (17, (2, 2), 1, 1, (2, 1), 4),
        (9, (1, 1), 0, 2, (), 4),  # its row of pixels comes slower than its windows are done, and they than words leave
        (3, (1, 1), 0, 1, (2,), 4),  # every second row gives more words than the queue of results evens out
        (4, (3, 3), 1, 1, (2,), 4),  # nothing waits
    ],
)
def test_the_law_of_spikes_at_once_is_that_of_the_exact_clock(time_steps, kernel, padding, stride, pools, pe):
    sizes = [(size + 2 * padding - k) // stride + 1 for size, k in zip((6, 40), kernel, strict=True)]
    nodes = [spiking("one", 4, 1, kernel, stride, padding, 8)]
    for pool in pools:
        nodes.append(Pool(f"pool{len(nodes)}", pool))
        sizes = [size // pool for size in sizes]
    graph = Graph("once", (1, 6, 40), time_steps, (*nodes, readout(2, 4, *sizes)))
    stage, _ = (laid := design(graph, {"one": Fold(pe, 1), "readout": Fold(2, 1)})).stages
    clock = stage_cycles(laid, "one", np.zeros((16, 1, 6, 40), np.uint8))
    assert clock.interval[-1] == stage.law >= sizes[0] * sizes[1] * time_steps
    work = stage.folds * sum(inside(6, kernel[0], stride, padding)) * sum(inside(40, kernel[1], stride, padding))
    assert (stage.law > max(work, 6 * 40)) == (time_steps != 4)
