"""The integers that training computes for itself, against Brevitas's quantiser and its autograd graph."""

import pytest
import torch
from torch.nn import functional

from scaflow.quant.layers import brevitas_conv, integer_weight


def layer_of(bits: int, kind: str):
    torch.manual_seed(bits)
    layer = brevitas_conv(5, 6, 3, 2, 1, bits, False)
    with torch.no_grad():
        if kind == "narrow":  # channels of very different size, one of them zero, one with all weights equal
            layer.weight *= torch.tensor([1e-8, 1e-3, 1.0, 50.0, 0.0, 1.0]).view(-1, 1, 1, 1)
            layer.weight[5] = -0.25
        if kind == "channels-last":
            layer.to(memory_format=torch.channels_last)
    return layer


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("kind", ["plain", "narrow", "channels-last"])
def test_integers_scale_and_gradient_are_brevitas(bits, kind):
    layer = layer_of(bits, kind)
    x = (torch.rand(4, 5, 9, 9) < 0.3).float()
    want_units, want_scale, _ = integer_weight(layer)
    want = functional.conv2d(x, want_units, None, 2, 1)
    got, scale = layer.scaled(x)
    assert torch.equal(scale, want_scale.flatten())
    assert torch.equal(got, want)  # sums of whole numbers: exact
    torch.testing.assert_close(got * scale.view(-1, 1, 1), layer(x), rtol=1e-5, atol=1e-5)

    upstream, upstream_scale = torch.randn_like(got), torch.randn_like(scale)
    (got_grad,) = torch.autograd.grad((got, scale), layer.weight, (upstream, upstream_scale))
    (want_grad,) = torch.autograd.grad(
        (want, want_scale), layer.weight, (upstream, upstream_scale.view_as(want_scale))
    )
    for ours, brevitas in zip(got_grad, want_grad, strict=True):  # each channel has a size of its own
        torch.testing.assert_close(ours, brevitas, rtol=1e-4, atol=1e-5 * float(brevitas.abs().max()))


def test_bfloat16_loses_nothing_but_the_last_rounding():
    layer = layer_of(8, "plain")
    x = (torch.rand(4, 5, 9, 9) < 0.3).float()
    exact, _ = layer.scaled(x)
    assert exact.abs().max() > 256  # or bfloat16 would hold every result
    got, _ = layer.scaled(x.bfloat16())
    assert torch.equal(got, exact.bfloat16())
