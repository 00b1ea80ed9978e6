"""Colour images, other numbers of classes, VGG16 and a mean read-out: from the trained form to the golden model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from scaflow.model import fused
from scaflow.model.config import NetworkConfig, load_network
from scaflow.model.network import SpikingNetwork
from scaflow.quant.compact import compact
from scaflow.quant.export import export
from scaflow.quant.fold import fold
from scaflow.quant.folded import FoldedNetwork, to_graph
from scaflow.quant.graph import Join, Readout, execute
from scaflow.quant.importer import execute_qonnx, import_qonnx
from scaflow.quant.layers import brevitas_conv, brevitas_linear

CONFIGS = Path(__file__).parents[2] / "model" / "configs"
COLOUR = {"dataset": "folder", "data": {"path": "pictures", "shape": [3, 8, 9], "classes": 7}}


def describe(**changes) -> NetworkConfig:
    base = {
        "name": "small",
        "dataset": "cifar10",
        "time_steps": 3,
        "layers": [{"channels": 6, "pool": 2}, {"channels": 9, "stride": 2}],
        "train": {"epochs": 1},
        "sca": {"keep": 0.5},
    }
    return NetworkConfig.model_validate({**base, **changes})


def narrow(name: str, width: int) -> NetworkConfig:
    described = load_network(CONFIGS / f"{name}.toml").model_dump()
    for layer in described["layers"]:
        layer["channels"] //= width
    return NetworkConfig.model_validate(described)


def noise(cfg: NetworkConfig, count: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, *cfg.input_shape), dtype=np.uint8)


def lively(cfg: NetworkConfig) -> SpikingNetwork:
    """Random weights, the statistics of noise, a quarter of the channels pruned; every layer fires."""
    torch.manual_seed(0)
    net = SpikingNetwork(cfg, brevitas_conv, brevitas_linear).train()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
            part.bias.data.normal_(0.7, 0.3)
    for group in net.groups:
        mask = torch.rand(net.blocks[group[0]].mask.shape) > 0.25
        for i in group:
            net.blocks[i].mask.copy_(mask)
    with torch.no_grad():
        net(torch.from_numpy(noise(cfg, 16)).float() / 255)
    return net.eval()


def check_the_chain(cfg: NetworkConfig, path: Path, images: int) -> FoldedNetwork:
    """Folded torch = golden model = QONNX run, and what is imported is what was exported."""
    folded = fold(lively(cfg))
    shown = noise(cfg, images)
    as_input = torch.from_numpy(shown) / 255
    logits = folded.logits_int(as_input).numpy()
    assert logits.shape == (images, cfg.classes)
    assert len(np.unique(logits)) > images
    assert all(spikes.any() for spikes in folded.spikes(as_input))
    written = export(folded, path)
    assert written == to_graph(folded)
    graph = import_qonnx(path)
    assert graph == written
    assert graph.input_shape == cfg.input_shape
    np.testing.assert_array_equal(execute(graph, shown), logits)
    np.testing.assert_array_equal(execute_qonnx(path, shown), logits)
    return folded


@pytest.mark.parametrize("readout", ["map", "mean"])
def test_colour_images_and_seven_classes(tmp_path, readout):
    cfg = describe(**COLOUR, readout=readout)
    folded = check_the_chain(cfg, tmp_path / "model.onnx", 20)
    graph = to_graph(folded)
    small, _ = compact(graph)
    shown = noise(cfg, 20)
    np.testing.assert_array_equal(execute(small, shown), execute(graph, shown))


def test_a_mean_read_out_is_every_pixel_with_the_same_weight():
    """The integers' logits, in units of their scale, are close to those in floating point before folding."""
    cfg = describe(readout="mean")
    folded = fold(lively(cfg))
    readout = to_graph(folded).nodes[-1]
    assert isinstance(readout, Readout)
    assert readout.weight.shape == (10, 9, 8, 8)
    assert (readout.weight == readout.weight[:, :, :1, :1]).all()
    x = torch.from_numpy(noise(cfg, 20)) / 255
    spikes = folded.spikes(x)[-1]
    rates = spikes.unflatten(0, (cfg.time_steps, -1)).mean((0, 3, 4))
    torch.testing.assert_close(folded.integrate(spikes), folded.readout(rates), atol=0.01, rtol=0.01)


@pytest.mark.parametrize(("width", "images"), [(8, 4), (1, 2)])
def test_vgg16(tmp_path, width, images):
    check_the_chain(narrow("vgg16", width), tmp_path / "model.onnx", images)


@pytest.mark.parametrize(("width", "images"), [(16, 4), pytest.param(1, 1, marks=pytest.mark.full)])
def test_resnet18(tmp_path, width, images):
    folded = check_the_chain(narrow("resnet18", width), tmp_path / "model.onnx", images)
    assert sum(isinstance(node, Join) for node in folded.nodes()) == 8


def test_a_quantised_residual_network_trains_alike_by_either_way(monkeypatch):
    """The fused operation on whole-number weights, and plain Brevitas modules: the same gradients."""
    layers = [{"channels": 4}, {"channels": 4, "shortcut": -1}, {"channels": 8, "stride": 2, "shortcut": -1}]
    cfg = describe(**COLOUR, layers=layers, readout="mean")
    gradients = []
    for plain in (False, True):
        net = lively(cfg).train()
        assert fused.available(torch.zeros(1)), "there is no fused operation here"
        if plain:
            monkeypatch.setattr(fused, "available", lambda _: False)
        net(torch.from_numpy(noise(cfg, 8)) / 255).square().mean().backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in net.parameters()]))
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5)

