"""Removes the channels a graph can do without, with a certificate that the logits stay the same.

Three kinds of output channels of a Conv go, front to back, each layer judged behind what went before it:

    pruned         not in `kept`: its spikes are zero by definition
    never fires    its highest u stays below the threshold at every step: zero for any input
    always fires   its lowest u reaches the threshold at every step: one for any input, also when pooled;
                   what it adds to its reader is a constant and goes into the reader's bias. That is exact
                   where every window lies inside the map: a reader without padding, or the read-out.
                   Elsewhere the channel stays.

The bounds of u are those of widths.potential_bounds. A layer keeps at least one channel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scaflow.quant.graph import Conv, Graph, Node, Pool, Readout, execute, validate
from scaflow.quant.widths import potential_bounds


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
    removed: list[RemovedChannel] = []
    nodes: list[Node] = []
    alive = np.arange(graph.input_shape[0])  # channels of the edge that are left
    constant = np.zeros(0, np.int64)  # channels of the edge that went because they are always one
    for i, node in enumerate(graph.nodes):
        if isinstance(node, Pool):
            nodes.append(node)
            continue
        weight, added = node.weight[:, alive], node.weight[:, constant].sum((1, 2, 3))
        if isinstance(node, Readout):
            nodes.append(replace(node, weight=weight, bias=node.bias + added))
            break
        narrowed = replace(node, weight=weight, bias=node.bias + (added << node.fraction_bits))
        # The edge in front of this node, of the graph as far as it is compacted.
        edge = replace(graph, nodes=(*nodes, narrowed)).edges()[len(nodes)]
        found = _removable(
            narrowed, *potential_bounds(narrowed, edge, graph.time_steps), _sees_whole_windows(graph, i)
        )
        gone = {channel.channel for channel in found}
        if len(gone) == len(node.weight):
            gone.discard(node.kept[0])
        found = [channel for channel in found if channel.channel in gone]
        removed += found
        alive = np.array([c for c in range(len(node.weight)) if c not in gone])
        constant = np.array([c.channel for c in found if c.reason == "always fires"], np.int64)
        nodes.append(
            replace(
                narrowed,
                weight=narrowed.weight[alive],
                bias=narrowed.bias[alive],
                threshold=narrowed.threshold[alive],
                kept=tuple(range(len(alive))),
            )
        )
    result = validate(replace(graph, nodes=tuple(nodes)))
    return result, _certify(graph, result, tuple(removed), images)


def _sees_whole_windows(graph: Graph, producer: int) -> bool:
    """Whether every window of the producer's reader lies inside the map."""
    reader = next(node for node in graph.nodes[producer + 1 :] if not isinstance(node, Pool))
    return isinstance(reader, Readout) or reader.padding == 0


def _removable(node: Conv, low: np.ndarray, high: np.ndarray, foldable: bool) -> list[RemovedChannel]:
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
