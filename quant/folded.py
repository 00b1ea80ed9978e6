"""The trained network as the integer network, still trainable: torch runs the integer contract.

Every value is a whole number held in floating point that is wide enough for the worst case, so the forward
pass *is* the integer network, spike for spike. Gradients pass straight through the rounding to the parameters
of the network it was folded from, so fine-tuning the folded network is ordinary training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

from scaflow.model.config import NeuronConfig
from scaflow.model.network import PIXEL_MAX, SpikingBlock, SpikingNetwork, counted, full_scale, in_time, pixel_levels
from scaflow.quant.graph import Conv, Graph, Node, Pool, Readout, plain, validate
from scaflow.quant.layers import integer_weight, round_through
from scaflow.quant.neuron import NO_DECAY

# A channel whose largest synapse moves the membrane by less than this part of the threshold is constant:
# BatchNorm has scaled it away, and its threshold in accumulator steps would grow without bound.
_CONSTANT_BELOW = 2.0**-12
_CONSTANT_STEP = 2.0**-6  # accumulator step of a constant channel, in thresholds
_BIAS_LIMIT = 256.0  # thresholds: a bias beyond it saturates


@dataclass(frozen=True)
class FoldedBlock:
    """The integers of one spiking layer, and the real numbers behind them, which carry the gradient.

    `weight` [Co, Ci, Kh, Kw] holds whole numbers and passes its gradient to weights, gamma and their scale;
    the others are [Co], float64.
    """

    weight: Tensor
    bias: Tensor  # whole numbers, without gradient
    threshold: Tensor  # whole numbers, without gradient
    v_reset: Tensor  # whole numbers, below the threshold; without gradient
    step: Tensor  # a: the value of one accumulator step, in thresholds; without gradient
    offset: Tensor  # B: the value of the bias, in thresholds
    weight_bits: int


def fold_block(
    block: SpikingBlock, fraction_bits: int, largest_pixel: int = PIXEL_MAX, v_reset: float = 0.0
) -> FoldedBlock:
    """Fold weight scale and BatchNorm (running statistics) into weights, bias and threshold.

    As docs/architecture.md has it: with the weight scale s_w (1/largest_pixel included for pixels)
    A = gamma*s_w/sqrt(var+eps), B = beta - gamma*mean/sqrt(var+eps), a = |A|; the weights take the sign of A,
    bias = rint(B/a * 2^F), threshold = max(1, rint(1/a * 2^F)), and v_reset = rint(v_reset/a * 2^F) below it.
    """
    weight, scale, bits = integer_weight(block.conv)
    largest_input = largest_pixel if block.first else 1
    bn = block.bn
    mean, variance = cast(Tensor, bn.running_mean), cast(Tensor, bn.running_var)
    gain = bn.weight.double() / (variance.double() + bn.eps).sqrt()
    slope = gain * scale.reshape(-1).double() / largest_input
    offset = (bn.bias.double() - gain * mean.double()).clamp(-_BIAS_LIMIT, _BIAS_LIMIT)
    live = slope.detach().abs() * largest_input * (2 ** (bits - 1) - 1) >= _CONSTANT_BELOW
    magnitude = torch.where(live, slope.abs(), _CONSTANT_STEP)
    step = magnitude.detach()
    # The value of the quotient is 1: it is there for the gradient, which the current a*acc + B sends to a.
    sign = torch.where(live, slope.detach().sign(), 0.0) * (magnitude / step)
    grid = 2**fraction_bits
    threshold = (grid / step).round().clamp(min=1)
    return FoldedBlock(
        weight=weight * sign.to(weight.dtype).view(-1, 1, 1, 1),
        bias=(offset.detach() / step * grid).round(),
        threshold=threshold,
        v_reset=torch.minimum((v_reset * grid / step).round(), threshold - 1),
        step=step,
        offset=offset,
        weight_bits=bits,
    )


class IntegerNeuron(Function):
    """All T steps of the integer neuron; an accumulation that serves all steps is given once.

    The gradient is that of the floating-point neuron at the current a*acc + B: the surrogate at the membrane,
    and none through the spike that resets the membrane.
    """

    @staticmethod
    def forward(
        ctx: Any,
        acc: Tensor,  # [T or 1, N, C, H, W]
        offset: Tensor,  # [C]: its gradient is the bias's
        integers: FoldedBlock,
        kept: Tensor,  # bool [C]
        neuron: NeuronConfig,
        grid: int,
        time_steps: int,
    ) -> Tensor:
        bias, threshold, v_reset = (
            p.to(acc.dtype).view(-1, 1, 1) for p in (integers.bias, integers.threshold, integers.v_reset)
        )
        current = torch.add(bias, acc[0], alpha=grid)
        membranes = [current]
        spikes = torch.empty((time_steps, *acc.shape[1:]), dtype=torch.float32, device=acc.device)
        if _is_channels_last(acc[0]):
            spikes = spikes.flatten(0, 1).to(memory_format=torch.channels_last).view(spikes.shape)
        for t in range(time_steps):
            u = membranes[t]
            fired = u >= threshold
            spikes[t] = fired
            if t == time_steps - 1:
                break
            if neuron.reset == "hard":
                v = u.masked_fill(fired, 0) if not neuron.v_reset else torch.where(fired, v_reset, u)
            else:
                v = u.clone() if neuron.reset == "delayed" else torch.addcmul(u, fired, threshold, value=-1)
            if len(acc) > 1:
                current = torch.add(bias, acc[t + 1], alpha=grid)
            if neuron.decay is not None:
                v = v.mul_(neuron.keep).floor_()
            elif neuron.leak_shift:
                v = v.sub_((v * 2.0**-neuron.leak_shift).floor_())
            if neuron.reset == "delayed":
                v.addcmul_(fired, threshold, value=-1)
            membranes.append(v.add_(current))
        if not kept.all():
            spikes *= kept.view(-1, 1, 1)
        ctx.save_for_backward(threshold, integers.step, kept, *membranes)
        ctx.neuron, ctx.grid, ctx.constant = neuron, grid, len(acc) == 1
        return spikes

    @staticmethod
    def backward(ctx: Any, grad_spikes: Tensor) -> tuple[Tensor | None, ...]:
        threshold, step, kept, *membranes = ctx.saved_tensors
        neuron: NeuronConfig = ctx.neuron
        dtype = membranes[0].dtype
        step = step.view(-1, 1, 1)
        unit = (step / ctx.grid).to(dtype)
        grads: list[Tensor] = []  # of the current in thresholds, last step first
        for t in reversed(range(len(membranes))):
            above = membranes[t] - threshold
            g = _surrogate((above * unit).float(), neuron).mul_(grad_spikes[t])
            if not kept.all():
                g *= kept.view(-1, 1, 1)
            if grads and neuron.reset == "hard":
                g.addcmul_(grads[-1], above < 0, value=neuron.keep)
            elif grads:
                g.add_(grads[-1], alpha=neuron.keep)
            grads.append(g)
        grad = torch.stack(grads[::-1])
        grad_offset = grad.sum((0, 1, 3, 4)).double()
        if ctx.constant:
            grad = grad.sum(0, keepdim=True)
        return grad.to(dtype).mul_(step.to(dtype)), grad_offset, None, None, None, None, None


def _surrogate(x: Tensor, neuron: NeuronConfig) -> Tensor:
    """The derivative the neuron uses for the step, at x = (u - threshold) in thresholds; overwrites x."""
    x = x.mul_(neuron.slope)
    if neuron.surrogate == "sigmoid":
        y = x.sigmoid_()
        return torch.addcmul(y, y, y, value=-1).mul_(neuron.slope)
    return x.mul_(math.pi / 2).square_().add_(1).reciprocal_().mul_(neuron.slope / 2)


def _is_channels_last(x: Tensor) -> bool:
    return x.shape[1] > 1 and x.is_contiguous(memory_format=torch.channels_last)


class FoldedNetwork(nn.Module):
    """The integer form of a `SpikingNetwork`, on the network's own parameters and buffers (BatchNorm frozen).

    The state dict has the keys of the network it was folded from. Of a network with shortcuts: `quant.residual`.
    """

    def __init__(self, net: SpikingNetwork) -> None:
        super().__init__()
        self.cfg = net.cfg
        self.channels_last = net.channels_last
        self.blocks = net.blocks
        self.readout = net.readout
        self.pixels = math.prod(net.shapes[-1][1:]) if net.cfg.readout == "mean" else 1  # that a read-out weight serves

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Images or recordings in 0..1 -> logits [N, classes]: the integers times scale / T, for the loss."""
        return self.integrate(self.spikes(x)[-1], lengths)

    def integrate(self, spikes: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The last block's spikes -> logits [N, classes]."""
        total, scale = self._integrate(spikes, lengths)
        steps = self.cfg.steps if lengths is None else lengths.to(total.device).view(-1, 1)
        return (total * (scale / steps)).float()

    @torch.no_grad()
    def logits_int(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Images or recordings in 0..1 -> the integer logits, int64 [N, classes]."""
        return self._integrate(self.spikes(x)[-1], lengths)[0].to(torch.int64)

    def spikes(self, x: Tensor) -> list[Tensor]:
        """Images or recordings in 0..1 -> each block's spikes after its pool, [T*N, C, H, W], time-major."""
        x = (in_time(x) * full_scale(self.cfg)).round() if self.cfg.frames else pixel_levels(x, self.cfg.pixel_bits)
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        spikes = []
        for block in self.blocks:
            x = self._block(block, x)
            spikes.append(x)
        return spikes

    @property
    def largest_pixel(self) -> int:
        return (1 << self.cfg.pixel_bits) - 1

    def integers(self, block: SpikingBlock) -> FoldedBlock:
        """One of its blocks as integers."""
        return fold_block(block, self.cfg.quant.fraction_bits, self.largest_pixel, self.cfg.neuron.v_reset)

    def nodes(self) -> list[Node]:
        """The integer graph without its read-out."""
        nodes: list[Node] = []
        for i in range(len(self.blocks)):
            nodes += [self.conv_node(i), *self.pool_nodes(i)]
        return nodes

    @torch.no_grad()
    def steps(self) -> dict[str, Tensor]:
        """For a file: what a step of each convolution's sums is worth [C], as a power of two, by the node's name."""
        return {f"conv{i}": power_of_two(self.integers(block).step) for i, block in enumerate(self.blocks)}

    def conv_node(self, i: int) -> Conv:
        """A block's. A pruned channel has weights 0, bias 0, threshold 1: it cannot fire."""
        cfg, block = self.cfg, self.blocks[i]
        integers = self.integers(block)
        mask = block.mask.cpu().numpy()
        (stride, _), (padding, _) = block.conv.stride, block.conv.padding
        return Conv(
            name=f"conv{i}",
            weight=_whole(integers.weight) * mask[:, None, None, None],
            bias=_whole(integers.bias) * mask,
            threshold=np.where(mask, _whole(integers.threshold), 1),
            v_reset=_whole(integers.v_reset) * mask,
            stride=stride,
            padding=padding,
            leak_shift=cfg.neuron.leak_shift,
            decay=cfg.neuron.decay or NO_DECAY,
            reset=cfg.neuron.reset,
            fraction_bits=cfg.quant.fraction_bits,
            weight_bits=integers.weight_bits,
            in_bits=cfg.pixel_bits if block.first else 1,
            kept=tuple(np.flatnonzero(mask)),
        )

    def pool_nodes(self, i: int) -> list[Pool]:
        """The pool behind a block, if there is one."""
        size = self.blocks[i].pool
        return [Pool(f"pool{i}", size)] if size > 1 else []

    def _block(self, block: SpikingBlock, x: Tensor) -> Tensor:
        grid = 2**self.cfg.quant.fraction_bits
        folded = self.integers(block)
        time_steps = self.cfg.steps
        largest = folded.weight.detach().abs().sum((1, 2, 3)) * (self.largest_pixel if block.first else 1)
        # Reset and leak only shrink a membrane: it stays within T full currents and one threshold. A decay multiplies.
        bound = time_steps * (largest.double() * grid + folded.bias.abs()) + 2 * folded.threshold + folded.v_reset.abs()
        bound *= max(1, self.cfg.neuron.decay[0]) if self.cfg.neuron.decay else 1
        conv = block.conv
        dtype = exact(float(largest.max()))
        acc = functional.conv2d(
            x.to(dtype), folded.weight.to(dtype), stride=conv.stride, padding=conv.padding
        ).to(exact(float(bound.max())))
        spikes = IntegerNeuron.apply(  # type: ignore[no-untyped-call]
            acc.unflatten(0, (1 if block.constant else time_steps, -1)),
            folded.offset,
            folded,
            block.mask,
            self.cfg.neuron,
            grid,
            time_steps,
        ).flatten(0, 1)
        return pooled(block, spikes)

    def _integrate(self, spikes: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """The integer logits, as whole numbers with gradients, and T times the value of their unit."""
        weight, scale, bias, _ = self._readout_integers()
        steps = self.cfg.steps
        counts = counted(spikes.flatten(1), steps, lengths)
        bound = steps * (weight.detach().abs().sum(1).double() + bias.detach().abs())
        dtype = exact(float(bound.max()))
        each = steps if lengths is None else lengths.to(bias.device).view(-1, 1)
        return functional.linear(counts.to(dtype), weight.to(dtype)) + (each * bias).to(dtype), scale

    def _readout_integers(self) -> tuple[Tensor, Tensor, Tensor, int]:
        """Weight [classes, inputs], scale [], bias [classes] in float64, weight bits."""
        weight, scale, bits = integer_weight(self.readout)
        if self.pixels > 1:  # the mean over pixels: each of them with the same weight, worth a part of it
            weight, scale = weight.repeat_interleave(self.pixels, 1), scale / self.pixels
        return weight, scale, round_through(self.readout.bias.double() / scale.double()), bits


def power_of_two(x: Tensor) -> Tensor:
    """The nearest, float64."""
    return torch.exp2(x.detach().double().log2().round())


def pooled(block: SpikingBlock, spikes: Tensor) -> Tensor:
    """A block's spikes behind its pool."""
    return functional.max_pool2d(spikes, block.pool) if block.pool > 1 else spikes


def exact(bound: float) -> torch.dtype:
    """The float type that holds all whole numbers up to `bound`."""
    if bound < 2**24:
        return torch.float32
    if bound >= 2**53:
        raise ValueError(
            f"an integer of the folded network can reach {bound:.3g}; use fewer bits: exact below 2^53"
        )
    return torch.float64


@torch.no_grad()
def to_graph(folded: FoldedNetwork) -> Graph:
    """The integer graph."""
    cfg = folded.cfg
    weight, _, bias, bits = folded._readout_integers()
    graph = Graph(cfg.name, cfg.input_shape, cfg.time_steps, tuple(folded.nodes()), cfg.pixel_bits, frames=cfg.frames)
    shape = graph.edge(graph.nodes[-1].name).shape
    readout = Readout("readout", _whole(weight).reshape(len(weight), *shape), _whole(bias), bits)
    return validate(replace(graph, nodes=plain((*graph.nodes, readout))))


def _whole(x: Tensor) -> np.ndarray:
    return x.detach().double().cpu().numpy().astype(np.int64)
