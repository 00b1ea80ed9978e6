"""Networks with shortcuts as integers: torch = golden, spike for spike, and gradients reach what was trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from scaflow.model.config import NetworkConfig
from scaflow.model.network import SpikingNetwork
from scaflow.quant.compact import compact
from scaflow.quant.folded import to_graph
from scaflow.quant.graph import Conv, Current, Join, Neuron, execute
from scaflow.quant.layers import brevitas_conv, brevitas_linear
from scaflow.quant.residual import FoldedResidual

# a trunk from the image's current on; one that a 1x1 convolution begins, and that goes on behind it
LAYERS = [
    {"channels": 6},
    {"channels": 5},
    {"channels": 6, "shortcut": -2},
    {"channels": 7},
    {"channels": 6, "shortcut": -2},
    {"channels": 8, "stride": 2},
    {"channels": 8, "shortcut": -2},
    {"channels": 8, "shortcut": -1, "pool": 2},
]


def _net(seed: int = 0, prune: bool = False, **changes: Any) -> SpikingNetwork:
    described = {
        "name": "residual",
        "dataset": "digits",
        "time_steps": 3,
        "layers": LAYERS,
        "readout": "mean",
        "train": {"epochs": 1},
        "sca": {"keep": 0.5, "granularity": 1},
        "neuron": {"leak_shift": 2, "reset": "hard"},
        **changes,
    }
    torch.manual_seed(seed)
    net = SpikingNetwork(NetworkConfig.model_validate(described), brevitas_conv, brevitas_linear)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.2)
            part.running_var.uniform_(0.1, 0.6)
            part.weight.data.uniform_(0.5, 1.5)
            part.bias.data.normal_(0.4, 0.3)
    if prune:
        for group in net.groups:
            mask = torch.rand(len(net.blocks[group[0]].mask)) < 0.7
            mask[0] = True
            for i in group:
                net.blocks[i].mask.copy_(mask)
    return net.eval()


IMAGES = np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8)).astype(np.uint8)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("prune", [False, True])
@pytest.mark.parametrize(
    "neuron",
    [{"leak_shift": 2, "reset": "hard"}, {"leak_shift": 2, "reset": "soft"}, {"decay": 0.7, "v_reset": -0.25}],
)
def test_torch_is_golden_spike_for_spike(seed: int, prune: bool, neuron: dict) -> None:
    folded = FoldedResidual(_net(seed, prune, neuron=neuron))
    graph = to_graph(folded)
    golden, told = execute(graph, IMAGES, trace=True)
    x = torch.from_numpy(IMAGES).float() / 255
    with torch.no_grad():
        assert (folded.logits_int(x).numpy() == golden).all()
        for i, spikes in enumerate(folded.spikes(x)):
            name = next(n for n in (f"pool{i}", f"fire{i}", f"conv{i}") if n in told)
            seen = spikes.unflatten(0, (3, -1)).transpose(0, 1).numpy()
            np.testing.assert_array_equal(seen, told[name])
            assert 0.01 < seen.mean() < 0.99


def test_the_graph_has_the_shape_of_the_network() -> None:
    graph = to_graph(FoldedResidual(_net()))
    kinds = {node.name: type(node) for node in graph.nodes}
    assert [name for name, kind in kinds.items() if kind is Conv] == ["conv1", "conv3", "conv5"]
    assert [name for name, kind in kinds.items() if kind is Join] == ["join2", "join4", "join6", "join7"]
    assert kinds["shortcut6"] is kinds["conv0"] is Current
    assert kinds["fire7"] is Neuron
    assert graph.sources["join4"] == ("join2", "conv4")
    assert graph.sources["shortcut6"] == ("fire4",)


def test_the_integers_are_near_the_floating_network() -> None:
    net = _net(quant={"weight_bits": 8, "first_bits": 8, "fraction_bits": 6})
    x = torch.from_numpy(IMAGES).float() / 255
    with torch.no_grad():
        differ = [(a != b).float().mean() for a, b in zip(net.spikes(x), FoldedResidual(net).spikes(x), strict=True)]
    assert max(differ) < 0.08, differ


def test_compact_takes_the_pruned_channels_out_of_whole_trunks() -> None:
    net = _net(prune=True)
    graph = to_graph(FoldedResidual(net))
    small, certificate = compact(graph, IMAGES)
    assert certificate.mismatches == 0
    assert small.edge("join4").shape[0] <= int(net.blocks[0].mask.sum()) < 6


def test_gradients_reach_every_parameter_of_the_trunk() -> None:
    net = _net(sca={"keep": 1.0, "granularity": 1})
    folded = FoldedResidual(net)
    x = torch.from_numpy(IMAGES).float() / 255
    folded(x).square().sum().backward()
    still = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not still, still
