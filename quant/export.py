"""The folded network as a QONNX file, written through Brevitas.

A file holds the integer network exactly. For that every scale in it is a power of two: the weights of a
channel are in units of `step`, the power of two next to a[c], and bias and threshold are whole multiples of
step * 2^-F. So all that float32 computes on the way is exact; where that needs more bits, the current is
float64.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any, cast

import torch
from brevitas.export import export_qonnx
from brevitas.export.onnx.qonnx.function import BrevitasQuantTorchScriptFn
from brevitas.inject.enum import ScalingImplType, ScalingPerOutputType
from brevitas.nn import QuantConv2d, QuantLinear
from brevitas.quant import Int8WeightPerChannelFloat, Int8WeightPerTensorFloat
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.fold_constants import FoldConstants
from qonnx.transformation.general import GiveReadableTensorNames, GiveUniqueNodeNames
from qonnx.transformation.infer_datatypes import InferDataTypes
from qonnx.transformation.infer_shapes import InferShapes
from torch import Tensor, nn
from torch.nn import functional

from scaflow.model.files import write_bytes
from scaflow.model.network import PIXEL_MAX
from scaflow.quant.folded import FoldedNetwork, to_graph
from scaflow.quant.graph import PIXEL_BITS, Conv, Graph, Pool, Readout
from scaflow.quant.layers import integer_weight
from scaflow.quant.ops.torch import OPSETS, lif
from scaflow.quant.widths import ConvWidths, ReadoutWidths, widths

_FLOAT32_BITS = 25  # a signed whole number of so many bits is exact in float32


class _Image(nn.Module):
    """Images in 0..1 -> the highest bits of each pixel, through an unsigned quantiser of so many bits and scale 1.

    k/255 times 255 is k in floating point, so that rounding down loses no level. The quantiser is the operation that
    Brevitas's activations become: by themselves those of one bit would be -1 and 1.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.levels = PIXEL_MAX / (1 << (PIXEL_BITS - bits))
        self.bits = bits

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.levels
        one, zero, bits = (torch.tensor(float(value)) for value in (1, 0, self.bits))
        rounding = "ROUND" if self.bits == PIXEL_BITS else "FLOOR"
        levels: Tensor = BrevitasQuantTorchScriptFn.apply(x, one, zero, bits, False, False, rounding)
        return levels


class _Spiking(nn.Module):
    """Convolution of integers, its current once for all steps if it sees the image, and the neuron."""

    threshold: Tensor
    step: Tensor
    v_reset: Tensor | None

    def __init__(self, node: Conv, step: Tensor, time_steps: int, v_bits: int, first: bool) -> None:
        super().__init__()
        scale = step.float().view(-1, 1, 1, 1)
        channels, inputs, *kernel = node.weight.shape
        self.conv = QuantConv2d(
            inputs,
            channels,
            tuple(kernel),
            stride=node.stride,
            padding=node.padding,
            bias=False,
            weight_quant=Int8WeightPerChannelFloat,
            weight_bit_width=node.weight_bits,
            weight_scaling_per_output_type=ScalingPerOutputType.CHANNEL,
            weight_scaling_impl_type=ScalingImplType.CONST,
            weight_scaling_init=scale * (2 ** (node.weight_bits - 1) - 1),
        )
        self.conv.weight.data = torch.tensor(node.weight).float() * scale
        self.wide = v_bits > _FLOAT32_BITS
        dtype = torch.float64 if self.wide else torch.float32
        grid = step * 2.0**-node.fraction_bits
        self.register_buffer("bias", (torch.tensor(node.bias) * grid).to(dtype).view(-1, 1, 1))
        self.register_buffer("threshold", (torch.tensor(node.threshold) * grid).to(dtype))
        self.register_buffer("step", step.to(dtype))
        self.register_buffer("v_reset", (torch.tensor(node.v_reset) * grid).to(dtype) if node.v_reset.any() else None)
        self.first = first
        self.time_steps = time_steps
        self.attributes: dict[str, Any] = {
            "time_steps": time_steps,
            "leak_shift": node.leak_shift,
            "reset": node.reset,
            "decay": node.decay,
            "fraction_bits": node.fraction_bits,
            "kept": node.kept if len(node.kept) < channels else (),
        }

    def forward(self, x: Tensor) -> Tensor:
        current = self.conv(x)
        current = (current.double() if self.wide else current) + self.bias
        if self.first:
            current = current.repeat(self.time_steps, 1, 1, 1)
        return lif(current, self.threshold, self.step, self.v_reset, **self.attributes)


class _Integrator(nn.Module):
    """The read-out of every step, summed over the steps."""

    def __init__(self, node: Readout, scale: float, time_steps: int, logit_bits: int) -> None:
        super().__init__()
        weight = torch.tensor(node.weight).flatten(1)
        self.linear = QuantLinear(
            weight.shape[1],
            weight.shape[0],
            bias=False,
            weight_quant=Int8WeightPerTensorFloat,
            weight_bit_width=node.weight_bits,
            weight_scaling_impl_type=ScalingImplType.CONST,
            weight_scaling_init=scale * (2 ** (node.weight_bits - 1) - 1),
        )
        self.linear.weight.data = weight.float() * scale
        self.wide = logit_bits > _FLOAT32_BITS
        dtype = torch.float64 if self.wide else torch.float32
        self.register_buffer("bias", (torch.tensor(node.bias) * scale).to(dtype))
        self.time_steps = time_steps

    def forward(self, x: Tensor) -> Tensor:
        logits = self.linear(x.flatten(1))
        logits = (logits.double() if self.wide else logits) + self.bias
        total: Tensor = logits.reshape(self.time_steps, -1, logits.shape[1]).sum(0)
        return total


class _Pool(nn.Module):
    def __init__(self, node: Pool) -> None:
        super().__init__()
        self.size = node.size

    def forward(self, x: Tensor) -> Tensor:
        return functional.max_pool2d(x, self.size)


def export(folded: FoldedNetwork, path: Path) -> Graph:
    """Write the folded network to `path` as QONNX; returns the integer graph that was written.

    The file takes images [1, C, H, W] in 0..1 and gives logits [1, classes] in units of the read-out
    weights' scale.
    """
    graph = to_graph(folded)
    bits = widths(graph)
    parts: list[nn.Module] = [_Image(graph.pixel_bits)]
    blocks = iter(folded.blocks)
    for node in graph.nodes:
        if isinstance(node, Conv):
            step = _power_of_two(folded.integers(next(blocks)).step)
            v_bits = cast(ConvWidths, bits[node.name]).v_bits
            parts.append(_Spiking(node, step, graph.time_steps, v_bits, node is graph.nodes[0]))
        elif isinstance(node, Pool):
            parts.append(_Pool(node))
        elif isinstance(node, Readout):
            scale = float(_power_of_two(integer_weight(folded.readout)[1]))
            parts.append(_Integrator(node, scale, graph.time_steps, cast(ReadoutWidths, bits[node.name]).logit_bits))
    _write(nn.Sequential(*parts).eval(), graph, Path(path))
    return graph


def _power_of_two(x: Tensor) -> Tensor:
    return torch.exp2(x.detach().double().log2().round())


def _write(module: nn.Module, graph: Graph, path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="scaflow-export-") as scratch:
        half = Path(scratch) / path.name
        _exported(module, graph, half)
        write_bytes(path, half.read_bytes())


def _exported(module: nn.Module, graph: Graph, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about its own internals
        export_qonnx(
            module,
            args=torch.zeros(1, *graph.input_shape),
            export_path=str(path),
            dynamo=False,
            custom_opsets=OPSETS,
            input_names=["image"],
            output_names=["logits"],
        )
    model = ModelWrapper(str(path))
    model.graph.name = graph.name
    # The exporter's tensor names differ from run to run; these do not. Spikes become BINARY by their node.
    for step in (InferShapes, FoldConstants, GiveUniqueNodeNames, GiveReadableTensorNames, InferDataTypes):
        model = model.transform(step())
    model.save(str(path))
