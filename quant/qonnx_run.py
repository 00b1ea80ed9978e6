"""qonnx's own execution of a QONNX file, tensor by tensor: the reference an import is compared with."""

from __future__ import annotations

import numpy as np
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

_CHUNK = 16  # images at once, where the file leaves the batch open


def run(model: ModelWrapper, x: np.ndarray, tensors: list[str]) -> dict[str, np.ndarray]:
    """The named tensors for float inputs x [N, C, H, W], gathered over chunks of the batch the file can take.

    They come back as [chunks, rows, ...]; where rows are steps and images, they are time-major within a
    chunk. The last chunk is filled up with empty images.
    """
    name = model.graph.input[0].name
    model, batch = _open_batch(model, min(len(x), _CHUNK))
    surplus = -len(x) % batch
    x = np.concatenate([x, np.zeros((surplus, *x.shape[1:]), x.dtype)]).astype(np.float32)
    gathered: dict[str, list[np.ndarray]] = {tensor: [] for tensor in tensors}
    for start in range(0, len(x), batch):
        context = execute_onnx(model, {name: x[start : start + batch]}, return_full_exec_context=True)
        for tensor in tensors:
            gathered[tensor].append(context[tensor])
    return {tensor: np.stack(chunks) for tensor, chunks in gathered.items()}


def _open_batch(model: ModelWrapper, batch: int) -> tuple[ModelWrapper, int]:
    """The model with its batch set to `batch`, and that number; or its own, where a Reshape fixes it."""
    own = model.get_tensor_shape(model.graph.input[0].name)[0]
    targets = [model.get_initializer(node.input[1]) for node in model.graph.node if node.op_type == "Reshape"]
    if own > 0 and any(target is None or -1 not in target for target in targets):
        return model, own
    model = ModelWrapper(model.model, make_deepcopy=True)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    return model.transform(InferShapes()), batch
