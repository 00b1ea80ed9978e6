"""Spiking neurons in floating point: one pure step, and the multi-step neuron that training runs.

    u[t] = left[t-1] + current[t]                  nothing is left before t = 0
    s[t] = u[t] >= 1
    left[t] = keep * v[t]      v[t] = s ? v_reset : u   (hard reset)   |   u - s   (soft reset)
    left[t] = keep * u[t] - s                           (delayed: soft, behind the leak of the next step)

keep is 1 - 2^-L or D / 2^K, and 1 of the IF neuron. The derivative of s is a surrogate; the reset is detached: no
gradient flows through s in the lines of left[t] and v[t] (Li et al., ICML 2024, arXiv 2406.01072, train so).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from scaflow.model.config import NeuronConfig


def lif_step(left: Tensor, current: Tensor, neuron: NeuronConfig) -> tuple[Tensor, Tensor]:
    """One time step, of any shape: (what is left, current) -> (spikes of 0 and 1, what is left for the next)."""
    u = left + current
    spikes = (u >= 1).to(u.dtype)
    if neuron.reset == "delayed":
        return spikes, u * neuron.keep - spikes
    return spikes, after_reset(u, spikes, neuron) * neuron.keep


def after_reset(u: Tensor, spikes: Tensor, neuron: NeuronConfig) -> Tensor:
    """The membranes v; of a delayed reset as if it were none."""
    return u * (1 - spikes) + neuron.v_reset * spikes if neuron.reset == "hard" else u - spikes


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

    `current` is [T*N, C, ...], or [N, C, ...] if it is constant over the steps.
    """

    @staticmethod
    def forward(ctx, current: Tensor, neuron: NeuronConfig, steps: int, constant: bool, record: bool):
        layout = torch.channels_last if _is_channels_last(current) else torch.contiguous_format
        rows = current.shape[0] if constant else current.shape[0] // steps
        shape = (steps * rows, *current.shape[1:])
        like: dict[str, Any] = {"dtype": current.dtype, "device": current.device, "memory_format": layout}
        membranes = torch.empty(shape, **like)
        spikes = torch.empty_like(membranes)
        v = torch.empty((rows, *shape[1:]), **like)
        activity = torch.zeros(shape[1], device=current.device)
        currents = [current] * steps if constant else current.split(rows)
        for t, (u, s, i) in enumerate(zip(membranes.split(rows), spikes.split(rows), currents, strict=True)):
            if t == 0:
                u.copy_(i)
            else:
                torch.add(i, v, alpha=1.0 if neuron.reset == "delayed" else neuron.keep, out=u)
            torch.ge(u, 1.0, out=s)
            if t == steps - 1 and not record:
                break
            if neuron.reset == "hard":
                torch.addcmul(u, u, s, value=-1, out=v)
                if neuron.v_reset:
                    v.add_(s, alpha=neuron.v_reset)
            else:
                torch.sub(u, s, out=v)
            if record:
                activity += _channel_sum(v.abs()) + _channel_sum(s)
            if neuron.reset == "delayed":
                torch.mul(u, neuron.keep, out=v).sub_(s)
        if record:
            activity /= spikes.numel() / shape[1]
            ctx.mark_non_differentiable(activity)
        ctx.save_for_backward(membranes)
        ctx.neuron, ctx.rows, ctx.constant = neuron, rows, constant
        return spikes, activity if record else None

    @staticmethod
    def backward(ctx, grad_spikes: Tensor, _grad_activity: Tensor | None):
        (membranes,) = ctx.saved_tensors
        neuron: NeuronConfig = ctx.neuron
        us = membranes.split(ctx.rows)
        grads = torch.empty_like(us[0] if ctx.constant else membranes)
        silent = torch.empty_like(us[0])
        after = None  # the gradient at the membrane of the step after
        for t in reversed(range(len(us))):
            u, grad = us[t], grad_spikes[t * ctx.rows : (t + 1) * ctx.rows]
            g = torch.empty_like(u) if ctx.constant else grads[t * ctx.rows : (t + 1) * ctx.rows]
            if neuron.surrogate == "sigmoid":
                torch.sub(u, 1.0, out=g).mul_(neuron.slope).sigmoid_()
                torch.ops.aten.sigmoid_backward.grad_input(grad, g, grad_input=g)
                g.mul_(neuron.slope)
            else:
                torch.sub(u, 1.0, out=g).mul_(math.pi / 2 * neuron.slope).square_().add_(1)
                torch.div(grad, g, out=g).mul_(neuron.slope / 2)
            if after is not None:
                if neuron.reset == "hard":  # the membrane lives on only where the neuron did not fire
                    g.addcmul_(after, torch.lt(u, 1.0, out=silent), value=neuron.keep)
                else:
                    g.add_(after, alpha=neuron.keep)
            if ctx.constant:
                grads = grads.copy_(g) if after is None else grads.add_(g)
            after = g
        return grads, None, None, None, None


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
        spikes, self.activity = _MultiStep.apply(current, self.neuron, self.time_steps, constant, self.record)
        return spikes

    def extra_repr(self) -> str:
        return f"time_steps={self.time_steps}, {self.neuron}"
