"""How deep the ring of window_buffer must be for a list stage to take the cycles of the law, however uneven its rows.

A row of windows can take fewer cycles than the pixels that are new to it need to come in, and another more: the ring
must hold what comes in meanwhile, or the stage waits now for pixels, now for room, and an image costs more than either.
"""

from __future__ import annotations

import numpy as np

from scaflow.hw.cycles import node_law, waits, words_of
from scaflow.hw.serving import Queue, keeps
from scaflow.quant.golden.beats import ceil_div
from scaflow.quant.golden.window_buffer import ring_depth
from scaflow.quant.graph import Conv, Current, Edge, Graph


def depth(
    graph: Graph, node: Conv | Current, edge: Edge, pe: int, simd: int, kept_in: int, kept_out: int, rounds: int = 1
) -> int:
    """Words, a power of two; the arguments are those of `node_law`."""
    _, height, width = edge.shape
    steps, folds = ceil_div(kept_in, simd), ceil_div(kept_out, pe)
    words = ring_depth(height, width, node.kernel[0], node.stride, node.padding, edge.time_steps)
    if not waits(node, edge, steps * folds):
        return words
    law = node_law(graph, node, edge, pe, simd, kept_in, kept_out, rounds)
    repeats, told = edge.repeats(graph.time_steps), words_of(graph, node, edge, folds, simd)
    none: Queue = (0, 0, 1, np.empty(0, bool), np.empty(0, np.int64))
    queue = told.queue if told else none
    geometry = (height, width, *node.kernel, node.stride, node.padding, edge.time_steps)
    # a ring of a few images always does: what waits for its room is then work that the law has counted since
    most = 8 * (words + height * width * edge.time_steps)
    while not keeps(*geometry, steps, folds, repeats, rounds, *queue, law, words):
        words *= 2
        assert words < most, f"node {node.name!r}: no ring keeps up with the law's {law} cycles"
    return words

