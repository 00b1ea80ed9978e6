"""The cycle law: cycles an image costs a stage that is fed without gaps and drained without stalls, exactly.

    spiking layer    sum over output pixels p and steps t of  NF * n(p,t)    where every n(p,t) >= R
    first layer      sum over output pixels p of              NF * n(p)      hard reset: where words leave as they come;
                                                                             soft: where every n(p) >= T * R
    read-out         pixels * T * ceil(kept_in / SIMD), at least classes + 2 (the arg-max)
    with             n = kernel positions inside the map * ceil(kept_in / SIMD),  NF = ceil(kept_out / PE)
                     R = ceil(PE / NEURONS), the rounds in which the sums of a fold are served

Where an n is less, results wait for each other, but no longer than if each took the larger: `hw.serving` says how long.
So it does of a first layer with hard reset, whose T words a (pooled) pixel leave one a cycle, and which has no rounds.

and no fewer than the words of its input, which come in at one a cycle: pixels * T, in the first layer pixels.
This is the interval from the last beat of an image to the last beat of the next; the first image takes `fill` more.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from scaflow.hw.groups import SYNAPSE, Group, arriving, bank_depth, lookups
from scaflow.hw.serving import Words, repeated, served, settled, told
from scaflow.quant.direct import at_once
from scaflow.quant.golden.beats import ceil_div
from scaflow.quant.golden.mac_array import choosing, credits
from scaflow.quant.graph import Conv, Current, Edge, Graph, Readout, Weighted


def inside(size: int, kernel: int, stride: int, padding: int) -> list[int]:
    """For each window along one axis, how many of its kernel positions lie inside the map."""
    return list(_inside(size, kernel, stride, padding))


@cache
def _inside(size: int, kernel: int, stride: int, padding: int) -> tuple[int, ...]:
    count = (size + 2 * padding - kernel) // stride + 1
    starts = (o * stride - padding for o in range(count))
    return tuple(min(size, start + kernel) - max(0, start) for start in starts)


def node_law(
    graph: Graph, node: Weighted, edge: Edge, pe: int, simd: int, kept_in: int, kept_out: int, rounds: int = 1
) -> int:
    """Cycles an image of a weighted node that reads `edge`, with the given channels kept on both sides.

    Args:
        rounds: in which the neurons serve the sums of a fold.
    """
    _, height, width = edge.shape
    steps = ceil_div(kept_in, simd)
    if isinstance(node, Readout):
        return max(height * width * graph.time_steps * steps, len(node.weight) + 2)
    folds = ceil_div(kept_out, pe)
    rows = inside(height, node.kernel[0], node.stride, node.padding)
    columns = inside(width, node.kernel[1], node.stride, node.padding)
    work = folds * steps * sum(rows) * sum(columns)
    shortest = min(rows) * min(columns) * steps

    def pixels() -> np.ndarray:
        return np.outer(rows, columns).ravel() * steps

    if words := words_of(graph, node, edge, folds, simd):
        if not words.wait(shortest):
            return max(work, arriving(edge))
        return max(settled(lambda n: told(n, words), pixels()), arriving(edge))
    repeats = edge.repeats(graph.time_steps)
    if shortest >= repeats * rounds:
        return max(work * edge.time_steps, arriving(edge))
    if repeats > 1:
        return max(settled(lambda n: repeated(n, folds, repeats, rounds), pixels()), arriving(edge))
    return max(settled(lambda n: served(n, rounds), pixels().repeat(edge.time_steps * folds)), arriving(edge))


def waits(node: Conv | Current, edge: Edge, steps: int) -> bool:
    """Can a row of the node's windows, or an image, wait for pixels that come without gaps, a word a cycle?

    steps: cycles a kernel position of an output pixel and time step costs, folds included.
    """
    _, height, width = edge.shape
    rows = inside(height, node.kernel[0], node.stride, node.padding)
    columns = sum(inside(width, node.kernel[1], node.stride, node.padding))
    return steps * columns * min(rows) < node.stride * width or steps * columns * sum(rows) < height * width


def array_latency(simd: int, in_bits: int, lookup: int, depth: int) -> int:
    """Cycles in mac_array from a window's last step to its sum.

    Args:
        in_bits: of an activation.
        lookup: how many words it picks, as a pattern; 0: it is a number.
        depth: words of a weight bank.
    """
    return 3 + (simd * max(1, lookup) - 1).bit_length() + (in_bits > 1 or lookup > 0) + choosing(depth)


def words_of(
    graph: Graph,
    node: Conv | Current,
    edge: Edge,
    folds: int,
    simd: int,
    scheduler: str = "list",
    group: Group = SYNAPSE,
) -> Words | None:
    """What is behind the array of a first layer whose spikes come all at once; None: they do not."""
    if isinstance(node, Current) or not at_once(node, edge, graph.time_steps):
        return None
    depth = bank_depth(node, edge, len(edge.kept), folds, simd, scheduler, group)
    array = array_latency(simd, edge.bits, lookups(group, edge.bits), depth)
    tables, gap = [], 1
    for pool, before in graph.pools_behind(node):
        last = [np.arange(size) % pool.size == pool.size - 1 for size in before.shape[1:]]
        tables.append(np.outer(*last).ravel())
        gap *= pool.size
    beats = np.array([len(table) for table in tables], np.int64)
    ends = np.concatenate([np.empty(0, bool), *tables])
    return Words(folds, graph.time_steps, array + 5, credits(depth), ends, beats, gap)
