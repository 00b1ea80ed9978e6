"""The ONNX domain `scaflow.quant.ops`: the spiking neuron as one node, as qonnx finds and executes it.

`LIF`, version 1
    inputs      current    [T*N, C, ...], rows time-major: t*N + n
                threshold  scalar or [C]
                step       scalar or [C], optional: the value of one accumulator step
                v_reset    scalar or [C], optional: where a hard reset puts v, below threshold; absent: 0
    output      spikes     the shape of current, 0 or 1, float32
    attributes  time_steps (T), leak_shift (L; 0: no leak), reset ("hard", "soft" or "delayed"),
                decay (D, K, instead of leak_shift; without it, 1, 0),
                fraction_bits (F, with `step` only),
                kept (channels that may spike; without it, all)

Without `step` the membrane is real: u = decay(v) + current, spike where u >= threshold, decay(v) = v - v*2^-L or
v*D/2^K; "delayed" takes the threshold off behind the decay of the next step. With it the membrane is an integer on the
grid step*2^-F: current, threshold and v_reset are rounded to it, and decay(v) = v - (v >>> L) or v*D >>> K.
`scaflow.quant.ops.torch` has the same neuron as a torch operator that exports as this node.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper
from qonnx.core.datatype import DataType
from qonnx.custom_op.base import CustomOp

from scaflow.quant.neuron import NO_DECAY, RESETS

__all__ = ["LIF"]

DOMAIN = "scaflow.quant.ops"


class LIF(CustomOp):  # type: ignore[misc]  # qonnx has no types
    def get_nodeattr_types(self) -> dict[str, tuple[Any, ...]]:
        return {
            "time_steps": ("i", True, 0),
            "leak_shift": ("i", True, 0),
            "reset": ("s", True, "hard", set(RESETS)),
            "decay": ("ints", False, list(NO_DECAY)),
            "fraction_bits": ("i", False, 0),
            "kept": ("ints", False, []),
        }

    def make_shape_compatible_op(self, model: Any) -> Any:
        node = self.onnx_node
        return helper.make_node("Cast", [node.input[0]], [node.output[0]], to=TensorProto.FLOAT)

    def infer_node_datatype(self, model: Any) -> None:
        model.set_tensor_datatype(self.onnx_node.output[0], DataType["BINARY"])

    def execute_node(self, context: dict[str, np.ndarray], graph: Any) -> None:
        node = self.onnx_node
        others = [context[name] if name else None for name in node.input[2:]]
        context[node.output[0]] = lif(
            context[node.input[0]],
            context[node.input[1]],
            *others,
            time_steps=self.get_nodeattr("time_steps"),
            leak_shift=self.get_nodeattr("leak_shift"),
            reset=self.get_nodeattr("reset"),
            decay=tuple(self.get_nodeattr("decay")),
            fraction_bits=self.get_nodeattr("fraction_bits"),
            kept=self.get_nodeattr("kept"),
        )

    def verify_node(self) -> list[str]:
        return []


def lif(
    current: np.ndarray,
    threshold: np.ndarray,
    step: np.ndarray | None = None,
    v_reset: np.ndarray | None = None,
    *,
    time_steps: int,
    leak_shift: int,
    reset: str,
    decay: tuple[int, ...] = NO_DECAY,
    fraction_bits: int = 0,
    kept: list[int] | None = None,
) -> np.ndarray:
    """The node on arrays; see the module's head. Returns float32 of current's shape."""

    def per_channel(value: np.ndarray) -> np.ndarray:
        value = np.asarray(value)
        return value.reshape(-1, *[1] * (current.ndim - 2)) if value.size > 1 else value.reshape(())

    threshold = per_channel(threshold)
    back = per_channel(np.zeros(1, current.dtype) if v_reset is None else v_reset)
    if step is not None:
        grid = per_channel(step).astype(np.float64) * 2.0**-fraction_bits
        current = np.rint(current / grid).astype(np.int64)
        threshold, back = (np.rint(value / grid).astype(np.int64) for value in (threshold, back))
    steps = current.reshape(time_steps, -1, *current.shape[1:])
    spikes = np.zeros(steps.shape, np.float32)

    def decayed(v: np.ndarray) -> np.ndarray:
        factor, shift = decay
        if leak_shift:
            v = v - (v >> leak_shift if step is not None else v * v.dtype.type(2.0**-leak_shift))
        if (factor, shift) == NO_DECAY:
            return v
        return v * factor >> shift if step is not None else v * v.dtype.type(factor * 2.0**-shift)

    left = np.zeros_like(steps[0])
    for t in range(time_steps):
        u = left + steps[t]
        fired = u >= threshold
        if reset == "hard":
            left = decayed(np.where(fired, back, u).astype(u.dtype))
        elif reset == "soft":
            left = decayed(u - fired * threshold)
        else:
            left = decayed(u) - fired * threshold
        spikes[t] = fired
    if kept:
        silent = np.ones(current.shape[1], bool)
        silent[kept] = False
        spikes[:, :, silent] = 0
    return spikes.reshape(current.shape)
