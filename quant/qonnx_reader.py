"""Follows the one path through a QONNX file, from the image to the logits, and makes the integer graph of it.

importer.py says what it accepts. Every node is checked by itself first (qonnx_check.py). Shapes and types on the path
are those that an execution of the file has.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from scaflow.quant.graph import Graph, Pool, validate
from scaflow.quant.qonnx_check import AFFINE, QUANT, TRANSPARENT, WEIGHTED, node_problems
from scaflow.quant.qonnx_file import image_input
from scaflow.quant.qonnx_layer import Pending, quantised_weight
from scaflow.quant.qonnx_map import Map
from scaflow.quant.qonnx_operators import attributes, title
from scaflow.quant.qonnx_position import Position
from scaflow.quant.qonnx_run import Runner
from scaflow.quant.qonnx_shapes import along, channelwise


class Reading(Position):
    """`graph` where there are no `problems`; then `roundings` has one entry for each Conv and the Readout, in order."""

    graph: Graph

    def __init__(self, runner: Runner) -> None:
        super().__init__(runner)
        self.problems += node_problems(runner)
        found = image_input(runner.file)
        if isinstance(found, str):
            self.problems.append(found)
        if isinstance(found, str) or self.problems:
            return
        self.input = found
        self._flat = len(found.shape) == 1
        c, h, w = (1, 1, *found.shape)[-3:]
        self._map = Map((c, h, w))
        self._context = {found.name: np.zeros((found.batch, *found.shape), found.dtype)}
        self._follow(found.name)
        if not self.problems:
            self._finish()

    def feed(self, images: np.ndarray) -> np.ndarray:
        """uint8 images [N, C, H, W] as the file takes them."""
        own = images.transpose(0, *(1 + int(axis) for axis in np.argsort(self._layout)))
        return (own.reshape(len(images), *self.input.shape) * self.input_scale).astype(self.input.dtype)

    def _finish(self) -> None:
        if self.input.dtype.kind in "iu" and self.input_scale != 1:
            self.problems.append(
                f"input {self.input.name!r} is of type {self.input.dtype}, but a pixel level is worth"
                f" {self.input_scale:g} there; multiply by the scale of the Quant in front of it"
            )
            return
        try:
            name = self.runner.file.name or self.runner.file.path.stem
            graph = Graph(name, self._image, self._steps or 0, tuple(self._nodes), self.pixel_bits)
            self.graph = validate(graph)
        except ValueError as error:
            self.problems += [line.strip() for line in str(error).splitlines()[1:]]

    def _follow(self, tensor: str) -> None:
        file, fixed = self.runner.file, self.runner.fixed
        while not self.problems:
            consumers = [n for n in file.nodes if tensor in n.input and not fixed.issuperset(filter(None, n.output))]
            if not consumers:
                break
            if len(consumers) != 1 or list(consumers[0].input).count(tensor) != 1:
                readers = ", ".join(title(node) for node in consumers)
                self.problems.append(f"tensor {tensor!r} is read by {readers}; the graph is a chain: one reader each")
                return
            node = consumers[0]
            if node.op_type not in AFFINE and node.input[0] != tensor:
                self._refuse(node, f"the data, {tensor!r}, must be its first input")
                return
            try:
                self._take(node, tensor, self._value(tensor))
            except ValueError as error:
                self.problems.append(str(error))
            tensor = node.output[0]
        if not self.problems and not self._summed:
            self.problems.append(
                f"output {tensor!r} is no read-out; end with MatMul, Reshape to [T, N, classes] and ReduceSum"
            )

    def _take(self, node: NodeProto, tensor: str, x: np.ndarray) -> None:
        kind = node.op_type
        if kind in TRANSPARENT:
            return
        if kind == "Cast":
            self._cast(node, x)
        elif kind == "Expand":
            self._expand(node, x)
        elif kind in QUANT:
            self._image_quant(node, x)
        elif kind in AFFINE:
            self._affine(node, tensor, x)
        elif kind == "BatchNormalization":
            self._batch_norm(node)
        elif kind == "Tile":
            self._tile(node)
        elif kind == "Transpose":
            self._transpose(node, x)
        elif kind == "Pad":
            self._pad(node, x)
        elif kind in WEIGHTED:
            self._weighted(node, x)
        elif kind == "LIF":
            self._lif(node, x)
        elif kind == "MaxPool":
            self._pool(node)
        elif kind == "Reshape" and self._pending:
            self._split_steps(node, x)
        elif kind in ("Flatten", "Reshape"):
            self._flatten(node, x)
        elif kind in ("ReduceSum", "ReduceMean"):
            self._reduce(node)
        else:
            self._refuse(node, "has no place on the path from the image to the logits; leave it out")

    def _weighted(self, node: NodeProto, x: np.ndarray) -> None:
        if self._pending or self._summed:
            before = title(self._pending.node) if self._pending else "the read-out"
            self._refuse(node, f"follows {before!r} without a LIF between; put one there")
        elif not self._quantised:
            self._refuse(node, "the image enters through an unsigned 8-bit Quant; put one before the first weights")
        elif x.dtype.name not in ("float32", "float64"):
            self._refuse(node, f"computes in {x.dtype}, which does not hold its sums; export in float32")
        elif node.input[1] not in self.runner.constants:
            self._refuse(node, "its weight must be a constant; export after training")
        elif any(node.input[2:]) and node.input[2] not in self.runner.constants:
            self._refuse(node, "its bias must be a constant; export after training")
        else:
            if not self._nodes:  # the first weights say which axes are channels, rows and columns
                self._layout, self._image = self._map.settle(), self._map.sizes
            self._layer(node, x)

    def _layer(self, node: NodeProto, x: np.ndarray) -> None:
        attribute, conv = attributes(node), node.op_type == "Conv"
        rank = self.runner.constants[node.input[1]].ndim
        if (x.ndim, rank) != ((4, 4) if conv else (2, 2)):
            need = "rows and columns: data and weight of 4 axes" if conv else "a flattened map: 2 axes each"
            self._refuse(node, f"reads data of {x.ndim} axes with a weight of {rank}; it needs {need}")
            return
        axis = 0 if conv or attribute.get("transB", 0) else 1
        found = quantised_weight(self.runner, node, axis)
        if isinstance(found, str):
            self.problems.append(found)
            return
        units, stride, padding = found.units if axis == 0 else found.units.T, 1, 0
        placed = self._map.convolution(attribute, units) if conv else self._map.linear(units)
        if isinstance(placed, str):
            self._refuse(node, placed)
            return
        if isinstance(placed, tuple):
            weight, stride, padding = placed
            self._note_kernel(node, units.shape[2:], weight.shape[2:])
        else:
            weight = placed
        outputs = self._value(node.output[0]).shape
        bias = np.zeros(len(weight))
        if any(node.input[2:]):
            given = np.asarray(self.runner.constants[node.input[2]], np.float64)
            along_outputs = along(given, outputs, 1) if not conv else given
            if along_outputs is None or along_outputs.shape != bias.shape:
                self._refuse(node, f"bias of shape {given.shape} is no scalar and no value per output ({len(bias)})")
                return
            bias = along_outputs * attribute.get("beta", 1.0)
        slope = found.scale * self._gain * attribute.get("alpha", 1.0)
        self._pending = Pending(node, weight, found.bits, stride, padding, slope, bias)

    def _note_kernel(self, node: NodeProto, own: tuple[int, ...], used: tuple[int, ...]) -> None:
        if own != used:
            sizes = " becomes one of ".join("x".join(map(str, shape)) for shape in (own, used))
            self.notes.append(
                f"node {title(node)!r}: its kernel of {sizes}, zeros for uneven pads or dilations:"
                " more synapses, the same result"
            )

    def _lif(self, node: NodeProto, x: np.ndarray) -> None:
        pending, steps = self._pending, int(attributes(node)["time_steps"])
        if not pending or pending.reshaped:
            self._refuse(node, "must follow a weighted layer; pool and flatten behind it")
            return
        if not self._nodes and self._tiled != steps:
            self._refuse(node, f"time_steps={steps}, but the batch is repeated {self._tiled} times; use Tile once")
        if self._steps not in (None, steps):
            self._refuse(node, f"time_steps={steps}, but the first LIF has {self._steps}; give all the same")
        self._steps = steps
        channels = len(pending.weight)
        given = [*node.input[1:], "", ""][:3]
        threshold, step, v_reset = (
            channelwise(np.asarray(self.runner.constants[name], np.float64), x.ndim, channels) if name else None
            for name in given
        )
        if threshold is None or (given[1] and step is None) or (given[2] and v_reset is None):
            which = "v_reset" if threshold is not None and not (given[1] and step is None) else "threshold and step"
            self._refuse(node, f"{which} must be scalars or have one value per channel ({channels})")
            return
        in_bits = 1 if self._nodes else self.pixel_bits
        made = pending.neuron(node, f"conv{len(self.roundings)}", in_bits, threshold, step, v_reset)
        if isinstance(made, str):
            self._refuse(node, made)
            return
        conv, rounding = made
        _, height, width = self._map.sizes
        (kh, kw), pad, stride = conv.kernel, conv.padding, conv.stride
        sizes = (channels, (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1)
        if x.shape[1:] != (sizes if x.ndim == 4 else sizes[:1]):
            self._refuse(node, f"its current has the shape {x.shape}, {sizes} were understood; use plain pads")
        self._map = Map(sizes)
        self._nodes.append(conv)
        self.roundings.append(rounding)
        self._pending, self._gain = None, 1.0

    def _pool(self, node: NodeProto) -> None:
        if not self._on_spikes or self._flat:
            self._refuse(node, "pools spikes only: put it behind a LIF")
            return
        size = self._map.pool(attributes(node), self._value(node.output[0]).shape[2:])
        if isinstance(size, str):
            self._refuse(node, size)
            return
        same = sum(isinstance(n, Pool) for n in self._nodes[-1:])
        if size > 1:
            self._nodes.append(Pool(f"pool{len(self.roundings) - 1}" + "_next" * same, size))

    def _split_steps(self, node: NodeProto, x: np.ndarray) -> None:
        shape, steps = self._value(node.output[0]).shape, self._steps or 0
        if not self._pending or x.ndim != 2 or not steps or shape != (steps, len(x) // steps, x.shape[1]):
            target = self._value(node.input[1]).ravel().tolist()
            self._refuse(node, f"target {target} must be [T, N, classes] with T={self._steps}")
            return
        self._pending.reshaped = True

    def _reduce(self, node: NodeProto) -> None:
        pending, attribute = self._pending, attributes(node)
        axes = list(attribute.get("axes", ()))
        if any(node.input[1:]):
            axes = self._value(node.input[1]).ravel().tolist()
        if not pending or not pending.reshaped or axes not in ([0], [-3]) or attribute.get("keepdims", 1):
            self._refuse(node, "must sum [T, N, classes] over axis 0, keepdims=0, behind a MatMul or Gemm")
            return
        made = pending.readout(node)
        if isinstance(made, str):
            self._refuse(pending.node, made)
            return
        self._nodes.append(made[0])
        self.roundings.append(made[1])
        self.logit_scale = float(made[1].grid[0]) / ((self._steps or 1) if node.op_type == "ReduceMean" else 1)
        self._pending, self._summed = None, True
