"""The price list of pruning: equal to the cycle law of the graph that compile makes of the masks."""

import numpy as np
import pytest
import torch

from scaflow.hw.ask import problems
from scaflow.hw.cost import by_stage, cycle_model, ends, folding_of, outline
from scaflow.hw.cycles import node_law
from scaflow.model.config import NetworkConfig
from scaflow.model.narrow import narrowed
from scaflow.model.network import SpikingNetwork
from scaflow.quant.fold import fold
from scaflow.quant.folded import to_graph
from scaflow.quant.graph import Current, Pool, Readout, validate
from scaflow.quant.layers import brevitas_conv, brevitas_linear

NET = {
    "name": "priced",
    "dataset": "fashion-mnist",
    "time_steps": 3,
    "layers": [
        {"channels": 8, "pool": 2},
        {"channels": 16, "stride": 2},
        {"channels": 12, "kernel": 5, "padding": 2, "pool": 3},
        {"kind": "linear", "channels": 20},
    ],
    "train": {"epochs": 1},
    "sca": {"cycles": 0.5},
    "fold": {"pe": [4, 3, 2, 8], "simd": [1, 2, 4, 3, 2]},
}
NARROW = [1, 2, 1, 1]  # neurons: rounds of 4, 2, 2 and 8 cycles


@pytest.fixture
def cfg():
    return NetworkConfig.model_validate(NET)


@pytest.fixture
def narrow():
    return NetworkConfig.model_validate(NET | {"fold": NET["fold"] | {"neurons": NARROW}})


def test_the_outline_has_the_shapes_of_the_network(cfg):
    graph = outline(cfg)
    validate(graph)
    assert [edge.shape for edge in graph.edges()] == [
        (1, 28, 28), (8, 28, 28), (8, 14, 14), (16, 7, 7), (12, 7, 7), (12, 2, 2), (20, 1, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("neurons", ["cfg", "narrow"])
def test_a_price_is_the_law_at_the_kept_channels(neurons, request):
    cfg = request.getfixturevalue(neurons)
    model, graph = cycle_model(cfg), outline(cfg)
    folding = folding_of(cfg, graph)
    rng = np.random.default_rng(0)
    weighted = [(n, e) for n, e in zip(graph.nodes, graph.edges(), strict=True) if not isinstance(n, Pool)]
    for _ in range(20):
        masks = [rng.random(layer.channels) < rng.uniform(0.2, 1) for layer in cfg.layers]
        counts = [1, *(int(mask.sum()) for mask in masks), 10]
        law = [
            node_law(graph, node, edge, fold.pe, fold.simd, counts[i], counts[i + 1], fold.rounds)
            for i, (node, edge) in enumerate(weighted)
            for fold in [folding[node.name]]
            if counts[i] and counts[i + 1]
        ]
        assert model(masks).tolist() == law
    assert list(model.dense) == model([np.ones(layer.channels, bool) for layer in cfg.layers]).tolist()


def test_events_are_priced_by_spikes_and_the_budget_by_the_dense_list(cfg):
    lists, events = cycle_model(cfg), cycle_model(cfg, "event")
    assert events.dense == lists.dense
    masks = [np.ones(layer.channels, bool) for layer in cfg.layers]
    rates = [np.full(layer.channels, 0.5) for layer in cfg.layers]
    priced = events(masks, rates)
    assert priced[0] == lists.dense[0]  # the image walks its list
    assert priced[-1] == lists.dense[-1]  # the read-out too
    assert priced[1] == pytest.approx(lists.dense[1] * 0.5)
    assert priced[2] == pytest.approx(-(-12 // 2) * 0.5 * 16 * events.stages[2].reach / 4)
    assert events(masks, [rate * 0 for rate in rates])[1] == -(-16 // 3) * 3 * 49


def test_the_first_layer_of_recordings_walks_its_list(cfg):
    """As that of images: no rate of what comes in is measured. The budget is one frame's."""
    recorded = {"dataset": "nmnist", "time_steps": 1, "input": {"kind": "frames", "bins": 5, "crop": [0, 0, 28, 28]}}
    frames = NetworkConfig.model_validate(NET | recorded)
    priced = cycle_model(frames, "event")
    assert [type(stage).__name__ for stage in priced.stages[:2]] == ["ListStage", "EventStage"]
    masks = [np.ones(layer.channels, bool) for layer in frames.layers]
    silent = [np.zeros(layer.channels) for layer in frames.layers]
    assert priced(masks, silent)[0] == priced.dense[0] and problems(frames) == []


def test_events_are_not_priced_below_what_their_neurons_take(narrow):
    events = cycle_model(narrow, "event")
    masks = [np.ones(layer.channels, bool) for layer in narrow.layers]
    silent = [np.zeros(layer.channels) for layer in narrow.layers]
    assert events(masks, silent)[1] == -(-16 // 3) * 3 * 49 * 2


RESIDUAL = NET | {
    "layers": [
        {"channels": 8, "pool": 2},
        {"channels": 16},
        {"channels": 12, "shortcut": -2},
        {"channels": 16},
        {"channels": 12, "shortcut": -2, "pool": 2},
        {"channels": 20, "stride": 2, "shortcut": -1},
    ],
    "sca": {"cycles": 0.5, "granularity": 4},
    "fold": {
        "pe": [4, 3, 4, 2, 4, 5], "simd": [1, 2, 16, 4, 4, 4, 2],
        "event": {
            "pe": [4, 3, 4, 2, 4, 5], "simd": [1, 2, 16, 4, 4, 4, 2], "neurons": [4, 1, 4, 2, 4, 5],
            "groups": [[1, 1], [3, 1], [3, 2], [3, 1], [1, 2], [3, 1], [1, 1]],
            "scheduler": ["list", "event", "event", "auto", "list", "auto"],
        },
    },
}  # fmt: skip


def test_the_outline_of_a_network_with_shortcuts_is_its_graph_in_shapes():
    cfg = NetworkConfig.model_validate(RESIDUAL)
    torch.manual_seed(0)
    trained = to_graph(fold(SpikingNetwork(cfg, brevitas_conv, brevitas_linear)))
    graph = validate(outline(cfg))
    assert [(type(n), n.name, graph.sources[n.name]) for n in graph.nodes] == [
        (type(n), n.name, trained.sources[n.name]) for n in trained.nodes
    ]
    for node in graph.nodes[:-1]:
        assert graph.edge(node.name).shape == trained.edge(node.name).shape
    for (node, _), (other, _) in zip(graph.weighted, trained.weighted, strict=True):
        assert node.weight.shape == other.weight.shape
        assert isinstance(node, Readout) or (node.stride, node.padding) == (other.stride, other.padding)


def test_prices_of_a_network_with_shortcuts_are_the_laws_of_what_is_left():
    cfg = NetworkConfig.model_validate(RESIDUAL)
    model, folding = cycle_model(cfg), folding_of(cfg, outline(cfg))
    assert len(model.stages) == len(cfg.layers) + 2 + 1
    rng = np.random.default_rng(0)
    for _ in range(10):
        masks = [rng.random(layer.channels) < rng.uniform(0.3, 1) for layer in cfg.layers]
        for mask in masks:
            mask[0] = True
        masks[4] = masks[2]
        left = outline(narrowed(cfg, masks))
        law = [
            node_law(left, node, edge, fold.pe, fold.simd, len(edge.kept), len(node.weight))
            for (node, edge), fold in zip(left.weighted, folding.values(), strict=True)
        ]
        assert model(masks).tolist() == law
    assert list(model.dense) == model([np.ones(layer.channels, bool) for layer in cfg.layers]).tolist()
    rates = [np.full(layer.channels, 0.5) for layer in cfg.layers]
    events = cycle_model(cfg, "event")([np.ones(layer.channels, bool) for layer in cfg.layers], rates)
    inner, across = (ends(cfg).index(end) for end in ((1, 2), (0, 2)))
    assert events[inner] == pytest.approx(model.dense[inner] * 0.5)
    assert events[across] == model.dense[across] == 3 * 3 * 14 * 14  # a cycle a window and fold, whatever spikes


def test_what_is_given_a_layer_is_that_of_its_shortcut_too():
    """On one position, on the channels that it reads; currents have no neurons."""
    cfg = NetworkConfig.model_validate(RESIDUAL)
    graph = outline(cfg)
    names = [node.name for node, _ in graph.weighted]
    assert names == ["conv0", "conv1", "conv2", "shortcut2", "conv3", "conv4", "conv5", "shortcut5", "readout"]
    found = by_stage(cfg)
    assert found.pe == found.event.pe == (4, 3, 4, 4, 2, 4, 5, 5)
    assert found.simd == found.event.simd == (1, 2, 16, 8, 4, 4, 4, 4, 2)
    assert found.event.neurons == (4, 1, None, None, 2, None, None, None)
    assert found.event.groups == ((1, 1), (3, 1), (3, 2), (1, 2), (3, 1), (1, 2), (3, 1), (1, 1), (1, 1))
    assert found.event.scheduler == ("list", "event", "event", "event", "auto", "list", "auto", "auto")
    assert [f.neurons for f, (n, _) in zip(folding_of(cfg, graph).values(), graph.weighted, strict=True)] == [None] * 9
    assert sum(isinstance(node, Current) for node, _ in graph.weighted) == 5
    chain = NetworkConfig.model_validate(NET)
    assert by_stage(chain) == chain.fold
