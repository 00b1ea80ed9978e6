"""The weighted layers as Brevitas makes them: signed, symmetric, narrow-range; the scale trains along.

`brevitas_conv` and `brevitas_linear` are factories for `scaflow.model.network.SpikingNetwork`. The largest
weight of a channel (of the whole read-out) lies on the largest integer 2^(bits-1) - 1.
"""

from __future__ import annotations

from brevitas.inject.enum import ScalingPerOutputType
from brevitas.nn import QuantConv2d, QuantLinear
from brevitas.quant import Int8WeightPerChannelFloat, Int8WeightPerTensorFloat
from torch import Tensor
from torch.autograd import Function

SMALLEST_SCALE = 2.0**-20  # of weights that are all zero


def brevitas_conv(
    in_channels: int,
    out_channels: int,
    kernel: int | tuple[int, int],
    stride: int,
    padding: int,
    bits: int,
    first: bool,
) -> QuantConv2d:
    """A convolution without bias, weights of `bits` bits, one scale per output channel.

    `first` changes nothing here: the image is quantised where it enters, not in the layer.
    """
    del first
    return QuantConv2d(
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        padding=padding,
        bias=False,
        weight_quant=Int8WeightPerChannelFloat,
        weight_bit_width=bits,
        weight_scaling_per_output_type=ScalingPerOutputType.CHANNEL,
        weight_scaling_min_val=SMALLEST_SCALE,
    )


def brevitas_linear(in_features: int, out_features: int, bits: int) -> QuantLinear:
    """The read-out: weights of `bits` bits with one scale, so that classes compare; float bias."""
    return QuantLinear(
        in_features,
        out_features,
        bias=True,
        weight_quant=Int8WeightPerTensorFloat,
        weight_bit_width=bits,
        weight_scaling_min_val=SMALLEST_SCALE,
    )


class _Round(Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        return grad


def round_through(x: Tensor) -> Tensor:
    """Round to the nearest whole number, half to even; the gradient passes straight through."""
    return _Round.apply(x)


def integer_weight(layer: QuantConv2d | QuantLinear) -> tuple[Tensor, Tensor, int]:
    """The weights as the layer's quantiser sees them: (weights in units of the scale, scale, bits).

    The weights are whole numbers in floating point; gradients pass straight through the rounding to
    the layer's weight, by way of value and scale. Scale: [Co, 1, 1, 1], of a read-out [].
    """
    quantised = layer.quant_weight()
    units = quantised.value / quantised.scale
    return round_through(units), quantised.scale, int(quantised.bit_width)
