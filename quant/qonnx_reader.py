"""Reads a QONNX model, from the image to the logits, as an integer graph; importer.py says what it accepts.

Every node is checked by itself first (qonnx_check.py); then the one path through the model is followed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.general.quant import quant

from scaflow.quant.graph import Conv, Graph, Node, Pool, Readout, validate
from scaflow.quant.qonnx_check import (
    AFFINE,
    QUANT,
    TRANSPARENT,
    WEIGHTED,
    attributes,
    node_problems,
    refusal,
    title,
)

_LARGEST_FRACTION = 8
_GRID = 2.0**-8  # where the file names no grid, a grid step is at most this part of a threshold
_CONSTANT_STEP = 2.0**-6  # accumulator step of a channel without synapses, in thresholds


@dataclass
class _Pending:
    """A weighted layer on the way to its LIF or to the read-out's sum: slope*(weights . input) + offset."""

    node: NodeProto
    weight: np.ndarray  # int64 [Co, Ci, Kh, Kw]
    bits: int
    stride: int
    padding: int
    slope: np.ndarray  # float64 [Co], weight and input scale included
    offset: np.ndarray  # float64 [Co]
    reshaped: bool = False


class Reading:
    """`graph` where there are no `problems`; `sources` are the LIF nodes of its Convs, in order."""

    graph: Graph

    def __init__(self, model: ModelWrapper) -> None:
        self.model = model
        self.problems = node_problems(model)
        self.sources: list[NodeProto] = []
        self.input_scale = 1.0  # what one pixel level is worth at the input
        self.logit_scale = 1.0  # what one integer of a logit is worth at the output
        self._nodes: list[Node] = []
        self._pending: _Pending | None = None
        self._flat = self._quantised = self._summed = False
        self._gain = 1.0  # value of one pixel level where the weights see it
        self._tiled = 1
        self._steps: int | None = None
        if self.problems:
            return
        shape = model.get_tensor_shape(model.graph.input[0].name)
        if len(model.graph.input) != 1 or shape is None or len(shape) != 4:
            self.problems.append(
                f"the inputs are {len(model.graph.input)}, of shape {shape}; give one image [N, C, H, W]"
            )
            return
        self._shape = self._image = (int(shape[1]), int(shape[2]), int(shape[3]))
        self._follow(model.graph.input[0].name)
        if not self.problems:
            try:
                self.graph = validate(
                    Graph(model.graph.name, self._image, self._steps or 0, tuple(self._nodes))
                )
            except ValueError as error:
                self.problems += [line.strip() for line in str(error).splitlines()[1:]]

    def _refuse(self, node: NodeProto, reason: str) -> None:
        self.problems.append(refusal(node, reason))

    # The path from the image to the logits.

    def _follow(self, tensor: str) -> None:
        outputs = [output.name for output in self.model.graph.output]
        while not (self.problems or tensor in outputs):
            consumers = self.model.find_consumers(tensor) or []
            if len(consumers) != 1:
                readers = ", ".join(title(node) for node in consumers) or "nothing"
                self.problems.append(
                    f"tensor {tensor!r} is read by {readers}; the graph is a chain: one reader each"
                )
                return
            node = consumers[0]
            self._take(node, tensor)
            tensor = node.output[0]
        if not self.problems and not self._summed:
            self.problems.append(
                f"output {tensor!r} is no read-out; end with MatMul, Reshape to [T, N, classes] and ReduceSum"
            )

    def _take(self, node: NodeProto, tensor: str) -> None:
        kind = node.op_type
        if kind in TRANSPARENT:
            return
        if kind == "Expand":
            if (np.asarray(self.model.get_initializer(node.input[1])) != 1).any():
                self._refuse(node, "only an expansion by ones is understood; repeat the batch with Tile")
        elif kind in QUANT:
            self._image_quant(node)
        elif kind in AFFINE:
            self._affine(node, tensor)
        elif kind == "BatchNormalization":
            self._batch_norm(node)
        elif kind == "Tile":
            self._tile(node)
        elif kind in WEIGHTED:
            self._weighted(node, tensor)
        elif kind == "LIF":
            self._lif(node)
        elif kind == "MaxPool":
            self._pool(node)
        elif kind == "Flatten" or (kind == "Reshape" and not self._pending):
            shape = self.model.get_tensor_shape(node.output[0])
            if self._pending or self._summed or shape is None or len(shape) != 2:
                self._refuse(node, "is understood only where a map is flattened for a MatMul or Gemm")
            self._flat = True
        elif kind == "Reshape":
            self._reshape(node)
        elif kind in ("ReduceSum", "ReduceMean"):
            self._reduce(node)
        else:
            self._refuse(node, "has no place on the path from the image to the logits; leave it out")

    def _image_quant(self, node: NodeProto) -> None:
        _, scale, _, bits = (self.model.get_initializer(name) for name in node.input)
        if self._quantised:
            self._refuse(
                node, "quantises what is an integer already: behind LIF everything is 0 or 1; leave it out"
            )
        elif bits.item() != 8 or attributes(node).get("signed", 1) or scale.size != 1:
            self._refuse(node, "the image needs 8 bits, unsigned, one scale")
        else:
            self._quantised = True
            self.input_scale = float(scale.item()) / self._gain
            self._gain = float(scale.item())

    def _affine(self, node: NodeProto, tensor: str) -> None:
        constant = next(name for name in node.input if name != tensor)
        value = np.asarray(self.model.get_initializer(constant), np.float64)
        kind, swapped = node.op_type, node.input[0] == constant
        if kind == "Div" and swapped:
            self._refuse(node, "divides a constant by the data; multiply instead")
        elif self._pending:
            pending = self._pending
            per_channel = self._per_channel(node, value, len(pending.slope))
            if per_channel is None:
                return
            if kind in ("Mul", "Div"):
                factor = per_channel if kind == "Mul" else 1 / per_channel
                pending.slope, pending.offset = pending.slope * factor, pending.offset * factor
            elif kind == "Add":
                pending.offset = pending.offset + per_channel
            elif swapped:
                pending.slope, pending.offset = -pending.slope, per_channel - pending.offset
            else:
                pending.offset = pending.offset - per_channel
        elif (
            kind in ("Mul", "Div")
            and value.size == 1
            and value.item() > 0
            and (not self._nodes or self._summed)
        ):
            factor = value.item() if kind == "Mul" else 1 / value.item()
            if self._summed:
                self.logit_scale *= factor
            else:
                self._gain *= factor
        else:
            self._refuse(node, "only a positive scalar factor may stand here, on the image or on the logits")

    def _per_channel(self, node: NodeProto, value: np.ndarray, channels: int) -> np.ndarray | None:
        rank = 2 if self._flat else 4
        shape = (1,) * (rank - value.ndim) + value.shape
        if len(shape) != rank or value.size != shape[1] or value.size not in (1, channels):
            self._refuse(
                node, f"constant of shape {value.shape}; give a scalar or one value per channel ({channels})"
            )
            return None
        return np.broadcast_to(value.ravel(), channels)

    def _batch_norm(self, node: NodeProto) -> None:
        if not self._pending:
            self._refuse(node, "must follow a Conv, MatMul or Gemm; move it there")
            return
        gamma, beta, mean, var = (
            np.asarray(self.model.get_initializer(i), np.float64) for i in node.input[1:5]
        )
        gain = gamma / np.sqrt(var + attributes(node).get("epsilon", 1e-5))
        self._pending.slope = self._pending.slope * gain
        self._pending.offset = (self._pending.offset - mean) * gain + beta

    def _tile(self, node: NodeProto) -> None:
        repeats = np.asarray(self.model.get_initializer(node.input[1])).ravel()
        if self._nodes or (repeats[1:] != 1).any():
            self._refuse(node, "only the batch is repeated, and only before the first LIF")
        self._tiled *= int(repeats[0])

    def _weighted(self, node: NodeProto, tensor: str) -> None:
        if self._pending:
            self._refuse(node, f"follows {title(self._pending.node)!r} without a LIF between; put one there")
            return
        if not self._quantised:
            self._refuse(
                node, "the image enters through an unsigned 8-bit Quant; put one before the first weights"
            )
            return
        if node.input[0] != tensor:
            self._refuse(node, "the data must be its first input, the weights its second")
            return
        flat = node.op_type != "Conv"
        source, transposed = self.model.find_producer(node.input[1]), False
        if flat and source is not None and source.op_type == "Transpose":
            source, transposed = self.model.find_producer(source.input[0]), True
        if (
            source is None
            or source.op_type not in QUANT
            or self.model.get_initializer(source.input[0]) is None
        ):
            self._refuse(node, "its weight is not quantised; use a Brevitas layer with 2 to 8 bits")
            return
        if not attributes(source).get("signed", 1):
            self._refuse(source, "weights must be signed")
            return
        weight, scale, bits = self._integers(source)
        if flat:
            if transposed == bool(attributes(node).get("transB", 0)):  # [in, out]
                weight, scale = weight.T, scale.T
            if not self._flat or weight.shape[1] != math.prod(self._shape):
                self._refuse(
                    node, f"reads {weight.shape[1]} values of a {self._shape} map; flatten the map before it"
                )
                return
            weight = weight.reshape(len(weight), *self._shape)
        channels = len(weight)
        if scale.size != 1 and scale.shape[0] != scale.size:
            self._refuse(source, f"scale has shape {scale.shape}; give one scale, or one per output channel")
            return
        offset = np.zeros(channels)
        if len(node.input) > 2:
            bias = self.model.get_initializer(node.input[2])
            if bias is None:
                self._refuse(node, "its bias must be a constant; leave the bias unquantised")
                return
            offset = np.asarray(bias, np.float64).reshape(-1)
        attribute = attributes(node)
        self._pending = _Pending(
            node,
            weight,
            bits,
            stride=1 if flat else attribute.get("strides", [1])[0],
            padding=0 if flat else attribute.get("pads", [0])[0],
            slope=np.broadcast_to(scale.ravel() * self._gain, channels).astype(np.float64),
            offset=offset,
        )

    def _integers(self, node: NodeProto) -> tuple[np.ndarray, np.ndarray, int]:
        weight, scale, zero, bits = (
            np.asarray(self.model.get_initializer(i), np.float64) for i in node.input
        )
        attribute = attributes(node)
        signed, narrow = attribute.get("signed", 1), attribute.get("narrow", 0)
        values = (
            quant(weight, scale, zero, bits, signed, narrow, attribute.get("rounding_mode", "ROUND")) / scale
        )
        return np.rint(values).astype(np.int64), scale, int(bits.item())

    def _lif(self, node: NodeProto) -> None:
        pending, attribute = self._pending, attributes(node)
        if not pending:
            self._refuse(node, "must follow a weighted layer; pool and flatten behind it")
            return
        steps = attribute["time_steps"]
        if not self._nodes and self._tiled != steps:
            self._refuse(
                node, f"time_steps={steps}, but the batch is repeated {self._tiled} times; use Tile once"
            )
        if self._steps not in (None, steps):
            self._refuse(node, f"time_steps={steps}, but the first LIF has {self._steps}; give all the same")
        self._steps = steps
        channels = len(pending.weight)
        kept = tuple(attribute.get("kept", range(channels))) or tuple(range(channels))
        values = [np.asarray(self.model.get_initializer(name), np.float64).ravel() for name in node.input[1:]]
        if any(value.size not in (1, channels) for value in values):
            self._refuse(
                node, f"threshold and step must be scalars or have one value per channel ({channels})"
            )
            return
        threshold = np.broadcast_to(values[0], channels)
        # What BatchNorm or pruning has scaled away has no synapse; its step is free.
        live = (pending.slope != 0) & pending.weight.reshape(channels, -1).any(1)
        step = np.where(live, np.abs(pending.slope), threshold * _CONSTANT_STEP)
        if len(values) > 1:
            given = np.broadcast_to(values[1], channels)
            wrong = live & ~np.isclose(given, step, rtol=1e-4, atol=0)
            if wrong.any():
                c = int(wrong.argmax())
                self._refuse(
                    node, f"step[{c}]={given[c]:g}, but an accumulator step is worth {step[c]:g}; write that"
                )
            step, fraction = given, attribute.get("fraction_bits", 0)
        else:
            finest = np.max(step / threshold / _GRID, where=live, initial=1.0)
            fraction = min(math.ceil(math.log2(finest)), _LARGEST_FRACTION)
        sign = np.where(live, np.sign(pending.slope), 0).astype(np.int64)
        weight = pending.weight * sign[:, None, None, None]
        bits = pending.bits + int(weight.max() >= 1 << (pending.bits - 1))  # -(-2^(b-1)) needs one more
        alive = np.isin(np.arange(channels), kept)
        first = not self._nodes
        self._nodes.append(
            Conv(
                name=f"conv{len(self.sources)}",
                weight=weight * alive[:, None, None, None],
                bias=np.where(alive, np.rint(pending.offset / step * 2.0**fraction), 0).astype(np.int64),
                threshold=np.where(alive, np.maximum(np.rint(threshold / step * 2.0**fraction), 1), 1).astype(
                    np.int64
                ),
                stride=pending.stride,
                padding=pending.padding,
                leak_shift=attribute["leak_shift"],
                reset=attribute["reset"],
                fraction_bits=fraction,
                weight_bits=bits,
                in_bits=8 if first else 1,
                kept=kept,
            )
        )
        _, height, width = self._shape
        kh, kw = weight.shape[2:]
        pad, stride = pending.padding, pending.stride
        self._shape = (channels, (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1)
        self.sources.append(node)
        self._pending, self._gain = None, 1.0

    def _pool(self, node: NodeProto) -> None:
        if not self._nodes or self._pending or self._flat:
            self._refuse(node, "pools spikes only: put it behind a LIF")
            return
        size = attributes(node)["kernel_shape"][0]
        same = sum(isinstance(n, Pool) for n in self._nodes[-1:])
        self._nodes.append(Pool(f"pool{len(self.sources) - 1}" + "_next" * same, size))
        self._shape = (self._shape[0], self._shape[1] // size, self._shape[2] // size)

    def _reshape(self, node: NodeProto) -> None:
        target = np.asarray(self.model.get_initializer(node.input[1])).ravel()
        if len(target) != 3 or target[0] != self._steps or target[2] not in (-1, len(self._pending.weight)):
            self._refuse(node, f"target {target.tolist()} must be [T, N, classes] with T={self._steps}")
        self._pending.reshaped = True

    def _reduce(self, node: NodeProto) -> None:
        pending, attribute = self._pending, attributes(node)
        axes = attribute.get("axes")
        if axes is None and len(node.input) > 1:
            axes = np.asarray(self.model.get_initializer(node.input[1])).ravel().tolist()
        if not pending or not pending.reshaped or list(axes or []) != [0] or attribute.get("keepdims", 1):
            self._refuse(node, "must sum [T, N, classes] over axis 0, keepdims=0, behind a MatMul or Gemm")
            return
        scale = pending.slope[0]
        if scale == 0 or (pending.slope != scale).any():
            self._refuse(
                pending.node, "the classes of the read-out need one scale; quantise its weight per tensor"
            )
            return
        weight = pending.weight * int(np.sign(scale))
        bits = pending.bits + int(weight.max() >= 1 << (pending.bits - 1))
        bias = np.rint(pending.offset / abs(scale)).astype(np.int64)
        self._nodes.append(Readout("readout", weight, bias, bits))
        self.logit_scale = abs(scale) / (self._steps if node.op_type == "ReduceMean" else 1)
        self._pending, self._summed = None, True
