"""SCA: pruning and regrowth of channels, all layers ranked together, down to a budget of channels or of cycles.

After Li et al., ICML 2024, arXiv 2406.01072, with these differences: the dense parameters are kept and the
mask works behind the batch normalisation with a straight-through gradient (so that a pruned channel can come
back), gradients are accumulated over the epoch, sparsity follows a cubic ramp and then stands still, no layer
falls below a floor, and the channels kept in a layer are a multiple of the hardware's lanes. What a channel is
worth tells its criterion (criteria.py), what it costs the budget (cost.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor

from scaflow.model import parallel
from scaflow.model.config import ScaConfig
from scaflow.model.cost import Budget
from scaflow.model.network import SpikingNetwork

_SLACK = 1e-9

# how granules of all layers are ranked (see `update_masks`)
Order = Literal["score", "narrowing", "cost"]


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
    """Layers whose channels are kept or pruned as one, because a shortcut joins them; mostly a single layer."""

    layers: tuple[int, ...]
    channels: int
    least: int  # kept at least
    granularity: int

    @classmethod
    def of(cls, layers: tuple[int, ...], channels: int, floor: float, granularity: int) -> ChannelGroup:
        if channels % granularity:
            raise ValueError(
                f"layer {layers[0]}: {channels} channels are no multiple of granularity={granularity}"
            )
        least = max(granularity, math.ceil(floor * channels / granularity - _SLACK) * granularity)
        return cls(layers, channels, least, granularity)


def channel_groups(
    layers: Sequence[tuple[int, ...]], channels: Sequence[int], floor: float, granularity: int
) -> tuple[ChannelGroup, ...]:
    """The groups of a network (`SpikingNetwork.groups`), with their floors.

    Args:
        channels: per spiking layer.

    Raises:
        ValueError: channels are no multiple of the granularity.
    """
    return tuple(ChannelGroup.of(tuple(g), channels[g[0]], floor, granularity) for g in layers)


def floor_part(groups: Sequence[ChannelGroup], budget: Budget, rates: Sequence[np.ndarray] | None = None) -> float:
    """What is left when every layer is at its floor, as the budget counts; no mask can be cheaper."""
    return budget.part(_masks(groups, [np.arange(g.least) for g in groups]), rates)


def update_masks(
    mask: KeepMask,
    scores: Sequence[np.ndarray],
    gradients: Sequence[np.ndarray],
    groups: Sequence[ChannelGroup],
    budget: Budget,
    limit: float,
    regrow: float,
    *,
    by: Order = "score",
    rates: Sequence[np.ndarray] | None = None,
) -> tuple[KeepMask, tuple[Event, ...]]:
    """One event for all channels of the network.

    From the whole network, the granule (as many channels of a layer as its granularity) with the least mean score goes,
    until the rest costs no more than `limit - regrow`. Then granules come back while they fit within `limit`: those
    with the largest mean gradient, or, without regrowth, the largest score. Both ranks are over all layers.

    Args:
        mask: what is kept now; only the events depend on it.
        scores: worth per layer [C].
        gradients: of the channels' return per layer [C], such as accumulated |dLoss/dgamma|.
        limit, regrow: parts of the dense network, as the budget counts.
        by: what granules are ranked by. score: their mean score (or gradient). narrowing: the same, times how many
            times narrower the layer has become: what is left of a layer does the work of the whole. cost: their share
            of the layer's score over what they cost. The share makes layers compare. It counts by the square of the
            narrowing: a narrow layer makes its neighbours cheap, and without this every other layer would be emptied to
            keep those between.
        rates: see `Budget.part`.
    """
    worth = [_joined(scores, group) for group in groups]
    growth = [_joined(gradients, group) for group in groups] if regrow > 0 else worth
    order = [np.argsort(-w, kind="stable") for w in worth]
    prices = _Prices(tuple(groups), budget, by, rates)
    kept = _grow(prices, _shrink(prices, order, worth, max(0.0, limit - regrow)), growth, limit)
    layers = _masks(groups, kept)
    events = tuple(
        Event(i, int(new.sum()), int((old & ~new).sum()), int((new & ~old).sum()))
        for i, (old, new) in enumerate(zip(mask.layers, layers, strict=True))
    )
    return KeepMask(tuple(layers)), events


def _joined(values: Sequence[np.ndarray], group: ChannelGroup) -> np.ndarray:
    return np.mean([values[layer] for layer in group.layers], axis=0)


def _masks(groups: Sequence[ChannelGroup], kept: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The channels kept of each group, as masks per layer."""
    layers: dict[int, np.ndarray] = {}
    for group, channels in zip(groups, kept, strict=True):
        mask = np.zeros(group.channels, dtype=bool)
        mask[channels] = True
        layers |= dict.fromkeys(group.layers, mask)
    return [layers[i].copy() for i in sorted(layers)]


def _with(kept: Sequence[np.ndarray], i: int, channels: np.ndarray) -> list[np.ndarray]:
    return [*kept[:i], channels, *kept[i + 1 :]]


@dataclass(frozen=True)
class _Prices:
    """What granules are worth and cost, by the channels kept of each group."""

    groups: tuple[ChannelGroup, ...]
    budget: Budget
    by: Order
    rates: Sequence[np.ndarray] | None

    def part(self, kept: Sequence[np.ndarray]) -> float:
        return self.budget.part(_masks(self.groups, kept), self.rates)

    def weight(self, kept: Sequence[np.ndarray]) -> float:
        return self.budget.weight(_masks(self.groups, kept), self.rates)

    def value(
        self, worth: np.ndarray, i: int, granule: np.ndarray, fewer: list[np.ndarray], more: list[np.ndarray]
    ) -> float:
        """Of the granule that `more` has of group i and `fewer` has not; worth: of the group's channels."""
        mean = float(worth[granule].mean())
        if self.by == "score":
            return mean
        narrower = self.groups[i].channels / len(more[i])
        if self.by == "narrowing":
            return narrower * mean
        cost = self.weight(more) - self.weight(fewer)
        return narrower**2 * _share(mean, worth[more[i]]) / cost if cost > 0 else math.inf


def _shrink(
    prices: _Prices, order: Sequence[np.ndarray], worth: Sequence[np.ndarray], limit: float
) -> list[np.ndarray]:
    """The channels of each group that are left, best first: from all, until the limit or every floor is met."""
    kept = list(order)
    while prices.part(kept) > limit + _SLACK:
        options = []
        for i, (group, channels) in enumerate(zip(prices.groups, kept, strict=True)):
            fewer, granule = np.split(channels, [-group.granularity])
            if len(fewer) >= group.least:
                less = _with(kept, i, fewer)
                options.append((prices.value(worth[i], i, granule, less, kept), -i, less))
        if not options:
            break
        kept = min(options, key=lambda option: option[:2])[2]
    return kept


def _grow(
    prices: _Prices, kept: list[np.ndarray], worth: Sequence[np.ndarray], limit: float
) -> list[np.ndarray]:
    """Gives back the granules of the largest worth, as long as one fits within the limit."""
    while True:
        options = []
        for i, (group, channels) in enumerate(zip(prices.groups, kept, strict=True)):
            gone = np.setdiff1d(np.arange(group.channels), channels)
            granule = gone[np.argsort(-worth[i][gone], kind="stable")[: group.granularity]]
            more = _with(kept, i, np.concatenate((channels, granule)))
            if len(granule) and prices.part(more) <= limit + _SLACK:
                options.append((prices.value(worth[i], i, granule, kept, more), -i, more))
        if not options:
            return kept
        kept = max(options, key=lambda option: option[:2])[2]


def _share(part: float, whole: np.ndarray) -> float:
    total = float(whole.sum())
    return part / total if total > 0 else 0.0


@dataclass(frozen=True)
class Schedule:
    """What one epoch's event aims at."""

    limit: float  # of the dense network, as the budget counts
    regrow: float
    event: bool  # the masks are updated after the epoch
    final: bool  # the epoch is trained with the final mask, and no event follows it


def schedule(sca: ScaConfig, epoch: int, epochs: int) -> Schedule:
    """The aim of the event after `epoch` (from 0) of `epochs`.

    Nothing happens in the warm-up. Then sparsity rises as 1 - (1 - p)^3 with p the progress through the ramp; regrowth
    decays linearly to 0 at the last event.
    """
    first = min(round(sca.warmup * epochs), max(0, epochs - 2))
    last = max(first, math.floor((1 - sca.freeze) * epochs + _SLACK) - 1)
    last = min(last, max(0, epochs - 2))  # at least one epoch learns with the final mask
    ramp_events = min(max(1, round(sca.ramp * epochs)), last - first + 1)
    progress = min(1.0, max(0.0, (epoch - first + 1) / ramp_events))
    limit = 1 - (1 - sca.aim) * (1 - (1 - progress) ** 3)
    regrow = sca.regrow * (last - epoch) / (last - first) if last > first else 0.0
    return Schedule(limit, min(max(0.0, regrow), sca.regrow), first <= epoch <= last, epoch > last)


class Statistics:
    """Running mean of the activity and sum of |dLoss/dgamma| over an epoch, per layer [C]."""

    def __init__(self, net: SpikingNetwork) -> None:
        self.net = net
        self.batches = 0
        self.activity = [torch.zeros_like(block.bn.weight.detach()) for block in net.blocks]
        self.gradient = [torch.zeros_like(block.bn.weight.detach()) for block in net.blocks]

    def record(self, on: bool) -> None:
        for block in self.net.blocks:
            block.neuron.record = on

    def update(self) -> None:
        """After backward of one batch, when the gradients are those of all ranks."""
        self.batches += 1
        for i, block in enumerate(self.net.blocks):
            activity, gradient = cast(Tensor, block.neuron.activity), cast(Tensor, block.bn.weight.grad)
            self.activity[i] += (activity - self.activity[i]) / self.batches
            self.gradient[i] += gradient.abs()

    def arrays(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """(activity, gradient) as numpy arrays, of all ranks."""
        activity = [parallel.mean(a.to(torch.float64, copy=True)) for a in self.activity]
        return [a.cpu().numpy() for a in activity], [g.double().cpu().numpy() for g in self.gradient]


def get_mask(net: SpikingNetwork) -> KeepMask:
    return KeepMask(tuple(block.mask.cpu().numpy().copy() for block in net.blocks))


def set_mask(net: SpikingNetwork, mask: KeepMask) -> None:
    for block, layer in zip(net.blocks, mask.layers, strict=True):
        block.mask.copy_(torch.from_numpy(layer))
