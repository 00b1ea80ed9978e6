"""The firing-rate regulariser: what the spikes of a network cost, as a part of what they could cost."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scaflow.model.config import NetworkConfig


def spike_cost(spikes: Sequence[Tensor], cfg: NetworkConfig, classes: int) -> Tensor:
    """Synaptic operations the spikes cause, over those of a network in which every neuron always fires; 0..1.

    Args:
        spikes: each block's output after its pool, [T*N, C, H, W]; differentiable through the surrogate.
    """
    fan_out = [
        layer.channels * (1 if layer.kind == "linear" else (layer.kernel / layer.stride) ** 2)
        for layer in cfg.layers[1:]
    ]
    worst = [fan * s[0].numel() for fan, s in zip([*fan_out, classes], spikes, strict=True)]
    rates = [s.mean(dtype=torch.float32) for s in spikes]
    return sum(w * rate for w, rate in zip(worst, rates, strict=True)) / sum(worst)
