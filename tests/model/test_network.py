"""The network: mask, axes, shapes, factories."""

import pytest
import torch
from torch.nn import functional

from scaflow.model.network import SpikingNetwork, pixel_levels
from scaflow.model.neurons import lif_step


def seeded(cfg) -> SpikingNetwork:
    torch.manual_seed(0)
    return SpikingNetwork(cfg)


def test_forward_is_the_plain_loop_over_time(describe):
    """Same network, written with one step of all layers at a time on [N, ...] tensors."""
    cfg = describe(layers=[{"channels": 4}, {"channels": 8, "pool": 2}, {"kind": "linear", "channels": 6}])
    net = seeded(cfg).eval()
    for block in net.blocks:  # statistics that matter
        block.bn.running_mean.normal_(0, 0.2)
        block.bn.running_var.uniform_(0.05, 0.2)
    net.blocks[1].mask[2] = False
    x = torch.rand(5, 1, 8, 8)
    membranes = [None] * 3
    logits = 0
    for _ in range(cfg.time_steps):
        y = x
        for i, block in enumerate(net.blocks):
            bn = block.bn
            y = functional.conv2d(y, block.conv.weight, padding=block.conv.padding)
            y = functional.batch_norm(y, bn.running_mean, bn.running_var, bn.weight, bn.bias)
            y = y * block.mask.view(1, -1, 1, 1)
            v = torch.zeros_like(y) if membranes[i] is None else membranes[i]
            y, membranes[i] = lif_step(v, y, cfg.neuron)
            assert y.sum() > 0
            y = functional.max_pool2d(y, block.pool)
        logits = logits + functional.linear(y.flatten(1), net.readout.weight, net.readout.bias)
    torch.testing.assert_close(net(x), logits / cfg.time_steps)


def test_rows_are_time_major(describe):
    """The current is the same at every t, so what differs between t is the membrane: row t*N + n."""
    net = seeded(describe()).eval()
    seen = []
    net.blocks[0].register_forward_hook(lambda _m, _i, out: seen.append(out))
    x = torch.rand(2, 1, 8, 8)
    net(x)
    net(x[1:])
    assert torch.equal(seen[0].view(3, 2, 4, 8, 8)[:, 1], seen[1])
    assert not torch.equal(seen[1][0], seen[1][1])


@pytest.mark.parametrize("training", [True, False])
def test_a_masked_channel_gives_no_spikes(describe, training):
    net = seeded(describe()).train(training)
    net.blocks[0].bn.bias.data.fill_(5.0)  # would fire without any input
    net.blocks[0].mask[1] = False
    seen = []
    net.blocks[0].register_forward_hook(lambda _m, _i, out: seen.append(out))
    net(torch.rand(4, 1, 8, 8))
    assert seen[0][:, 1].sum() == 0
    assert seen[0][:, 0].sum() > 0


def test_the_gradient_reaches_a_masked_channel(describe):
    net = seeded(describe())
    net.blocks[0].mask[1] = False
    net(torch.rand(4, 1, 8, 8)).square().sum().backward()
    assert (net.blocks[0].bn.weight.grad.abs() > 0).all()
    assert net.blocks[0].conv.weight.grad[1].abs().sum() > 0


def test_the_mask_gradient_is_the_formula(describe):
    """y = m*z + (1-m)*(z - stop(z)), differentiated by autograd."""
    net = seeded(describe()).double()
    block = net.blocks[0]
    block.mask[:2] = False
    x = torch.rand(4, 1, 8, 8, dtype=torch.float64)
    out = block(x)
    upstream = torch.randn_like(out)
    got = torch.autograd.grad(out, (block.bn.weight, block.conv.weight), upstream)
    z, m = block.bn(block.conv(x)), block.mask.double().view(1, -1, 1, 1)
    want = block.neuron(m * z + (1 - m) * (z - z.detach()), constant=True)
    torch.testing.assert_close(got, torch.autograd.grad(want, (block.bn.weight, block.conv.weight), upstream))


def test_factories_get_the_bits(describe):
    calls = []

    def conv(*args):
        calls.append(args)
        return torch.nn.Conv2d(*args[:5], bias=False)

    def linear(*args):
        calls.append(args)
        return torch.nn.Linear(*args[:2])

    layers = [{"channels": 4}, {"channels": 8, "pool": 2, "bits": 3}, {"kind": "linear", "channels": 6}]
    net = SpikingNetwork(describe(layers=layers, quant={"first_bits": 7, "last_bits": 6}), conv, linear)
    assert calls == [
        (1, 4, 3, 1, 1, 7, True),
        (4, 8, 3, 1, 1, 3, False),
        (8, 6, (4, 4), 1, 0, 4, False),
        (6, 10, 6),
    ]
    assert net.shapes == [(4, 8, 8), (8, 4, 4), (6, 1, 1)]


def test_acceleration_changes_nothing_in_evaluation(describe):
    net = seeded(describe()).eval()
    x = torch.rand(8, 1, 8, 8)
    want = net(x)
    torch.testing.assert_close(net.accelerate(bfloat16=True)(x), want)


def test_bfloat16_trains_close_to_float32(describe):
    x = torch.rand(32, 1, 8, 8)
    grads = []
    for bfloat16 in (False, True):
        net = seeded(describe()).accelerate(bfloat16)
        net(x).square().mean().backward()
        grads.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
    assert functional.cosine_similarity(*grads, dim=0) > 0.95
    assert not torch.equal(*grads)


@pytest.mark.parametrize("bits", [1, 2, 3, 7])
def test_the_highest_bits_of_a_pixel_are_seen(describe, bits):
    """Of every level, over the range of so many bits."""
    levels = torch.arange(256).view(4, 1, 8, 8)
    images = levels.float() / 255
    assert torch.equal(pixel_levels(images, bits), (levels >> (8 - bits)).float())
    assert torch.equal(pixel_levels(images, 8), levels.float())
    whole, part = seeded(describe()).eval(), seeded(describe(quant={"pixel_bits": bits})).eval()
    seen = (levels >> (8 - bits)).float() / (2**bits - 1)
    wanted = whole.blocks[0].bn(whole.blocks[0].conv(seen))
    found = []
    part.blocks[0].bn.register_forward_hook(lambda _m, _i, out: found.append(out))
    part(images)
    assert torch.equal(found[0], wanted)


def test_training_sees_the_highest_bits(describe):
    """The same loss, whatever the bits are that are not seen."""
    levels = torch.arange(256).view(4, 1, 8, 8)
    nets = [seeded(describe(quant={"pixel_bits": 2})).train() for _ in range(2)]
    low, high = (net((levels & 192 | rest).float() / 255) for net, rest in zip(nets, (0, 63), strict=True))
    assert torch.equal(low, high)
    assert not torch.equal(nets[0]((levels ^ 128).float() / 255), high)
