"""Which nodes of a QONNX file the integer graph can hold, each judged by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from onnx import NodeProto

from scaflow.quant.neuron import NO_DECAY, neuron_problems
from scaflow.quant.qonnx_file import finite
from scaflow.quant.qonnx_operators import OPERATORS, attributes, refusal, table_problems
from scaflow.quant.qonnx_run import Runner

QUANT = ("Quant", "IntQuant")
AFFINE = ("Mul", "Div", "Add", "Sub")
JOINS = ("Add", "Sub")
WEIGHTED = ("Conv", "MatMul", "Gemm")
TRANSPARENT = ("Identity", "Dropout")
_ON_WEIGHTS = (*TRANSPARENT, "Cast", "Transpose", "Reshape", "Flatten")  # they move values and keep them
_REMEDIES = {
    "Concat": "let paths meet in an Add",
    "Sum": "let paths meet in an Add",
    "Softmax": "end with the logits",
    "ArgMax": "end with the logits",
}
Constant = Callable[[str], np.ndarray | None]  # a tensor's value, if it is a constant


def weight_chain(runner: Runner, tensor: str) -> list[NodeProto]:
    """The nodes that make a weight, from its quantiser on; empty where it has none."""
    chain: list[NodeProto] = []
    while (node := runner.maker(tensor)) is not None:
        chain.insert(0, node)
        if node.op_type in (*QUANT, "BipolarQuant"):
            return chain
        if node.op_type not in _ON_WEIGHTS:
            return []
        tensor = node.input[0]
    return []


def node_problems(runner: Runner) -> list[str]:
    """All nodes that have no place in the integer graph: name, reason and remedy, one string each."""
    checks: dict[str, Callable[[NodeProto, dict[str, Any], Constant], Iterator[str]]] = {
        "LIF": _lif,
        "BatchNormalization": _batch_norm,
        "Dropout": _dropout,
        **dict.fromkeys(QUANT, _quant),
        **dict.fromkeys(AFFINE, _affine),
    }
    file, constant = runner.file, runner.constants.get
    quantisers = {id(chain[0]) for chain in _weight_chains(runner)}
    problems = [*runner.problems]
    for node in file.nodes:
        problems += [refusal(node, reason) for reason in _not_finite(node, runner)]
        fixed = all(name in runner.fixed for name in node.output if name)
        if fixed and id(node) not in quantisers:
            continue  # a constant, taken as it is
        if node.op_type not in OPERATORS or (fixed and node.op_type == "BipolarQuant"):
            remedy = _REMEDIES.get(node.op_type, "replace it, or leave it out")
            reason = "" if node.op_type in OPERATORS else f"has no place in the integer graph; {remedy}"
            problems += [refusal(node, reason)] if reason else []
            continue
        found = list(table_problems(node, file.opsets.get(node.domain, 1)))
        if not found:
            check = checks.get(node.op_type, _fine)
            found = list(check(node, attributes(node), lambda name: constant(name)))
        problems += [refusal(node, reason) for reason in found]
    return problems


def _weight_chains(runner: Runner) -> Iterator[list[NodeProto]]:
    for node in runner.file.nodes:
        if node.op_type in WEIGHTED and len(node.input) > 1 and node.input[1] in runner.constants:
            chain = weight_chain(runner, node.input[1])
            if chain:
                yield chain


def _not_finite(node: NodeProto, runner: Runner) -> Iterator[str]:
    """Constants that it reads or is the first to spoil."""
    read = [name for name in node.input if name in runner.constants]
    wrong = {name: finite(runner.constants[name]) for name in read}
    if node.op_type in OPERATORS:
        yield from (f"{name!r} is empty; give it values" for name in read if not runner.constants[name].size)
    for name, what in wrong.items():
        maker = runner.maker(name)
        if what and (maker is None or maker.op_type == "Constant"):
            yield f"{name!r} {what}; export a network whose training did not go astray"
    if any(wrong.values()) or node.op_type == "Constant":
        return
    for name in node.output:
        if name in runner.constants and (what := finite(runner.constants[name])):
            yield f"{name!r}, which it makes of constants, {what}; look at its inputs"


def _fine(node: NodeProto, attribute: dict[str, Any], constant: Constant) -> Iterator[str]:
    yield from ()


def _lif(node: NodeProto, attribute: dict[str, Any], constant: Constant) -> Iterator[str]:
    if attribute.get("time_steps", 1) < 1:
        yield f"time_steps={attribute['time_steps']} must be at least 1"
    if not 0 <= attribute.get("fraction_bits", 0) <= 16:
        yield f"fraction_bits={attribute['fraction_bits']} must be 0 to 16"
    decay, reset = tuple(attribute.get("decay", NO_DECAY)), attribute.get("reset", "hard")
    yield from neuron_problems(attribute.get("leak_shift", 0), decay, reset)
    if any(channel < 0 for channel in attribute.get("kept", [])):
        yield f"kept={list(attribute['kept'])} must be channel numbers, from 0"
    if attribute.get("fraction_bits", 0) and not any(node.input[2:]):
        yield "fraction_bits are of the grid that `step` gives; give step too, or leave them out"
    for name in filter(None, node.input[1:3]):
        value = constant(name)
        if value is None or not (finite(value) or (value > 0).all()):
            yield f"{name!r} must be a constant above 0"
    for name in filter(None, node.input[3:]):
        if constant(name) is None:
            yield f"{name!r}, where a reset puts the membrane, must be a constant"
        elif reset != "hard":
            yield f"{name!r} is where a hard reset puts the membrane, and reset={reset!r}; leave it out"


def _quant(node: NodeProto, attribute: dict[str, Any], constant: Constant) -> Iterator[str]:
    scale, zero, bits = (constant(name) for name in node.input[1:4])
    if scale is None or zero is None or bits is None:
        yield "scale, zero point and bit width must be constants; export after training"
        return
    if any(finite(value) or not value.size for value in (scale, zero, bits)):
        return  # said already
    if not (scale > 0).all():
        yield "scale must be above 0"
    if (zero != 0).any():
        yield f"zero point {zero.ravel()[0]:g} must be 0; use a symmetric quantiser"
    least = 2 if attribute.get("signed", 1) else 1
    if bits.size != 1 or not float(bits.item()).is_integer() or not least <= bits.item() <= 8:
        yield f"bit width {bits.ravel()[0]:g} must be a whole number from {least} to 8"


def _batch_norm(node: NodeProto, attribute: dict[str, Any], constant: Constant) -> Iterator[str]:
    parameters = [constant(name) for name in node.input[1:5]]
    if len(parameters) < 4 or any(value is None for value in parameters):
        yield "its parameters must be constants; export in evaluation mode"
        return
    variance = np.asarray(parameters[3], np.float64) + attribute.get("epsilon", 1e-5)
    if not finite(variance) and (variance <= 0).any():
        c = int((variance <= 0).argmax())
        yield (
            f"variance + epsilon of channel {c} is {variance.ravel()[c]:g}: no finite number is its inverse root;"
            " a variance is above 0: export a network whose training did not go astray"
        )


def _dropout(node: NodeProto, attribute: dict[str, Any], constant: Constant) -> Iterator[str]:
    mode = node.input[2] if len(node.input) > 2 else ""
    if mode and (constant(mode) is None or np.any(constant(mode))):
        yield f"training_mode {mode!r} must be a constant false; export in evaluation mode"


def _affine(node: NodeProto, attribute: dict[str, Any], constant: Constant) -> Iterator[str]:
    values = [constant(name) for name in node.input]
    given = sum(value is not None for value in values)
    if given != 1 and (given or node.op_type not in JOINS):
        yield "one operand must be a constant; paths meet in an Add only"
    elif node.op_type == "Div" and values[1] is not None and (values[1] == 0).any():
        yield f"{node.input[1]!r} divides by 0: the quotient is not finite; leave out the node or mend its constant"
