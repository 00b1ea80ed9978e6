"""The cycle law: cycles an image costs a stage that is fed without gaps and drained without stalls, exactly.

    spiking layer    sum over output pixels p and steps t of  NF * max(1, n(p,t))
    first layer      sum over output pixels p of              NF * n(p)      where every n(p) >= T; see `repeated`
    read-out         pixels * T * ceil(kept_in / SIMD), at least classes + 2 (the arg-max)
    with             n = kernel positions inside the map * ceil(kept_in / SIMD),  NF = ceil(kept_out / PE)

and no fewer than the words of its input, which come in at one a cycle: pixels * T, in the first layer pixels.
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
        return max(height * width * graph.time_steps * steps, len(node.weight) + 2)
    folds = ceil_div(kept_out, pe)
    rows = inside(height, node.kernel[0], node.stride, node.padding)
    columns = inside(width, node.kernel[1], node.stride, node.padding)
    if edge.bits > 1:
        work = repeated([r * c * steps for r in rows for c in columns], folds, graph.time_steps)
    else:
        work = graph.time_steps * folds * steps * sum(rows) * sum(columns)
    return max(work, arriving(edge))


def arriving(edge: Edge) -> int:
    """Cycles in which an image's words come in, one a cycle."""
    _, height, width = edge.shape
    return height * width * edge.time_steps


def waits(node: Conv, edge: Edge, steps: int) -> bool:
    """Can a row of the node's windows, or an image, wait for pixels that come without gaps, a word a cycle?

    steps: cycles a kernel position of an output pixel and time step costs, folds included.
    """
    _, height, width = edge.shape
    rows = inside(height, node.kernel[0], node.stride, node.padding)
    columns = sum(inside(width, node.kernel[1], node.stride, node.padding))
    return steps * columns * min(rows) < node.stride * width or steps * columns * sum(rows) < height * width


def repeated(positions: list[int], folds: int, time_steps: int) -> int:
    """Cycles between images of a first layer, whose current is formed once a pixel and fed to all time steps.

    positions: synapse steps n(p) of each output pixel. The array works n(p) cycles on each of the pixel's `folds`
    currents; the repeater behind it emits them `time_steps` times and holds two pixels. With a(p,f) the cycle in which
    a current enters the repeater, o(p,f) the one in which it leaves first and c(p) the one in which it leaves last:

        a(p,f) = max(a before + n(p), c(p-2) + 1)        o(p,f) = max(o or c before, a(p,f)) + 1
        c(p)   = o(p, last f) + (time_steps - 1) * folds
    """
    if min(positions) >= time_steps:
        return folds * sum(positions)
    entered, left, freed, older = 0, 0, -1, -1
    ends, intervals = [0], [0, 1]
    while intervals[-1] != intervals[-2]:  # the first images run into an empty repeater
        for n in positions:
            for _ in range(folds):
                entered = max(entered + n, older + 1)
                left = max(left, entered) + 1
            left += (time_steps - 1) * folds
            older, freed = freed, left
        ends.append(left)
        intervals.append(ends[-1] - ends[-2])
    return intervals[-1]
