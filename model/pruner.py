"""Pruning over a training run: what each epoch's event aims at and decides, and what it has to remember."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scaflow.model import parallel
from scaflow.model.config import NetworkConfig
from scaflow.model.cost import Budget
from scaflow.model.criteria import CRITERIA, Probe, needed, penalty, scores
from scaflow.model.network import SpikingNetwork
from scaflow.model.pruning import (
    ChannelGroup,
    Event,
    KeepMask,
    Schedule,
    Statistics,
    channel_groups,
    floor_part,
    get_mask,
    schedule,
    update_masks,
)

PROBE_IMAGES = 512  # validation images that criteria are measured on, after each epoch


@dataclass
class Memory:
    """What goes on from one event to the next; part of a checkpoint."""

    masks: list[Tensor] = field(default_factory=list)  # of the last event
    scores: list[Tensor] = field(default_factory=list)  # their moving average
    whole: dict[str, Tensor] | None = None  # the network when its mask came to stand still
    events: list[dict[str, Any]] = field(default_factory=list)  # the rows of events.csv


class Pruner:
    """The criterion, budget and schedule of a run.

    Args:
        images: uint8 [N, C, H, W], of which the first are looked at where a criterion is measured.
    """

    def __init__(self, cfg: NetworkConfig, budget: Budget, images: Tensor) -> None:
        self.cfg, self.budget, self.images = cfg, budget, images[:PROBE_IMAGES]
        self.criterion = CRITERIA[cfg.sca.criterion]
        self.aim = cfg.sca.aim
        self.memory = Memory()

    def check(self, net: SpikingNetwork) -> None:
        """Raises ValueError if the budget cannot be met, or its cycles are not known."""
        sca = self.cfg.sca
        if sca.cycles is not None and self.budget.model is None:
            raise ValueError("sca.cycles: the cycles of this network's layers are not known; use sca.keep")
        silent = [np.zeros(block.bn.num_features) for block in net.blocks]
        least = floor_part(self.groups(net), self.budget, silent)
        if least > self.aim + 1e-9:
            raise ValueError(
                f"sca: {'keep' if sca.cycles is None else 'cycles'}={self.aim}: with every layer at its floor "
                f"{least:.4f} of the dense network is left; raise it, or lower sca.floor={sca.floor} or "
                f"sca.granularity={sca.granularity}"
            )

    def groups(self, net: SpikingNetwork) -> tuple[ChannelGroup, ...]:
        """What is pruned as one. The published method has no floor, but steps that lanes can use."""
        sca, channels = self.cfg.sca, [block.bn.num_features for block in net.blocks]
        return channel_groups(net.groups, channels, 0.0 if self.criterion.published else sca.floor, sca.granularity)

    def plan(self, epoch: int, epochs: int) -> Schedule:
        """Published: full sparsity and regrowth from the first event on, to the last epoch."""
        if self.criterion.published:
            return Schedule(self.aim, self.cfg.sca.regrow, epoch >= round(self.cfg.sca.warmup * epochs), False)
        return schedule(self.cfg.sca, epoch, epochs)

    def penalty(self, net: SpikingNetwork) -> Tensor | float:
        """What the criterion adds to the loss of a batch."""
        return penalty(net, self.cfg.sca.slimming) if self.criterion.score == "gamma" else 0.0

    def decide(self, net: SpikingNetwork, statistics: Statistics, plan: Schedule) -> tuple[KeepMask, tuple[Event, ...]]:
        """The masks after an epoch, as the first rank finds them. The caller sets them."""
        activity, gradient = statistics.arrays()
        mask, events, worth = parallel.from_first(lambda: self._ranked(net, activity, gradient, plan))
        self.memory.scores = [torch.from_numpy(np.ascontiguousarray(w)) for w in worth]
        self.memory.masks = [torch.from_numpy(layer) for layer in mask.layers]
        return mask, events

    def _ranked(
        self, net: SpikingNetwork, activity: list[np.ndarray], gradient: list[np.ndarray], plan: Schedule
    ) -> tuple[KeepMask, tuple[Event, ...], list[np.ndarray]]:
        """(masks, events, scores), by measurements of this process alone."""
        sca, criterion, memory = self.cfg.sca, self.criterion, self.memory
        by_spikes = self.budget.model is not None and sca.scheduler == "event"
        kinds = needed(criterion, by_spikes)
        measured = Probe(net).measure(self.images, kinds) if kinds else {}
        worth = scores(criterion, net, activity, gradient, measured, self.cfg.train.seed)
        if memory.scores and not criterion.published:
            m = sca.momentum
            worth = [m * old.numpy() + (1 - m) * new for old, new in zip(memory.scores, worth, strict=True)]
        before = tuple(mask.numpy() for mask in memory.masks) or get_mask(net).layers
        mask, events = update_masks(
            KeepMask(before),
            worth,
            measured["criticality"] if criterion.regrow == "criticality" else gradient,
            self.groups(net),
            self.budget,
            plan.limit,
            plan.regrow if criterion.regrow else 0.0,
            by=criterion.order,
            rates=measured["rate"] if by_spikes else None,
        )
        return mask, events, worth
