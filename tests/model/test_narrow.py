"""The narrow network of the last epochs: it is the masked one, step for step, and finds its way back."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from scaflow.model import network
from scaflow.model.narrow import indices, narrowed, picked, picked_optimizer, widened
from scaflow.model.network import SpikingNetwork

MASKS = [np.array([1, 0, 1, 1], bool), np.array([1, 1, 0, 0, 1, 0, 1, 0], bool)]


@pytest.fixture
def whole(describe):
    torch.manual_seed(0)
    net = SpikingNetwork(describe())
    for block, mask in zip(net.blocks, MASKS, strict=True):
        block.mask.copy_(torch.from_numpy(mask))
    return net


def optimizers(nets, kind):
    return [kind([{"params": list(net.parameters())}]) for net in nets]


def learn(net, optimizer, steps, seed):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        images = torch.rand(16, 1, 8, 8, generator=generator)
        labels = torch.randint(0, 10, (16,), generator=generator)
        optimizer.zero_grad()
        functional.cross_entropy(net(images), labels).backward()
        optimizer.step()


@pytest.mark.parametrize(
    "kind", [lambda g: torch.optim.AdamW(g, 1e-3), lambda g: torch.optim.SGD(g, 0.01, momentum=0.9)]
)
def test_it_learns_what_the_masked_network_learns(whole, kind, monkeypatch):
    """Masked for good: without the gradient that passes straight through a pruned channel to what it reads."""
    hard = SimpleNamespace(apply=lambda y, mask: y * mask.view(1, -1, 1, 1))
    monkeypatch.setattr(network, "_StraightThroughMask", hard)
    monkeypatch.setattr(network.fused, "available", lambda x: False)
    (masked,) = optimizers([whole], kind)
    learn(whole, masked, 3, seed=1)
    net = SpikingNetwork(narrowed(whole.cfg, MASKS))
    where = indices(whole, MASKS)
    net.load_state_dict(picked(whole.state_dict(), where))
    (optimizer,) = optimizers([net], kind)
    groups = [group["params"] for group in masked.param_groups]
    optimizer.load_state_dict(picked_optimizer(masked.state_dict(), whole, groups, where))
    learn(whole, masked, 3, seed=2)
    learn(net, optimizer, 3, seed=2)
    for name, value in picked(whole.state_dict(), where).items():
        torch.testing.assert_close(net.state_dict()[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_the_way_back_gives_the_same_logits(whole):
    net = SpikingNetwork(narrowed(whole.cfg, MASKS))
    where = indices(whole, MASKS)
    net.load_state_dict(picked(whole.state_dict(), where))
    learn(net, torch.optim.SGD(net.parameters(), 0.1), 3, seed=3)
    state = widened(net.state_dict(), whole.state_dict(), where)
    assert {name: value.shape for name, value in state.items()} == {
        name: value.shape for name, value in whole.state_dict().items()
    }
    whole.load_state_dict(state)
    assert [block.mask.tolist() for block in whole.blocks] == [mask.tolist() for mask in MASKS]
    images = torch.rand(16, 1, 8, 8)
    torch.testing.assert_close(whole.eval()(images), net.eval()(images))
    assert not whole.blocks[1].conv.weight[:, 1].any()  # nothing of what reads a pruned channel


def test_the_description_has_the_kept_channels_only(whole):
    assert [layer.channels for layer in narrowed(whole.cfg, MASKS).layers] == [3, 4]
    assert [layer.channels for layer in whole.cfg.layers] == [4, 8]
