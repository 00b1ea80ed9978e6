"""The levels of direct coding against the contract's equation, for every sum of some bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scaflow.quant.direct import at_once, silent_levels
from scaflow.quant.graph import Conv, Edge

ACC_BITS = 9
SUMS = np.arange(-(1 << (ACC_BITS - 1)), 1 << (ACC_BITS - 1))


def layer(leak, fraction, seed, decay=(1, 0)):
    rng = np.random.default_rng(seed)
    count, reach = 24, 1 << (ACC_BITS - 1 + fraction)
    bias, threshold = rng.integers(-reach // 2, reach // 2, count), rng.integers(1, reach, count)
    bias[:3], threshold[:3] = (-2 * reach, 2 * reach, 0), (1, 1, 4 * reach)  # never fires, always, late if at all
    weight = np.ones((count, 1, 1, 1), int)
    return Conv("c", weight, bias, threshold, 1, 0, leak, "hard", fraction, 4, 8, tuple(range(count)), decay=decay)


def spikes(node, time_steps):
    """By the contract, bool [T, Co, sums]."""
    v, out = np.zeros((len(node.weight), len(SUMS)), int), []
    for _ in range(time_steps):
        left = v - (v >> node.leak_shift) if node.leak_shift else v * node.decay[0] >> node.decay[1]
        u = left + (SUMS << node.fraction_bits) + node.bias[:, None]
        out.append(u >= node.threshold[:, None])
        v = np.where(out[-1], 0, u)
    return np.array(out)


@pytest.mark.parametrize("time_steps", [1, 2, 5, 8])
@pytest.mark.parametrize(("leak", "fraction"), [(0, 0), (1, 3), (2, 1), (3, 4), ((230, 8), 2), ((1, 3), 3)])
def test_the_first_spike_tells_all(leak, fraction, time_steps):
    shift, decay = (0, leak) if isinstance(leak, tuple) else (leak, (1, 0))
    node = layer(shift, fraction, shift + time_steps, decay)
    levels = silent_levels(node, time_steps, ACC_BITS)
    first = 1 + (SUMS[:, None] <= levels[:, None, :]).sum(2)  # beyond T: never
    told = [(first <= time_steps) & (t % first == 0) for t in range(1, time_steps + 1)]
    expected = spikes(node, time_steps)
    assert np.array_equal(told, expected)
    assert time_steps == 1 or (expected[-1] & ~expected[0]).any()  # some fire late


def test_a_neuron_that_always_or_never_fires_has_a_level_beside_all_sums():
    levels = silent_levels(layer(1, 3, 0), 3, ACC_BITS)
    assert (levels[0] == SUMS[-1]).all()
    assert (levels[1] == SUMS[0] - 1).all()


def test_only_a_first_layer_with_hard_reset_tells_its_spikes_at_once():
    node, image = layer(1, 3, 0), Edge((1, 4, 4), 1, 8, (0,), "pixels")
    assert at_once(node, image, 4)
    assert not at_once(node, image, 1)
    assert not at_once(node, Edge((1, 4, 4), 4, 1, (0,)), 4)
    assert not at_once(replace(node, reset="soft"), image, 4)
    assert not at_once(replace(node, reset="delayed"), image, 4)
    assert at_once(replace(node, leak_shift=0, decay=(9, 4)), image, 4)
    assert not at_once(replace(node, v_reset=-1 * (np.arange(24) == 7)), image, 4)
