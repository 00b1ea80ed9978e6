"""Where the reading of a QONNX file stands on its path, and the operators there that make no node of the graph.

They change what a value is worth, its type, the batch, or how the axes of a map lie: each is taken into what follows.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper

from scaflow.quant.graph import IMAGE, PIXEL_BITS, Node
from scaflow.quant.qonnx_file import Input
from scaflow.quant.qonnx_flow import Flow
from scaflow.quant.qonnx_layer import Rounding
from scaflow.quant.qonnx_map import Map
from scaflow.quant.qonnx_operators import attributes, refusal
from scaflow.quant.qonnx_run import Runner
from scaflow.quant.qonnx_shapes import LARGEST_PAD, along, broadcasts, uniform

_PIXEL_FLOATS = ("float16", "float32", "float64")  # k/255 rounded to them is still nearest to k


class Position:
    """What is known so far, and the tensor that is looked at; `problems` are those of the nodes passed."""

    input: Input
    _at: Flow
    _context: dict[str, np.ndarray]

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.roundings: list[Rounding] = []
        self.input_scale = 1.0  # what one pixel level is worth at the input
        self.logit_scale = 1.0  # what one integer of a logit is worth at the output
        self.levels = ("", 1.0)  # the tensor where the image is whole numbers, and what one is worth there
        self.pixel_bits = PIXEL_BITS  # of those numbers, the highest of the image's pixels
        self._layout = (0, 1, 2)  # axis i of the graph's image is axis layout[i] of the file's
        self._nodes: list[Node] = []
        self._steps: int | None = None

    def _refuse(self, node: NodeProto, reason: str) -> None:
        self.problems.append(refusal(node, reason))

    def _value(self, tensor: str) -> np.ndarray:
        return self.runner.value(tensor, self._context)

    def _cast(self, node: NodeProto, x: np.ndarray) -> None:
        try:
            target = helper.tensor_dtype_to_np_dtype(attributes(node)["to"])
        except KeyError:
            self._refuse(node, f"to={attributes(node).get('to')} is no type that is known; cast to float")
            return
        floats = x.dtype.name in _PIXEL_FLOATS and target.name in _PIXEL_FLOATS
        if self._at.on_spikes:
            most = self._at.most
            holds = most <= np.iinfo(target).max if target.kind in "iu" else most == 1 or target.name == "float16"
            known = target.kind in "iub" or target.name in _PIXEL_FLOATS
            exact = known and ((self._at.gain == 1 and holds) or target.name in ("float32", "float64"))
        elif self._at.on_image and not self._at.quantised:
            whole = x.dtype.kind in "iu" and target.kind in "iu" and np.iinfo(target).max >= (1 << PIXEL_BITS) - 1
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
        attribute, one, width = attributes(node), uniform(scale), int(bits.item())
        wanted = ("ROUND", "HALF_EVEN") if width == PIXEL_BITS else ("FLOOR", "DOWN")
        if not self._at.on_image or self._at.quantised:
            self._refuse(node, "quantises what is an integer already: behind LIF everything is 0 or 1; leave it out")
        elif attribute.get("signed", 1) or attribute.get("narrow", 1):
            self._refuse(node, "the image needs 8 bits, unsigned (signed=0, narrow=0), or fewer, rounded down")
        elif one is None or not broadcasts(scale, x.shape):
            self._refuse(node, f"the image needs one scale; this has the shape {scale.shape} and several values")
        elif (mode := attribute.get("rounding_mode", "ROUND")).upper() not in wanted:
            self._refuse(node, f"rounding_mode={mode} must be {wanted[0]} for the image of {width} bits")
        else:
            self._at.quantised = True
            self.levels = (node.output[0], one)
            self.pixel_bits = width
            self.input_scale = one / self._at.gain / (1 << (PIXEL_BITS - width))
            self._at.gain = one

    def _affine(self, node: NodeProto, tensor: str, x: np.ndarray) -> None:
        constant = next(name for name in node.input if name != tensor)
        value = np.asarray(self.runner.constants[constant], np.float64)
        kind, swapped = node.op_type, node.input[0] == constant
        pending, one = self._at.pending, uniform(value)
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
        elif kind not in ("Mul", "Div") or one is None or one <= 0 or not broadcasts(value, x.shape):
            self._refuse(node, "only a positive scalar factor may stand here, on the image, on spikes or on the logits")
        elif self._at.summed:
            self.logit_scale *= one if kind == "Mul" else 1 / one
        else:
            self._at.gain *= one if kind == "Mul" else 1 / one

    def _batch_norm(self, node: NodeProto) -> None:
        if not self._at.pending or self._at.pending.reshaped:
            self._refuse(node, "must follow a Conv, MatMul or Gemm; move it there")
            return
        gamma, beta, mean, var = (np.asarray(self.runner.constants[i], np.float64) for i in node.input[1:5])
        if any(value.shape != self._at.pending.offset.shape for value in (gamma, beta, mean, var)):
            self._refuse(node, f"needs one value per channel ({len(self._at.pending.offset)}) of each parameter")
            return
        self._at.pending.add(-mean)
        self._at.pending.multiply(gamma / np.sqrt(var + attributes(node).get("epsilon", 1e-5)))
        self._at.pending.add(beta)

    def _tile(self, node: NodeProto) -> None:
        repeats = self._value(node.input[1]).ravel()
        if self._at.source != IMAGE or (repeats[1:] != 1).any() or repeats[0] < 1:
            self._refuse(node, "only the batch is repeated, and only before the first LIF")
            return
        self._at.tiled *= int(repeats[0])
        steps = [attributes(n)["time_steps"] for n in self.runner.file.nodes if n.op_type == "LIF"]
        if self._at.tiled > max(steps, default=1):
            self._refuse(
                node, f"repeats the batch {self._at.tiled} times, the LIF has time_steps={steps}; repeat as often"
            )

    def _transpose(self, node: NodeProto, x: np.ndarray) -> None:
        perm = list(attributes(node).get("perm", range(x.ndim)[::-1]))
        if perm == list(range(x.ndim)):
            return
        if x.ndim != 4 or perm[0] != 0 or not (self._at.on_image or self._at.on_spikes):
            self._refuse(node, f"perm={perm}: only the axes of an image or of spikes may change places, not the batch")
            return
        self._at.map.transpose(perm)

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
        if x.ndim != 4 or not (self._at.on_image or self._at.on_spikes):
            self._refuse(node, "pads an image or a map of spikes only; move it there, or give the Conv pads")
        elif value != 0 or min(amounts) < 0 or max(amounts) > LARGEST_PAD or any(by_axis[0]):
            self._refuse(
                node, f"pads={amounts} of {value:g}: only zeros, {LARGEST_PAD} at most, may be put around a map"
            )
        else:
            self._at.map.pad(by_axis)

    def _flatten(self, node: NodeProto, x: np.ndarray) -> None:
        shape = self._value(node.output[0]).shape
        if not self._at.summed and len(shape) == 2 and shape[0] == len(x):
            self._at.flat = True
        elif self._at.on_image and len(shape) == 4 and shape[0] == len(x) and self._at.map.plain:
            self._at.map, self._at.flat = Map((shape[1], shape[2], shape[3])), False
        else:
            self._refuse(node, "is understood only where a map is flattened for a MatMul or Gemm")
