"""Follows a QONNX file from the image to the logits, node by node, and makes the integer graph of it.

importer.py says what it accepts. Every node is checked by itself first (qonnx_check.py). Shapes and types are those
that an execution of the file has. What a tensor is, is told in a `Flow`; qonnx_paths.py is where paths part and meet.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from onnx import NodeProto

from scaflow.quant.graph import IMAGE, Graph, Pool, arranged, validate
from scaflow.quant.qonnx_check import AFFINE, JOINS, QUANT, TRANSPARENT, WEIGHTED, node_problems
from scaflow.quant.qonnx_file import image_input
from scaflow.quant.qonnx_flow import Flow
from scaflow.quant.qonnx_layer import Pending, quantised_weight
from scaflow.quant.qonnx_map import Map
from scaflow.quant.qonnx_operators import attributes, title
from scaflow.quant.qonnx_paths import Paths
from scaflow.quant.qonnx_run import Runner
from scaflow.quant.qonnx_shapes import along, channelwise


class Reading(Paths):
    """`graph` where there are no `problems`; then `roundings` has one entry for each Conv, Neuron and Readout, in the
    order of the graph."""

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
        c, h, w = (1, 1, *found.shape)[-3:]
        self._context = {found.name: np.zeros((found.batch, *found.shape), found.dtype)}
        self._follow(found.name, Flow(Map((c, h, w)), flat=len(found.shape) == 1))
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
            graph = Graph(name, self._image, self._steps or 0, arranged(self._nodes), self.pixel_bits)
            self.graph = validate(graph)
        except ValueError as error:
            self.problems += [line.strip() for line in str(error).splitlines()[1:]]

    def _follow(self, image: str, flow: Flow) -> None:
        file, fixed = self.runner.file, self.runner.fixed
        nodes = [node for node in file.nodes if not fixed.issuperset(filter(None, node.output))]
        readers = Counter(name for node in nodes for name in set(node.input))
        flows = {image: flow}
        for node in nodes:
            tensors = [name for name in node.input if name in flows]
            if not tensors:
                continue
            if len(tensors) > 1 and node.op_type not in (*JOINS, *WEIGHTED):
                self._refuse(node, f"reads {' and '.join(map(repr, tensors))}; paths meet in an Add only")
                return
            for name in set(tensors):
                if readers[name] > 1:
                    self._fork(flows[name])
            try:
                if len(tensors) == 2 and node.op_type in JOINS:
                    self._join(node, tensors, [flows[name].copy() for name in tensors])
                elif node.op_type not in AFFINE and node.input[0] not in flows:
                    self._refuse(node, f"the data, {tensors[0]!r}, must be its first input")
                else:
                    self._at = flows[tensors[0]].copy()
                    self._take(node, tensors[0], self._value(tensors[0]))
            except ValueError as error:
                self.problems.append(str(error))
            if self.problems:
                return
            flows[node.output[0]] = self._at
        output = file.outputs[0]
        if output not in flows or not flows[output].summed:
            self.problems.append(
                f"output {output!r} is no read-out; end with MatMul, Reshape to [T, N, classes] and ReduceSum"
            )

    def _take(self, node: NodeProto, tensor: str, x: np.ndarray) -> None:
        kind = node.op_type
        if kind in TRANSPARENT:
            return
        if kind == "Cast":
            self._cast(node, x)
        elif kind == "Round":
            self._round(node)
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
        elif kind in ("AveragePool", "GlobalAveragePool", "LpPool"):
            self._sum_pool(node)
        elif kind == "Reshape" and self._at.pending:
            self._split_steps(node, x)
        elif kind in ("Flatten", "Reshape"):
            self._flatten(node, x)
        elif kind in ("ReduceSum", "ReduceMean"):
            self._reduce(node, x)
        else:
            self._refuse(node, "has no place between the image and the logits; leave it out")

    def _weighted(self, node: NodeProto, x: np.ndarray) -> None:
        if self._at.pending or self._at.summed:
            before = title(self._at.pending.node) if self._at.pending else "the read-out"
            self._refuse(node, f"follows {before!r} without a LIF between; put one there")
        elif not self._at.quantised:
            self._refuse(node, "the image enters through an unsigned 8-bit Quant; put one before the first weights")
        elif x.dtype.name not in ("float32", "float64"):
            self._refuse(node, f"computes in {x.dtype}, which does not hold its sums; export in float32")
        elif node.input[1] not in self.runner.constants:
            self._refuse(node, "its weight must be a constant; export after training")
        elif any(node.input[2:]) and node.input[2] not in self.runner.constants:
            self._refuse(node, "its bias must be a constant; export after training")
        else:
            if self._at.source == IMAGE:  # the first weights say which axes are channels, rows and columns
                self._layout, self._image = self._at.map.settle(), self._at.map.sizes
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
        if conv and not self._settled(node):
            return
        flow = self._at
        placed = flow.map.convolution(attribute, units) if conv else flow.map.linear(units)
        if isinstance(placed, str):
            self._refuse(node, placed)
            return
        if isinstance(placed, tuple):
            weight, stride, padding = placed
            self._note_kernel(node, units.shape[2:], weight.shape[2:])
            if (groups := attribute.get("group", 1)) > 1:
                self.notes.append(
                    f"node {title(node)!r}: its {groups} groups become one, zeros between them: more synapses, the same"
                    " result"
                )
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
        slope = found.scale * flow.gain * attribute.get("alpha", 1.0)
        _, height, width = flow.map.sizes if flow.map.under is None else flow.map.under[0]
        height, width = (
            (size + 2 * padding - k) // stride + 1
            for size, k in zip((height, width), weight.shape[2:], strict=True)
        )
        in_bits = self.pixel_bits if flow.source == IMAGE else flow.most.bit_length()
        flow.pending = Pending(
            node, slope, bias, flow.source, self._named("conv"), weight, found.bits, stride, padding, in_bits
        )
        flow.map, flow.gain = Map((len(weight), height, width)), 1.0

    def _note_kernel(self, node: NodeProto, own: tuple[int, ...], used: tuple[int, ...]) -> None:
        if own != used:
            sizes = " becomes one of ".join("x".join(map(str, shape)) for shape in (own, used))
            self.notes.append(
                f"node {title(node)!r}: its kernel of {sizes}, zeros for uneven pads or dilations:"
                " more synapses, the same result"
            )

    def _lif(self, node: NodeProto, x: np.ndarray) -> None:
        flow, steps = self._at, int(attributes(node)["time_steps"])
        pending = flow.pending
        if not pending or pending.reshaped:
            self._refuse(node, "must follow a weighted layer; pool and flatten behind it")
            return
        if flow.source == IMAGE and flow.tiled != steps:
            self._refuse(node, f"time_steps={steps}, but the batch is repeated {flow.tiled} times; use Tile once")
        if self._steps not in (None, steps):
            self._refuse(node, f"time_steps={steps}, but the first LIF has {self._steps}; give all the same")
        self._steps = steps
        channels = len(pending.slope)
        given = [*node.input[1:], "", ""][:3]
        threshold, step, v_reset = (
            channelwise(np.asarray(self.runner.constants[name], np.float64), x.ndim, channels) if name else None
            for name in given
        )
        if threshold is None or (given[1] and step is None) or (given[2] and v_reset is None):
            which = "v_reset" if threshold is not None and not (given[1] and step is None) else "threshold and step"
            self._refuse(node, f"{which} must be scalars or have one value per channel ({channels})")
            return
        made = pending.neuron(node, self._named("fire"), threshold, step, v_reset)
        if isinstance(made, str):
            self._refuse(node, made)
            return
        neurons, rounding = made
        sizes = flow.map.sizes
        if x.shape[1:] != (sizes if x.ndim == 4 else sizes[:1]):
            self._refuse(node, f"its current has the shape {x.shape}, {sizes} were understood; use plain pads")
        self._nodes.append(neurons)
        self.roundings.append(rounding)
        flow.source, flow.most, flow.tiled, flow.pending = neurons.name, 1, steps, None

    def _pool(self, node: NodeProto) -> None:
        if not self._at.on_spikes or self._at.flat:
            self._refuse(node, "pools spikes only: put it behind a LIF")
            return
        if self._at.most > 1 or self._at.map.under:
            self._refuse(node, "pools numbers of spikes, and is the OR of spikes; pool before they are added up")
            return
        size = self._at.map.pool(attributes(node), self._value(node.output[0]).shape[2:])
        if isinstance(size, str):
            self._refuse(node, size)
        elif size > 1:
            self._nodes.append(Pool(self._named("pool"), size, (self._at.source,)))
            self._at.source = self._nodes[-1].name

    def _split_steps(self, node: NodeProto, x: np.ndarray) -> None:
        shape, steps, pending = self._value(node.output[0]).shape, self._steps or 0, self._at.pending
        if not pending or x.ndim != 2 or not steps or shape != (steps, len(x) // steps, x.shape[1]):
            target = self._value(node.input[1]).ravel().tolist()
            self._refuse(node, f"target {target} must be [T, N, classes] with T={self._steps}")
        elif pending.weight is None:
            self._refuse(node, "the sums of a read-out are joined with none and read by none other")
        else:
            pending.reshaped = True

    def _reduce(self, node: NodeProto, x: np.ndarray) -> None:
        flow, attribute = self._at, attributes(node)
        axes = list(attribute.get("axes", ()))
        if any(node.input[1:]):
            axes = self._value(node.input[1]).ravel().tolist()
        if flow.on_spikes and x.ndim == 4 and sorted(axis % 4 for axis in axes) == [2, 3]:
            self._sum_pool(node)
            flow.flat = not attribute.get("keepdims", 1)
            return
        pending = flow.pending
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
        flow.pending, flow.summed = None, True
