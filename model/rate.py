"""The firing-rate regulariser: what the spikes of a network cost, as a part of what they could cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scaflow.model.config import NetworkConfig


def spike_cost(
    spikes: Sequence[Tensor], cfg: NetworkConfig, shapes: Sequence[tuple[int, int, int]], classes: int
) -> Tensor:
    """Synaptic operations the spikes cause, over those of the dense network if every neuron always fired; 0..1.

    Args:
        spikes: each block's output after its pool, [T*N, C, H, W]; differentiable through the surrogate. Channels that
            are left out count as silent.
        shapes: of the dense network, (C, H, W) each.
    """
    fan_out = [
        layer.channels * (1 if layer.kind == "linear" else (layer.kernel / layer.stride) ** 2)
        for layer in cfg.layers[1:]
    ]
    fans = [*fan_out, classes]
    worst = sum(fan * math.prod(shape) for fan, shape in zip(fans, shapes, strict=True))
    first, *rest = (fan * s.sum(dtype=torch.float32) / len(s) for fan, s in zip(fans, spikes, strict=True))
    return sum(rest, first) / worst
