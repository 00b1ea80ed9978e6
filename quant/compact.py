"""Removes the channels a graph can do without, with a certificate that the logits stay the same.

Three kinds of channels go, front to back, each layer judged behind what went before it:

    pruned         not in `kept`: its spikes are zero by definition
    never fires    its highest u stays below the threshold at every step: zero for any input
    always fires   its lowest u reaches the threshold at every step: one for any input, also when pooled;
                   what it adds to its reader is a constant and goes into the reader's bias. That is exact
                   where every window lies inside the map: a reader without padding, or the read-out.
                   Elsewhere the channel stays, and where it is joined with others.

What is joined goes when no neuron that sees it can fire. The bounds of u are those of widths.potentials. A layer keeps
at least one channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from scaflow.quant.graph import (
    IMAGE,
    Conv,
    Current,
    Graph,
    Neuron,
    Node,
    Readout,
    Spiking,
    SumPool,
    execute,
    validate,
)
from scaflow.quant.widths import neuron_bounds, potentials


@dataclass(frozen=True)
class RemovedChannel:
    node: str
    channel: int  # in the graph that was compacted
    reason: str  # "pruned", "never fires" or "always fires"
    argument: str


@dataclass(frozen=True)
class Certificate:
    """Why the compact graph equals the graph it was made of: an argument per channel, and logits compared."""

    removed: tuple[RemovedChannel, ...]
    images_compared: int
    mismatches: int  # images with another logit; 0, or the graph is not handed out


def compact(graph: Graph, images: np.ndarray | None = None) -> tuple[Graph, Certificate]:
    """The graph without the channels it can do without; every channel of the result is kept.

    Args:
        images: uint8 [N, C, H, W], on which the logits of both graphs are compared.

    Raises:
        ValueError: the logits differ on an image; the message names the first.
    """
    found: list[RemovedChannel] = []
    narrowed = graph  # in the shapes of the graph; only `kept` and biases change
    for name in [node.name for node in graph.nodes if isinstance(node, Conv | Neuron)]:
        narrowed, gone = _narrow(narrowed, name)
        found += gone
    result, left = _stripped(narrowed)
    removed = tuple(channel for channel in found if channel.channel not in left[channel.node])
    result = validate(result)
    return result, _certify(graph, result, removed, images)


def _narrow(graph: Graph, name: str) -> tuple[Graph, list[RemovedChannel]]:
    """The graph in which a spiking node keeps only what can fire and need not; at least one channel."""
    node = cast(Spiking, graph.node(name))
    bounds = potentials(node, neuron_bounds(graph, node), graph.steps)
    found = _removable(node, *bounds, _is_foldable(graph, node))
    gone = {channel.channel for channel in found}
    if gone.issuperset(node.kept):
        gone.discard(node.kept[0])
        found = [channel for channel in found if channel.channel in gone]
    constant = [channel.channel for channel in found if channel.reason == "always fires"]
    readers = [reader.name for reader in _weighted_readers(graph, node)]
    nodes: list[Node] = []
    for other in graph.nodes:
        if other.name == name:
            other = replace(node, kept=tuple(c for c in node.kept if c not in gone))
        elif constant and other.name in readers:
            assert isinstance(other, Conv | Readout)
            added = other.weight[:, constant].sum((1, 2, 3))
            scale = other.fraction_bits if isinstance(other, Conv) else 0
            other = replace(other, bias=other.bias + (added << scale))
        nodes.append(other)
    return replace(graph, nodes=tuple(nodes)), found


def _weighted_readers(graph: Graph, node: Node) -> list[Node]:
    """The nodes that read a node, or the pools behind it."""
    behind = graph.pools_behind(node)
    return list(graph.readers(behind[-1][0].name if behind else node.name))


def _is_foldable(graph: Graph, node: Spiking) -> bool:
    """Is a spike that always comes a constant for all readers: is every window of theirs inside the map?"""
    if isinstance(node, Neuron) or any(isinstance(pool, SumPool) for pool, _ in graph.pools_behind(node)):
        return False
    return all(
        isinstance(reader, Readout) or (isinstance(reader, Conv) and reader.padding == 0)
        for reader in _weighted_readers(graph, node)
    )


def _stripped(graph: Graph) -> tuple[Graph, dict[str, list[int]]]:
    """The graph without the channels of which no neuron fires, and which are left of each node's."""
    left: dict[str, list[int]] = {IMAGE: list(range(graph.input_shape[0]))}
    for trunk in graph.trunks:
        alive = sorted({c for node in trunk if isinstance(node, Conv | Neuron) for c in node.kept})
        left |= {node.name: alive for node in trunk}
    nodes: list[Node] = []
    for node in graph.nodes:
        into = left[graph.sources[node.name][0]]
        own = left.get(node.name, [])
        if isinstance(node, Readout):
            nodes.append(replace(node, weight=node.weight[:, into]))
        elif isinstance(node, Conv):
            fired = replace(node, kept=_places(node.kept, own), bias=node.bias[own], threshold=node.threshold[own])
            nodes.append(replace(fired, weight=node.weight[own][:, into], v_reset=node.v_reset[own]))
        elif isinstance(node, Neuron):
            kept = _places(node.kept, own)
            fires = replace(node, kept=kept, bias=node.bias[own], threshold=node.threshold[own])
            nodes.append(replace(fires, v_reset=node.v_reset[own]))
        elif isinstance(node, Current):
            computed = np.isin(own, node.kept)[:, None, None, None]
            kept = _places(node.kept, own) or (0,)  # of currents that nothing reads any more one is left, which is 0
            nodes.append(replace(node, weight=node.weight[own][:, into] * computed, kept=kept))
        else:
            nodes.append(node)
    return replace(graph, nodes=tuple(nodes)), left


def _places(kept: Sequence[int], left: Sequence[int]) -> tuple[int, ...]:
    """Of the channels that are left, where those that are kept stand."""
    return tuple(place for place, channel in enumerate(left) if channel in kept)


def _removable(node: Spiking, low: np.ndarray, high: np.ndarray, foldable: bool) -> list[RemovedChannel]:
    """The channels that can go, by the bounds [T, Co] of u; `foldable`: also those that always fire."""
    found = []
    for c, threshold in enumerate(node.threshold.tolist()):
        if c not in node.kept:
            found.append(RemovedChannel(node.name, c, "pruned", "not kept"))
        elif high[:, c].max() < threshold:
            found.append(
                RemovedChannel(
                    node.name, c, "never fires", f"u <= {high[:, c].max()} < threshold {threshold}"
                )
            )
        elif foldable and low[:, c].min() >= threshold:
            found.append(
                RemovedChannel(
                    node.name, c, "always fires", f"u >= {low[:, c].min()} >= threshold {threshold}"
                )
            )
    return found


def _certify(
    graph: Graph, result: Graph, removed: tuple[RemovedChannel, ...], images: np.ndarray | None
) -> Certificate:
    if images is None:
        return Certificate(removed, 0, 0)
    differ = np.any(execute(graph, images) != execute(result, images), axis=1)
    if differ.any():
        raise ValueError(
            f"graph {graph.name!r}: the compact graph differs on {int(differ.sum())} of {len(images)} images,"
            f" first on image {int(differ.argmax())}; it must not be used: report this with the graph"
        )
    return Certificate(removed, len(images), 0)
