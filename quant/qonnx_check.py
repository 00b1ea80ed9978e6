"""Which nodes of a QONNX model the integer graph can hold, each judged by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from onnx import NodeProto, helper
from qonnx.core.modelwrapper import ModelWrapper

from scaflow.quant.ops import DOMAIN

QUANT = ("Quant", "IntQuant")
AFFINE = ("Mul", "Div", "Add", "Sub")
WEIGHTED = ("Conv", "MatMul", "Gemm")
TRANSPARENT = ("Identity", "Dropout", "Cast")
_SHAPE = ("Transpose", "Flatten", "Reshape", "Tile", "Expand")
_REMEDIES = {
    "GlobalAveragePool": "use a read-out over the whole map, or a strided convolution",
    "AveragePool": "use MaxPool on spikes, or a strided convolution",
    "BipolarQuant": "use weights of 2 to 8 bits; a spike needs no quantiser behind LIF",
    "Concat": "the graph is a chain: use one path from the image to the logits",
    "Softmax": "end with the logits",
    "ArgMax": "end with the logits",
}
Constant = Callable[[str], np.ndarray | None]  # a tensor's value, if it is a constant


def title(node: NodeProto) -> str:
    return node.name or f"the one that makes {node.output[0]}"


def refusal(node: NodeProto, reason: str) -> str:
    return f"node {title(node)!r} ({node.op_type}): {reason}"


def attributes(node: NodeProto) -> dict[str, Any]:
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {key: value.decode() if isinstance(value, bytes) else value for key, value in values.items()}


def node_problems(model: ModelWrapper) -> list[str]:
    """All nodes that have no place in the integer graph: name, reason and remedy, one string each."""
    checks: dict[str, Callable[[NodeProto, dict[str, Any], Constant], Iterator[str]]] = {
        "LIF": _lif,
        "Conv": _conv,
        "Gemm": _gemm,
        "MaxPool": _max_pool,
        "BatchNormalization": _batch_norm,
        "ReduceSum": _fine,
        "ReduceMean": _fine,
        "MatMul": _fine,
        **dict.fromkeys(QUANT, _quant),
        **dict.fromkeys(AFFINE, _affine),
        **dict.fromkeys((*TRANSPARENT, *_SHAPE), _fine),
    }
    return [
        refusal(node, reason)
        for node in model.graph.node
        for reason in checks.get(node.op_type, _unknown)(node, attributes(node), model.get_initializer)
    ]


def _fine(node: NodeProto, attribute: dict[str, Any], constant: Constant) -> Iterator[str]:
    yield from ()


def _unknown(node: NodeProto, attribute: dict[str, Any], constant: Constant) -> Iterator[str]:
    yield f"has no place in the integer graph; {_REMEDIES.get(node.op_type, 'replace it, or leave it out')}"


def _lif(node: NodeProto, attribute: dict[str, Any], constant: Constant) -> Iterator[str]:
    if node.domain != DOMAIN:
        yield f"domain {node.domain!r} must be {DOMAIN!r}"
    missing = {"time_steps", "leak_shift", "reset"} - set(attribute)
    if missing:
        yield f"attributes {', '.join(sorted(missing))} are missing; write them"
    if attribute.get("time_steps", 1) < 1:
        yield f"time_steps={attribute['time_steps']} must be at least 1"
    if not 0 <= attribute.get("leak_shift", 0) <= 8:
        yield f"leak_shift={attribute['leak_shift']} must be 0 (no leak) to 8"
    if not 0 <= attribute.get("fraction_bits", 0) <= 16:
        yield f"fraction_bits={attribute['fraction_bits']} must be 0 to 16"
    if attribute.get("reset", "hard") not in ("hard", "soft"):
        yield f"reset={attribute['reset']!r} must be 'hard' or 'soft'"
    if not 2 <= len(node.input) <= 3:
        yield f"has {len(node.input)} inputs; give current, threshold and, if you have it, step"
    for name in node.input[1:]:
        value = constant(name)
        if value is None or not (value > 0).all():
            yield f"{name!r} must be a constant above 0"


def _quant(node: NodeProto, attribute: dict[str, Any], constant: Constant) -> Iterator[str]:
    scale, zero, bits = (constant(name) for name in node.input[1:4])
    if scale is None or zero is None or bits is None:
        yield "scale, zero point and bit width must be constants; export after training"
        return
    if not (scale > 0).all():
        yield "scale must be above 0"
    if (zero != 0).any():
        yield f"zero point {zero.ravel()[0]:g} must be 0; use a symmetric quantiser"
    if bits.size != 1 or not float(bits.item()).is_integer() or not 2 <= bits.item() <= 8:
        yield f"bit width {bits.ravel()[0]:g} must be a whole number from 2 to 8"
    if attribute.get("rounding_mode", "ROUND") != "ROUND":
        yield f"rounding_mode={attribute['rounding_mode']} must be ROUND"


def _conv(node: NodeProto, attribute: dict[str, Any], constant: Constant) -> Iterator[str]:
    pads, strides = attribute.get("pads", [0]), attribute.get("strides", [1])
    if attribute.get("group", 1) != 1:
        yield f"group={attribute['group']} must be 1; use a full convolution"
    if len(set(pads)) > 1 or len(set(strides)) > 1:
        yield f"pads={list(pads)}, strides={list(strides)} must be the same on all sides"
    if attribute.get("auto_pad", "NOTSET") != "NOTSET":
        yield f"auto_pad={attribute['auto_pad']} must be NOTSET; write the pads"
    if set(attribute.get("dilations", [1])) != {1}:
        yield f"dilations={list(attribute['dilations'])} must be 1"


def _gemm(node: NodeProto, attribute: dict[str, Any], constant: Constant) -> Iterator[str]:
    if (attribute.get("alpha", 1.0), attribute.get("beta", 1.0), attribute.get("transA", 0)) != (1, 1, 0):
        yield "alpha and beta must be 1 and transA 0; scale in a Mul behind it"


def _max_pool(node: NodeProto, attribute: dict[str, Any], constant: Constant) -> Iterator[str]:
    window = [*attribute["kernel_shape"], *attribute.get("strides", [1])]
    if len(set(window)) > 1 or any(attribute.get("pads", [0])) or attribute.get("ceil_mode", 0):
        yield "windows must be square, side by side and without padding; set the stride to the kernel size"


def _batch_norm(node: NodeProto, attribute: dict[str, Any], constant: Constant) -> Iterator[str]:
    if any(constant(name) is None for name in node.input[1:5]) or attribute.get("training_mode", 0):
        yield "its parameters must be constants; export in evaluation mode"


def _affine(node: NodeProto, attribute: dict[str, Any], constant: Constant) -> Iterator[str]:
    if sum(constant(name) is not None for name in node.input) != 1:
        yield "one operand must be a constant: the graph is a chain; remove the second path"
