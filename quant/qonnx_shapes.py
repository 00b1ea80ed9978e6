"""What shapes mean in a QONNX file: constants by broadcasting, windows by their pads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LARGEST_PAD = 1024  # more zeros on one side are no map of a design
Pads = tuple[tuple[int, int], tuple[int, int]]  # rows, columns: (before, behind)


def broadcasts(value: np.ndarray, shape: Sequence[int]) -> bool:
    """Whether the constant reaches this shape without making it larger."""
    try:
        return np.broadcast_shapes(value.shape, tuple(shape)) == tuple(shape)
    except ValueError:
        return False


def along(value: np.ndarray, shape: Sequence[int], axis: int) -> np.ndarray | None:
    """The constant, broadcast to `shape`, as one value for each index of `axis`; None where it varies elsewhere."""
    if not broadcasts(value, shape):
        return None
    full = value.reshape((1,) * (len(shape) - value.ndim) + value.shape)
    rows = np.moveaxis(full, axis, 0).reshape(full.shape[axis], -1)
    if (rows != rows[:, :1]).any():
        return None
    return np.broadcast_to(rows[:, 0], shape[axis])


def uniform(value: np.ndarray) -> float | None:
    """The one number all of a constant are."""
    return float(value.flat[0]) if value.size and (value == value.flat[0]).all() else None


def channelwise(value: np.ndarray, rank: int, channels: int) -> np.ndarray | None:
    """As the LIF node takes its parameters: a scalar, [C], or by broadcasting along axis 1."""
    if value.shape == (channels,) or value.size == 1:
        return np.broadcast_to(value.ravel(), channels)
    if value.ndim > rank:
        return None
    full = value.reshape((1,) * (rank - value.ndim) + value.shape)
    return full.ravel() if full.size == channels == full.shape[1] else None


@dataclass(frozen=True)
class Window:
    """Of a Conv or MaxPool over a map of (rows, columns)."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: Pads

    def reach(self, axis: int) -> int:
        """Rows or columns from a window's first to its last."""
        return (self.kernel[axis] - 1) * self.dilations[axis] + 1


def window(attribute: Mapping[str, Any], kernel: tuple[int, int], size: tuple[int, int]) -> Window | str:
    """The window that the attributes give over a map of this size, or why it is none."""
    auto = attribute.get("auto_pad", "NOTSET")
    given = {key: list(attribute.get(key, ())) for key in ("strides", "dilations", "pads")}
    wrong = [key for key, n in (("strides", 2), ("dilations", 2), ("pads", 4)) if len(given[key]) not in (0, n)]
    if len(kernel) != 2:
        return f"kernel_shape={list(kernel)} is of other than two dimensions; use a map of rows and columns"
    if wrong:
        return f"{wrong[0]}={given[wrong[0]]} is of other than two dimensions; use a map of rows and columns"
    if max([*given["pads"], 0]) > LARGEST_PAD:
        return f"pads={given['pads']} must be {LARGEST_PAD} at most"
    if min([*given["strides"], *given["dilations"], 1]) < 1 or min([*given["pads"], 0]) < 0:
        return ", ".join(f"{key}={value}" for key, value in given.items()) + ": above 0 must be all, pads at least 0"
    strides, dilations = (tuple(given[key] or (1, 1)) for key in ("strides", "dilations"))
    top, left, bottom, right = given["pads"] or (0, 0, 0, 0)
    found = Window(kernel, strides, dilations, ((top, bottom), (left, right)))
    if auto == "NOTSET":
        return found
    if any(given["pads"]):
        return f"auto_pad={auto} and pads={given['pads']} exclude each other; write one of them"
    if auto == "VALID":
        return found
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        return f"auto_pad={auto} must be NOTSET, VALID, SAME_UPPER or SAME_LOWER"
    pads = []
    for axis in (0, 1):
        outputs = -(-size[axis] // strides[axis])
        total = max((outputs - 1) * strides[axis] + found.reach(axis) - size[axis], 0)
        small, large = total // 2, total - total // 2
        pads.append((small, large) if auto == "SAME_UPPER" else (large, small))
    return Window(kernel, strides, dilations, (pads[0], pads[1]))


def together(weight: np.ndarray, groups: int) -> np.ndarray:
    """The weights [Co, Ci / groups, Kh, Kw] of groups of channels as those of one: zeros between channels of two."""
    outputs, inputs = len(weight) // groups, weight.shape[1]
    whole = np.zeros((len(weight), inputs * groups, *weight.shape[2:]), weight.dtype)
    for g in range(groups):
        own = slice(g * outputs, (g + 1) * outputs)
        whole[own, g * inputs : (g + 1) * inputs] = weight[own]
    return whole


def symmetric(weight: np.ndarray, found: Window, size: tuple[int, int]) -> tuple[np.ndarray, int, int] | str:
    """The same convolution with one stride and one padding on all sides: (weight, stride, padding).

    Dilation and uneven pads become zeros in a larger kernel: of padding p, an axis padded by b before and e behind
    puts p - b zeros before its kernel, and behind it as many as leave the outputs as they are.
    """
    outputs = []
    for axis in (0, 1):
        room = size[axis] + sum(found.pads[axis]) - found.reach(axis)
        if room < 0:
            return f"its window exceeds the padded {size[0]}x{size[1]} map; use a smaller one"
        outputs.append(room // found.strides[axis] + 1)
    stride = max((s for s, n in zip(found.strides, outputs, strict=True) if n > 1), default=1)
    if any(n > 1 and s != stride for s, n in zip(found.strides, outputs, strict=True)):
        return f"strides={list(found.strides)} must be the same for rows and columns"
    if weight.shape[2:] != found.kernel:
        return f"kernel_shape={list(found.kernel)} must be that of its weight, {list(weight.shape[2:])}"
    spread = np.zeros((*weight.shape[:2], found.reach(0), found.reach(1)), np.int64)
    spread[:, :, :: found.dilations[0], :: found.dilations[1]] = weight
    least = max(before for before, _ in found.pads)
    for padding in range(least, least + sum(size) + sum(map(sum, found.pads)) + 1):
        zeros = [_zeros(axis, found, size, outputs, stride, padding) for axis in (0, 1)]
        if all(behind is not None for _, behind in zeros):
            wide = np.pad(spread, ((0, 0), (0, 0), zeros[0], zeros[1]))  # type: ignore[arg-type]
            if padding < min(wide.shape[2:]):
                return wide, stride, padding
    return f"pads={found.pads} cannot be the same on all sides; pad evenly"


def _zeros(
    axis: int, found: Window, size: tuple[int, int], outputs: list[int], stride: int, padding: int
) -> tuple[int, int | None]:
    """Zeros before and behind an axis of the kernel, so that as many outputs come out; None: impossible."""
    before = padding - found.pads[axis][0]
    room = size[axis] + 2 * padding - before - found.reach(axis)
    # the least that (room - behind) // stride + 1 == outputs allows
    behind = max(0, room - outputs[axis] * stride + 1)
    return before, behind if (room - behind) // stride + 1 == outputs[axis] and room >= behind else None
