"""Widths: nothing that execution computes passes them, and the accumulator's are reached."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scaflow.quant.graph import Conv, Edge, Graph, Readout, execute
from scaflow.quant.widths import acc_bounds, logit_bounds, potential_bounds, signed_bits, widths


@pytest.mark.parametrize(
    ("value", "bits"),
    [(0, 1), (-1, 1), (1, 2), (-2, 2), (127, 8), (-128, 8), (128, 9), (-129, 9), (2**40, 42)],
)
def test_signed_bits(value, bits):
    assert signed_bits(np.array([value])) == bits
    assert -(2 ** (bits - 1)) <= value < 2 ** (bits - 1)


def recorded(node: Conv, acc: np.ndarray, steps: int) -> list[np.ndarray]:
    """All that the neuron computes for accumulators [T, samples, Co], the contract step by step."""
    (factor, shift), left = node.decay, np.zeros_like(acc[0])
    seen = [node.bias, node.threshold]
    for t in range(steps):
        u = left + (acc[t] << node.fraction_bits) + node.bias
        s = u >= node.threshold
        seen += [acc[t] << node.fraction_bits, left, u, u - node.threshold]
        v = u if node.reset == "delayed" else np.where(s, node.v_reset if node.reset == "hard" else seen[-1], u)
        left = v - (v >> node.leak_shift) if node.leak_shift else v * factor >> shift
        seen += [v]
        if node.reset == "delayed":
            left = np.where(s, left - node.threshold, left)
    return seen


@pytest.mark.parametrize("seed", range(40))
def test_nothing_passes_the_widths(make_graph, seed):
    """Accumulators are drawn at and between their bounds, so that membranes go as far as they can."""
    graph = make_graph(seed)
    rng = np.random.default_rng(seed)
    for node, edge in zip(graph.nodes, graph.edges(), strict=True):
        if not isinstance(node, Conv):
            continue
        low, high = acc_bounds(node, edge)
        shape = (graph.time_steps, 200, len(low))
        acc = rng.integers(low, high + 1, shape)
        acc = np.where(rng.random(shape) < 0.5, acc, np.where(rng.random(shape) < 0.5, low, high))
        acc[:, 0], acc[:, 1] = low, high
        limit = 1 << (widths(graph)[node.name].v_bits - 1)
        for value in recorded(node, acc, graph.time_steps):
            assert value.min() >= -limit
            assert value.max() < limit


@pytest.mark.parametrize("seed", range(10))
def test_potential_bounds_hold_and_the_first_step_reaches_them(make_graph, seed):
    graph = make_graph(seed)
    node, edge = graph.nodes[0], graph.edges()[0]
    low, high = potential_bounds(node, edge, graph.time_steps)
    acc_low, acc_high = acc_bounds(node, edge)
    np.testing.assert_array_equal(low[0], (acc_low << node.fraction_bits) + node.bias)
    np.testing.assert_array_equal(high[0], (acc_high << node.fraction_bits) + node.bias)
    rng = np.random.default_rng(seed)
    acc = rng.integers(acc_low, acc_high + 1, (graph.time_steps, 500, len(acc_low)))
    for t, u in enumerate(recorded(node, acc, graph.time_steps)[4::5]):
        assert (low[t] <= u).all()
        assert (u <= high[t]).all()


def test_bounds_of_accumulator_and_logit_are_reached():
    """Bright where a weight is positive: the highest value; bright where it is negative: the lowest."""
    rng = np.random.default_rng(0)
    weight = rng.integers(-7, 8, (1, 2, 3, 3))
    conv = Conv("conv0", weight, [0], [1], 1, 0, 0, "hard", 0, 4, 8, (0,))
    edge = Edge((2, 3, 3), 1, 8, (0, 1))
    low, high = acc_bounds(conv, edge)
    for image, bound in ((weight > 0, high), (weight < 0, low)):
        assert (weight * 255 * image).sum() == bound[0]
    assert widths(Graph("one", (2, 3, 3), 1, (conv,)))["conv0"].acc_bits == signed_bits(low, high)

    always = Conv(
        "conv0", np.zeros((4, 1, 1, 1), int), [1] * 4, [1] * 4, 1, 0, 0, "hard", 0, 4, 8, (0, 1, 2, 3)
    )
    weight = rng.integers(-7, 8, (3, 4, 1, 1))
    readout = Readout("readout", weight, [5, -5, 0], 4)
    for sign, pick in ((1, 1), (-1, 0)):
        for c in range(3):
            fired = tuple(np.flatnonzero(sign * weight[c, :, 0, 0] > 0))
            if not fired:
                continue
            graph = Graph("logit", (1, 1, 1), 6, (replace(always, kept=fired), readout))
            logit = execute(graph, np.zeros((1, 1, 1, 1), np.uint8))[0, c]
            bound = logit_bounds(readout, Edge((4, 1, 1), 6, 1, (0, 1, 2, 3)), 6)[pick][c]
            # the bound also covers the sum before the bias has come in
            assert logit == bound + min(sign * 6 * int(readout.bias[c]), 0) * sign


def test_channels_that_cannot_spike_need_no_room():
    conv = Conv("conv0", np.ones((2, 1, 1, 1), int), [0, 0], [1, 1], 1, 0, 0, "hard", 0, 4, 8, (0,))
    readout = Readout("readout", [[[[1]], [[100]]]], [0], 8)
    graph = Graph("pruned", (1, 1, 1), 4, (conv, readout))
    assert widths(graph)["readout"].logit_bits == signed_bits(np.array([4]))
    assert widths(replace(graph, nodes=(replace(conv, kept=(0, 1)), readout)))[
        "readout"
    ].logit_bits == signed_bits(np.array([404]))


def test_membrane_without_reset_grows_with_the_steps():
    """IF, threshold out of reach, bias 3 a step: u = 3 6 9 12; the threshold itself needs the width."""
    conv = Conv("conv0", [[[[0]]]], [3], [1000], 1, 0, 0, "hard", 0, 4, 8, (0,))
    low, high = potential_bounds(conv, Edge((1, 1, 1), 1, 8, (0,)), 4)
    assert low.ravel().tolist() == high.ravel().tolist() == [3, 6, 9, 12]
    leaky = replace(conv, leak_shift=1)
    assert potential_bounds(leaky, Edge((1, 1, 1), 1, 8, (0,)), 4)[0].ravel().tolist() == [3, 5, 6, 6]


def test_bounds_of_the_second_step_are_reached():
    """A synapse of weight 1 or -1 makes every sum between its bounds, so that some pixels reach those of u, too."""
    rng = np.random.default_rng(1)
    neurons = (("hard", (5, 3), -30), ("soft", (5, 3), 0), ("delayed", (5, 3), 0), ("delayed", (200, 8), 0))
    for reset, decay, v_reset in neurons:
        bias, threshold = rng.integers(-9, 9, 8), rng.integers(1, 20, 8)
        weight = rng.choice([-1, 1], (8, 1, 1, 1))
        conv = Conv("c", weight, bias, threshold, 1, 0, 0, reset, 0, 4, 4, range(8), decay=decay,
                    v_reset=np.full(8, v_reset))  # fmt: skip
        acc = np.stack([np.repeat(np.arange(16), 16), np.tile(np.arange(16), 16)])[..., None] * weight.ravel()
        u = recorded(conv, acc, 2)[9]
        low, high = potential_bounds(conv, Edge((1, 1, 1), 2, 4, (0,)), 2)
        np.testing.assert_array_equal(u.min(0), low[1])
        np.testing.assert_array_equal(u.max(0), high[1])
