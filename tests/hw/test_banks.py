"""The deal of channels to banks: every channel once, banks filled alike, the fullest one lower than by counting off."""

from itertools import permutations

import numpy as np

from scaflow.hw.activity import channel_events
from scaflow.hw.banks import _together, deal, order, orders
from scaflow.hw.groups import SYNAPSE


def fullest(order, counts, simd):
    return sum(max(row[list(order[b::simd])].sum() for b in range(simd)) for row in counts)


def test_a_deal_is_a_permutation_that_beats_counting_off():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 3, size=(200, 3))
    counts = np.tile(groups, 4) + rng.integers(0, 2, size=(200, 12))  # channels 0, 3, 6, 9 fire together
    channels = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11)
    order = deal(channels, counts, 3)
    assert sorted(order) == list(channels)
    assert fullest(order, counts, 3) < 0.9 * fullest(channels, counts, 3)


def test_no_deal_of_two_banks_is_better_on_a_small_case():
    counts = np.random.default_rng(1).integers(0, 4, size=(30, 5))
    best = min(fullest(order, counts, 2) for order in permutations(range(5)))
    assert fullest(deal(range(5), counts, 2), counts, 2) == best


def test_only_writers_of_event_stages_get_an_order(graph):
    rng = np.random.default_rng(2)
    events = {"middle": rng.random((50, 9, 6)) < 0.3, "dense": rng.random((50, 12, 5)) < 0.3}
    found = orders(graph, {"middle": (2, SYNAPSE)}, events)
    assert list(found) == ["first"]
    assert sorted(found["first"]) == [0, 2, 3, 5]


def test_channels_that_fire_together_share_a_look_up():
    """Here they do so in pairs: a group is a pair, and the one left over comes last."""
    rng = np.random.default_rng(4)
    pairs = rng.random((300, 3, 4)) < 0.3
    events = np.concatenate([pairs[..., :3], pairs], 2)  # channels 0, 1, 2 fire with 3, 4, 5; 6 alone
    for simd in (1, 2, 3):
        found = order((0, 1, 2, 3, 4, 5, 6), events, simd, (3, 2))
        assert sorted(map(sorted, (found[:2], found[2:4], found[4:6]))) == [[0, 3], [1, 4], [2, 5]]
        assert found[6] == 6


def test_what_shares_a_look_up_is_judged_by_the_fullest_bank():
    """Pairs that fire most together are not yet those for which the fullest bank has least to do; these are."""
    rng = np.random.default_rng(0)
    bright = rng.random((400, 3, 1)) < 0.5
    events = rng.random((400, 3, 6)) < np.array([0.7, 0.6, 0.3, 0.3, 0.2, 0.1]) * (0.4 + 1.2 * bright)

    def fullest_bank(order):
        return np.max([events[:, :, list(order[i : i + 2])].any(2).sum(1) for i in (0, 2, 4)], 0).sum()

    found = order(range(6), events, 3, (3, 2))
    assert fullest_bank(found) == min(fullest_bank(each) for each in permutations(range(6)))
    pairs = [channel for members in _together(range(6), events, 2) for channel in members]
    assert fullest_bank(found) < fullest_bank(pairs)


def test_groups_are_dealt_to_banks_as_channels_are():
    rng = np.random.default_rng(5)
    pairs = rng.random((300, 3, 2)) < 0.4
    events = np.repeat(pairs[..., [0, 0, 1, 1]], 2, axis=2)  # 0 to 3 fire together, and 4 to 7
    found = order(range(8), events, 2, (1, 2))
    assert {c // 4 for c in found[:2]} != {c // 4 for c in found[4:6]}  # a bank's two do not fire together


def test_counts_of_windows_against_a_plain_loop(graph):
    node = graph.nodes[2]
    spikes = np.random.default_rng(3).integers(0, 2, size=(2, 3, 6, 4, 3))
    counts = channel_events(spikes, node, most=10**6).sum(1)
    expected = [
        [
            sum(
                spikes[n, t, c, y, x]
                for y in range(max(0, oy - 1), min(4, oy + 2))
                for x in range(max(0, ox - 1), min(3, ox + 2))
            )
            for c in range(6)
        ]
        for n in range(2)
        for t in range(3)
        for oy in range(4)
        for ox in range(3)
    ]
    assert counts.tolist() == expected
