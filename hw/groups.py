"""Groups of synapses that share a look-up: what an event stage walks where it does not walk synapses one by one.

A group is a row of kernel positions, or one of them, of a few channels. The weight memory holds a sum for every pattern
of its spikes, and a group without any is never visited; a pattern of pixels picks a sum by each of a few parts. A stage
of groups of rows walks the rows of its windows (`window_row`): a map with a column a window, in which a kernel is one
column wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np

from scaflow.model.limits import pattern_parts
from scaflow.quant.golden.beats import ceil_div
from scaflow.quant.golden.window_row import WindowRow
from scaflow.quant.graph import Conv, Edge, Readout, Weighted

Group = tuple[int, int]  # kernel positions in a row: one or all of them; channels
SYNAPSE: Group = (1, 1)
Pair = tuple[int, int]  # of rows, of columns


@dataclass(frozen=True)
class Kernel:
    """The windows of a map that a scheduler walks."""

    size: Pair
    stride: Pair
    padding: Pair

    @classmethod
    def of(cls, node: Weighted, group: Group = SYNAPSE) -> Kernel:
        if isinstance(node, Readout):  # each word is a window
            return cls((1, 1), (1, 1), (0, 0))
        if group[0] == 1:
            return cls(node.kernel, (node.stride, node.stride), (node.padding, node.padding))
        return cls((node.kernel[0], 1), (node.stride, 1), (node.padding, 0))


def window_rows(node: Weighted, edge: Edge, kept_in: int, group: Group) -> WindowRow | None:
    """What puts the groups of a stage together; None: it walks synapses, or groups of a word as they come."""
    if group == SYNAPSE or isinstance(node, Readout):
        return None
    channels, height, width = edge.shape
    positions, together = group
    size, stride, padding = (positions, node.stride, node.padding) if positions > 1 else (1, 1, 0)
    # an image has one beat a pixel: as many of them at once as lie between two windows
    columns = gcd(stride, width) if edge.kind == "pixels" else 1
    return WindowRow(
        channels, kept_in, together, edge.bits, height, width, size, stride, padding, edge.time_steps, columns
    )


def arriving(edge: Edge, rows: WindowRow | None = None) -> int:
    """Cycles in which an image's words come in, one a cycle."""
    return rows.steps if rows else edge.words


def group_bits(group: Group, bits: int) -> int:
    """Of a pattern, where an activation has so many."""
    return group[0] * group[1] * bits


def lookups(group: Group, bits: int) -> int:
    """How many words a pattern picks: one, or one by each of its parts where numbers have bits; 0: none."""
    return 0 if group == SYNAPSE else pattern_parts(group[0] * group[1], bits)


def word_bits(group: Group, bits: int) -> int:
    """Of a pattern, or of a part of one, that pick a word."""
    return group[0] * group[1] * ceil_div(bits, pattern_parts(group[0] * group[1], bits))


def bank_depth(
    node: Weighted, edge: Edge, kept_in: int, folds: int, simd: int, scheduler: str, group: Group = SYNAPSE
) -> int:
    """Words of a weight bank: of a list those that are walked, for events with room for a power of two of fields."""
    positions: int = node.weight[0, 0].size // group[0]
    steps = ceil_div(ceil_div(kept_in, group[1]), simd)
    if scheduler == "list":
        return folds * steps * positions
    words = 1 if group == SYNAPSE else 1 << word_bits(group, edge.bits)
    depth: int = positions * words << (folds - 1).bit_length() << (steps - 1).bit_length()
    return 1 << (depth - 1).bit_length() if isinstance(node, Readout) else depth


def events(spikes: np.ndarray, node: Weighted, places: Sequence[int], group: Group) -> np.ndarray:
    """Where a group is not silent.

    Args:
        spikes: [..., C, H, W], what the node reads.
        places: of each channel among those walked, `group[1]` neighbours of which are a group; -1: it is not walked.

    Returns:
        uint8 [..., groups, H, columns of words].
    """
    positions, together = group
    walked = np.argsort(places, kind="stable")[sum(p < 0 for p in places) :]
    active = spikes[..., walked, :, :] != 0
    found = np.logical_or.reduceat(active, range(0, len(walked), together), axis=-3)
    if positions > 1 and isinstance(node, Conv):
        edge = (node.padding, node.padding)
        padded = np.pad(found, (*[(0, 0)] * (found.ndim - 1), edge))
        columns = (padded.shape[-1] - positions) // node.stride + 1
        span = (columns - 1) * node.stride + 1
        found = np.logical_or.reduce([padded[..., i : i + span : node.stride] for i in range(positions)])
    return found.view(np.uint8)


def tables(weight: np.ndarray, places: Sequence[int], group: Group, bits: int) -> np.ndarray:
    """The sums of a layer's weights for each pattern of each group.

    Args:
        weight: int [out, in, KH, KW].
        places: the walked channels, in their order.
        bits: of an activation, or of a part of it.

    Returns:
        int64 [out, groups, positions that are left, patterns]; bit `(i * channels + c) * bits + j` of a pattern is bit
        j of the activation of the group's channel c at position i.
    """
    positions, together = group
    out, _, height, width = weight.shape
    groups = ceil_div(len(places), together)
    lanes = np.zeros((out, groups * together, height, width), np.int64)
    lanes[:, : len(places)] = weight[:, list(places)]
    lanes = lanes.reshape(out, groups, together, height * width // positions, positions)
    parts = lanes.transpose(0, 1, 3, 4, 2).reshape(out, groups, -1, positions * together)
    scaled = (parts[..., None] << np.arange(bits)).reshape(*parts.shape[:3], -1)
    patterns = np.arange(1 << scaled.shape[-1])[:, None] >> np.arange(scaled.shape[-1]) & 1
    sums: np.ndarray = scaled @ patterns.T
    return sums
