"""The map between two layers of a file: its sizes, the order in which its axes come, the zeros around it.

Transposes and Pad nodes change what a map looks like, not what is on it; the layer that reads it takes them into its
weights. So does a linear layer with the sums over windows, which average pooling is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from scaflow.quant.qonnx_shapes import symmetric, together, window

Sizes = tuple[int, int, int]


class Map:
    """Axes are 0 channels, 1 rows, 2 columns, once the first layer has said which is which."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.order = (0, 1, 2)  # axis i of the data, behind the batch, is axis order[i] of the map
        self.pads = ((0, 0), (0, 0), (0, 0))  # zeros before and behind, by axis of the map
        self.under: tuple[Sizes, tuple[int, int]] | None = None  # a map of these sizes was summed over such windows

    def copy(self) -> Map:
        """Of a map that several read."""
        return copy(self)

    @property
    def plain(self) -> bool:
        return self.order == (0, 1, 2) and not any(map(any, self.pads))

    def transpose(self, perm: Sequence[int]) -> None:
        """`perm`: of the data's axes, the batch first."""
        first, second, third = (self.order[axis - 1] for axis in perm[1:])
        self.order = (first, second, third)

    def pad(self, amounts: Mapping[int, tuple[int, int]]) -> None:
        """`amounts`: zeros by axis of the data, the batch is 0."""
        more = {axis: amounts[i + 1] for i, axis in enumerate(self.order)}
        a, b, c = ((before + more[i][0], behind + more[i][1]) for i, (before, behind) in enumerate(self.pads))
        self.pads = (a, b, c)

    def settle(self) -> Sizes:
        """Channels, rows, columns are the data's axes as they come; returns which of the file's they are."""
        a, b, c = self.order
        self.sizes = (self.sizes[a], self.sizes[b], self.sizes[c])
        self.pads = (self.pads[a], self.pads[b], self.pads[c])
        self.order = (0, 1, 2)
        return a, b, c

    def convolution(self, attribute: Mapping[str, Any], weight: np.ndarray) -> tuple[np.ndarray, int, int] | str:
        """A Conv on this map as (weight, stride, padding) of the graph, or why there is none."""
        if self.order != (0, 1, 2):
            return "reads a map whose axes have changed places; put channels, rows, columns back in order"
        groups = attribute.get("group", 1)
        if groups < 1 or len(weight) % groups:
            return f"group={groups} must divide its {len(weight)} output channels"
        if weight.shape[1] * groups != self.sizes[0] + sum(self.pads[0]):
            return f"reads {weight.shape[1] * groups} channels of a {self.sizes} map; its groups together read them all"
        weight = together(weight, groups)
        _, (top, bottom), (left, right) = self.pads
        _, height, width = self.sizes
        kernel = tuple(attribute.get("kernel_shape", weight.shape[2:]))
        found = window(attribute, kernel, (height + top + bottom, width + left + right))
        if isinstance(found, str):
            return found
        (a, b), (c, d) = found.pads
        wide = replace(found, pads=((a + top, b + bottom), (c + left, d + right)))
        placed = symmetric(weight, wide, (height, width))
        return placed if isinstance(placed, str) else (self._seen(placed[0]), *placed[1:])

    def linear(self, weight: np.ndarray) -> np.ndarray | str:
        """Weights [outputs, values] of the flattened map as [Co, C, H, W], or why they do not fit."""
        sizes = [self.sizes[axis] + sum(self.pads[axis]) for axis in self.order]
        if weight.shape[1] != math.prod(sizes):
            return f"reads {weight.shape[1]} values of a {tuple(sizes)} map; flatten the map before it"
        placed = weight.reshape(len(weight), *sizes).transpose(0, *(1 + self.order.index(axis) for axis in range(3)))
        (_, (top, _), (left, _)), (_, height, width) = self.pads, self.sizes
        seen = self._seen(placed[:, :, top : top + height, left : left + width])
        if self.under is None:
            return seen
        (_, rows, columns), (high, wide) = self.under
        full = np.zeros((*seen.shape[:2], rows, columns), seen.dtype)
        full[:, :, : height * high, : width * wide] = seen.repeat(high, 2).repeat(wide, 3)
        return full

    def _seen(self, weight: np.ndarray) -> np.ndarray:
        """Channels of zeros need no weights."""
        before = self.pads[0][0]
        return weight[:, before : before + self.sizes[0]]

    def pool(self, attribute: Mapping[str, Any], outputs: tuple[int, ...]) -> int | str:
        """The size of windows that lie side by side on the map, which is then that of their maxima or sums; `outputs`:
        rows and columns of the file's."""
        if self.order != (0, 1, 2):
            return "pools a map whose axes have changed places; put channels, rows, columns back in order"
        _, (top, bottom), (left, right) = self.pads
        _, height, width = self.sizes
        kernel = tuple(attribute["kernel_shape"])
        found = window(attribute, kernel, (height + top + bottom, width + left + right))
        if isinstance(found, str):
            return found
        first = (top + found.pads[0][0], left + found.pads[1][0])
        beside = all(s == k or n == 1 for s, k, n in zip(found.strides, kernel, outputs, strict=True))
        tight = all(d == 1 or k == 1 for d, k in zip(found.dilations, kernel, strict=True))
        whole = outputs == (height // kernel[0], width // kernel[1])
        if kernel[0] != kernel[1] or not (beside and tight and whole) or any(first):
            return (
                f"windows must be square, side by side, without gaps, and within the {height}x{width} map; set strides"
                " to kernel_shape, dilations to 1, and leave out pads and ceil_mode"
            )
        self.sizes, self.pads = (self.sizes[0], outputs[0], outputs[1]), (self.pads[0], (0, 0), (0, 0))
        return int(kernel[0])

    def all_pixels(self) -> tuple[int, int] | str:
        """The window that is the whole map, which then has one pixel."""
        if not self.plain:
            return "pools a map that is padded or whose axes have changed places; leave that out"
        channels, height, width = self.sizes
        self.sizes = (channels, 1, 1)
        return height, width
