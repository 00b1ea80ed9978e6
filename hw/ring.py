"""How deep the ring of window_buffer must be for a list stage to take the cycles of the law, however uneven its rows.

A row of windows can take fewer cycles than the pixels that are new to it need to come in, and another more: the ring
must hold what comes in meanwhile, or the stage waits now for pixels, now for room, and an image costs more than either.
"""

from __future__ import annotations

import numpy as np

from scaflow.hw import compiled
from scaflow.hw.cycles import node_law, waits
from scaflow.quant.golden.beats import ceil_div
from scaflow.quant.golden.window_buffer import ring_depth
from scaflow.quant.graph import Conv, Edge, Graph


def depth(
    graph: Graph, node: Conv, edge: Edge, pe: int, simd: int, kept_in: int, kept_out: int, rounds: int = 1
) -> int:
    """Words, a power of two; the arguments are those of `node_law`."""
    _, height, width = edge.shape
    steps, folds = ceil_div(kept_in, simd), ceil_div(kept_out, pe)
    words = ring_depth(height, width, node.kernel[0], node.stride, node.padding, edge.time_steps)
    if not waits(node, edge, steps * folds):
        return words
    law = node_law(graph, node, edge, pe, simd, kept_in, kept_out, rounds)
    repeats = edge.repeats(graph.time_steps)
    geometry = (height, width, *node.kernel, node.stride, node.padding, edge.time_steps)
    # a ring of a few images always does: what waits for its room is then work that the law has counted since
    most = 8 * (words + height * width * edge.time_steps)
    while not _keeps(*geometry, steps, folds, repeats, rounds, law, words):
        words *= 2
        assert words < most, f"node {node.name!r}: no ring keeps up with the law's {law} cycles"
    return words


@compiled.cached()
def _keeps(
    height: int,
    width: int,
    kernel_h: int,
    kernel_w: int,
    stride: int,
    padding: int,
    time_in: int,
    steps: int,
    folds: int,
    repeats: int,
    rounds: int,
    law: int,
    depth: int,
) -> bool:
    """Does a stage with a ring of `depth` words keep up with an image every `law` cycles?

    The latencies are at least those of the hardware. Of the times behind a multiple of `law`, an image after the other,
    none falls; if none grows without end, they stand still once every row's room has had its say.
    """
    out_h = (height + 2 * padding - kernel_h) // stride + 1
    out_w = (width + 2 * padding - kernel_w) // stride + 1
    words = height * width * time_in
    half = out_h + depth // words + 3
    wrote = np.zeros(words, np.int64)
    left_rows = np.zeros(2 * half * out_h, np.int64)  # when the windows of a row have left the ring
    ends = np.zeros(2 * half, np.int64)
    word, at = 0, -1  # words written, time of the last
    room_at, room_row, room_line = 0, 0, 0  # since when there is room for `depth` words from `room_line` on
    # as in `hw.serving`: a result's last step taken, served from; and of the repeater
    taken, begun, entered, left, freed, older = 0, -rounds, -rounds, 0, -1, -1
    for image in range(2 * half):
        for row in range(out_h):
            top = row * stride - padding
            bottom = min(top + kernel_h, height)
            for column in range(out_w):
                start = column * stride - padding
                right = min(start + kernel_w, width)
                need = image * words + ((bottom - 1) * width + right) * time_in
                while word < need:
                    while room_line <= word - depth:
                        room_at = left_rows[room_row] + 1
                        room_row += 1
                        line = max(0, room_row % out_h * stride - padding)
                        room_line = room_row // out_h * words + line * width * time_in
                    at = max(at + 1, room_at, word // words * law)
                    wrote[word % words] = at
                    word += 1
                n = (bottom - max(top, 0)) * (right - max(start, 0)) * steps
                taken = max(taken, wrote[(need - 1) % words] + 1)
                if repeats == 1:
                    for _ in range(time_in * folds):
                        taken = max(taken + n, begun + 1)
                        begun = max(taken, begun + rounds)
                    left = begun
                    continue
                for _ in range(folds):
                    if rounds == 1:
                        entered = max(taken + n, older + 1)
                        taken = entered
                    else:
                        taken = max(taken + n, entered + rounds - 1)
                        entered = max(taken, older) + 1
                    left = max(left, entered) + rounds
                left += (repeats - 1) * folds * rounds
                older, freed = freed, left
            left_rows[image * out_h + row] = taken
        ends[image] = left - image * law
    return bool(ends[half] == ends[-1])
