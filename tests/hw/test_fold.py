"""Folding: given by hand or balanced for a number of lanes."""

import pytest

from scaflow.hw.fold import Fold, balanced, given


def test_balanced_stays_within_the_lanes_and_grows_with_them(graph):
    def slowest(lanes):
        from scaflow.hw.design import design

        folding = balanced(graph, lanes)
        assert sum(fold.lanes for fold in folding.values()) <= lanes
        return max(stage.law for stage in design(graph, folding).stages)

    intervals = [slowest(lanes) for lanes in (6, 12, 24, 48, 96)]
    assert intervals == sorted(intervals, reverse=True)
    assert intervals[-1] < intervals[0] / 3


def test_lanes_divide_the_granularity(graph):
    for fold in list(balanced(graph, 60, granularity=2).values())[:-1]:
        assert fold.pe in (1, 2)
        assert fold.simd in (1, 2)


def test_too_few_lanes(graph):
    with pytest.raises(ValueError, match=r"^fold\.lanes=5: network 'sample' needs at least 6; raise fold\.lanes$"):
        balanced(graph, 5)


def test_given(graph):
    folding = given(graph, (2, 5, 7), (1, 3, 5, 7))
    assert folding == {"first": Fold(2, 1), "middle": Fold(5, 3), "dense": Fold(7, 5), "readout": Fold(3, 7)}


def test_given_refuses_all_at_once(graph):
    with pytest.raises(ValueError) as refused:
        given(graph, (0, 6, 7), (2, 3, 5, 7))
    assert str(refused.value).splitlines() == [
        "node 'first': pe=0 must be 1 to its 6 output channels",
        "node 'first': simd=2 must be 1 to 1, its input channels",
        "node 'middle': pe=6 must be 1 to its 5 output channels",
    ]


def test_given_refuses_a_wrong_count(graph):
    with pytest.raises(ValueError, match=r"^fold: 1 pe and 4 simd for 3 spiking layers; give 3 pe, and 4 simd"):
        given(graph, (1,), (1, 1, 1, 1))
