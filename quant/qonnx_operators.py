"""The table of understood operators: what an import makes of each of their attributes and inputs.

An attribute is used (the reader or the execution of the file reads it), of no effect whatever its value, or has one
neutral value and is refused at any other. What the table does not name is refused, so that an attribute of a later
opset cannot slip through; `table_problems` holds a node against the table and against its schema of the file's opset.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from onnx import AttributeProto, NodeProto, defs, helper
from qonnx.custom_op.registry import getCustomOp

from scaflow.quant.ops import DOMAIN

QONNX = "qonnx.custom_op.general"
OLDEST, NEWEST = 7, defs.onnx_opset_version()


@dataclass(frozen=True)
class Operator:
    inputs: int  # those the reader looks at; more are refused
    used: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()  # without effect on the first output
    neutral: Mapping[str, Any] = field(default_factory=dict)
    domain: str = ""

    @property
    def attributes(self) -> set[str]:
        return {*self.used, *self.ignored, *self.neutral}


def _operator(
    inputs: int,
    used: str = "",
    ignored: str = "",
    neutral: Mapping[str, Any] | None = None,
    domain: str = "",
) -> Operator:
    return Operator(inputs, frozenset(used.split()), frozenset(ignored.split()), neutral or {}, domain)


_AFFINE = _operator(2, neutral={"broadcast": 0, "axis": None, "consumed_inputs": None})  # before opset 7
_QUANT = _operator(4, "signed narrow rounding_mode", domain=QONNX)
_REDUCE = _operator(2, "axes keepdims", neutral={"noop_with_empty_axes": 0})
OPERATORS: Mapping[str, Operator] = {
    "Add": _AFFINE,
    "Sub": _AFFINE,
    "Mul": _AFFINE,
    "Div": _AFFINE,
    # count_include_pad: of pads, which are refused
    "AveragePool": _operator(1, "auto_pad ceil_mode dilations kernel_shape pads strides", ignored="count_include_pad"),
    "BatchNormalization": _operator(
        5,
        "epsilon",
        ignored="momentum consumed_inputs",  # of training; of memory
        neutral={"training_mode": 0, "spatial": 1, "is_test": 1},
    ),
    # saturate and round_mode speak of 8-bit floats, which the reader refuses
    "Cast": _operator(1, "to", ignored="saturate round_mode"),
    "Conv": _operator(3, "auto_pad dilations group kernel_shape pads strides"),
    "Dropout": _operator(3, ignored="ratio seed consumed_inputs", neutral={"is_test": 1}),
    "Expand": _operator(2),
    "Flatten": _operator(1, "axis"),
    "Gemm": _operator(3, "alpha beta transB", neutral={"transA": 0, "broadcast": 0}),
    "GlobalAveragePool": _operator(1),
    "Identity": _operator(1),
    "LpPool": _operator(1, "auto_pad ceil_mode dilations kernel_shape p pads strides"),
    "MatMul": _operator(2),
    "MaxPool": _operator(
        1,
        "auto_pad ceil_mode dilations kernel_shape pads strides",
        ignored="storage_order",  # of the second output
    ),
    "Pad": _operator(4, "pads paddings value", neutral={"mode": "constant"}),
    "ReduceMean": _REDUCE,
    "ReduceSum": _REDUCE,
    "Reshape": _operator(2, "allowzero shape", ignored="consumed_inputs"),
    "Round": _operator(1),
    "Tile": _operator(2),  # of opset 1 with a third input, the axis: refused
    "Transpose": _operator(1, "perm"),
    "Quant": _QUANT,
    "IntQuant": _QUANT,
    "BipolarQuant": _operator(2, domain=QONNX),
    "LIF": _operator(4, "time_steps leak_shift reset decay fraction_bits kept", domain=DOMAIN),
}


def title(node: NodeProto) -> str:
    return node.name or f"the one that makes {next(iter(node.output), 'nothing')}"


def refusal(node: NodeProto, reason: str) -> str:
    return f"node {title(node)!r} ({node.op_type}): {reason}"


def attributes(node: NodeProto) -> dict[str, Any]:
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {key: value.decode(errors="replace") if isinstance(value, bytes) else value for key, value in values.items()}


def table_problems(node: NodeProto, opset: int) -> Iterator[str]:
    """What in an understood node the table or its schema does not know. `opset`: of the node's domain."""
    operator = OPERATORS[node.op_type]
    if node.domain != operator.domain:
        yield f"domain {node.domain!r} must be {operator.domain or 'ai.onnx'!r}"
        return
    try:
        types = _types(node, opset)
    except (defs.SchemaError, KeyError) as error:
        yield f"is no operator of opset {opset} of {node.domain or 'ai.onnx'}: {error}"
        return
    least = 2 if node.domain == DOMAIN else operator.inputs
    if node.domain == "":
        schema = defs.get_schema(node.op_type, opset, "")
        least = schema.min_input
        missing = [name for name, spec in schema.attributes.items() if spec.required]
    else:
        missing = [name for name, spec in getCustomOp(node).get_nodeattr_types().items() if spec[1]]
    missing = [name for name in missing if name not in {attribute.name for attribute in node.attribute}]
    if missing:
        yield f"attributes {', '.join(sorted(missing))} are missing; write them"
    if len(node.input) < least or not all(node.input[:least]) or not any(node.output[:1]):
        yield f"has the inputs {list(node.input)}; it needs {least} at least, and an output"
    if any(node.input[operator.inputs :]):
        yield f"has {len(node.input)} inputs, {operator.inputs} are understood; leave the others out"
    values = attributes(node)
    for attribute in node.attribute:
        name, value = attribute.name, values[attribute.name]
        if name not in types or name not in operator.attributes:
            yield f"attribute {name!r} is not understood; leave it out"
        elif attribute.type != types[name]:
            kind = AttributeProto.AttributeType.Name(types[name])
            yield f"attribute {name!r} must be of type {kind}; export the file again"
        elif isinstance(value, float) and not math.isfinite(value):
            yield f"attribute {name}={value} is not finite; write a number"
        elif name in operator.neutral and value != operator.neutral[name]:
            only = operator.neutral[name]
            yield f"{name}={value} " + ("is not understood; leave it out" if only is None else f"must be {only}")


def _types(node: NodeProto, opset: int) -> dict[str, int]:
    """The attributes the operator has, and their types."""
    if node.domain == "":
        schema = defs.get_schema(node.op_type, opset, node.domain)
        return {name: cast(Any, attribute.type).value for name, attribute in schema.attributes.items()}
    kinds = {
        "i": AttributeProto.INT,
        "f": AttributeProto.FLOAT,
        "s": AttributeProto.STRING,
        "ints": AttributeProto.INTS,
    }
    return {name: kinds[spec[0]] for name, spec in getCustomOp(node).get_nodeattr_types().items()}
