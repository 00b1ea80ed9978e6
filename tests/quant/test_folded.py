"""The folded network in torch is the integer graph, spike for spike; and it trains."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from scaflow.quant.fold import fold
from scaflow.quant.folded import to_graph
from scaflow.quant.graph import Conv, execute
from scaflow.quant.layers import brevitas_conv, brevitas_linear, integer_weight


def as_input(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images) / 255


@pytest.mark.parametrize(
    "neuron",
    ["lif-hard", "lif-soft", "if-hard", "if-soft", "decay-soft", "decay-back", "if-back", "delayed", "decay-delayed"],
)
@pytest.mark.parametrize("layers", ["padded", "unpadded", "linear"])
def test_torch_is_the_golden_model(make_net, digits, layers, neuron):
    folded = fold(make_net(layers, neuron, seed=1))
    graph = to_graph(folded)
    logits, trace = execute(graph, digits, trace=True)
    np.testing.assert_array_equal(folded.logits_int(as_input(digits)).numpy(), logits)
    assert len(np.unique(logits)) > 20
    names = [node.name for node in graph.nodes[:-1]]
    after_pool = [
        name for name, then in zip(names, [*names[1:], "conv"], strict=True) if not then.startswith("pool")
    ]
    for name, spikes in zip(after_pool, folded.spikes(as_input(digits)), strict=True):
        shape = trace[name].swapaxes(0, 1).shape
        np.testing.assert_array_equal(spikes.detach().numpy().reshape(shape), trace[name].swapaxes(0, 1))


@pytest.mark.parametrize(
    "quant", [{"fraction_bits": 0}, {"fraction_bits": 8}, {"weight_bits": 2}, {"weight_bits": 8}]
)
def test_torch_is_the_golden_model_in_other_widths(make_net, digits, quant):
    folded = fold(make_net(**quant))
    np.testing.assert_array_equal(
        folded.logits_int(as_input(digits)).numpy(), execute(to_graph(folded), digits)
    )


@torch.no_grad()
def test_fold_follows_the_formula(make_net):
    """Bias and threshold of every kept channel, by the formula of docs/architecture.md."""
    net = make_net(seed=2)
    convs = [node for node in to_graph(fold(net)).nodes if isinstance(node, Conv)]
    negative = 0
    for block, conv in zip(net.blocks, convs, strict=True):
        quantised = block.conv.quant_weight()
        bn = block.bn
        for c in conv.kept:
            root = np.sqrt(float(bn.running_var[c]) + bn.eps)
            scale = quantised.scale[c].item() / (255 if block.first else 1)
            slope = float(bn.weight[c]) * scale / root
            offset = float(bn.bias[c]) - float(bn.weight[c]) * float(bn.running_mean[c]) / root
            assert conv.bias[c] == np.rint(offset / abs(slope) * 16)
            assert conv.threshold[c] == max(1, np.rint(1 / abs(slope) * 16))
            np.testing.assert_array_equal(conv.weight[c], quantised.int()[c].numpy() * int(np.sign(slope)))
            negative += slope < 0
    assert negative > 2


def test_folded_is_near_the_floating_point_network(make_net, digits):
    """The same network but for roundings: nearly all spikes of the first layer agree."""
    net = make_net(prune=0.0, seed=3)
    x = as_input(digits)
    with torch.no_grad():
        ours, theirs = fold(net).spikes(x)[0], net.blocks[0](x)
    assert 0.05 < theirs.mean() < 0.95
    assert (ours != theirs).float().mean() < 1e-3


def test_pruned_channels_give_no_spikes_and_cannot_fire(make_net, digits):
    net = make_net(seed=4)
    folded = fold(net)
    graph = to_graph(folded)
    convs = [node for node in graph.nodes if isinstance(node, Conv)]
    for block, conv, spikes in zip(net.blocks, convs, folded.spikes(as_input(digits)), strict=True):
        assert conv.kept == tuple(np.flatnonzero(block.mask.numpy()))
        pruned = ~block.mask.numpy()
        assert pruned.any()
        assert not spikes[:, pruned].any()
        assert not conv.weight[pruned].any()
        assert not conv.bias[pruned].any()
        assert (conv.threshold[pruned] == 1).all()


def test_constant_channels_stay_bounded_and_exact(make_net, digits):
    """BatchNorm gains of zero or next to it, weights of zero, biases far off: small integers, still equal."""
    net = make_net(prune=0.0)
    gains = [0.0, 0.0, 0.0, 1e-7, -1e-7, 1.0]
    offsets = [1.5, 0.4, -3.0, 1.0, 0.9999, 1e9]
    for block in net.blocks:
        block.bn.weight.data[:6] = torch.tensor(gains)
        block.bn.bias.data[:6] = torch.tensor(offsets)
        block.bn.running_mean[:6] = 0
    net.blocks[1].conv.weight.data[6] = 0
    folded = fold(net)
    graph = to_graph(folded)
    for conv in (node for node in graph.nodes if isinstance(node, Conv)):
        assert np.abs(conv.bias).max() < 2**40
        assert conv.threshold.max() < 2**32
        assert (conv.threshold[:5] == 64 * 16).all()  # thresholds of 2^6 steps
        assert not conv.weight[:5].any()
    logits, trace = execute(graph, digits, trace=True)
    np.testing.assert_array_equal(folded.logits_int(as_input(digits)).numpy(), logits)
    rates = trace["conv0"].mean((0, 1, 3, 4))
    assert rates[0] == 1  # 1.5 thresholds a step
    assert rates[1] == 0  # 0.4 a step, leaking half: 0.4 0.6 0.7 0.75
    assert rates[2] == 0
    assert rates[5] == 1


@pytest.mark.parametrize("neuron", ["lif-hard", "lif-soft", "if-hard", "if-soft"])
def test_gradient_is_that_of_the_floating_point_network(make_net, digits, neuron):
    """Up to what rounding changes, parameter by parameter."""
    net = make_net("unpadded", neuron, seed=5, prune=0.0, fraction_bits=8)
    x, y = as_input(digits), torch.arange(len(digits)) % 10
    gradients = []
    for module in (net, fold(net)):
        net.zero_grad()
        functional.cross_entropy(module(x) * 4, y).backward()
        gradients.append({name: p.grad.clone() for name, p in net.named_parameters()})
    for name, expected in gradients[0].items():
        assert (gradients[1][name] - expected).norm() < 0.02 * expected.norm(), name


def test_a_threshold_past_24_bits_is_exact(make_net):
    """u = 291465 * 2^8, the threshold one more: float32 would round it down to u."""
    net = make_net("unpadded", "if-hard", prune=0.0, fraction_bits=8)
    block = net.blocks[0]
    acc = 9 * 127 * 255
    block.conv.weight.data[0] = 1
    block.bn.running_mean[0], block.bn.bias.data[0] = 0, 0
    images = np.full((1, 1, 8, 8), 255, np.uint8)
    for threshold, fires in ((acc * 256, 1), (acc * 256 + 1, 0)):
        scale = float(block.conv.quant_weight().scale[0].detach()) / 255
        root = np.sqrt(float(block.bn.running_var[0]) + block.bn.eps)
        block.bn.weight.data = block.bn.weight.data.double()
        block.bn.weight.data[0] = 256 / threshold * root / scale
        folded = fold(net)
        assert to_graph(folded).nodes[0].threshold[0] == threshold
        first_step = folded.spikes(as_input(images))[0][0, 0].detach()
        assert (first_step == fires).all()
        np.testing.assert_array_equal(
            execute(to_graph(folded), images, trace=True)[1]["conv0"][0, 0, 0], first_step
        )


def test_fine_tuning_lowers_the_loss(make_net, digits):
    from sklearn.datasets import load_digits

    net = make_net("unpadded", seed=6)
    folded = fold(net)
    x, y = as_input(digits), torch.from_numpy(load_digits().target[: len(digits)])
    optimizer = torch.optim.Adam(folded.parameters(), lr=1e-2)
    statistics = [block.bn.running_mean.clone() for block in net.blocks]
    losses = []
    for _ in range(30):
        loss = functional.cross_entropy(folded(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert all(torch.equal(a, b.bn.running_mean) for a, b in zip(statistics, net.blocks, strict=True))
    np.testing.assert_array_equal(folded.logits_int(x).numpy(), execute(to_graph(folded), digits))


def test_logits_are_the_integers_in_their_unit(make_net, digits):
    folded = fold(make_net())
    x = as_input(digits)
    scale = integer_weight(folded.readout)[1] / 4
    torch.testing.assert_close(folded(x), folded.logits_int(x) * scale, rtol=1e-6, atol=0)


def test_channels_last_changes_no_bit(make_net, digits):
    net = make_net()
    x = as_input(digits)
    before = fold(net).logits_int(x)
    assert torch.equal(fold(net.accelerate(bfloat16=False)).logits_int(x), before)


def test_state_dict_is_the_networks(make_net):
    net = make_net()
    assert list(fold(net).state_dict()) == list(net.state_dict())


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_integer_weights_fill_their_range(bits):
    torch.manual_seed(0)
    top = 2 ** (bits - 1) - 1
    for layer in (brevitas_conv(3, 5, 3, 1, 1, bits, first=False), brevitas_linear(20, 10, bits)):
        weight, scale, found = integer_weight(layer)
        assert found == bits
        assert torch.equal(weight, weight.round())
        assert weight.abs().max() == top
        torch.testing.assert_close(weight * scale, layer.quant_weight().value)
    assert scale.dim() == 0
    assert integer_weight(brevitas_conv(3, 5, 3, 1, 1, bits, first=False))[1].shape == (5, 1, 1, 1)
