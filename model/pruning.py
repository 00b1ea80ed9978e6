"""SCA: pruning and regrowth of channels by spiking activity, all layers ranked together.

After Li et al., ICML 2024, arXiv 2406.01072, with these differences: the dense parameters are kept and the
mask works behind the batch normalisation with a straight-through gradient (so that a pruned channel can come
back), gradients are accumulated over the epoch, sparsity follows a cubic ramp and then stands still, no layer
falls below a floor, and the channels kept in a layer are a multiple of the hardware's lanes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from scaflow.model.config import ScaConfig
from scaflow.model.network import SpikingNetwork


@dataclass(frozen=True)
class KeepMask:
    """Per spiking layer, which channels are kept: bool [C] each."""

    layers: tuple[np.ndarray, ...]

    @property
    def total(self) -> int:
        return sum(layer.size for layer in self.layers)

    @property
    def kept(self) -> tuple[int, ...]:
        return tuple(int(layer.sum()) for layer in self.layers)


@dataclass(frozen=True)
class Event:
    """What one mask update did to one layer: channels kept after it, switched off and switched on by it."""

    layer: int
    kept: int
    pruned: int
    regrown: int


@dataclass(frozen=True)
class ChannelGroup:
    """The channels one layer produces and the next consumes; the mask of the group is decided as one."""

    layer: int
    channels: int
    least: int  # kept at least
    granularity: int

    @classmethod
    def of(cls, layer: int, channels: int, floor: float, granularity: int) -> ChannelGroup:
        if channels % granularity:
            raise ValueError(
                f"layer {layer}: {channels} channels are no multiple of granularity={granularity}"
            )
        least = max(granularity, math.ceil(floor * channels / granularity - 1e-9) * granularity)
        return cls(layer, channels, least, granularity)


def update_masks(
    mask: KeepMask,
    scores: Sequence[np.ndarray],
    gradients: Sequence[np.ndarray],
    keep_fraction: float,
    regrow_fraction: float,
    floor: float,
    granularity: int,
) -> tuple[KeepMask, tuple[Event, ...]]:
    """One event for all channels of the network.

    Of the `keep_fraction` of all channels that stay, `regrow_fraction` of all go to the channels with the
    largest gradient among those the score would prune, the rest to those with the largest score. Both ranks
    are global. Then each layer's count is made a multiple of `granularity`, not below its floor, with a total
    of at most `keep_fraction` of all channels (unless the floors alone are more).

    Args:
        mask: what is kept now; only the events depend on it.
        scores: activity A per layer [C].
        gradients: accumulated |dLoss/dgamma| per layer [C].
    """
    groups = [ChannelGroup.of(i, s.size, floor, granularity) for i, s in enumerate(scores)]
    total = sum(group.channels for group in groups)
    budget = math.floor(keep_fraction * total + 1e-9)
    regrown_total = min(budget, round(regrow_fraction * total))
    kept, regrown = _ranked(scores, gradients, budget - regrown_total, regrown_total)
    wanted = [int(k.sum() + r.sum()) for k, r in zip(kept, regrown, strict=True)]
    layers = []
    for group, count in zip(groups, _round_counts(groups, wanted, budget), strict=True):
        # where rounding takes or gives places, the regrown keep theirs and the others stand by score
        score, gradient, fresh = (array[group.layer] for array in (scores, gradients, regrown))
        order = np.lexsort((-gradient, -score, ~fresh))
        layer = np.zeros(group.channels, dtype=bool)
        layer[order[:count]] = True
        layers.append(layer)
    events = tuple(
        Event(i, int(new.sum()), int((old & ~new).sum()), int((new & ~old).sum()))
        for i, (old, new) in enumerate(zip(mask.layers, layers, strict=True))
    )
    return KeepMask(tuple(layers)), events


def _ranked(
    scores: Sequence[np.ndarray], gradients: Sequence[np.ndarray], by_score: int, by_gradient: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Global ranks, as masks per layer: the highest scores, and of the rest the highest gradients."""
    score, gradient = np.concatenate(scores), np.concatenate(gradients)
    kept, regrown = np.zeros(score.size, dtype=bool), np.zeros(score.size, dtype=bool)
    kept[np.argsort(-score, kind="stable")[:by_score]] = True
    rest = np.flatnonzero(~kept)
    regrown[rest[np.argsort(-gradient[rest], kind="stable")[:by_gradient]]] = True
    ends = np.cumsum([layer.size for layer in scores])[:-1]
    return np.split(kept, ends), np.split(regrown, ends)


def _round_counts(groups: Sequence[ChannelGroup], wanted: Sequence[int], budget: int) -> list[int]:
    """Counts per layer: multiples of the granularity, not below the floors, near `wanted`, sum <= budget.

    Starting from the floors, the layer furthest below what it wants gets one more granule, as long as the
    budget lasts.
    """
    counts = [group.least for group in groups]
    while True:
        short = [
            (want - count, -group.layer)
            for group, want, count in zip(groups, wanted, counts, strict=True)
            if count < group.channels and sum(counts) + group.granularity <= budget
        ]
        if not short:
            return counts
        layer = -max(short)[1]
        counts[layer] += groups[layer].granularity


@dataclass(frozen=True)
class Schedule:
    """What one epoch's event aims at."""

    keep: float
    regrow: float
    final: bool  # the mask stands still from here on


def schedule(sca: ScaConfig, epoch: int, epochs: int) -> Schedule:
    """The aim of the event after `epoch` (from 0) of `epochs`.

    Sparsity rises as 1 - (1 - p)^3 with p the progress through the ramp; regrowth decays linearly to 0 at the
    last event. `final`: the epoch is trained with the final mask, and no event follows it.
    """
    last_event = max(0, math.floor((1 - sca.freeze) * epochs + 1e-9) - 1)
    last_event = min(last_event, max(0, epochs - 2))  # at least one epoch learns with the final mask
    ramp_events = min(max(1, round(sca.ramp * epochs)), last_event + 1)
    progress = min(1.0, (epoch + 1) / ramp_events)
    keep = 1 - (1 - sca.keep) * (1 - (1 - progress) ** 3)
    regrow = sca.regrow * (1 - epoch / last_event) if last_event else 0.0
    return Schedule(keep, max(0.0, regrow), epoch > last_event)


class Statistics:
    """Running mean of the activity and sum of |dLoss/dgamma| over an epoch, per layer [C]."""

    def __init__(self, net: SpikingNetwork) -> None:
        self.net = net
        self.batches = 0
        self.activity = [torch.zeros(block.bn.num_features) for block in net.blocks]
        self.gradient = [torch.zeros(block.bn.num_features) for block in net.blocks]

    def record(self, on: bool) -> None:
        for block in self.net.blocks:
            block.neuron.record = on

    def update(self) -> None:
        """After backward of one batch."""
        self.batches += 1
        for i, block in enumerate(self.net.blocks):
            self.activity[i] += (block.neuron.activity - self.activity[i]) / self.batches
            self.gradient[i] += block.bn.weight.grad.abs()

    def arrays(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """(activity, gradient) as numpy arrays."""
        return [a.double().numpy() for a in self.activity], [g.double().numpy() for g in self.gradient]


def get_mask(net: SpikingNetwork) -> KeepMask:
    return KeepMask(tuple(block.mask.numpy().copy() for block in net.blocks))


def set_mask(net: SpikingNetwork, mask: KeepMask) -> None:
    for block, layer in zip(net.blocks, mask.layers, strict=True):
        block.mask.copy_(torch.from_numpy(layer))
