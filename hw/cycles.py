"""The cycle law: cycles an image costs a stage that is fed without gaps and drained without stalls, exactly.

    spiking layer    sum over output pixels p and steps t of  NF * max(1, n(p,t))
    first layer      sum over output pixels p of              NF * max(n(p), T)      (its current feeds T steps)
    read-out         pixels * T * ceil(kept_in / SIMD), at least classes + 1 (the arg-max)
    with             n = kernel positions inside the map * ceil(kept_in / SIMD),  NF = ceil(kept_out / PE)

This is the interval from the last beat of an image to the last beat of the next; the first image takes `fill` more.
"""

from __future__ import annotations

from scaflow.quant.golden.beats import ceil_div
from scaflow.quant.graph import Conv, Edge, Graph, Readout


def inside(size: int, kernel: int, stride: int, padding: int) -> list[int]:
    """For each window along one axis, how many of its kernel positions lie inside the map."""
    count = (size + 2 * padding - kernel) // stride + 1
    starts = (o * stride - padding for o in range(count))
    return [min(size, start + kernel) - max(0, start) for start in starts]


def node_law(
    graph: Graph, node: Conv | Readout, edge: Edge, pe: int, simd: int, kept_in: int, kept_out: int
) -> int:
    """Cycles an image of a weighted node that reads `edge`, with the given channels kept on both sides."""
    _, height, width = edge.shape
    steps = ceil_div(kept_in, simd)
    if isinstance(node, Readout):
        return max(height * width * graph.time_steps * steps, len(node.weight) + 1)
    folds = ceil_div(kept_out, pe)
    rows = inside(height, node.kernel[0], node.stride, node.padding)
    columns = inside(width, node.kernel[1], node.stride, node.padding)
    if edge.bits > 1:
        return folds * sum(max(r * c * steps, graph.time_steps) for r in rows for c in columns)
    return graph.time_steps * folds * steps * sum(rows) * sum(columns)
