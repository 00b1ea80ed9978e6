"""The `LIF` node of `scaflow.quant.ops` as a torch operator: it runs, trains and exports as one node."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._C import OptionalType
from torch.autograd import Function

from scaflow.quant.neuron import NO_DECAY
from scaflow.quant.ops import DOMAIN

OPSETS = {DOMAIN: 1}  # for the `custom_opsets` of an ONNX export


class _Spike(Function):
    """The step at the threshold; backward uses the derivative of sigmoid(4 x), x in thresholds."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, threshold: Tensor) -> Tensor:
        ctx.save_for_backward(u, threshold)
        return (u >= threshold).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        u, threshold = ctx.saved_tensors
        y = torch.sigmoid(4 * (u / threshold - 1))
        return grad * 4 * y * (1 - y) / threshold, None


class _Node(Function):
    """What an ONNX export records: one node, not the loop over the steps."""

    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        threshold: Tensor,
        step: Tensor | None,
        v_reset: Tensor | None,
        attributes: dict[str, Any],
    ) -> Tensor:
        return torch.zeros_like(current, dtype=torch.float32)

    @staticmethod
    def symbolic(
        g: Any, current: Any, threshold: Any, step: Any, v_reset: Any, attributes: dict[str, Any]
    ) -> Any:
        integer = {f"{key}_i": attributes[key] for key in ("time_steps", "leak_shift")}
        inputs = [current, threshold]
        if step is not None:
            inputs.append(step)
            integer["fraction_bits_i"] = attributes["fraction_bits"]
        if v_reset is not None:
            if step is None:
                inputs.append(g.op("prim::Constant").setType(OptionalType.ofTensor()))  # an input left out
            inputs.append(v_reset)
        if attributes["decay"] != NO_DECAY:
            integer["decay_i"] = list(attributes["decay"])
        if attributes["kept"]:
            integer["kept_i"] = list(attributes["kept"])
        spikes = g.op(f"{DOMAIN}::LIF", *inputs, reset_s=attributes["reset"], **integer)
        spikes.setType(current.type().with_dtype(torch.float32))
        return spikes


def lif(
    current: Tensor,
    threshold: Tensor,
    step: Tensor | None = None,
    v_reset: Tensor | None = None,
    *,
    time_steps: int,
    leak_shift: int = 1,
    reset: str = "hard",
    decay: tuple[int, ...] = NO_DECAY,
    fraction_bits: int = 0,
    kept: tuple[int, ...] = (),
) -> Tensor:
    """The spiking neuron over T steps; current [T*N, C, ...] -> spikes, the same shape, 0 or 1.

    Args:
        threshold: scalar or [C].
        step: scalar or [C], the value of one accumulator step: the membrane is then the integer one.
        v_reset: scalar or [C], where a hard reset puts v; None: 0.
        decay: D, K: a step leaves v*D / 2^K, instead of a leak_shift.
        kept: channels that may spike; none given means all.

    The two-input form trains (surrogate gradient); the integer form has no gradient, and is for export.
    """
    if torch.onnx.is_in_onnx_export():
        attributes = {
            "time_steps": time_steps,
            "leak_shift": leak_shift,
            "reset": reset,
            "decay": tuple(decay),
            "fraction_bits": fraction_bits,
            "kept": kept,
        }
        recorded: Tensor = _Node.apply(current, threshold, step, v_reset, attributes)  # type: ignore[no-untyped-call]
        return recorded

    def per_channel(value: Tensor) -> Tensor:
        return value.reshape(-1, *[1] * (current.dim() - 2)) if value.numel() > 1 else value.reshape(())

    threshold = per_channel(threshold)
    back = per_channel(torch.zeros_like(threshold) if v_reset is None else v_reset)
    if step is not None:
        grid = per_channel(step).double() * 2.0**-fraction_bits
        current, threshold, back = ((value.detach() / grid).round() for value in (current, threshold, back))

    def decayed(v: Tensor) -> Tensor:
        if leak_shift:
            part = v * 2.0**-leak_shift
            v = v - (part.floor() if step is not None else part)
        if tuple(decay) == NO_DECAY:
            return v
        part = v * (decay[0] * 2.0 ** -decay[1])
        return part.floor() if step is not None else part

    spikes = []
    left = torch.zeros_like(current[: len(current) // time_steps])
    for i in current.unflatten(0, (time_steps, -1)):
        u = left + i
        s = _Spike.apply(u, threshold)  # type: ignore[no-untyped-call]
        fired = s.detach()
        if reset == "hard":
            left = decayed(u * (1 - fired) + back * fired)
        elif reset == "soft":
            left = decayed(u - fired * threshold)
        else:
            left = decayed(u) - fired * threshold
        spikes.append(s)
    out = torch.cat(spikes).float()
    if kept:
        mask = torch.zeros(current.shape[1])
        mask[list(kept)] = 1
        out = out * mask.view(-1, *[1] * (current.dim() - 2))
    return out
