"""QONNX files written node by node, and their values by onnx's reference, with Quant and LIF written anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

QONNX, OPS = "qonnx.custom_op.general", "scaflow.quant.ops"


class Quant(OpRun):
    op_domain = QONNX

    def _run(self, x, scale, zero, bits, signed=1, narrow=0, rounding_mode="ROUND"):
        top = 2.0 ** (int(np.ravel(bits)[0]) - signed)
        low = -top + narrow if signed else 0
        rounded = {"ROUND": np.round, "FLOOR": np.floor}[rounding_mode](x / scale)
        return ((np.clip(rounded, low, top - 1 - narrow * (not signed)) * scale).astype(np.float32),)


class IntQuant(Quant):
    pass


class BipolarQuant(OpRun):
    op_domain = QONNX

    def _run(self, x, scale):
        return (np.where(x >= 0, scale, -scale).astype(np.float32),)


class LIF(OpRun):
    op_domain = OPS

    def _run(
        self, current, threshold, step=None, v_reset=None, time_steps=None, leak_shift=None, reset=None, decay=None,
        fraction_bits=0, kept=None,
    ):  # fmt: skip
        shape = (-1, *[1] * (current.ndim - 2))
        current, threshold = current.astype(np.float64), threshold.reshape(shape).astype(np.float64)
        back = 0.0 if v_reset is None else v_reset.reshape(shape).astype(np.float64)
        if step is not None:
            grid = step.reshape(shape) / 2.0**fraction_bits
            current, threshold, back = np.round(current / grid), np.round(threshold / grid), np.round(back / grid)
        floor = np.floor if step is not None else lambda x: x
        left, spikes = 0.0, []
        for i in np.split(current, time_steps):
            u = left + i
            spikes.append(u >= threshold)
            if reset != "delayed":
                u = np.where(spikes[-1], back if reset == "hard" else u - threshold, u)
            left = u - floor(u / 2.0**leak_shift) if leak_shift else u
            left = floor(left * decay[0] / 2.0 ** decay[1]) if decay else left
            if reset == "delayed":
                left = left - spikes[-1] * threshold
        found = np.concatenate(spikes).astype(np.float32)
        if kept is not None and len(kept):
            found[:, [c for c in range(found.shape[1]) if c not in kept]] = 0
        return (found,)


def evaluate(path: Path, name: str, x: np.ndarray) -> list[np.ndarray]:
    return ReferenceEvaluator(onnx.load(path), new_ops=[Quant, IntQuant, BipolarQuant, LIF]).run(None, {name: x})


class Net:
    """Image, one layer, read-out; every value a power of two or a multiple of one, so that nothing is rounded."""

    def __init__(self, size: int = 8, hidden: int = 6, classes: int = 4, steps: int = 3, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.size, self.hidden, self.classes, self.steps = size, hidden, classes, steps
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: dict[str, TensorProto] = {}
        self.shape: list[int | str] = [1, 1, size, size]
        self.dtype, self.outputs, self.inputs = TensorProto.FLOAT, ["logits"], []
        self.constants(zero=0.0, b8=8.0, b4=4.0, pixel=2.0**-8, threshold=1.5, w_scale=0.25, r_scale=0.125)
        self.constants(w=rng.integers(-7, 8, (hidden, 1, 3, 3)) * 0.25)
        self.integers(times=[steps, 1, 1, 1], split=[steps, -1, classes], first=[0])
        self.quant("image pixel zero b8", "x", signed=0, narrow=0)
        self.quant("w w_scale zero b4", "wq")
        self.add("Conv", "x wq", "current", kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1])
        self.add("Tile", "current times", "tiled")
        self.add("LIF", "tiled threshold", "spikes", domain=OPS, time_steps=steps, leak_shift=0, reset="soft")
        self.add("MaxPool", "spikes", "pooled", kernel_shape=[2, 2], strides=[2, 2])
        self.add("Flatten", "pooled", "flat", axis=1)
        self.readout(hidden * (size // 2) ** 2)
        self.quant("r r_scale zero b8", "rq")
        self.add("MatMul", "flat rq", "sums")
        self.add("Reshape", "sums split", "steps")
        self.add("ReduceSum", "steps first", "logits", keepdims=0)

    def readout(self, features: int) -> None:
        rng = np.random.default_rng(features)
        self.constants(r=rng.integers(-100, 101, (features, self.classes)) * 0.125)

    def fit(self, path: Path) -> None:
        """A read-out for as many spikes as the layers before it make; `path` is for the part of the file."""
        nodes, outputs = self.nodes, self.outputs
        self.nodes, self.outputs = nodes[: nodes.index(self.node("flat")) + 1], ["flat"]
        x = np.zeros([size if isinstance(size, int) else 1 for size in self.shape], np.float32)
        features = evaluate(self.write(path), "image", x)[0].shape[1]
        self.nodes, self.outputs = nodes, outputs
        self.readout(features)

    def constants(self, dtype: Any = np.float32, **values: Any) -> None:
        for name, value in values.items():
            self.initialisers[name] = numpy_helper.from_array(np.asarray(value, dtype), name)

    def integers(self, **values: Any) -> None:
        self.constants(np.int64, **values)

    def add(self, kind: str, inputs: str, output: str, at: int | None = None, **attributes: Any) -> onnx.NodeProto:
        node = helper.make_node(kind, inputs.split(), output.split(), name=f"{output.split()[0]}_node", **attributes)
        self.nodes.insert(len(self.nodes) if at is None else at, node)
        return node

    def quant(self, inputs: str, output: str, at: int | None = None, kind: str = "Quant", **attributes: Any) -> None:
        own = {"signed": 1, "narrow": 1, "rounding_mode": "ROUND"} | attributes
        self.add(kind, inputs, output, at, domain=QONNX, **own)

    def node(self, output: str) -> onnx.NodeProto:
        return next(node for node in self.nodes if output in node.output)

    def set(self, output: str, **attributes: Any) -> None:
        node = self.node(output)
        kept = [a for a in node.attribute if a.name not in attributes]
        del node.attribute[:]
        node.attribute.extend([*kept, *(helper.make_attribute(k, v) for k, v in attributes.items() if v is not None)])

    def behind(self, tensor: str, kind: str, extra: str = "", **attributes: Any) -> str:
        """Put a node behind a tensor; all that read it read the new one."""
        output = f"{tensor}_{kind.lower()}"
        for node in self.nodes:
            for i, name in enumerate(node.input):
                if name == tensor:
                    node.input[i] = output
        at = next((i + 1 for i, node in enumerate(self.nodes) if tensor in node.output), 0)
        self.add(kind, f"{tensor} {extra}", output, at, **attributes)
        return output

    def write(self, path: Path, opset: int = 17, ir: int = 10) -> Path:
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("image", self.dtype, self.shape), *self.inputs],
            [helper.make_empty_tensor_value_info(name) for name in self.outputs],
            list(self.initialisers.values()),
        )
        opsets = [helper.make_opsetid(domain, version) for domain, version in (("", opset), (QONNX, 1), (OPS, 1))]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=ir), path)
        return path
