"""Folding: given by hand or balanced for a number of lanes."""

from dataclasses import replace

import numpy as np
import pytest

from scaflow.hw.fold import Fold, at_equal_lanes, balanced, dealt, given, narrowed, scheduled
from scaflow.quant.graph import Graph, Readout


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
    with pytest.raises(ValueError, match=r"^--lanes=0: network 'sample' needs at least 6; raise --lanes$"):
        balanced(graph, 0, asked="--lanes")


def test_fewer_lanes_than_shallow_banks_ask_for(graph):
    """One neuron a cycle of so many reads a bank deeper than a block RAM: rather that than a refusal."""
    wide = replace(graph.nodes[2], weight=np.zeros((200, 6, 3, 3), int), bias=np.zeros(200, int),
                   threshold=np.ones(200, int), kept=tuple(range(200)))  # fmt: skip
    deep = Graph("deep", graph.input_shape, 3, (*graph.nodes[:2], wide, Readout(
        "readout", np.zeros((3, 200, 4, 3), int), np.zeros(3, int), 8)))  # fmt: skip
    assert balanced(deep, 5) == {"first": Fold(1, 1), "middle": Fold(1, 1), "readout": Fold(3, 1)}
    shallow = balanced(deep, 60)["middle"]
    assert 200 / shallow.pe * -(-6 // shallow.simd) * 9 <= 1024


def test_lanes_of_the_dense_network_on_what_is_left_of_it(graph):
    folding = given(graph, (6, 5, 7), (1, 6, 5, 7))
    assert narrowed(graph, folding) == {
        "first": Fold(4, 1), "middle": Fold(3, 4), "dense": Fold(7, 3), "readout": Fold(3, 7),
    }  # fmt: skip


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


def test_given_neurons(graph):
    folding = given(graph, (4, 5, 7), (1, 3, 5, 7), (2, 5, 3))
    assert folding["first"] == Fold(4, 1, neurons=2) and folding["first"].rounds == 2
    assert folding["dense"].rounds == 3 and folding["middle"].rounds == folding["readout"].rounds == 1
    left = narrowed(graph, folding)  # of the middle one three channels
    assert left["middle"] == Fold(3, 3) and left["dense"] == Fold(7, 3, neurons=3)
    with pytest.raises(ValueError) as refused:
        given(graph, (4, 5, 7), (1, 3, 5, 7), (0, 6, 7))
    assert str(refused.value).splitlines() == [
        "node 'first': neurons=0 must be 1 to its pe=4", "node 'middle': neurons=6 must be 1 to its pe=5",
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"^fold: 2 neurons for 3 spiking layers; give one a layer$"):
        given(graph, (4, 5, 7), (1, 3, 5, 7), (1, 1))


@pytest.fixture
def edges():
    """What the convolutions of `graph` read: one pixel in four, a spike now and then, and spikes everywhere."""
    rng = np.random.default_rng(4)
    return {
        "first": (rng.random((3, 1, 1, 8, 7)) < 0.25).astype(np.uint8),
        "middle": (rng.random((3, 3, 6, 4, 3)) < 0.05).astype(np.uint8),
        "dense": np.ones((3, 3, 5, 4, 3), np.uint8),
    }


AUTO = dict.fromkeys(("first", "middle", "dense"), "auto")


def test_auto_takes_the_scheduler_with_fewer_cycles(graph, edges):
    folding = given(graph, (2, 3, 7), (1, 2, 3, 7))
    found = scheduled(graph, folding, edges, AUTO)
    assert {name: (fold.pe, fold.simd) for name, fold in found.items()} == {
        name: (fold.pe, fold.simd) for name, fold in folding.items()
    }
    # the last convolution has three kept inputs on three banks: a window of spikes costs either scheduler the same
    assert [fold.scheduler for fold in found.values()] == ["event", "event", "event", "list"]
    forced = scheduled(graph, folding, edges, AUTO | {"middle": "list"})
    assert forced["middle"].scheduler == "list"


def test_auto_keeps_the_neurons_and_counts_their_rounds(graph, edges):
    folding = given(graph, (2, 3, 7), (1, 2, 3, 7), (1, 1, 1))
    found = scheduled(graph, folding, edges, AUTO)
    assert [fold.neurons for fold in found.values()] == [1, 1, 1, None]
    # seven rounds are longer than any list or event of the last one, whatever walks it
    assert found["dense"].scheduler == "event" and found["middle"].scheduler == "event"


def test_equal_lanes_are_divided_for_events(graph, edges):
    folding = given(graph, (2, 1, 1), (1, 4, 3, 7))
    found = at_equal_lanes(graph, folding, edges, dict.fromkeys(AUTO, "event"))
    assert all(found[name].lanes <= folding[name].lanes for name in AUTO)
    assert found["middle"] == Fold(3, 1, "event")  # of four lanes: a fourth neuron would idle, three are kept
    assert found["readout"] == folding["readout"]
    assert at_equal_lanes(graph, folding, edges, dict.fromkeys(AUTO, "list"))["middle"].scheduler == "list"


def test_only_writers_of_event_stages_are_dealt(graph, edges):
    folding = {"first": Fold(2, 1), "middle": Fold(2, 2, "event"), "dense": Fold(7, 3), "readout": Fold(3, 7)}
    found = dealt(graph, folding, edges)
    assert list(found) == ["first"]
    assert sorted(found["first"]) == [0, 2, 3, 5]
