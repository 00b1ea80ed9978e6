"""Shortcuts: what they compute, in training as in evaluation, and that a channel pruned from a trunk is gone."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from scaflow.model import fused
from scaflow.model.network import SpikingNetwork
from scaflow.model.neurons import lif_step

# a trunk from the image's current on, a step to another map by a 1x1 convolution, a trunk there
LAYERS = [
    {"channels": 4},
    {"channels": 6},
    {"channels": 4, "shortcut": -2},
    {"channels": 6},
    {"channels": 4, "shortcut": -2},
    {"channels": 8, "stride": 2},
    {"channels": 8, "shortcut": -2},
    {"channels": 8, "shortcut": -1, "pool": 2},
]
GROUPS = ((0, 2, 4), (1,), (3,), (5,), (6, 7))


@pytest.fixture
def residual(describe):
    """residual(channels=[...]) -> that network in float64, with statistics that matter."""

    def make(channels=None, **changes) -> SpikingNetwork:
        torch.manual_seed(0)
        channels = channels or [layer["channels"] for layer in LAYERS]
        layers = [{**layer, "channels": count} for layer, count in zip(LAYERS, channels, strict=True)]
        net = SpikingNetwork(describe(layers=layers, readout="mean", sca={"granularity": 1}, **changes)).double()
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(0, 0.2)
                part.running_var.uniform_(0.05, 0.15)
                part.weight.data.uniform_(0.5, 1.5)
                part.bias.data.normal_(0.7, 0.3)
        net.readout.float()  # it sees rates, which are float32 whatever the spikes are
        return net

    return make


def images(count: int) -> Tensor:
    return torch.rand(count, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_forward_is_the_plain_loop_over_time(residual):
    """The layers written out, one step of all of them at a time."""
    net = residual().eval()
    net.blocks[2].mask[1] = False
    x, membranes, total = images(5), [0.0] * 8, 0.0

    def normal(bn: nn.BatchNorm2d, z: Tensor) -> Tensor:
        return functional.batch_norm(z, bn.running_mean, bn.running_var, bn.weight, bn.bias)

    def conv(layer: nn.Module, y: Tensor) -> Tensor:
        return functional.conv2d(y, layer.weight, stride=layer.stride, padding=layer.padding)

    def fire(i: int, z: Tensor) -> Tensor:
        current = normal(net.blocks[i].bn, z) * net.blocks[i].mask.view(1, -1, 1, 1)
        spikes, membranes[i] = lif_step(torch.zeros_like(current) + membranes[i], current, net.cfg.neuron)
        assert 0 < spikes.mean() < 1
        return spikes

    for _ in range(net.cfg.time_steps):
        z = [conv(net.blocks[0].conv, x)]
        s = [fire(0, z[0])]
        for i in range(1, 8):
            current = conv(net.blocks[i].conv, s[-1])
            if i == 2:
                current = current + normal(net.shortcuts["2"], z[0])
            elif i == 4:
                current = current + z[2]
            elif i == 6:
                current = current + conv(net.shortcuts["6"], s[4])
            elif i == 7:
                current = current + z[6]
            z.append(current)
            s.append(fire(i, current))
        total = total + functional.max_pool2d(s[7], 2).mean((2, 3))
    want = functional.linear(total.float() / net.cfg.time_steps, net.readout.weight, net.readout.bias)
    torch.testing.assert_close(net(x), want)


def test_groups_are_the_blocks_that_a_current_joins(residual, describe):
    net = residual()
    assert net.groups == GROUPS
    assert not net.is_chain
    plain = SpikingNetwork(describe())
    assert plain.groups == ((0,), (1,))
    assert plain.is_chain
    assert not any("shortcut" in name for name in plain.state_dict())


@pytest.mark.parametrize("bfloat16", [False, True])
def test_the_fused_operation_gives_the_same(residual, monkeypatch, bfloat16):
    """In training; with bfloat16 as close as for a chain."""
    results = []
    for plain in (True, False):
        net = residual(train={}).float().accelerate(bfloat16 and not plain).train()
        net.blocks[2].mask[1] = False
        if plain:
            monkeypatch.setattr(fused, "available", lambda _: False)
        else:
            monkeypatch.undo()
            assert fused.available(torch.zeros(1)), "there is no fused operation here"
        logits = net(images(16).float())
        logits.square().mean().backward()
        results.append((logits.detach(), torch.cat([p.grad.flatten() for p in net.parameters()])))
    if bfloat16:
        assert functional.cosine_similarity(results[0][1], results[1][1], dim=0) > 0.9
    else:
        torch.testing.assert_close(results[1], results[0], rtol=1e-3, atol=1e-5)


def narrow(net: SpikingNetwork, small: SpikingNetwork, keep: list[Tensor]) -> None:
    """Copies the parameters of the channels `keep` (per block) of `net` into `small`, which has no others."""
    for i, channels in enumerate(keep):
        into, out_of = small.blocks[i], net.blocks[i]
        weight = out_of.conv.weight[channels]
        into.conv.weight.data = weight if i == 0 else weight[:, keep[i - 1]]
        into.bn.load_state_dict(take(out_of.bn, channels))
    small.shortcuts["2"].load_state_dict(take(net.shortcuts["2"], keep[2]))
    small.shortcuts["6"].weight.data = net.shortcuts["6"].weight[keep[6]][:, keep[4]]
    small.readout.weight.data = net.readout.weight[:, keep[7]]
    small.readout.bias.data = net.readout.bias.data


def take(bn: nn.BatchNorm2d, channels: Tensor) -> dict[str, Tensor]:
    return {name: value[channels] if value.dim() else value for name, value in bn.state_dict().items()}


@pytest.mark.parametrize("training", [False, True])
def test_a_channel_pruned_from_a_trunk_carries_nothing(residual, training):
    """The network without the pruned channels, all their parameters taken out, computes the same."""
    net = residual().train(training)
    keep = [torch.ones(block.bn.num_features, dtype=torch.bool) for block in net.blocks]
    for group, channels in ((GROUPS[0], [0, 2]), (GROUPS[1], [3]), (GROUPS[3], [1, 2]), (GROUPS[4], [5])):
        for i in group:
            keep[i][channels] = False
            net.blocks[i].bn.bias.data[channels] = 5.0  # would fire without any input
    for block, mask in zip(net.blocks, keep, strict=True):
        block.mask.copy_(mask)
    small = residual([int(mask.sum()) for mask in keep]).train(training)
    narrow(net, small, keep)
    x = images(6)
    got, want = net.spikes(x), small.spikes(x)
    for mask, mine, its in zip(keep, got, want, strict=True):
        assert not mine[:, ~mask].any()
        assert torch.equal(mine[:, mask], its)
        assert its.any()
    torch.testing.assert_close(net.integrate(got[-1]), small.integrate(want[-1]))


def test_a_mask_that_parts_a_group_is_seen(residual):
    """What the test above would say of a trunk channel that is pruned in one block only."""
    net = residual().eval()
    channels = torch.tensor([1])
    net.blocks[0].mask[channels] = False
    net.blocks[2].bn.bias.data[channels] = 1.0
    spikes = net.spikes(images(6))
    assert not spikes[0][:, channels].any()
    assert spikes[2][:, channels].any()


def test_the_gradient_reaches_a_channel_pruned_from_the_trunk(residual):
    net = residual()
    for i in GROUPS[0]:
        net.blocks[i].mask[1] = False
    net(images(8)).square().sum().backward()
    for i in GROUPS[0]:
        assert net.blocks[i].bn.weight.grad[1].abs() > 0
