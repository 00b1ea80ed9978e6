"""Spiking neurons in floating point: one pure step, and the multi-step neuron that training runs.

    u[t] = v[t-1] - v[t-1] * 2^-L + current[t]     (L = 0: no leak, the IF neuron), v = 0 before t = 0
    s[t] = u[t] >= threshold
    v[t] = s ? 0 : u   (hard reset)   |   u - threshold * s   (soft reset)

The derivative of s is a surrogate; the reset is detached: no gradient flows through s in the line of v[t]
(Li et al., ICML 2024, arXiv 2406.01072, train so).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from scaflow.model.config import NeuronConfig
from torch import Tensor, nn

Reset = Literal["hard", "soft"]


def lif_step(
    v: Tensor, current: Tensor, threshold: float = 1.0, leak_shift: int = 1, reset: Reset = "hard"
) -> tuple[Tensor, Tensor]:
    """One time step, of any shape: (membrane, current) -> (spikes of 0 and 1, next membrane)."""
    u = (v - v * 2.0**-leak_shift if leak_shift else v) + current
    spikes = (u >= threshold).to(u.dtype)
    return spikes, u * (1 - spikes) if reset == "hard" else u - threshold * spikes


def surrogate(u: Tensor, kind: Literal["sigmoid", "arctan"], slope: float) -> Tensor:
    """The derivative used for the step at threshold 1, at membranes u.

    sigmoid: d/dx sigmoid(slope x);  arctan: d/dx arctan(pi/2 slope x) / pi, with x = u - 1.
    """
    x = (u - 1.0) * slope
    if kind == "sigmoid":
        y = torch.sigmoid(x)
        return slope * y * (1 - y)
    return slope / 2 / (1 + (math.pi / 2 * x) ** 2)


class _MultiStep(torch.autograd.Function):
    """All T steps with the loops written by hand: only the membranes before the reset are kept for backward.

    `current` is [T, N, C, ...]; a stride of 0 on the first axis (the same current at every step) is no copy.
    """

    @staticmethod
    def forward(ctx, current: Tensor, neuron: NeuronConfig, record: bool):
        keep = 1 - 2.0**-neuron.leak_shift if neuron.leak_shift else 1.0
        layout = torch.channels_last if _is_channels_last(current[0]) else torch.contiguous_format
        steps, rows = current.shape[0] * current.shape[1], current.shape[2:]
        membranes = torch.empty((steps, *rows), dtype=current.dtype, memory_format=layout).view(current.shape)
        spikes = torch.empty_like(membranes.flatten(0, 1)).view(current.shape)
        v = torch.empty_like(current[0], memory_format=layout)
        activity = current.new_zeros(current.shape[2], dtype=torch.float32) if record else None
        for t in range(current.shape[0]):
            u, s = membranes[t], spikes[t]
            if t == 0:
                u.copy_(current[0])
            else:
                torch.add(current[t], v, alpha=keep, out=u)
            torch.ge(u, 1.0, out=s)
            last = t == current.shape[0] - 1
            if last and not record:
                break
            if neuron.reset == "hard":
                torch.addcmul(u, u, s, value=-1, out=v)
            else:
                torch.sub(u, s, out=v)
            if record:
                activity += _channel_sum(v.abs_()) if last else _channel_sum(v.abs())
                activity += _channel_sum(s)
        if record:
            activity /= steps * math.prod(rows[1:])
            ctx.mark_non_differentiable(activity)
        ctx.save_for_backward(membranes)
        ctx.neuron, ctx.keep = neuron, keep
        return spikes.flatten(0, 1), activity

    @staticmethod
    def backward(ctx, grad_spikes: Tensor, _grad_activity: Tensor | None):
        (membranes,) = ctx.saved_tensors
        neuron: NeuronConfig = ctx.neuron
        grad_spikes = grad_spikes.view(membranes.shape)
        grads = torch.empty_like(membranes.flatten(0, 1)).view(membranes.shape)
        silent = torch.empty_like(membranes[0])
        for t in reversed(range(membranes.shape[0])):
            u, g = membranes[t], grads[t]
            if neuron.surrogate == "sigmoid":
                torch.sub(u, 1.0, out=g).mul_(neuron.slope).sigmoid_()
                torch.ops.aten.sigmoid_backward.grad_input(grad_spikes[t], g, grad_input=g)
                g.mul_(neuron.slope)
            else:
                torch.sub(u, 1.0, out=g).mul_(math.pi / 2 * neuron.slope).square_().add_(1)
                torch.div(grad_spikes[t], g, out=g).mul_(neuron.slope / 2)
            if t < membranes.shape[0] - 1:
                after = grads[t + 1]
                if neuron.reset == "hard":
                    # the membrane lives on only where the neuron did not fire
                    g.addcmul_(after, torch.lt(u, 1.0, out=silent), value=ctx.keep)
                else:
                    g.add_(after, alpha=ctx.keep)
        return grads, None, None


def _is_channels_last(x: Tensor) -> bool:
    return x.dim() == 4 and x.shape[1] > 1 and x.is_contiguous(memory_format=torch.channels_last)


def _channel_sum(x: Tensor) -> Tensor:
    """[N, C, ...] -> [C], as the sum over the rows of a matrix: the fast way in the channels-last layout."""
    return x.movedim(1, -1).reshape(-1, x.shape[1]).sum(0, dtype=torch.float32)


class MultiStepNeuron(nn.Module):
    """LIF or IF over T steps on time-major rows: row t*N + n.

    With `record` set, `activity` holds after each forward pass, per channel, the mean over t, n and the map
    of s + |v|, v after the reset: the importance A of SCA (Li et al., as their public code computes it).
    """

    def __init__(self, neuron: NeuronConfig, time_steps: int) -> None:
        super().__init__()
        self.neuron = neuron
        self.time_steps = time_steps
        self.record = False
        self.activity: Tensor | None = None

    def forward(self, current: Tensor, constant: bool = False) -> Tensor:
        """Current [T*N, C, ...] -> spikes [T*N, C, ...]; `constant`: [N, C, ...], the same at every step."""
        if constant:
            steps = current.unsqueeze(0).expand(self.time_steps, *current.shape)
        else:
            steps = current.unflatten(0, (self.time_steps, -1))
        spikes, self.activity = _MultiStep.apply(steps, self.neuron, self.record)
        return spikes

    def extra_repr(self) -> str:
        return f"time_steps={self.time_steps}, {self.neuron}"
