"""Groups of synapses: where they are not silent, and the sums that their patterns pick."""

import numpy as np
import pytest

from scaflow.hw.activity import walked_events
from scaflow.hw.groups import Kernel, arriving, events, tables, window_rows
from scaflow.quant.golden.window_row import window_row
from scaflow.quant.graph import Conv, Edge

GROUPS = ((3, 1), (3, 2), (1, 2), (1, 4))


def conv(stride=1, padding=1):
    rng = np.random.default_rng(0)
    weight = rng.integers(-8, 8, size=(4, 5, 2, 3))
    return Conv("conv", weight, np.zeros(4, int), np.ones(4, int), stride, padding, 1, "hard", 0, 4, 1, tuple(range(4)))


def windows(seen, node):
    """Each window's spikes, [N, T, C, OH, OW, KH, KW]."""
    padded = np.pad(seen, (*[(0, 0)] * 3, *[(node.padding, node.padding)] * 2))
    views = np.lib.stride_tricks.sliding_window_view(padded, node.kernel, (3, 4))
    return views[..., :: node.stride, :: node.stride, :, :]


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("stride", [1, 2])
def test_a_group_is_silent_where_none_of_its_synapses_spikes(group, stride):
    node, places = conv(stride), (2, -1, 0, 3, 1)  # channel 1 is pruned
    seen = (np.random.default_rng(1).random((2, 3, 5, 6, 7)) < 0.2).astype(np.uint8)
    positions, channels = group
    order = [2, 4, 0, 3]
    found = windows(seen, node)[:, :, order]
    counts = []
    for first in range(0, 4, channels):
        some = found[:, :, first : first + channels].any(2)
        counts.append((some.any(-1) if positions > 1 else some).reshape(*some.shape[:4], -1).sum(-1))
    for simd in (1, 2):
        fullest = np.max([sum(counts[b::simd], np.zeros_like(counts[0])) for b in range(simd)], 0)
        assert np.array_equal(walked_events(seen, node, places, simd, group), fullest.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("bits", [1, 2])
def test_patterns_pick_the_sums_of_their_weights(group, bits):
    """Over the groups of a window, the words that its patterns pick sum up to the convolution."""
    node, walked = conv(), [3, 0, 4]
    rng = np.random.default_rng(2)
    acts = rng.integers(0, 1 << bits, size=(3, 2, 3))  # of the walked channels
    positions, channels = group
    sums = tables(node.weight, walked, group, bits)
    total = np.zeros(4, int)
    for g in range(-(-3 // channels)):
        for k in range(6 // positions):
            fields = [
                int(acts[c].reshape(-1, positions)[k, i]) if c < 3 else 0
                for i in range(positions) for c in range(g * channels, (g + 1) * channels)
            ]  # fmt: skip
            total += sums[:, g, k, sum(act << n * bits for n, act in enumerate(fields))]
    assert total.tolist() == (node.weight[:, walked] * acts).sum((1, 2, 3)).tolist()
    assert not sums[..., 0].any()


def test_what_stands_side_by_side_is_what_the_windows_need():
    """window_row's words hold an event where `events` says so, in its order."""
    node, edge = conv(2), Edge((5, 6, 7), 3, 1, (0, 2, 3, 4))
    seen = (np.random.default_rng(3).random((1, 3, 5, 6, 7)) < 0.2).astype(np.uint8)
    seen[:, :, 1] = 0
    places = (0, -1, 1, 2, 3)
    rows = window_rows(node, edge, 4, (3, 2))
    words = seen[:, :, [0, 2, 3, 4, 1]].transpose(0, 3, 4, 1, 2).reshape(-1, 5)
    beats = window_row(rows, [sum(int(s) << c for c, s in enumerate(word)) for word in words])
    found = events(seen, node, places, (3, 2)).transpose(0, 3, 4, 1, 2).reshape(-1, 2)
    some = [[int(beat >> 6 * g & 63 != 0) for g in range(2)] for beat in beats]
    assert some == found.tolist()
    assert Kernel.of(node, (3, 2)) == Kernel((2, 1), (2, 1), (1, 0))
    assert arriving(edge, rows) == (6 * 7 + 1) * 3  # the last window of a row, behind the last one
    assert arriving(edge) == 6 * 7 * 3
