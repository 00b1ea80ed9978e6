"""The weighted layers as Brevitas makes them: signed, symmetric, narrow-range; the scale trains along.

`brevitas_conv` and `brevitas_linear` are factories for `scaflow.model.network.SpikingNetwork`. The largest
weight of a channel (of the whole read-out) lies on the largest integer 2^(bits-1) - 1. In training the integers of a
convolution and their scale are computed here, to the very values and gradients of Brevitas's quantiser, which would
take about a hundred operations for it.
"""

from __future__ import annotations

from typing import Any

import torch
from brevitas.inject.enum import ScalingPerOutputType
from brevitas.nn import QuantConv2d, QuantLinear
from brevitas.quant import Int8WeightPerChannelFloat, Int8WeightPerTensorFloat
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

SMALLEST_SCALE = 2.0**-20  # of weights that are all zero


class Convolution(QuantConv2d):  # type: ignore[misc]  # brevitas has no types
    """Brevitas's convolution without bias, weights of `bits` bits, one scale per output channel."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int | tuple[int, int], stride: int, padding: int, bits: int
    ) -> None:
        super().__init__(
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
        self.bits = bits

    def scaled(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [N, Ci, H, W], float32 or bfloat16 -> (z [N, Co, H', W'] of its type, scale [Co]); z * scale is `self(x)`.

        The weights are whole numbers, exact in bfloat16.
        """
        units, scale = _Integers.apply(self.weight, self.bits)  # type: ignore[no-untyped-call]
        return functional.conv2d(x, units.to(x.dtype), None, self.stride, self.padding), scale


class _Integers(Function):
    """Weight [Co, ...] -> (its integers, scale [Co]), as `integer_weight` gives them, and with the same gradient."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
        largest = 2 ** (bits - 1) - 1
        magnitude, at = weight.flatten(1).abs().max(1, keepdim=True)
        scale = magnitude.clamp_(min=SMALLEST_SCALE) / largest
        units = weight / scale.view(-1, 1, 1, 1)
        ctx.save_for_backward(weight, scale, at)
        ctx.largest = largest
        return units.round_().clamp_(-largest, largest), scale.flatten()

    @staticmethod
    def backward(ctx: Any, grad_units: Tensor, grad_scale: Tensor) -> tuple[Tensor, None]:
        """Rounding and clamping pass the gradient: that of weight / scale, the scale's at the largest weight alone."""
        weight, scale, at = ctx.saved_tensors
        grad = grad_units / scale.view(-1, 1, 1, 1)
        onto_scale = grad_scale.view(-1, 1) - (grad * weight).flatten(1).sum(1, keepdim=True) / scale
        flat = weight.flatten(1)
        sign = torch.where(flat.gather(1, at) >= 0, 1.0, -1.0)
        share = torch.zeros_like(flat).scatter_(1, at, onto_scale * sign / ctx.largest)
        return grad + share.view_as(weight), None


def brevitas_conv(
    in_channels: int,
    out_channels: int,
    kernel: int | tuple[int, int],
    stride: int,
    padding: int,
    bits: int,
    first: bool,
) -> Convolution:
    """A convolution; `first` changes nothing here: the image is quantised where it enters, not in the layer."""
    del first
    return Convolution(in_channels, out_channels, kernel, stride, padding, bits)


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
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def round_through(x: Tensor) -> Tensor:
    """Round to the nearest whole number, half to even; the gradient passes straight through."""
    rounded: Tensor = _Round.apply(x)  # type: ignore[no-untyped-call]
    return rounded


def integer_weight(layer: QuantConv2d | QuantLinear) -> tuple[Tensor, Tensor, int]:
    """The weights as the layer's quantiser sees them: (weights in units of the scale, scale, bits).

    The weights are whole numbers in floating point; gradients pass straight through the rounding to
    the layer's weight, by way of value and scale. Scale: [Co, 1, 1, 1], of a read-out [].
    """
    quantised = layer.quant_weight()
    units = quantised.value / quantised.scale
    return round_through(units), quantised.scale, int(quantised.bit_width)
