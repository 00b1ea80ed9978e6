"""The cycle law against counting by hand: padding is never visited, folds and steps are rounded up."""

import pytest

from scaflow.hw.cycles import inside, node_law


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


def law(graph, name, pe, simd, kept_in, kept_out):
    node, edge = next((n, e) for n, e in zip(graph.nodes, graph.edges(), strict=True) if n.name == name)
    return node_law(graph, node, edge, pe, simd, kept_in, kept_out)


def test_spiking_layer(graph):
    # 4x3 map, 3x3 kernel, padding 1: (2+3+3+2) * (2+3+2) = 70 positions, 3 steps in time
    assert law(graph, "middle", 1, 1, 6, 5) == 3 * 70 * 6 * 5
    assert law(graph, "middle", 2, 4, 6, 5) == 3 * 70 * 2 * 3
    assert law(graph, "middle", 2, 4, 4, 3) == 3 * 70 * 1 * 2


def test_first_layer_counts_an_accumulation_once_but_at_least_a_cycle_a_step(graph):
    # 8x7 map: (2 + 6*3 + 2) * (2 + 5*3 + 2) = 418 positions; no window has fewer than 4 > T = 3
    assert law(graph, "first", 2, 1, 1, 6) == 3 * 418


def test_read_out(graph):
    assert law(graph, "readout", 3, 2, 7, 3) == 1 * 3 * 4
    assert law(graph, "readout", 3, 7, 7, 3) == 5  # the arg-max: classes + 2
