"""Execution of a QONNX file, node by node, by the file's own meaning: the reference an import is held against.

As qonnx executes: the nodes of its domain and LIF by their qonnx classes, all others by ONNX Runtime. Shapes and types
are those that come out, not those that are written in the file. What has no kernel there is left to ONNX's reference.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping

import numpy as np
import onnxruntime
from onnx import NodeProto, checker, helper
from onnx.reference import ReferenceEvaluator
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernel
from qonnx.custom_op.registry import getCustomOp, is_custom_op

from scaflow.quant.ops import DOMAIN
from scaflow.quant.qonnx_file import File, one_line
from scaflow.quant.qonnx_operators import QONNX, refusal

_IR_VERSION = 10
_RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial")
_SHAPE = ("Shape", "Size")


class Runner:
    """`constants` are the tensors that no input reaches; `fixed` also those that only its shape reaches."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.constants: dict[str, np.ndarray] = dict(file.initialisers)
        self.fixed = set(self.constants)
        self.problems: list[str] = []
        self._models: dict[int, _Kernel] = {}
        self._makers = {name: (i, node) for i, node in enumerate(file.nodes) for name in node.output if name}
        for node in file.nodes:
            inputs = [name for name in node.input if name]
            if node.op_type in _SHAPE and not node.domain:
                self.fixed.update(node.output)
            elif node.op_type in _RANDOM or (node.op_type == "Dropout" and self._trains(node)):
                continue
            elif all(name in self.constants for name in inputs):
                try:
                    self.constants.update(self._execute(node, self.constants))
                except ValueError as error:
                    self.problems.append(str(error))
                self.fixed.update(node.output)
            elif all(name in self.fixed for name in inputs):
                self.fixed.update(node.output)

    def _trains(self, dropout: NodeProto) -> bool:
        mode = dropout.input[2] if len(dropout.input) > 2 else ""
        return bool(mode) and bool(np.any(self.constants.get(mode, True)))

    def maker(self, tensor: str) -> NodeProto | None:
        return self._makers[tensor][1] if tensor in self._makers else None

    def value(self, tensor: str, context: dict[str, np.ndarray]) -> np.ndarray:
        """The tensor's value; `context` holds what is given and is filled with what is computed.

        Raises:
            ValueError: a node cannot be executed.
        """
        pending = [tensor]
        while pending:
            name = pending[-1]
            if name in context or name in self.constants:
                pending.pop()
                continue
            node = self._makers[name][1]
            missing = [i for i in node.input if i and i not in context and i not in self.constants]
            if missing:
                pending += missing
            else:
                context.update(self._execute(node, {**self.constants, **context}))
        return context[tensor] if tensor in context else self.constants[tensor]

    def run(self, feeds: Mapping[str, np.ndarray], tensors: Iterable[str]) -> list[np.ndarray]:
        """The named tensors, computed from `feeds`: tensors of the file, at its input or anywhere."""
        context = dict(feeds)
        return [self.value(tensor, context) for tensor in tensors]

    def _execute(self, node: NodeProto, context: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        index = self._makers[node.output[0]][0]
        inputs = {name: context[name] for name in node.input if name}
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what is not finite is found in the values
                if node.domain:
                    return self._custom(node, inputs)
                if index not in self._models:
                    self._models[index] = _Kernel(node, inputs, self.file.opsets[""])
                return self._models[index](inputs)
        except Exception as error:  # qonnx and ONNX Runtime raise whatever their layers raise
            raise ValueError(refusal(node, f"cannot be executed: {one_line(error)}; see what it is given")) from error

    def _custom(self, node: NodeProto, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        # Of other domains qonnx would import a module of that name.
        if node.domain not in (QONNX, DOMAIN) or not is_custom_op(node.domain, node.op_type):
            raise KeyError(f"domain {node.domain!r} has no {node.op_type} that is known")
        context = dict(inputs)
        getCustomOp(node).execute_node(context, None)
        return {name: np.asarray(context[name]) for name in node.output if name}


class _Kernel:
    """One standard node, for inputs of these types and shapes."""

    def __init__(self, node: NodeProto, inputs: Mapping[str, np.ndarray], opset: int) -> None:
        # With their shapes: where it knows none, ONNX Runtime may end the process at a rank that does not fit.
        infos = {
            name: helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in inputs.items()
        }
        self.outputs = [name for name in node.output if name]
        graph = helper.make_graph(
            [node],
            "node",
            list(infos.values()),
            [helper.make_empty_tensor_value_info(name) for name in self.outputs],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=_IR_VERSION)
        context = checker.C.CheckerContext()
        context.ir_version, context.opset_imports = _IR_VERSION, {"": opset}
        checker.check_node(node, context)  # ONNX Runtime may end the process at a node that is none
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session: onnxruntime.InferenceSession | ReferenceEvaluator
        try:
            self.session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        except NoKernel:
            self.session = ReferenceEvaluator(model)

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = self.session.run(self.outputs, dict(inputs))
        return {name: np.asarray(value) for name, value in zip(self.outputs, found, strict=True)}
