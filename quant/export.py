"""An integer network as a QONNX file, written through Brevitas.

A file holds the integer network exactly. For that every scale in it is a power of two: the weights of a
channel are in units of `step`, the power of two next to a[c], and bias and threshold are whole multiples of
step * 2^-F. So all that float32 computes on the way is exact; where that needs more bits, the current is
float64. Currents that are joined are in units of one power of two a channel of their trunk, times one of the
convolution: the sum in the file is an Add. Spikes are added likewise; sums over windows are averages times the
pixels of a window.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
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
from scaflow.quant.folded import FoldedNetwork, power_of_two, to_graph
from scaflow.quant.graph import IMAGE, PIXEL_BITS, Conv, Current, Graph, Join, Neuron, Pool, Readout, SumPool
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


class _Weights(nn.Module):
    """Convolution of integers; what it sees of the image is the current of all steps."""

    def __init__(self, node: Conv | Current, step: Tensor) -> None:
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

    def forward(self, x: Tensor) -> Tensor:
        current: Tensor = self.conv(x)
        return current


class _Current(nn.Module):
    """Sums that go on as they are."""

    def __init__(self, node: Current, step: Tensor, repeats: int) -> None:
        super().__init__()
        self.weights = _Weights(node, step)
        self.repeats = repeats

    def forward(self, x: Tensor) -> Tensor:
        current: Tensor = self.weights(x)
        return current.repeat(self.repeats, 1, 1, 1) if self.repeats > 1 else current


class _Join(nn.Module):
    """A sum; `factor` [C, 1, 1], or none: what takes the second of two currents to the unit of the first."""

    factor: Tensor | None

    def __init__(self, factor: Tensor | None, bits: int) -> None:
        super().__init__()
        self.register_buffer("factor", factor)
        self.wide = bits > _FLOAT32_BITS

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        if self.wide:
            a, b = a.double(), b.double()
        return a + (b if self.factor is None else b * self.factor.to(b.dtype))


class _Spiking(nn.Module):
    """Neurons, and the convolution that they alone read."""

    threshold: Tensor
    step: Tensor
    v_reset: Tensor | None

    def __init__(self, node: Conv | Neuron, step: Tensor, time_steps: int, v_bits: int, repeats: int) -> None:
        super().__init__()
        self.weights = _Weights(node, step) if isinstance(node, Conv) else nn.Identity()
        self.wide = v_bits > _FLOAT32_BITS
        dtype = torch.float64 if self.wide else torch.float32
        grid = step * 2.0**-node.fraction_bits
        self.register_buffer("bias", (torch.tensor(node.bias) * grid).to(dtype).view(-1, 1, 1))
        self.register_buffer("threshold", (torch.tensor(node.threshold) * grid).to(dtype))
        self.register_buffer("step", step.to(dtype))
        self.register_buffer("v_reset", (torch.tensor(node.v_reset) * grid).to(dtype) if node.v_reset.any() else None)
        self.repeats = repeats
        self.attributes: dict[str, Any] = {
            "time_steps": time_steps,
            "leak_shift": node.leak_shift,
            "reset": node.reset,
            "decay": node.decay,
            "fraction_bits": node.fraction_bits,
            "kept": node.kept if len(node.kept) < len(node.bias) else (),
        }

    def forward(self, x: Tensor) -> Tensor:
        current = self.weights(x)
        current = (current.double() if self.wide else current) + self.bias
        if self.repeats > 1:
            current = current.repeat(self.repeats, 1, 1, 1)
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


class _SumPool(nn.Module):
    """The average times its pixels; whole again where these are no power of two."""

    def __init__(self, node: SumPool) -> None:
        super().__init__()
        self.size = node.size

    def forward(self, x: Tensor) -> Tensor:
        sums = functional.avg_pool2d(x, self.size) * self.size**2
        return sums.round() if self.size & (self.size - 1) else sums


class _Network(nn.Module):
    """The nodes of a graph, each of which reads what others gave."""

    def __init__(self, graph: Graph, modules: dict[str, nn.Module]) -> None:
        super().__init__()
        self.image = _Image(graph.pixel_bits)
        self.parts = nn.ModuleDict(modules)
        self.sources = graph.sources

    def forward(self, x: Tensor) -> Tensor:
        values = {IMAGE: self.image(x)}
        for name, part in self.parts.items():
            values[name] = x = part(*(values[source] for source in self.sources[name]))
        return x


def export(folded: FoldedNetwork, path: Path) -> Graph:
    """Write the folded network to `path` as QONNX; returns the integer graph that was written.

    The file takes images [1, C, H, W] in 0..1 and gives logits [1, classes] in units of the read-out
    weights' scale.
    """
    graph = to_graph(folded)
    export_graph(graph, path, folded.steps(), float(power_of_two(integer_weight(folded.readout)[1])))
    return graph


def export_graph(
    graph: Graph, path: Path, steps: Mapping[str, Tensor] | None = None, logit: float = 1.0
) -> None:
    """Write an integer graph to `path` as QONNX.

    Args:
        steps: what a step of a convolution's sums is worth, a power of two for each channel, by its name.
        logit: what one integer of a logit is worth.

    Raises:
        ValueError: a graph of frames, which has no form in a file.
    """
    if graph.frames:
        raise ValueError(f"graph {graph.name!r}: is of frames, and a QONNX file of images; keep it as a graph (save)")
    bits, worth = widths(graph), dict(steps or {})
    parts: dict[str, nn.Module] = {}
    for node in graph.nodes:
        sources = graph.sources[node.name]
        repeats = graph.time_steps if sources[0] == IMAGE else 1
        if isinstance(node, Conv | Current) and node.name not in worth:
            worth[node.name] = torch.ones(len(node.weight), dtype=torch.float64)
        if isinstance(node, Current):
            parts[node.name] = _Current(node, worth[node.name], repeats)
        elif isinstance(node, Conv | Neuron):
            unit = worth[node.name if isinstance(node, Conv) else sources[0]]
            v_bits = cast(ConvWidths, bits[node.name]).v_bits
            parts[node.name] = _Spiking(node, unit, graph.time_steps, v_bits, repeats)
        elif isinstance(node, Join):
            factor = None
            if graph.edge(node.name).kind == "currents":
                a, b = (worth[source] * 2.0**-shift for source, shift in zip(sources, node.shifts, strict=True))
                worth[node.name] = a
                factor = None if torch.equal(a, b) else (a / b).view(-1, 1, 1)
            parts[node.name] = _Join(factor, graph.edge(node.name).bits)
        elif isinstance(node, Pool):
            parts[node.name] = _Pool(node)
        elif isinstance(node, SumPool):
            parts[node.name] = _SumPool(node)
        else:
            logit_bits = cast(ReadoutWidths, bits[node.name]).logit_bits
            parts[node.name] = _Integrator(node, logit, graph.time_steps, logit_bits)
    _write(_Network(graph, parts).eval(), graph, Path(path))


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
