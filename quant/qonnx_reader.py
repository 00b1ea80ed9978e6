"""Follows the one path through a QONNX file, from the image to the logits, and makes the integer graph of it.

importer.py says what it accepts. Every node is checked by itself first (qonnx_check.py). Shapes and types on the path
are those that an execution of the file has.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper

from scaflow.quant.graph import Graph, Node, Pool, validate
from scaflow.quant.qonnx_check import AFFINE, QUANT, TRANSPARENT, WEIGHTED, node_problems
from scaflow.quant.qonnx_file import image_input
from scaflow.quant.qonnx_layer import Pending, Rounding, quantised_weight
from scaflow.quant.qonnx_map import Map
from scaflow.quant.qonnx_operators import attributes, refusal, title
from scaflow.quant.qonnx_run import Runner
from scaflow.quant.qonnx_shapes import LARGEST_PAD, along, broadcasts, channelwise, uniform

_PIXEL_FLOATS = ("float16", "float32", "float64")  # k/255 rounded to them is still nearest to k
_LEVELS = 256


class Reading:
    """`graph` where there are no `problems`; then `roundings` has one entry for each Conv and the Readout, in order."""

    graph: Graph

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.notes: list[str] = []
        self.roundings: list[Rounding] = []
        self.input_scale = 1.0  # what one pixel level is worth at the input
        self.logit_scale = 1.0  # what one integer of a logit is worth at the output
        self.levels = ("", 1.0)  # the tensor where the image is whole numbers, and what one is worth there
        self._layout = (0, 1, 2)  # axis i of the graph's image is axis layout[i] of the file's
        self._nodes: list[Node] = []
        self._pending: Pending | None = None
        self._flat = self._quantised = self._summed = False
        self._gain = 1.0  # value of one pixel level where the weights see it
        self._tiled = 1
        self._steps: int | None = None
        self.problems = node_problems(runner)
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
            self.graph = validate(Graph(name, self._image, self._steps or 0, tuple(self._nodes)))
        except ValueError as error:
            self.problems += [line.strip() for line in str(error).splitlines()[1:]]

    def _refuse(self, node: NodeProto, reason: str) -> None:
        self.problems.append(refusal(node, reason))

    def _value(self, tensor: str) -> np.ndarray:
        return self.runner.value(tensor, self._context)

    # The path from the image to the logits.

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

    @property
    def _on_image(self) -> bool:
        return not self._nodes and not self._pending

    @property
    def _on_spikes(self) -> bool:
        return bool(self._nodes) and not self._pending and not self._summed

    def _cast(self, node: NodeProto, x: np.ndarray) -> None:
        try:
            target = helper.tensor_dtype_to_np_dtype(attributes(node)["to"])
        except KeyError:
            self._refuse(node, f"to={attributes(node).get('to')} is no type that is known; cast to float")
            return
        floats = x.dtype.name in _PIXEL_FLOATS and target.name in _PIXEL_FLOATS
        if self._on_spikes:
            exact = target.kind in "iub" or target.name in _PIXEL_FLOATS
        elif self._on_image and not self._quantised:
            whole = x.dtype.kind in "iu" and target.kind in "iu" and np.iinfo(target).max >= _LEVELS - 1
            exact = floats or whole or (x.dtype.kind in "iu" and target.name in _PIXEL_FLOATS)
        else:
            exact = floats and np.can_cast(x.dtype, target, "safe")
        if not exact:
            self._refuse(node, f"casts {x.dtype} to {target}, which does not keep every value here; leave it out")

    def _expand(self, node: NodeProto, x: np.ndarray) -> None:
        target = [int(size) for size in self._value(node.input[1]).ravel()]
        kept = [1, *x.shape[1:]] if not self.input.fixed else list(x.shape)
        sizes = kept[len(kept) - len(target) :]
        if len(target) > x.ndim or any(t not in (1, s) for t, s in zip(target, sizes, strict=True)):
            self._refuse(node, "only an expansion by ones is understood; repeat the batch with Tile")

    def _image_quant(self, node: NodeProto, x: np.ndarray) -> None:
        scale, bits = self.runner.constants[node.input[1]], self.runner.constants[node.input[3]]
        attribute, one = attributes(node), uniform(scale)
        if not self._on_image or self._quantised:
            self._refuse(node, "quantises what is an integer already: behind LIF everything is 0 or 1; leave it out")
        elif bits.item() != 8 or attribute.get("signed", 1) or attribute.get("narrow", 1):
            self._refuse(node, "the image needs 8 bits, unsigned (signed=0, narrow=0)")
        elif one is None or not broadcasts(scale, x.shape):
            self._refuse(node, f"the image needs one scale; this has the shape {scale.shape} and several values")
        elif attribute.get("rounding_mode", "ROUND").upper() not in ("ROUND", "HALF_EVEN"):
            self._refuse(node, f"rounding_mode={attribute['rounding_mode']} must be ROUND for the image")
        else:
            self._quantised = True
            self.levels = (node.output[0], one)
            self.input_scale = one / self._gain
            self._gain = one

    def _affine(self, node: NodeProto, tensor: str, x: np.ndarray) -> None:
        constant = next(name for name in node.input if name != tensor)
        value = np.asarray(self.runner.constants[constant], np.float64)
        kind, swapped = node.op_type, node.input[0] == constant
        pending, one = self._pending, uniform(value)
        if kind == "Div" and swapped:
            self._refuse(node, "divides a constant by the data; multiply instead")
        elif pending:
            axis = 2 if pending.reshaped else 1
            per_channel = along(value, x.shape, axis)
            if per_channel is None:
                self._refuse(
                    node,
                    f"constant of shape {value.shape} on data of shape {x.shape}: by broadcasting it is no scalar and"
                    f" no value per channel (axis {axis}); give a scalar or one value per channel ({x.shape[axis]})",
                )
            elif kind in ("Mul", "Div"):
                pending.multiply(per_channel if kind == "Mul" else 1 / per_channel)
            else:
                if kind == "Sub" and swapped:
                    pending.multiply(np.array(-1.0))
                pending.add(-per_channel if kind == "Sub" and not swapped else per_channel)
        elif kind not in ("Mul", "Div") or one is None or one <= 0 or not broadcasts(value, x.shape) or self._on_spikes:
            self._refuse(node, "only a positive scalar factor may stand here, on the image or on the logits")
        elif self._summed:
            self.logit_scale *= one if kind == "Mul" else 1 / one
        else:
            self._gain *= one if kind == "Mul" else 1 / one

    def _batch_norm(self, node: NodeProto) -> None:
        if not self._pending or self._pending.reshaped:
            self._refuse(node, "must follow a Conv, MatMul or Gemm; move it there")
            return
        gamma, beta, mean, var = (np.asarray(self.runner.constants[i], np.float64) for i in node.input[1:5])
        if any(value.shape != self._pending.offset.shape for value in (gamma, beta, mean, var)):
            self._refuse(node, f"needs one value per channel ({len(self._pending.offset)}) of each parameter")
            return
        self._pending.add(-mean)
        self._pending.multiply(gamma / np.sqrt(var + attributes(node).get("epsilon", 1e-5)))
        self._pending.add(beta)

    def _tile(self, node: NodeProto) -> None:
        repeats = self._value(node.input[1]).ravel()
        if self._nodes or (self._pending and self._pending.reshaped) or (repeats[1:] != 1).any() or repeats[0] < 1:
            self._refuse(node, "only the batch is repeated, and only before the first LIF")
            return
        self._tiled *= int(repeats[0])
        steps = [attributes(n)["time_steps"] for n in self.runner.file.nodes if n.op_type == "LIF"]
        if self._tiled > max(steps, default=1):
            self._refuse(
                node, f"repeats the batch {self._tiled} times, the LIF has time_steps={steps}; repeat as often"
            )

    def _transpose(self, node: NodeProto, x: np.ndarray) -> None:
        perm = list(attributes(node).get("perm", range(x.ndim)[::-1]))
        if perm == list(range(x.ndim)):
            return
        if x.ndim != 4 or perm[0] != 0 or not (self._on_image or self._on_spikes):
            self._refuse(node, f"perm={perm}: only the axes of an image or of spikes may change places, not the batch")
            return
        self._map.transpose(perm)

    def _pad(self, node: NodeProto, x: np.ndarray) -> None:
        attribute, (_, pads, fill, axes) = attributes(node), [*node.input, "", "", ""][:4]
        amounts = self._value(pads).ravel().tolist() if pads else list(attribute.get("pads", ()))
        value = float(self._value(fill).item()) if fill else attribute.get("value", 0.0)
        over = self._value(axes).ravel().tolist() if axes else list(range(x.ndim))
        if len(amounts) != 2 * len(over) or not all(-x.ndim <= axis < x.ndim for axis in over):
            self._refuse(node, f"pads={amounts} must be two for each axis; give them before all, then behind all")
            return
        by_axis = dict.fromkeys(range(x.ndim), (0, 0))
        for i, axis in enumerate(over):
            by_axis[axis % x.ndim] = (int(amounts[i]), int(amounts[i + len(over)]))
        if not any(amounts):
            return
        if x.ndim != 4 or not (self._on_image or self._on_spikes):
            self._refuse(node, "pads an image or a map of spikes only; move it there, or give the Conv pads")
        elif value != 0 or min(amounts) < 0 or max(amounts) > LARGEST_PAD or any(by_axis[0]):
            self._refuse(
                node, f"pads={amounts} of {value:g}: only zeros, {LARGEST_PAD} at most, may be put around a map"
            )
        else:
            self._map.pad(by_axis)

    def _flatten(self, node: NodeProto, x: np.ndarray) -> None:
        shape = self._value(node.output[0]).shape
        if not self._summed and len(shape) == 2 and shape[0] == len(x):
            self._flat = True
        elif self._on_image and len(shape) == 4 and shape[0] == len(x) and self._map.plain:
            self._map, self._flat = Map((shape[1], shape[2], shape[3])), False
        else:
            self._refuse(node, "is understood only where a map is flattened for a MatMul or Gemm")

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
        values = [
            channelwise(np.asarray(self.runner.constants[name], np.float64), x.ndim, channels)
            for name in filter(None, node.input[1:])
        ]
        threshold, step = [*values, None][:2]
        if threshold is None or any(value is None for value in values):
            self._refuse(node, f"threshold and step must be scalars or have one value per channel ({channels})")
            return
        made = pending.neuron(node, f"conv{len(self.roundings)}", not self._nodes, threshold, step)
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
