"""A weighted layer on its way from the file's real numbers to integers, and what rounding that announces."""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import NodeProto

from scaflow.quant.graph import Conv, Current, Join, Neuron, Readout
from scaflow.quant.neuron import NO_DECAY
from scaflow.quant.qonnx_check import weight_chain
from scaflow.quant.qonnx_operators import attributes, refusal, title
from scaflow.quant.qonnx_run import Runner
from scaflow.quant.qonnx_shapes import along, broadcasts

_LARGEST_FRACTION = 8
_GRID = 2.0**-8  # where the file names no grid, a grid step is at most this part of a threshold
_CONSTANT_STEP = 2.0**-6  # accumulator step of a channel without synapses, in thresholds
_SAME_GRID = 1e-5  # of ratios that should be a power of two: float32 has rounded both scales
_LARGEST = 2.0**52  # of bias and threshold, in steps of the grid: what is computed with them stays exact


@dataclass(frozen=True, eq=False)
class Rounding:
    """By how much a layer's integers may differ from the file's numbers, per output channel, in units of `grid`."""

    source: NodeProto  # the LIF, or the sum of the read-out
    grid: np.ndarray  # what one unit of the bias is worth in the file
    bias: np.ndarray
    threshold: np.ndarray
    v_reset: np.ndarray
    span: np.ndarray  # how large the constants are that were added up: floating point rounds in proportion
    exact: bool = False  # the file carries `step`: it rounds to the grid itself


@dataclass(frozen=True, eq=False)
class Weight:
    units: np.ndarray  # int64, of the tensor's shape
    scale: np.ndarray  # float64 [Co]
    bits: int


def quantised_weight(runner: Runner, node: NodeProto, axis: int) -> Weight | str:
    """The integers of a layer's weight, and one scale for each index of `axis`; or the refusal."""
    chain = weight_chain(runner, node.input[1])
    if not chain:
        return refusal(node, "its weight is not quantised; use a Brevitas layer with 2 to 8 bits")
    quantiser = chain[0]
    shape = runner.constants[quantiser.output[0]].shape
    scale = np.asarray(runner.constants[quantiser.input[1]], np.float64)
    signed, bits = True, 2
    if quantiser.op_type != "BipolarQuant":
        signed = bool(attributes(quantiser).get("signed", 1))
        bits = int(runner.constants[quantiser.input[3]].item())
    if not signed:
        return refusal(quantiser, "weights must be signed")
    if not (scale > 0).all() or not broadcasts(scale, shape):
        return refusal(quantiser, f"scale of shape {scale.shape} must be above 0 and broadcast to the weight's {shape}")
    moved = np.array(np.broadcast_to(scale, shape))
    for step in chain[1:]:
        if step.op_type == "Transpose":
            moved = moved.transpose(attributes(step).get("perm"))
        elif step.op_type in ("Reshape", "Flatten"):
            moved = moved.reshape(runner.constants[step.output[0]].shape)
    value = np.asarray(runner.constants[node.input[1]], np.float64)
    per_output = along(moved, value.shape, axis)
    if per_output is None:
        return refusal(
            quantiser,
            f"scale of shape {scale.shape} differs within an output channel: by broadcasting it lies along the last"
            f" axes of the weight's {shape}; give one scale, or one per output channel",
        )
    units = np.rint(value / moved)
    if (abs(value - units * moved) > 1e-3 * moved).any() or abs(units).max(initial=0) > 1 << (bits - 1):
        return refusal(quantiser, f"its weights are no whole numbers of {bits} bits times the scale; export it again")
    return Weight(units.astype(np.int64), per_output, bits)


@dataclass
class Pending:
    """slope*(weights . input) + offset, until a LIF or the read-out's sum makes integers of it.

    Where others read the same sums, or they are joined, the weights have become a `Current` of the graph: then it is
    slope*current + offset.
    """

    node: NodeProto
    slope: np.ndarray  # float64 [Co], weight and input scale included
    offset: np.ndarray  # float64 [Co]
    source: str  # what the weights read, or the current
    name: str = ""  # of the graph's node that the weights become
    weight: np.ndarray | None = None  # int64 [Co, Ci, Kh, Kw]
    bits: int = 0
    stride: int = 1
    padding: int = 0
    in_bits: int = 1
    live: np.ndarray = field(default_factory=lambda: np.empty(0, bool))  # [Co]: where the current is not always 0
    reshaped: bool = False
    span: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.span = abs(self.offset)

    def copy(self) -> Pending:
        return copy(self)

    def multiply(self, factor: np.ndarray) -> None:
        self.slope, self.offset, self.span = self.slope * factor, self.offset * factor, self.span * abs(factor)

    def add(self, value: np.ndarray) -> None:
        self.offset, self.span = self.offset + value, self.span + abs(value)

    def current(self) -> Current | None:
        """The node that the weights become, whose sums this is from now on; None: they have become it already."""
        if self.weight is None:
            return None
        channels = len(self.weight)
        # What BatchNorm or pruning has scaled away has no synapse; its step is free.
        self.live = (self.slope != 0) & self.weight.reshape(channels, -1).any(1)
        weight = self.weight * np.where(self.live, np.sign(self.slope), 0).astype(np.int64)[:, None, None, None]
        kept = tuple(np.flatnonzero(self.live).tolist()) or (0,)
        bits, in_bits = _wider(self.bits, weight), self.in_bits
        node = Current(self.name, weight, self.stride, self.padding, bits, in_bits, kept, (self.source,))
        self.source, self.weight, self.slope = self.name, None, np.where(self.live, abs(self.slope), 1.0)
        return node

    def join(self, other: Pending, node: NodeProto, name: str) -> tuple[Pending, Join] | str:
        """The sum of two currents; or why they have none."""
        for part in (self, other):
            wrong = part.live & (part.slope <= 0)
            if wrong.any():
                c = int(wrong.argmax())
                return (
                    f"adds the sums of {title(part.node)!r} with the factor {part.slope[c]:g} in channel {c}, and"
                    " others read them as well; it must be above 0"
                )
        both = self.live & other.live
        shift, ratio = 0, self.slope / other.slope
        if both.any():
            shift = round(float(np.log2(ratio[both][0])))
            wrong = both & ~np.isclose(ratio, 2.0**shift, rtol=_SAME_GRID, atol=0)
            if wrong.any():
                c = int(wrong.argmax())
                return (
                    f"adds currents of two grids: in channel {c} a step of {title(self.node)!r} is worth"
                    f" {self.slope[c]:g}, one of {title(other.node)!r} {other.slope[c]:g}, and the ratio is not the"
                    " same power of two in all channels; quantise all that is added with one scale a channel, times"
                    " powers of two"
                )
        shifts = (max(shift, 0), max(-shift, 0))
        worth = np.where(self.live, self.slope * 2.0 ** -shifts[0], other.slope * 2.0 ** -shifts[1])
        made = Pending(node, worth, self.offset + other.offset, name, live=self.live | other.live)
        made.span = self.span + other.span
        return made, Join(name, (self.source, other.source), shifts)

    def neuron(
        self,
        lif: NodeProto,
        name: str,
        threshold: np.ndarray,
        given: np.ndarray | None,
        v_reset: np.ndarray | None,
    ) -> tuple[Conv | Neuron, Rounding] | str:
        """The neurons as integers, with the layer they alone read; `name`: of them by themselves; `given`: the file's
        step per channel. Or why there are none."""
        attribute, channels = attributes(lif), len(self.slope)
        kept = tuple(sorted(set(attribute.get("kept", ())))) or tuple(range(channels))
        if kept[-1] >= channels:
            return f"kept={list(kept)} must be channel numbers below {channels}"
        live = self.live if self.weight is None else (self.slope != 0) & self.weight.reshape(channels, -1).any(1)
        alive = np.isin(np.arange(channels), kept)
        if self.weight is None and (wrong := alive & live & (self.slope <= 0)).any():
            c = int(wrong.argmax())
            return (
                f"reads the sums of {title(self.node)!r} with the factor {self.slope[c]:g} in channel {c}, and others"
                " read them as well; it must be above 0"
            )
        step = np.where(live, np.abs(self.slope), threshold * _CONSTANT_STEP)
        if given is not None:
            wrong = live & ~np.isclose(given, step, rtol=1e-4, atol=0)
            if wrong.any():
                c = int(wrong.argmax())
                return f"step[{c}]={given[c]:g}, but an accumulator step is worth {step[c]:g}; write that"
            step, fraction = given, attribute.get("fraction_bits", 0)
        else:
            finest = np.max(step / threshold / _GRID, where=live, initial=1.0)
            fraction = min(math.ceil(math.log2(finest)), _LARGEST_FRACTION)
        grid = step * 2.0**-fraction
        bias, fires, back = self.offset / grid, threshold / grid, (0 * grid if v_reset is None else v_reset / grid)
        highest = np.maximum(np.rint(fires), 1)
        above = alive & (np.rint(back) >= highest)
        if above.any():
            c = int(above.argmax())
            value = back[c] * grid[c]
            return f"v_reset of channel {c} is {value:g}; it must be a grid step below the threshold, {threshold[c]:g}"
        large = np.maximum(abs(bias), np.maximum(fires, abs(back)))
        if not (large < _LARGEST).all():
            c = int((~(large < _LARGEST)).argmax())
            return (
                f"channel {c}: bias {self.offset[c]:g} and threshold {threshold[c]:g} are too many accumulator steps"
                f" of {step[c]:g}; train with BatchNormalization, or with weights of a larger scale"
            )
        levels: dict[str, Any] = {
            "bias": np.where(alive, np.rint(bias), 0).astype(np.int64),
            "threshold": np.where(alive, highest, 1).astype(np.int64),
            "v_reset": np.where(alive, np.rint(back), 0).astype(np.int64),
            "leak_shift": attribute["leak_shift"],
            "reset": attribute["reset"],
            "decay": attribute.get("decay", NO_DECAY),
            "fraction_bits": fraction,
            "kept": kept,
            "reads": (self.source,),
        }
        made: Conv | Neuron
        if self.weight is None:
            made = Neuron(name=name, **levels)
        else:
            sign = np.where(live, np.sign(self.slope), 0).astype(np.int64)
            weight = self.weight * sign[:, None, None, None]
            made = Conv(
                name=self.name,
                weight=weight * alive[:, None, None, None],
                stride=self.stride,
                padding=self.padding,
                weight_bits=_wider(self.bits, weight),
                in_bits=self.in_bits,
                **levels,
            )
        rounding = Rounding(
            lif,
            grid,
            np.where(alive, abs(bias - made.bias), 0),
            np.where(alive, abs(fires - made.threshold), 0),
            np.where(alive, abs(back - made.v_reset), 0),
            self.span / grid,
            given is not None,
        )
        return made, rounding

    def readout(self, total: NodeProto) -> tuple[Readout, Rounding] | str:
        """The layer as the read-out, or why it is none."""
        assert self.weight is not None
        scale = self.slope[0]
        if scale == 0 or (self.slope != scale).any():
            return "the classes of the read-out need one scale; quantise its weight per tensor"
        bias = self.offset / abs(scale)
        if not (abs(bias) < _LARGEST).all():
            return f"its bias is up to {abs(self.offset).max():g}: too many steps of {abs(scale):g}; use a larger scale"
        weight = self.weight * int(np.sign(scale))
        whole = np.rint(bias).astype(np.int64)
        node = Readout("readout", weight, whole, _wider(self.bits, weight), (self.source,))
        grid, none = np.full(len(bias), abs(scale)), np.zeros(len(bias))
        return node, Rounding(total, grid, abs(bias - node.bias), none, none, self.span / grid)


def _wider(bits: int, weight: np.ndarray) -> int:
    """-(-2^(b-1)) needs a bit more."""
    return bits + int(weight.max() >= 1 << (bits - 1))
