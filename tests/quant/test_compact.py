"""compact: the smaller graph gives the same logits, and takes away what it says, no more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scaflow.quant import compact as module
from scaflow.quant.compact import compact
from scaflow.quant.fold import fold
from scaflow.quant.folded import to_graph
from scaflow.quant.graph import Conv, Graph, Pool, Readout, execute, validate
from scaflow.quant.widths import widths
from tests.hw.graphs import added, preactivated


def convs(graph: Graph) -> list[Conv]:
    return [node for node in graph.nodes if isinstance(node, Conv)]


@pytest.mark.parametrize("seed", range(30))
def test_random_graphs_keep_their_logits(make_graph, seed):
    graph = make_graph(seed)
    images = np.random.default_rng(seed).integers(0, 256, (40, *graph.input_shape)).astype(np.uint8)
    small, certificate = compact(graph, images)
    assert (certificate.images_compared, certificate.mismatches) == (40, 0)
    np.testing.assert_array_equal(execute(small, images), execute(graph, images))
    for node in convs(small):
        assert node.kept == tuple(range(len(node.weight)))
    removed = sum(len(a.weight) - len(b.weight) for a, b in zip(convs(graph), convs(small), strict=True))
    assert removed == len(certificate.removed) >= sum(len(c.weight) - len(c.kept) for c in convs(graph))
    assert compact(small)[1].removed == ()


def layers(first: Conv, second: Conv | None = None, pool: bool = False) -> Graph:
    """first -> [pool] -> [second] -> read-out, on a 6x6 image."""
    nodes = [first, *([Pool("pool0", 2)] if pool else []), *([second] if second else [])]
    stub = Readout("readout", np.zeros((1, 1, 1, 1), int), [0], 8)
    shape = Graph("g", (1, 6, 6), 4, (*nodes, stub)).edges()[-1].shape
    weight = np.random.default_rng(0).integers(-7, 8, (3, *shape))
    return validate(Graph("g", (1, 6, 6), 4, (*nodes, Readout("readout", weight, [1, 2, 3], 8))))


def first_layer(**fields) -> Conv:
    """Channel 0 works, 1 is pruned, 2 never fires, 3 always fires."""
    weight = np.random.default_rng(1).integers(-7, 8, (4, 1, 3, 3))
    weight[2:] = 1
    conv = Conv("conv0", weight, [0, 0, 0, 16], [16 * 500] * 4, 1, 1, 1, "hard", 4, 4, 8, (0, 2, 3))
    # u <= 9*255*16 * (1 + 1/2 + ...) < 2 * 36720
    return replace(conv, threshold=[16 * 500, 16, 2 * 9 * 255 * 16, 16], **fields)


def second_layer(padding: int) -> Conv:
    weight = np.random.default_rng(2).integers(-7, 8, (2, 4, 3, 3))
    return Conv("conv1", weight, [3, -3], [16 * 12] * 2, 1, padding, 2, "soft", 4, 4, 1, (0, 1))


IMAGES = np.random.default_rng(3).integers(0, 256, (60, 1, 6, 6)).astype(np.uint8)
NEVER = ("conv0", 2, "never fires")
ALWAYS = ("conv0", 3, "always fires")
PRUNED = ("conv0", 1, "pruned")


@pytest.mark.parametrize("pool", [False, True])
def test_never_and_always_firing_channels_go_before_the_read_out(pool):
    graph = layers(first_layer(), pool=pool)
    small, certificate = compact(graph, IMAGES)
    assert [(r.node, r.channel, r.reason) for r in certificate.removed] == [PRUNED, NEVER, ALWAYS]
    assert certificate.removed[1].argument.endswith(f"< threshold {2 * 9 * 255 * 16}")
    assert certificate.removed[2].argument == "u >= 16 >= threshold 16"
    assert len(convs(small)[0].weight) == 1
    added = graph.nodes[-1].weight[:, 3].sum((1, 2))
    np.testing.assert_array_equal(small.nodes[-1].bias, graph.nodes[-1].bias + added)
    assert added.any()
    np.testing.assert_array_equal(execute(small, IMAGES), execute(graph, IMAGES))


def test_an_always_firing_channel_folds_into_a_reader_without_padding():
    graph = layers(first_layer(), second_layer(0))
    small, certificate = compact(graph, IMAGES)
    assert ALWAYS in [(r.node, r.channel, r.reason) for r in certificate.removed]
    np.testing.assert_array_equal(
        convs(small)[1].bias, convs(graph)[1].bias + convs(graph)[1].weight[:, 3].sum((1, 2)) * 16
    )
    _, before = execute(graph, IMAGES, trace=True)
    _, after = execute(small, IMAGES, trace=True)
    np.testing.assert_array_equal(before["conv1"], after["conv1"])
    assert 0.05 < after["conv1"].mean() < 0.95


def test_an_always_firing_channel_stays_before_a_reader_with_padding():
    """At the border it adds less; folding it into the bias would change spikes there."""
    graph = layers(first_layer(), second_layer(1))
    small, certificate = compact(graph, IMAGES)
    assert [(r.node, r.channel, r.reason) for r in certificate.removed] == [PRUNED, NEVER]
    assert len(convs(small)[0].weight) == 2
    np.testing.assert_array_equal(execute(small, IMAGES), execute(graph, IMAGES))


def test_a_layer_keeps_one_channel():
    silent = first_layer(kept=(2,))
    small, certificate = compact(layers(silent), IMAGES)
    assert len(convs(small)[0].weight) == 1
    assert [r.channel for r in certificate.removed] == [0, 1, 3]


def test_a_channel_just_able_to_fire_stays():
    """IF over four steps: u reaches 4 * 9 * 255 * 16 and not one more."""
    most = 4 * 9 * 255 * 16
    for threshold, stays in ((most, 1), (most + 1, 0)):
        conv = replace(first_layer(leak_shift=0, kept=(0, 2)), threshold=[16 * 500, 16, threshold, 16])
        small, _ = compact(layers(conv), IMAGES)
        assert len(convs(small)[0].weight) == 1 + stays


def test_folded_networks_with_constant_channels(make_net, digits):
    net = make_net("padded", seed=8)
    last = net.blocks[-1]
    last.mask[:2] = True
    last.bn.weight.data[:2] = 0
    last.bn.running_mean[:2] = 0
    last.bn.bias.data[0], last.bn.bias.data[1] = 1.2, 0.1
    graph = to_graph(fold(net))
    small, certificate = compact(graph, digits)
    found = {(r.node, r.channel): r.reason for r in certificate.removed}
    assert found["conv2", 0] == "always fires"
    assert found["conv2", 1] == "never fires"
    assert certificate.images_compared == len(digits)
    assert sum(node.weight.size for node in convs(small)) < sum(node.weight.size for node in convs(graph)) / 2
    for name, after in widths(small).items():
        if name != "readout":
            assert after.acc_bits <= widths(graph)[name].acc_bits


def test_a_difference_is_no_certificate(monkeypatch):
    """If the bounds were wrong, the comparison would stop it: here they claim that nothing ever fires."""
    monkeypatch.setattr(
        module,
        "potentials",
        lambda node, acc, steps: (-node.threshold[None], node.threshold[None] - 1),
    )
    with pytest.raises(
        ValueError, match=r"graph 'g': the compact graph differs on \d+ of 60 images, first on image"
    ):
        compact(layers(first_layer(kept=(0, 1, 2, 3))), IMAGES)


def test_a_channel_that_fires_every_other_step_stays():
    """IF with a bias of half the threshold and no synapses: its lowest u reaches the threshold, but not always."""
    blink = replace(first_layer(leak_shift=0, kept=(0, 3)), bias=[0, 0, 0, 8])
    weight = blink.weight.copy()
    weight[3] = 0
    graph = layers(replace(blink, weight=weight))
    certificate = compact(graph, IMAGES)[1]
    assert [r.channel for r in certificate.removed] == [1, 2]
    assert execute(graph, IMAGES, trace=True)[1]["conv0"][:, :, 3].mean((0, 2, 3)).tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("seed", range(3))
def test_a_trunk_loses_the_channels_that_none_of_its_neurons_needs(seed):
    """Channels 1 and 4 are pruned in the whole trunk; 2 is pruned where it is read first, and needed behind."""
    kept = (0, 2, 3, 5)
    graph = preactivated(seed=seed, kept=kept)
    first = graph.node("fire0")
    nodes = tuple(replace(n, kept=(0, 3, 5)) if n is first else n for n in graph.nodes)
    graph = validate(replace(graph, nodes=nodes))
    images = np.random.default_rng(seed).integers(0, 256, (20, 2, 6, 7)).astype(np.uint8)
    small, certificate = compact(graph, images)
    assert (certificate.images_compared, certificate.mismatches) == (20, 0)
    gone = {(r.node, r.channel) for r in certificate.removed if r.reason == "pruned"}
    assert gone == {("fire0", 1), ("fire0", 4), ("fire1", 1), ("fire1", 4)}
    sizes = {node.name: small.edge(node.name).shape[0] for node in small.nodes[:-1]}
    assert all(sizes[name] == 4 for name in ("stem", "fire0", "outer1", "join1", "fire1"))
    assert small.node("fire0").kept == (0, 2, 3)  # of channels 0, 2, 3, 5
    assert small.node("inner1").weight.shape[1] == small.node("across2").weight.shape[1] == 4


def test_spikes_that_are_added_keep_what_either_side_has():
    graph = added()
    nodes = tuple(
        replace(n, kept={"first": (0, 1, 2), "outer": (0, 1, 4)}[n.name]) if n.name in ("first", "outer") else n
        for n in graph.nodes
    )
    small, _ = compact(validate(replace(graph, nodes=nodes)), IMAGES[:, :, :6, :6])
    assert small.edge("join").shape[0] == 4
    assert (small.node("first").kept, small.node("outer").kept) == ((0, 1, 2), (0, 1, 3))
