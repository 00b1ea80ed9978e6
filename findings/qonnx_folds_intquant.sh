#!/usr/bin/env bash
# qonnx 1.0.0: constant folding keeps the quantiser of a weight under its former name alone.
#
# qonnx 1.0 calls its quantiser IntQuant; Quant is the older alias of the same operator. `FoldConstants` leaves a Quant of
# a constant weight where it is, because the bits, the scale and the rounding stand in the node. The same file with the
# present name loses the node: the weight becomes a plain float constant, and a tool behind it can no longer tell that it
# was quantised, or to how many bits. (source: transformation/fold_constants.py, its list of excluded operators)
#
# Output seen:  Quant -> nodes left: Quant, MatMul
#               IntQuant -> nodes left: MatMul
# Ends with 0 while that is so, with 1 when it has changed.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet qonnx==1.0.0 onnx==1.21.0 onnxruntime==1.25.1 numpy==2.4.6 "setuptools<81"
"$work/venv/bin/python" - <<'P' | tee "$work/seen"
import numpy as np
from onnx import TensorProto as T, helper as h, numpy_helper as nh
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.fold_constants import FoldConstants

for name in ("Quant", "IntQuant"):
    values = {"w": np.ones((4, 3)), "scale": 0.5, "zero": 0.0, "bits": 4.0}
    nodes = [
        h.make_node(name, ["w", "scale", "zero", "bits"], ["wq"], domain="qonnx.custom_op.general",
                    signed=1, narrow=1, rounding_mode="ROUND"),
        h.make_node("MatMul", ["x", "wq"], ["y"]),
    ]
    graph = h.make_graph(
        nodes, "net",
        [h.make_tensor_value_info("x", T.FLOAT, [1, 4])], [h.make_tensor_value_info("y", T.FLOAT, [1, 3])],
        [nh.from_array(np.asarray(value, np.float32), key) for key, value in values.items()],
    )
    opsets = [h.make_opsetid("", 17), h.make_opsetid("qonnx.custom_op.general", 1)]
    model = ModelWrapper(h.make_model(graph, opset_imports=opsets, ir_version=10)).transform(FoldConstants())
    print(f"{name} -> nodes left: {', '.join(node.op_type for node in model.graph.node)}")
P
printf '%s\n' "Quant -> nodes left: Quant, MatMul" "IntQuant -> nodes left: MatMul" | cmp -s - "$work/seen"
