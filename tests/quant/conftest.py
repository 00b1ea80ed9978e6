"""Networks and graphs with random parameters: nothing here is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from scaflow.model.config import NetworkConfig
from scaflow.model.network import SpikingNetwork
from scaflow.quant.graph import Conv, Graph, Pool, Readout, validate
from scaflow.quant.layers import brevitas_conv, brevitas_linear

LAYERS = {
    "padded": [{"channels": 8, "pool": 2}, {"channels": 12, "stride": 2}, {"kind": "linear", "channels": 16}],
    "unpadded": [{"channels": 9, "padding": 0}, {"channels": 6, "kernel": 2, "padding": 0, "pool": 2}],
    "linear": [{"kind": "linear", "channels": 20}, {"kind": "linear", "channels": 11}],
}
NEURONS = {
    "lif-hard": {"leak_shift": 1, "reset": "hard"},
    "lif-soft": {"leak_shift": 2, "reset": "soft"},
    "if-hard": {"leak_shift": 0, "reset": "hard"},
    "if-soft": {"leak_shift": 0, "reset": "soft"},
    "decay-soft": {"decay": 0.9, "reset": "soft"},
    "decay-back": {"decay": 0.7, "v_reset": -0.4},
    "if-back": {"leak_shift": 0, "v_reset": 0.3},
    "delayed": {"leak_shift": 2, "reset": "delayed"},
    "decay-delayed": {"decay": [171, 8], "reset": "delayed"},
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def make_net() -> Callable[..., SpikingNetwork]:
    """Digits networks; BatchNorm with gammas of both signs, about a third of the channels pruned."""

    def make(
        layers: str = "padded", neuron: str = "lif-hard", seed: int = 0, prune: float = 0.3, **quant: int
    ) -> SpikingNetwork:
        cfg = NetworkConfig.model_validate(
            {
                "name": "random",
                "dataset": "digits",
                "time_steps": 4,
                "layers": LAYERS[layers],
                "neuron": NEURONS[neuron],
                "quant": quant,
                "train": {"epochs": 1},
                "sca": {"keep": 0.5},
            }
        )
        torch.manual_seed(seed)
        net = SpikingNetwork(cfg, brevitas_conv, brevitas_linear)
        for block in net.blocks:
            n = block.bn.num_features
            block.bn.weight.data = torch.randn(n) * 0.7 + 0.6
            block.bn.bias.data = torch.randn(n) * 0.4 + 0.3
            block.bn.running_mean.copy_(torch.randn(n) * 0.2)
            block.bn.running_var.copy_(torch.rand(n) * 0.3 + 0.02)
            block.mask.copy_(torch.rand(n) >= prune)
            block.mask[0] = True
        return net.eval()

    return make


@pytest.fixture
def digits() -> np.ndarray:
    """256 images of the scikit-learn digits, as uint8 [N, 1, 8, 8] over the whole pixel range."""
    from sklearn.datasets import load_digits

    return (load_digits().images[:256, None] * 15.9375).astype(np.uint8)


@pytest.fixture
def make_graph() -> Callable[..., Graph]:
    """Small graphs of random shapes: two or three convolutions, pools, a read-out; neurons of every kind."""

    def other_neuron(rng: np.random.Generator, node: Conv) -> Conv:
        """A third as they are, and others with an arbitrary decay, a v_reset, a delayed reset."""
        if rng.random() < 0.35:
            return node
        shift = int(rng.integers(0, 10))
        if rng.random() < 0.7:
            node = replace(node, leak_shift=0, decay=(int(rng.integers(0, min(1 << shift, 255) + 1)), shift))
        if node.reset == "hard" and rng.random() < 0.6:
            return replace(node, v_reset=rng.integers(-node.threshold.max(), node.threshold))
        return replace(node, reset="delayed") if rng.random() < 0.6 else node

    def make(seed: int) -> Graph:
        rng = np.random.default_rng(seed)
        neurons = rng.spawn(1)[0]
        channels, height, width = int(rng.integers(1, 4)), int(rng.integers(6, 10)), int(rng.integers(6, 10))
        shape = (channels, height, width)
        steps = int(rng.integers(1, 5))
        nodes: list[Conv | Pool | Readout] = []
        for i in range(int(rng.integers(2, 4))):
            last = min(height, width) < 4
            kernel = (height, width) if last else (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
            padding = 0 if last else int(rng.integers(0, min(kernel)))
            stride = 1 if last else int(rng.integers(1, 3))
            bits = int(rng.integers(2, 9))
            out = int(rng.integers(2, 6))
            fraction = int(rng.integers(0, 6))
            top = 2 ** (bits - 1) - 1
            scale = top * np.sqrt(channels * kernel[0] * kernel[1]) * (60 if i == 0 else 0.4) * 2**fraction
            nodes.append(
                Conv(
                    name=f"conv{i}",
                    weight=rng.integers(-top, top + 1, (out, channels, *kernel)),
                    bias=rng.integers(-int(scale / 2), int(scale / 2) + 1, out),
                    threshold=rng.integers(1, int(scale) + 2, out),
                    stride=stride,
                    padding=padding,
                    leak_shift=int(rng.integers(0, 4)),
                    reset=str(rng.choice(["hard", "soft"])),
                    fraction_bits=fraction,
                    weight_bits=bits,
                    in_bits=8 if i == 0 else 1,
                    kept=tuple(sorted(rng.choice(out, int(rng.integers(1, out + 1)), replace=False))),
                )
            )
            nodes[-1] = other_neuron(neurons, nodes[-1])
            channels = out
            height = (height + 2 * padding - kernel[0]) // stride + 1
            width = (width + 2 * padding - kernel[1]) // stride + 1
            if min(height, width) >= 2 and rng.random() < 0.5:
                nodes.append(Pool(f"pool{i}", 2))
                height, width = height // 2, width // 2
        weight = rng.integers(-127, 128, (5, channels, height, width))
        nodes.append(Readout("readout", weight, rng.integers(-50, 51, 5), 8))
        return validate(Graph("random", shape, steps, tuple(nodes)))

    return make


@pytest.fixture(scope="session")
def qonnx_files() -> ModuleType:
    """The builder of QONNX files and their reference values (qonnx_reference.py)."""
    spec = spec_from_file_location("qonnx_reference", Path(__file__).with_name("qonnx_reference.py"))
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
