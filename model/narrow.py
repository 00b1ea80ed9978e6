"""A network without its pruned channels, for the epochs in which the mask stands still, and the way back.

What a pruned channel's weights are does not matter any more, so they are left out of the convolutions, of the optimizer
and of the quantiser's scales, and no gradient passes through them any more; on the way back they are zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from scaflow.model.config import NetworkConfig
from scaflow.model.network import SpikingNetwork

Index = tuple[Tensor, ...]  # of one tensor: which entries of its first dimensions stay

_NORMALISATION = ("weight", "bias", "running_mean", "running_var")  # a number a channel each


def narrowed(cfg: NetworkConfig, masks: Sequence[np.ndarray]) -> NetworkConfig:
    """The description of the network whose layers have the kept channels only."""
    layers = (
        layer.model_copy(update={"channels": int(mask.sum())}) for layer, mask in zip(cfg.layers, masks, strict=True)
    )
    return cfg.model_copy(update={"layers": tuple(layers)})


def narrows(net: SpikingNetwork, masks: Sequence[np.ndarray]) -> bool:
    """Is the network without the pruned channels one of the same description? A shortcut between layers that differ in
    their channels alone has a convolution, and would have none where as many are left of both."""
    with torch.device("meta"):
        return net.is_chain or SpikingNetwork(narrowed(net.cfg, masks)).joined == net.joined


def indices(net: SpikingNetwork, masks: Sequence[np.ndarray]) -> dict[str, Index]:
    """By name in the state of the whole network, what of each tensor stays; a name that is missing stays whole."""
    kept = [torch.from_numpy(np.flatnonzero(mask)) for mask in masks]
    result: dict[str, Index] = {}
    for i, channels in enumerate(kept):
        result[f"blocks.{i}.mask"] = (channels,)
        result |= {f"blocks.{i}.bn.{name}": (channels,) for name in _NORMALISATION}
        result[f"blocks.{i}.conv.weight"] = (channels,) if i == 0 else (channels, kept[i - 1])
        if net.joined.get(i) == 0:
            result |= {f"shortcuts.{i}.{name}": (channels,) for name in _NORMALISATION}
        elif str(i) in net.shortcuts and i not in net.joined:
            result[f"shortcuts.{i}.weight"] = (channels, kept[i + (net.cfg.layers[i].shortcut or 0)])
    classes, inputs = net.readout.weight.shape
    pixels = inputs // net.shapes[-1][0]  # a channel; one, where the read-out sees their mean
    columns = (kept[-1][:, None] * pixels + torch.arange(pixels)).flatten()
    result["readout.weight"] = (torch.arange(classes), columns)
    return result


def picked(state: Mapping[str, Tensor], where: Mapping[str, Index]) -> dict[str, Tensor]:
    """The state of the narrow network, from that of the whole one."""
    return {name: _pick(value, where.get(name)) for name, value in state.items()}


def widened(narrow: Mapping[str, Tensor], whole: Mapping[str, Tensor], where: Mapping[str, Index]) -> dict[str, Tensor]:
    """The state of the whole network, from that of the narrow one; pruned channels are zero, and off in the mask."""
    result = {}
    for name, value in narrow.items():
        if name not in where:
            result[name] = value.clone()
            continue
        result[name] = torch.zeros_like(whole[name])
        result[name][_mesh(where[name])] = value
    return result


def picked_optimizer(
    state: dict[str, Any], whole: nn.Module, groups: Sequence[Sequence[nn.Parameter]], where: Mapping[str, Index]
) -> dict[str, Any]:
    """An optimizer's state for the narrow network: of each parameter the entries that stay.

    Args:
        state: the `state_dict()` of the optimizer of `whole`.
        groups: that optimizer's parameters, group by group; the narrow one has them in the same order.
    """
    names = {id(parameter): name for name, parameter in whole.named_parameters()}
    order = [(names[id(parameter)], parameter.shape) for group in groups for parameter in group]
    moments = {
        number: {key: _moment(value, order[number], where) for key, value in entry.items()}
        for number, entry in state["state"].items()
    }
    return {**state, "state": moments}


def _moment(value: Any, parameter: tuple[str, torch.Size], where: Mapping[str, Index]) -> Any:
    """What of a parameter's optimizer state stays: of tensors of its shape some entries, of all else a copy."""
    if not isinstance(value, Tensor):
        return value
    name, shape = parameter
    return _pick(value, where.get(name) if value.shape == shape else None)


def _pick(value: Tensor, index: Index | None) -> Tensor:
    return value.clone() if index is None else value[_mesh(index)].clone()


def _mesh(index: Index) -> tuple[Tensor, ...]:
    return torch.meshgrid(*index, indexing="ij") if len(index) > 1 else index
