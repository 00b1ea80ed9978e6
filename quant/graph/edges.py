"""What flows between two nodes, and how a node's output follows from what it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from scaflow.quant.graph.nodes import Conv, Current, Join, Neuron, Node, Pool, SumPool

Bounds = tuple[np.ndarray, np.ndarray]  # lowest and highest value of each channel, int64 [C] each


@dataclass(frozen=True)
class Edge:
    """What flows between two nodes: `bits` a value, on the `kept` channels; the others are always zero.

    Pixels are an image, of which each current is formed once and feeds all steps; spikes and currents come anew each
    step. Spikes that were added are numbers; currents are signed.
    """

    shape: tuple[int, int, int]  # (C, H, W)
    time_steps: int  # 1 for the image, which enters once
    bits: int
    kept: tuple[int, ...]
    kind: Literal["pixels", "spikes", "currents"] = "spikes"
    most: int = 0  # the largest value, where it is not 2^bits - 1

    def repeats(self, time_steps: int) -> int:
        """Steps of a network of so many which one value serves."""
        return time_steps // self.time_steps

    @property
    def words(self) -> int:
        """Of an image: one a pixel and step."""
        _, height, width = self.shape
        return height * width * self.time_steps

    @property
    def largest(self) -> int:
        """Of the values, where these have no sign."""
        return self.most or (1 << self.bits) - 1


def written(node: Node, reads: Sequence[Edge], bounds: Bounds | None, time_steps: int) -> Edge:
    """The edge that a node writes.

    Args:
        reads: the edges it reads.
        bounds: of the currents it writes, if it writes any.
    """
    edge = reads[0]
    channels, height, width = edge.shape
    if isinstance(node, Conv | Current):
        (kh, kw), pad, stride = node.kernel, node.padding, node.stride
        shape = (
            len(node.weight),
            (height + 2 * pad - kh) // stride + 1,
            (width + 2 * pad - kw) // stride + 1,
        )
        if bounds is None:
            return Edge(shape, time_steps, 1, node.kept)
        return Edge(shape, time_steps, signed_bits(*bounds), node.kept, "currents")
    if isinstance(node, Neuron):
        return Edge(edge.shape, edge.time_steps, 1, node.kept)
    if isinstance(node, Join):
        kept = tuple(sorted({*edge.kept, *reads[1].kept}))
        if bounds is not None:
            return replace(edge, kept=kept, bits=signed_bits(*bounds))
        return _numbers(replace(edge, kept=kept), edge.largest + reads[1].largest)
    if isinstance(node, Pool | SumPool):
        pooled = replace(edge, shape=(channels, height // node.size, width // node.size))
        return pooled if isinstance(node, Pool) else _numbers(pooled, edge.largest * node.size**2)
    raise TypeError(f"node {node.name!r}: a {type(node).__name__} writes logits, no edge")


def _numbers(edge: Edge, most: int) -> Edge:
    bits = most.bit_length()
    return replace(edge, bits=bits, most=0 if most == (1 << bits) - 1 else most)


def currents(node: Node, reads: Sequence[Edge], bounds: Sequence[Bounds | None]) -> Bounds | None:
    """The bounds of the currents that a node writes; None: it writes none.

    Args:
        bounds: of the edges it reads.
    """
    if isinstance(node, Current):
        low, high = sums(node.weight, reads[0])
        computed = np.isin(np.arange(len(low)), node.kept)
        return low * computed, high * computed
    if isinstance(node, Join) and bounds[0] is not None and bounds[1] is not None:
        (low, high), (other_low, other_high) = bounds[0], bounds[1]
        a, b = node.shifts
        return (low << a) + (other_low << b), (high << a) + (other_high << b)
    return None


def sums(weight: np.ndarray, edge: Edge) -> Bounds:
    """Lowest and highest sum of weights [Co, Ci, Kh, Kw] times what an edge of unsigned values brings."""
    taken = weight[:, list(edge.kept)].reshape(len(weight), -1)
    return np.minimum(taken, 0).sum(1) * edge.largest, np.maximum(taken, 0).sum(1) * edge.largest


def signed_bits(*values: np.ndarray) -> int:
    """The two's complement bits that hold all of the values; at least 1."""
    low = min(int(v.min()) for v in values)
    high = max(int(v.max()) for v in values)
    return 1 + max(high.bit_length() if high > 0 else 0, (-low - 1).bit_length() if low < 0 else 0)
