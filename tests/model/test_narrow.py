"""The narrow network of the last epochs: it is the masked one, step for step, and finds its way back."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from scaflow.model import network
from scaflow.model.narrow import indices, narrowed, narrows, picked, picked_optimizer, widened
from scaflow.model.network import SpikingNetwork

MASKS = [np.array([1, 0, 1, 1], bool), np.array([1, 1, 0, 0, 1, 0, 1, 0], bool)]
# the trunk of the image's current, layers between, and a trunk that a 1x1 convolution begins
RESIDUAL = [
    {"channels": 4},
    {"channels": 8},
    {"channels": 4, "shortcut": -2},
    {"channels": 8, "stride": 2, "shortcut": -1},
    {"channels": 8, "shortcut": -1, "pool": 2},
]
TRUNK = np.array([0, 1, 1, 1, 0, 1, 1, 0], bool)


@pytest.fixture(params=["chain", "residual"])
def pruned(describe, request):
    """(the whole network, its masks)"""
    chain = request.param == "chain"
    masks = MASKS if chain else [*MASKS, MASKS[0], TRUNK, TRUNK]
    torch.manual_seed(0)
    net = SpikingNetwork(describe() if chain else describe(layers=RESIDUAL, readout="mean"))
    for block, mask in zip(net.blocks, masks, strict=True):
        block.mask.copy_(torch.from_numpy(mask))
    assert narrows(net, masks)
    return net, masks


def optimizers(nets, kind):
    return [kind([{"params": list(net.parameters())}]) for net in nets]


def precise(net):
    """In double precision, but for the read-out, which sees rates: no spike turns on the order of a sum."""
    net.double().readout.float()
    return net


def learn(net, optimizer, steps, seed):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        images = torch.rand(16, 1, 8, 8, generator=generator, dtype=net.blocks[0].bn.weight.dtype)
        labels = torch.randint(0, 10, (16,), generator=generator)
        optimizer.zero_grad()
        functional.cross_entropy(net(images), labels).backward()
        optimizer.step()


@pytest.mark.parametrize(
    "kind", [lambda g: torch.optim.AdamW(g, 1e-3), lambda g: torch.optim.SGD(g, 0.01, momentum=0.9)]
)
def test_it_learns_what_the_masked_network_learns(pruned, kind, monkeypatch):
    """Masked for good: without the gradient that passes straight through a pruned channel to what it reads."""
    whole, masks = pruned
    hard = SimpleNamespace(apply=lambda y, mask: y * mask.view(1, -1, 1, 1))
    monkeypatch.setattr(network, "_StraightThroughMask", hard)
    monkeypatch.setattr(network.fused, "available", lambda x: False)
    (masked,) = optimizers([precise(whole)], kind)
    learn(whole, masked, 3, seed=1)
    net = precise(SpikingNetwork(narrowed(whole.cfg, masks)))
    where = indices(whole, masks)
    net.load_state_dict(picked(whole.state_dict(), where))
    (optimizer,) = optimizers([net], kind)
    groups = [group["params"] for group in masked.param_groups]
    optimizer.load_state_dict(picked_optimizer(masked.state_dict(), whole, groups, where))
    learn(whole, masked, 3, seed=2)
    learn(net, optimizer, 3, seed=2)
    for name, value in picked(whole.state_dict(), where).items():
        torch.testing.assert_close(net.state_dict()[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_the_way_back_gives_the_same_logits(pruned):
    whole, masks = pruned
    net = SpikingNetwork(narrowed(whole.cfg, masks))
    where = indices(whole, masks)
    net.load_state_dict(picked(whole.state_dict(), where))
    learn(net, torch.optim.SGD(net.parameters(), 0.1), 3, seed=3)
    state = widened(net.state_dict(), whole.state_dict(), where)
    assert {name: value.shape for name, value in state.items()} == {
        name: value.shape for name, value in whole.state_dict().items()
    }
    whole.load_state_dict(state)
    assert [block.mask.tolist() for block in whole.blocks] == [mask.tolist() for mask in masks]
    images = torch.rand(16, 1, 8, 8)
    torch.testing.assert_close(whole.eval()(images), net.eval()(images))
    assert not whole.blocks[1].conv.weight[:, 1].any()  # nothing of what reads a pruned channel
    if len(masks) > 2:
        assert not whole.shortcuts["3"].weight[:, 1].any() and not whole.shortcuts["3"].weight[0].any()
        assert not whole.shortcuts["2"].weight[1] and whole.shortcuts["2"].weight[0]


def test_the_description_has_the_kept_channels_only(describe):
    cfg = describe()
    assert [layer.channels for layer in narrowed(cfg, MASKS).layers] == [3, 4]
    assert [layer.channels for layer in cfg.layers] == [4, 8]


def test_a_shortcut_that_would_lose_its_convolution_keeps_the_network_whole(describe):
    """Between layers that differ in their channels alone, until as many are left of both."""
    net = SpikingNetwork(describe(layers=[{"channels": 4}, {"channels": 8, "shortcut": -1}]))
    assert narrows(net, [np.ones(4, bool), np.ones(8, bool)])
    assert not narrows(net, [np.ones(4, bool), MASKS[1]])
