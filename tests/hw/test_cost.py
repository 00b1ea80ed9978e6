"""The price list of pruning: equal to the cycle law of the graph that compile makes of the masks."""

import numpy as np
import pytest

from scaflow.hw.cost import cycle_model, folding_of, outline
from scaflow.hw.cycles import node_law
from scaflow.model.config import NetworkConfig
from scaflow.quant.graph import Pool, validate

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


def test_events_are_not_priced_below_what_their_neurons_take(narrow):
    events = cycle_model(narrow, "event")
    masks = [np.ones(layer.channels, bool) for layer in narrow.layers]
    silent = [np.zeros(layer.channels) for layer in narrow.layers]
    assert events(masks, silent)[1] == -(-16 // 3) * 3 * 49 * 2
