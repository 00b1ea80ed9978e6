"""The spiking network in floating point, from its description and the factories of its weighted layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from scaflow.model import fused, parallel
from scaflow.model.config import LayerConfig, NetworkConfig
from scaflow.model.neurons import MultiStepNeuron
from scaflow.model.shortcuts import shortcuts

# A convolution may have a method `scaled(x) -> (z, scale [C])` beside, with z * scale what it gives for x: where z is a
# sum of whole numbers, bfloat16 holds its weights exactly. Training on a CPU takes it.
ConvFactory = Callable[..., nn.Module]
LinearFactory = Callable[..., nn.Module]
Join = Callable[[Tensor], Tensor]  # of a block's current, before the batch normalisation


def float_conv(
    in_channels: int,
    out_channels: int,
    kernel: int | tuple[int, int],
    stride: int,
    padding: int,
    bits: int,
    first: bool,
) -> nn.Module:
    """The weighted layer of a block in floating point; `bits` and `first` matter to quantised factories."""
    del bits, first
    return nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=False)


def float_linear(in_features: int, out_features: int, bits: int) -> nn.Module:
    """The read-out in floating point, with bias."""
    del bits
    return nn.Linear(in_features, out_features)


PIXEL_MAX = 255  # of an image as it comes


def full_scale(cfg: NetworkConfig) -> int:
    """The largest value of an image, or of a frame, as it comes: 1 for a network in floating point."""
    return (1 << cfg.input.bits) - 1 if cfg.frames else PIXEL_MAX


def pixel_levels(images: Tensor, bits: int) -> Tensor:
    """What is seen of images in 0..1: the highest `bits` of each pixel's 8, as whole numbers in floating point."""
    return (images * PIXEL_MAX).round().div(1 << (8 - bits)).floor()


def in_time(x: Tensor) -> Tensor:
    """Recordings [N, T, C, H, W] as rows [T*N, C, H, W], time-major."""
    return x.transpose(0, 1).flatten(0, 1)


def counted(spikes: Tensor, steps: int, lengths: Tensor | None) -> Tensor:
    """The sum of [T*N, ...] over the steps, [N, ...]; `lengths` [N]: over so many of each."""
    each = spikes.unflatten(0, (steps, -1))
    if lengths is not None:
        there = torch.arange(steps, device=each.device)[:, None] < lengths.to(each.device)
        each = each * there.view(steps, -1, *[1] * (each.dim() - 2))
    return each.sum(0, dtype=torch.float32)


class _StraightThroughMask(torch.autograd.Function):
    """y = m*z + (1 - m)*(z - stop_gradient(z)): the value is m*z, the gradient reaches every channel.

    Overwrites z: batch normalisation does not need its output for its own gradient.
    """

    @staticmethod
    def forward(ctx, z: Tensor, mask: Tensor) -> Tensor:
        ctx.mark_dirty(z)
        return z.mul_(mask.view(1, -1, 1, 1))

    @staticmethod
    def backward(ctx, grad: Tensor):
        return grad, None


class SpikingBlock(nn.Module):
    """conv, batch normalisation, straight-through mask, neuron, OR-pooling of the spikes.

    `first`: the input is pixels. `constant`: of an image (N rows); its current is computed once and fed to all T steps.
    """

    mask: Tensor  # bool [C]: False is a pruned channel, which gets no current
    conv: Any  # a factory's module: what it offers beside nn.Conv2d, its owner knows
    neuron: MultiStepNeuron

    def __init__(
        self, conv: nn.Module, channels: int, neuron: MultiStepNeuron, pool: int, first: bool, constant: bool
    ) -> None:
        super().__init__()
        self.conv = conv
        self.bn = parallel.BatchNorm2d(channels)
        self.neuron = neuron
        self.pool = pool
        self.first = first
        self.constant = constant
        self.in_bfloat16 = False  # convolve in bfloat16 while training; see SpikingNetwork.accelerate
        self.register_buffer("mask", torch.ones(channels, dtype=torch.bool))

    def forward(self, x: Tensor, join: Join | None = None) -> Tensor:
        """Spikes [T*N, Ci, H, W] (the first block: images [N, Ci, H, W]) -> spikes [T*N, C, H', W'].

        `join` puts another current in the place of the convolution's.
        """
        if self.training and fused.available(x):
            return self._fused(x, join)
        fast = self.in_bfloat16 and self.training
        with torch.autocast(x.device.type, torch.bfloat16) if fast else nullcontext():
            z = self.conv(x)
        y = self.bn(join(_scaled(z, None)) if join else z)
        if not self.mask.all():
            y = _StraightThroughMask.apply(y, self.mask)
        spikes = self.neuron(y, constant=self.constant)
        return functional.max_pool2d(spikes, self.pool) if self.pool > 1 else spikes

    def _fused(self, x: Tensor, join: Join | None) -> Tensor:
        """The same in training on a CPU. Spikes come in the type that the next convolution wants.

        An image has too few channels to gain by bfloat16, and would be rounded.
        """
        dtype = torch.bfloat16 if self.in_bfloat16 else x.dtype
        z, scale = _convolve(self.conv, x.to(dtype) if self.in_bfloat16 and not self.first else x)
        if join is not None:
            z, scale = join(_scaled(z, scale)), None
        spikes, self.neuron.activity = fused.fire(
            z,
            self.bn,
            self.mask,
            self.neuron.neuron,
            self.neuron.time_steps,
            scale=scale,
            constant=self.constant,
            pool=self.pool,
            record=self.neuron.record,
            dtype=dtype,
        )
        return spikes


def _convolve(conv: Any, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """(z, scale [C] or None for 1), in the type of x where that is bfloat16."""
    if hasattr(conv, "scaled"):
        return conv.scaled(x)
    with torch.autocast(x.device.type, torch.bfloat16) if x.dtype == torch.bfloat16 else nullcontext():
        return conv(x), None


def _scaled(z: Tensor, scale: Tensor | None) -> Tensor:
    """z * scale; sums of such currents want more than bfloat16."""
    z = z.float() if z.dtype == torch.bfloat16 else z
    return z if scale is None else z * scale.view(-1, 1, 1)


class SpikingNetwork(nn.Module):
    """Spiking blocks, shortcuts between them, and an integrating read-out.

    Its input is images [N, C, H, W] in 0..1, or recordings [N, T, C, H, W], of T frames each; what lies behind a
    recording's end, of which `lengths` [N] tells (None: all are T frames long), changes nothing of its logits. Inside,
    the batch axis is time-major: row t*N + n. `shapes[i]` is the shape [C, H, W] of block i's output.

    A shortcut adds to a block's current, before its batch normalisation, that of a block before ("pre-activation": sums
    are of currents, and what a convolution sees are spikes). Where the two maps differ, the spikes of the block before
    go through a 1x1 convolution instead. The current of the image is normalised on its way: it is of another scale than
    those of spikes.
    """

    readout: Any  # the linear factory's module

    def __init__(
        self, cfg: NetworkConfig, conv: ConvFactory = float_conv, linear: LinearFactory = float_linear
    ) -> None:
        super().__init__()
        self.cfg = cfg
        self.shapes: list[tuple[int, int, int]] = []
        self.channels_last = False
        led = shortcuts(cfg)
        self.joined = led.joined  # a block -> the block whose current its shortcut adds as it is
        self.groups = led.groups(len(cfg.layers))  # blocks that are pruned as one
        blocks: list[SpikingBlock] = []
        added: dict[str, nn.Module] = {}
        shape = cfg.input_shape
        for i, layer in enumerate(cfg.layers):
            channels, height, width = shape
            kernel, stride, padding = _geometry(layer, height, width)
            bits = layer.bits or (cfg.quant.first_bits if i == 0 else cfg.quant.weight_bits)
            weighted = conv(channels, layer.channels, kernel, stride, padding, bits, i == 0)
            neuron = MultiStepNeuron(cfg.neuron, cfg.steps)
            constant = i == 0 and not cfg.frames
            blocks.append(SpikingBlock(weighted, layer.channels, neuron, layer.pool, i == 0, constant))
            size = [
                (extent + 2 * padding - k) // stride + 1
                for extent, k in zip((height, width), _pair(kernel), strict=True)
            ]
            if i in led.joined:
                added[str(i)] = nn.Identity() if led.joined[i] else parallel.BatchNorm2d(layer.channels)
            elif i in led.strides:
                before = cfg.layers[i + (layer.shortcut or 0)].channels
                added[str(i)] = conv(before, layer.channels, 1, led.strides[i], 0, bits, False)
            shape = (layer.channels, size[0] // layer.pool, size[1] // layer.pool)
            self.shapes.append(shape)
        self.blocks = cast("Sequence[SpikingBlock]", nn.ModuleList(blocks))
        self.shortcuts = nn.ModuleDict(added)  # by the block they lead to
        inputs = shape[0] if cfg.readout == "mean" else shape[0] * shape[1] * shape[2]
        self.readout = linear(inputs, cfg.classes, cfg.quant.last_bits)

    @property
    def is_chain(self) -> bool:
        """Is each block read by the next one alone?"""
        return not self.shortcuts

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Images or recordings -> logits [N, classes], the mean of the read-out over t."""
        return self.integrate(self.spikes(x)[-1], lengths)

    def spikes(self, x: Tensor) -> list[Tensor]:
        """Images or recordings -> each block's spikes after its pool, [T*N, C, H, W]."""
        if self.cfg.frames:
            x = in_time(x)
        elif (bits := self.cfg.pixel_bits) < 8:
            x = pixel_levels(x, bits) / ((1 << bits) - 1)
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        spikes: list[Tensor] = []
        trunk: dict[int, Tensor] = {}
        for i, block in enumerate(self.blocks):
            x = block(x) if self.is_chain else block(x, partial(self._join, i, spikes, trunk))
            spikes.append(x)
        return spikes

    def _join(self, i: int, spikes: list[Tensor], trunk: dict[int, Tensor], current: Tensor) -> Tensor:
        """Block i's current and what its shortcut adds, from the spikes so far; in `trunk` if a shortcut reads it."""
        if i in self.joined:
            added = self.shortcuts[str(i)](trunk[self.joined[i]])
            if len(added) < len(current):  # the image's current is that of every step
                current, added = current.unflatten(0, (self.cfg.time_steps, -1)), added.unsqueeze(0)
                current = (current + added).flatten(0, 1)
            else:
                current = current + added
        elif str(i) in self.shortcuts:
            source = self.cfg.layers[i].shortcut or 0
            z, scale = _convolve(self.shortcuts[str(i)], spikes[i + source])
            current = current + _scaled(z, scale)
        if i in self.joined.values():
            trunk[i] = current
        return current

    def integrate(self, spikes: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The last block's spikes -> logits [N, classes]."""
        # the read-out is affine: of the mean over t it gives the mean over t
        steps = self.cfg.steps
        if lengths is None:
            rates = spikes.unflatten(0, (steps, -1)).mean(0, dtype=torch.float32)
        else:
            rates = counted(spikes, steps, lengths) / lengths.to(spikes.device).view(-1, 1, 1, 1)
        return self.readout(rates.mean((2, 3)) if self.cfg.readout == "mean" else rates.flatten(1))

    def accelerate(self, bfloat16: bool) -> SpikingNetwork:
        """Use the memory layout a CPU convolves best in and, if asked, bfloat16 convolutions while training.

        Evaluation stays in float32.
        """
        self.channels_last = True
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # of parameters of four dimensions
        for block in self.blocks:
            block.in_bfloat16 = bfloat16
        return self


def _pair(kernel: int | tuple[int, int]) -> tuple[int, int]:
    return kernel if isinstance(kernel, tuple) else (kernel, kernel)


def _geometry(layer: LayerConfig, height: int, width: int) -> tuple[int | tuple[int, int], int, int]:
    """Kernel, stride and padding; a linear layer is a convolution whose kernel is the whole map."""
    if layer.kind == "linear":
        return (height, width), 1, 0
    return layer.kernel, layer.stride, layer.padding
