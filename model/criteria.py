"""What a channel is worth, by each criterion of pruning: SCA and its rivals, under one interface.

Sources: SCA, Li et al., ICML 2024, arXiv 2406.01072. weight: Li et al., ICLR 2017, arXiv 1608.08710 (L1 norm of the
filter, here over the layer's L2 norm, so that layers compare). slimming: Liu et al., ICCV 2017, arXiv 1708.06519.
rank: Wei et al., ICLR 2025 (QP-SNN), arXiv 2502.05905, singular values of the mean spike map. criticality: Chen et al.,
arXiv 2311.16141.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from scaflow.model.network import SpikingBlock, SpikingNetwork, full_scale
from scaflow.model.neurons import lif_step
from scaflow.model.pruning import Order

Measure = Literal["rate", "rank", "criticality"]


@dataclass(frozen=True)
class Criterion:
    """How one criterion prunes.

    score: what ranks the channels that stay. regrow: what ranks those that come back; None: none does.
    """

    score: Literal["activity", "drive", "sensitivity", "random", "weight", "gamma", "rate", "rank"]
    regrow: Literal["gradient", "criticality"] | None = None
    order: Order = "score"  # how scores and gradients of different layers compare
    published: bool = False  # with the defects of the public code: see `forget`


CRITERIA: dict[str, Criterion] = {
    "sca": Criterion("activity", "gradient"),
    "sca-cycles": Criterion("drive", "gradient", "cost"),
    "sca-gradient": Criterion("sensitivity", "gradient", "narrowing"),
    "sca-published": Criterion("activity", "gradient", published=True),
    "random": Criterion("random"),
    "weight": Criterion("weight"),
    "slimming": Criterion("gamma"),
    "rate": Criterion("rate"),
    "rank": Criterion("rank"),
    "criticality": Criterion("activity", "criticality"),
}


class Probe:
    """Reads the layers of a network in evaluation, on some images: spikes as they are, membranes without the mask."""

    def __init__(self, net: SpikingNetwork) -> None:
        self.net = net

    @torch.no_grad()
    def measure(self, images: Tensor, kinds: Sequence[Measure], batch: int = 128) -> dict[str, list[np.ndarray]]:
        """Per kind and layer float64 [C], means over the images.

        rate: spikes a pixel and time step behind the pool. rank: sum of the singular values of the spike map, mean
        over time, over its largest possible rank and the map's height and width. criticality: the largest, over the
        map, of the mean over time of 1/(1 + (pi (u - 1))^2), u the membrane before the reset.

        Args:
            images: uint8 [N, C, H, W].
        """
        sums: dict[Measure, list[Any]] = {kind: [0.0] * len(self.net.blocks) for kind in kinds}
        training, device = self.net.training, self.net.readout.weight.device
        self.net.eval()
        with ExitStack() as hooks:
            for i, block in enumerate(self.net.blocks):
                for module, hook in _hooks(block, i, kinds, sums):
                    hooks.callback(module.register_forward_hook(hook).remove)
            for part in images.split(batch):
                spikes = self.net.spikes(part.to(device).float() / full_scale(self.net.cfg))
                if "rate" in kinds:
                    for i, s in enumerate(spikes):
                        sums["rate"][i] += s.double().mean((0, 2, 3)) * len(part)
        self.net.train(training)
        return {kind: [(s / len(images)).cpu().numpy() for s in layers] for kind, layers in sums.items()}


def _hooks(
    block: SpikingBlock, i: int, kinds: Sequence[Measure], sums: dict[Measure, list[Any]]
) -> list[tuple[nn.Module, Callable[..., None]]]:
    def rank(_module: nn.Module, _inputs: object, spikes: Tensor) -> None:
        maps = spikes.unflatten(0, (block.neuron.time_steps, -1)).mean(0)
        values = torch.linalg.svdvals(maps.float().contiguous()).sum(-1).double()
        height, width = maps.shape[2:]
        sums["rank"][i] += values.sum(0) / math.sqrt(height * width * min(height, width))

    def criticality(_module: nn.Module, _inputs: object, current: Tensor) -> None:
        neuron, steps = block.neuron.neuron, block.neuron.time_steps
        currents = [current] * steps if block.constant else current.chunk(steps)
        left, total = torch.zeros_like(currents[0]), torch.zeros_like(currents[0])
        for each in currents:
            total += 1 / (1 + (math.pi * (left + each - 1)).square())
            _, left = lif_step(left, each, neuron)
        sums["criticality"][i] += (total / steps).double().amax((2, 3)).sum(0)

    # the normalisation's output is the current before the mask
    return [
        (module, hook)
        for kind, module, hook in (("rank", block.neuron, rank), ("criticality", block.bn, criticality))
        if kind in kinds
    ]


def needed(criterion: Criterion, by_spikes: bool) -> tuple[Measure, ...]:
    """What a `Probe` has to measure for an event. by_spikes: the budget asks for rates."""
    kinds: list[Measure] = [kind for kind in get_args(Measure) if kind in (criterion.score, criterion.regrow)]
    if by_spikes:
        kinds.append("rate")
    return tuple(dict.fromkeys(kinds))


def scores(
    criterion: Criterion,
    net: SpikingNetwork,
    activity: Sequence[np.ndarray],
    gradient: Sequence[np.ndarray],
    measured: dict[str, list[np.ndarray]],
    seed: int,
) -> list[np.ndarray]:
    """The worth of each layer's channels, float64 [C].

    drive: activity times the norm of the filter. Activity alone keeps channels that fire a lot whatever they see.
    sensitivity: activity times the gradient, by which layers compare: each channel of a wide one moves the loss little.

    Args:
        activity: SCA's, of the epoch.
        gradient: the sum of |dLoss/dgamma| over the epoch.
        measured: by a `Probe`, what the criterion needs.
        seed: of the random criterion, whose order stands for the whole run.
    """
    if criterion.score == "activity":
        return list(activity)
    if criterion.score == "random":
        rng = np.random.default_rng((seed, 2))
        return [rng.random(block.bn.num_features) for block in net.blocks]
    if criterion.score == "weight":
        return _norms(net)
    if criterion.score == "drive":
        return [a * norm for a, norm in zip(activity, _norms(net), strict=True)]
    if criterion.score == "sensitivity":
        return [a * g for a, g in zip(activity, gradient, strict=True)]
    if criterion.score == "gamma":
        return [block.bn.weight.detach().double().abs().cpu().numpy() for block in net.blocks]
    return measured[criterion.score]


def _norms(net: SpikingNetwork) -> list[np.ndarray]:
    """L1 norm of each filter, a weight, over the root mean square of the layer's weights."""
    weights = [block.conv.weight.detach().cpu().double().flatten(1) for block in net.blocks]
    return [(w.abs().mean(1) / w.square().mean().sqrt()).numpy() for w in weights]


def penalty(net: SpikingNetwork, weight: float) -> Tensor:
    """The sparsity term of slimming: weight times the sum of |gamma|."""
    first, *rest = (block.bn.weight.abs().sum() for block in net.blocks)
    return weight * sum(rest, first)


@torch.no_grad()
def forget(net: SpikingNetwork, masks: Sequence[np.ndarray]) -> None:
    """Set weights, gamma and beta of pruned channels to zero, as the public code of SCA does after each epoch.

    It follows that the gradient of gamma is zero, that no channel comes back, and that beta drifts until the next epoch
    ends, because nothing is masked meanwhile.
    """
    for block, mask in zip(net.blocks, masks, strict=True):
        gone = ~torch.from_numpy(mask).to(block.mask.device)
        for parameter in (block.conv.weight, block.bn.weight, block.bn.bias):
            parameter[gone] = 0
