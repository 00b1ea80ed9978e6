"""A QONNX file opened: its nodes, constants, input and outputs, before anything of it is understood.

Whatever the libraries underneath raise on the way is one ValueError with the file and the reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from scaflow.quant.qonnx_operators import NEWEST, OLDEST, QONNX

INPUTS = ("float32", "float64", "float16", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
_OPEN_BATCH = 2  # images at once where the file leaves the number open; above 1 it cannot pass for another axis


@dataclass(frozen=True, eq=False)
class File:
    path: Path
    name: str
    opsets: Mapping[str, int]  # by domain; "" is ONNX's own
    nodes: tuple[NodeProto, ...]  # each behind those it reads
    initialisers: Mapping[str, np.ndarray]
    inputs: tuple[ValueInfoProto, ...]  # those without an initialiser
    outputs: tuple[str, ...]

    def up_to(self, output: str) -> File:
        """The part of the file that `output` is computed by."""
        needed, nodes = {output}, []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                nodes.append(node)
                needed.update(node.input)
        inputs = tuple(value for value in self.inputs if value.name in needed)
        return replace(self, nodes=tuple(reversed(nodes)), inputs=inputs, outputs=(output,))


@dataclass(frozen=True)
class Input:
    name: str
    shape: tuple[int, ...]  # of one image
    batch: int  # images at once
    fixed: bool  # the file gives the batch
    dtype: np.dtype


def open_file(path: Path) -> File:
    """Read the file.

    Raises:
        ValueError: what keeps it from being read.
    """
    if not path.exists():
        raise ValueError(f"{path}: no such file; export the network first")
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; name the .onnx file in it")
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf, onnx and the file system raise whatever their layers raise
        raise ValueError(f"{path}: cannot be read as ONNX: {one_line(error)}; export it again") from error
    if not model.graph.node:
        raise ValueError(f"{path}: holds no ONNX graph (empty, cut off, or another format); export it again")
    problems = _version_problems(model)
    initialisers: dict[str, np.ndarray] = {}
    for tensor in model.graph.initializer:
        try:
            initialisers[tensor.name] = numpy_helper.to_array(tensor)
        except Exception as error:  # a tensor whose bytes do not fit its shape or type
            problems.append(f"initialiser {tensor.name!r}: cannot be read: {one_line(error)}; export it again")
    for sparse in model.graph.sparse_initializer:
        problems.append(f"initialiser {sparse.values.name!r}: is sparse; write it dense")
    nodes = _sorted(model, {*initialisers, *(value.name for value in model.graph.input)}, problems)
    if problems:
        raise listed(path, problems)
    return File(
        path,
        model.graph.name,
        {_domain(entry.domain): entry.version for entry in model.opset_import},
        tuple(nodes),
        initialisers,
        tuple(value for value in model.graph.input if value.name not in initialisers),
        tuple(output.name for output in model.graph.output),
    )


def listed(path: Path, problems: list[str], head: str = "") -> ValueError:
    lines = "\n".join(f"  {problem}" for problem in problems)
    return ValueError(f"{path}: {head}{len(problems)} problem(s)\n{lines}")


def image_input(file: File) -> Input | str:
    """The one input, or what is the matter with it."""
    if len(file.inputs) != 1:
        names = ", ".join(repr(value.name) for value in file.inputs) or "none"
        return f"the inputs are {len(file.inputs)} ({names}); give one image [N, C, H, W] or [N, features]"
    value = file.inputs[0]
    tensor = value.type.tensor_type
    name = f"input {value.name!r}"
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        return f"{name} has no shape; give it one, [N, C, H, W] or [N, features]"
    dims = [dim.dim_value if dim.WhichOneof("value") == "dim_value" else None for dim in tensor.shape.dim]
    written = [dim.dim_param or "?" if d is None else d for d, dim in zip(dims, tensor.shape.dim, strict=True)]
    shape = "[" + ", ".join(map(str, written)) + "]"
    if len(dims) not in (2, 4):
        return f"{name} has the shape {shape}; give one image [N, C, H, W] or [N, features]"
    if any(dim is None for dim in dims[1:]):
        return f"{name} {shape} leaves the size of the image open (only the batch may be); export with one size"
    if any(dim is not None and dim < 1 for dim in dims):
        return f"{name} has the shape {shape}; every size must be at least 1"
    try:
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    except KeyError:
        dtype = np.dtype(object)
    if dtype.name not in INPUTS:
        known = tensor.elem_type in TensorProto.DataType.values()
        kind = TensorProto.DataType.Name(tensor.elem_type) if known else str(tensor.elem_type)
        return f"{name} is of type {kind}, which cannot hold the 256 levels of a pixel; use one of {', '.join(INPUTS)}"
    sizes = tuple(dim for dim in dims[1:] if dim is not None)
    return Input(value.name, sizes, dims[0] or _OPEN_BATCH, dims[0] is not None, dtype)


def finite(value: np.ndarray) -> str:
    """Where a constant is not finite, in words; empty where it is all finite."""
    if value.dtype.kind not in "fcV":  # V: the small floats that numpy does not know
        return ""
    wrong = ~np.isfinite(value.astype(np.float64))
    if not wrong.any():
        return ""
    at = np.unravel_index(int(wrong.argmax()), value.shape)
    index = f" at [{', '.join(map(str, at))}]" if at else ""
    return f"holds {int(wrong.sum())} of {math.prod(value.shape)} values that are not finite: {value[at]}{index}"


def _version_problems(model: ModelProto) -> list[str]:
    problems = []
    if model.ir_version > onnx.IR_VERSION:
        problems.append(
            f"IR version {model.ir_version} is above {onnx.IR_VERSION}, the latest known; export with an older one"
        )
    opset = next((entry.version for entry in model.opset_import if _domain(entry.domain) == ""), 0)
    if not OLDEST <= opset <= NEWEST:
        problems.append(
            f"opset {opset} of ai.onnx is outside {OLDEST} to {NEWEST}, those known;"
            " export with another, or use onnx.version_converter"
        )
    problems += [
        f"function {function.name!r} of domain {function.domain!r}: functions are not understood; export them inlined"
        for function in model.functions
        if any((node.domain, node.op_type) == (function.domain, function.name) for node in model.graph.node)
    ]
    return problems


def _sorted(model: ModelProto, known: set[str], problems: list[str]) -> list[NodeProto]:
    """The nodes with the domain's empty name, after a look at their order."""
    made = {*known, ""}
    for node in model.graph.node:
        node.domain = _domain(node.domain)
        name = node.name or ", ".join(node.output)
        problems += [
            f"node {name!r} ({node.op_type}): reads {read!r}, which nothing before it makes; sort the nodes"
            for read in node.input
            if read not in made
        ]
        problems += [
            f"node {name!r} ({node.op_type}): makes {out!r} a second time; give every tensor one maker"
            for out in node.output
            if out and out in made
        ]
        made.update(node.output)
    problems += [
        f"output {output.name!r}: nothing makes it; export the file again"
        for output in model.graph.output
        if output.name not in made
    ]
    if not model.graph.output:
        problems.append("the graph has no output; end with the logits")
    return list(model.graph.node)


def _domain(name: str) -> str:
    """The name in use today."""
    return {"ai.onnx": "", "finn": QONNX, "finn.custom_op.general": QONNX, "onnx.brevitas": QONNX}.get(name, name)


def one_line(error: Exception) -> str:
    """An outside library's words on one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__
