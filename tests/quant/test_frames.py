"""Recordings: torch on the integer form = golden model, spikes and logits, whatever the length and the neuron."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scaflow.model.config import NetworkConfig
from scaflow.model.network import SpikingNetwork
from scaflow.quant.fold import fold
from scaflow.quant.folded import to_graph
from scaflow.quant.graph import execute, load, save
from scaflow.quant.layers import brevitas_conv, brevitas_linear

FRAMES = 5
NEURONS = {
    "hard": {"leak_shift": 2, "reset": "hard"},
    "soft": {"leak_shift": 3, "reset": "soft"},
    "decay": {"decay": 0.8, "reset": "hard", "v_reset": -0.3},
    "delayed": {"leak_shift": 2, "reset": "delayed"},
}


def network(neuron: str, bits: int, seed: int = 0) -> SpikingNetwork:
    cfg = NetworkConfig.model_validate(
        {
            "name": "recorded",
            "dataset": "nmnist",
            "input": {"kind": "frames", "bin_us": 9, "frames": FRAMES, "bits": bits, "crop": [0, 0, 9, 8]},
            "layers": [
                {"channels": 6, "kernel": 4, "stride": 2, "pool": 2},
                {"channels": 5, "kernel": 2, "padding": 0},
            ],
            "neuron": NEURONS[neuron],
            "quant": {"weight_bits": 4, "first_bits": 3, "last_bits": 4},
            "train": {"epochs": 1},
            "sca": {"keep": 1.0},
        }
    )
    torch.manual_seed(seed)
    net = SpikingNetwork(cfg, brevitas_conv, brevitas_linear)
    for block in net.blocks:
        n = block.bn.num_features
        block.bn.weight.data = torch.randn(n) * 0.7 + 0.8
        block.bn.bias.data = torch.randn(n) * 0.3 + 0.2
        block.bn.running_mean.copy_(torch.randn(n) * 0.1)
        block.bn.running_var.copy_(torch.rand(n) * 0.2 + 0.02)
    net.blocks[0].mask[2] = False
    return net.eval()


def recordings(count: int, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames [N, T, 2, 8, 9] and lengths of all kinds; behind a recording's end lies anything."""
    rng = np.random.default_rng(bits)
    frames = rng.integers(0, 1 << bits, (count, FRAMES, 2, 8, 9)) * (rng.random((count, FRAMES, 2, 8, 9)) < 0.4)
    return frames.astype(np.uint8), 1 + np.arange(count) % FRAMES


@pytest.mark.parametrize("bits", [1, 3])
@pytest.mark.parametrize("neuron", NEURONS)
def test_torch_is_the_golden_model(neuron, bits):
    net = network(neuron, bits)
    folded = fold(net)
    graph = to_graph(folded)
    assert (graph.frames, graph.time_steps, graph.pixel_bits) == (FRAMES, 1, bits)
    frames, lengths = recordings(40, bits)
    logits, spikes = execute(graph, frames, trace=True, lengths=lengths)
    x = torch.from_numpy(frames).float() / ((1 << bits) - 1)
    assert (folded.logits_int(x, torch.from_numpy(lengths)).numpy() == logits).all()
    for name, tensor in zip(("pool0", "conv1"), folded.spikes(x), strict=True):
        seen = tensor.detach().numpy().reshape(FRAMES, 40, *tensor.shape[1:]).swapaxes(0, 1)
        assert (seen == spikes[name]).all()
        assert 0.02 < seen.mean() < 0.98  # something happens
    assert (execute(graph, frames) == folded.logits_int(x).numpy()).all()
    assert (execute(graph, frames) != logits).any()  # what lies behind the end would be seen


def test_membranes_live_from_frame_to_frame():
    """The frames in another order are another recording."""
    graph = to_graph(fold(network("soft", 1)))
    frames, _ = recordings(30, 1)
    assert (execute(graph, frames) != execute(graph, frames[:, ::-1].copy())).any()


def test_the_loss_learns_through_time():
    """Every parameter has a gradient, in the float form and in the integer one."""
    net = network("soft", 1)
    frames, lengths = (torch.from_numpy(a) for a in recordings(12, 1))
    for module in (net.train(), fold(net)):
        module.zero_grad()
        torch.nn.functional.cross_entropy(module(frames.float(), lengths), lengths).backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def test_float_logits_are_those_of_the_frames_that_are_there():
    net = network("hard", 1)
    frames, lengths = (torch.from_numpy(a) for a in recordings(10, 1))
    logits = net(frames.float(), lengths)
    other = frames.clone()
    for row, length in zip(other, lengths.tolist(), strict=True):
        row[length:] = 1 - row[length:]
    assert torch.equal(net(other.float(), lengths), logits)
    spikes = net.spikes(frames.float())[-1].unflatten(0, (FRAMES, -1))
    alone = spikes[: lengths[3], 3].mean(0).flatten()
    assert torch.allclose(net.readout(alone), logits[3], atol=1e-5)


def test_a_graph_of_frames_is_kept(tmp_path):
    graph = to_graph(fold(network("decay", 2)))
    save(graph, tmp_path / "graph")
    assert load(tmp_path / "graph") == graph
