"""Batch normalisation, mask, multi-step neuron and OR-pooling as one operation on the CPU, forward and backward.

What the modules of a `SpikingBlock` compute one after the other, over the convolution's output in its own type. Inside
everything is float32, and no membrane is stored. Written in C++ (fused.cpp), compiled at the first use for this
processor into `build/fused` (or $SCAFLOW_BUILD/fused) by $CXX or another compiler. Where that fails, `available` is
false, with one warning, and the modules do it.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import tempfile
import warnings
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from scaflow.model import compiler, parallel, places, processes
from scaflow.model.config import NeuronConfig
from scaflow.model.environment import environment
from scaflow.model.files import complete_binary, sync

_SOURCE = Path(__file__).with_suffix(".cpp")
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")
# a product and a sum are never contracted: backward finds the very membranes that forward had
_EXACT = ("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")
_TYPES = (torch.float32, torch.bfloat16)


class _Shape(ctypes.Structure):
    """`Shape` of fused.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("threads", "images", "steps", "height", "width", "channels", "pool")),
        *((name, ctypes.c_int64) for name in ("constant", "soft", "delayed", "arctan")),
        ("keep", ctypes.c_float),
        ("v_reset", ctypes.c_float),
        ("slope", ctypes.c_float),
    )


@cache
def _library() -> ctypes.CDLL | None:
    """The compiled operation; None where there is no compiler for it, which is said once."""
    failures = []
    for command in compiler.candidates():
        try:
            library = ctypes.CDLL(str(_compiled(command)))
        except (OSError, subprocess.SubprocessError) as error:
            failures.append(f"{' '.join(command)}: {(getattr(error, 'stderr', None) or str(error)).strip()}")
            continue
        if failures:
            warnings.warn(f"{_SOURCE.name} is compiled by {command[0]}, not by {'; '.join(failures)}", stacklevel=2)
        return library
    reason = "; ".join(failures) or f"no {', '.join(compiler.USUAL)} on the path"
    warnings.warn(
        f"training runs in plain torch, about half as fast: {_SOURCE.name} was not compiled ({reason}); "
        "install a C++ compiler (g++ or clang++ with OpenMP, or name one in $CXX)",
        stacklevel=2,
    )
    return None


def _compiled(command: list[str]) -> Path:
    """The shared library for this source, compiler and processor; made if it is not there.

    Raises:
        OSError, subprocess.SubprocessError: there is no such compiler, or it fails.
    """

    def run(*arguments: str) -> str:
        done = processes.run([*command, *arguments], env=environment(), stderr=subprocess.PIPE)
        done.check_returncode()
        return done.stdout

    target = run("-march=native", "-dM", "-E", "-x", "c++", os.devnull)  # compiler and instruction set, as macros
    identity = "\n".join((_SOURCE.read_text(), target, *command, *_FLAGS, *_EXACT))
    folder = places.generated("fused")
    path = folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.so"
    if not complete_binary(path):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:  # several processes may do this at once
            made = Path(scratch) / path.name
            run(*_FLAGS, *_EXACT, str(_SOURCE), "-o", str(made))
            sync(made)
            os.replace(made, path)
    return path


def available(x: Tensor) -> bool:
    """Is there a fused operation for convolutions of x?"""
    return x.device.type == "cpu" and x.dtype in _TYPES and _library() is not None


def fire(
    z: Tensor,
    bn: nn.BatchNorm2d,
    mask: Tensor,
    neuron: NeuronConfig,
    time_steps: int,
    *,
    scale: Tensor | None = None,
    constant: bool = False,
    pool: int = 1,
    record: bool = False,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Spikes of a block in training, and with `record` its activity; updates the running statistics of `bn`.

    Args:
        z: convolution's output [T*N, C, H, W], time-major, float32 or bfloat16; `constant`: [N, C, H, W].
        mask: bool [C]; the current of a pruned channel is 0, its gradient passes straight through.
        scale: [C], what z is to be multiplied by before anything else; None: 1.
        pool: OR over pool x pool pixels; the gradient goes where `max_pool2d` sends it.
        dtype: of the spikes; None: that of z.

    Returns:
        spikes [T*N, C, H // pool, W // pool], channels-last; mean of s + |v| over steps, images and map [C] or None.

    Raises:
        ValueError: a channel has a single value, and so no variance.
    """
    if z.numel() <= z.shape[1]:
        raise ValueError(f"batch normalisation of {list(z.shape)}: a single value per channel; use larger batches")
    return _Fire.apply(z, bn.weight, bn.bias, scale, bn, mask, neuron, time_steps, constant, pool, record, dtype)


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, gamma, beta, scale, bn, mask, neuron, time_steps, constant, pool, record, dtype):
        z = z.contiguous(memory_format=torch.channels_last)
        rows, channels, height, width = z.shape
        images = rows if constant else rows // time_steps
        shape = _Shape(
            threads=torch.get_num_threads(), images=images, steps=time_steps, height=height, width=width,
            channels=channels, pool=pool, constant=constant, soft=neuron.reset != "hard",
            delayed=neuron.reset == "delayed", arctan=neuron.surrogate == "arctan", keep=neuron.keep,
            v_reset=neuron.v_reset, slope=neuron.slope,
        )  # fmt: skip
        mean, variance = parallel.moments(*_moments(shape, z))
        s = 1.0 if scale is None else scale.double()
        parallel.track(bn, mean * s, variance * s * s, parallel.ranks() * z.numel() // channels)
        unit = s / (variance * s * s + bn.eps).sqrt()  # xhat = (z - mean) * unit
        gain = gamma.double() * unit
        kept = mask.double()
        current = torch.stack((gain * kept, (beta - gain * mean) * kept, mean, unit)).float()  # gain, offset, ...
        size = (images * time_steps, channels, height // pool, width // pool)
        spikes = torch.empty(size, dtype=dtype or z.dtype, memory_format=torch.channels_last)
        activity = torch.empty(channels, dtype=torch.float64) if record else None
        gain_row, offset_row, *_ = current
        _call("fire", shape, z, _bf16(z), gain_row, offset_row, spikes, _bf16(spikes), activity)
        if record:
            activity = (activity / (images * time_steps * height * width)).float()
            ctx.mark_non_differentiable(activity)
        ctx.save_for_backward(z, current, gain.float(), gamma, scale)
        ctx.shape, ctx.eps = shape, bn.eps
        return spikes, activity

    @staticmethod
    def backward(ctx, upstream, _activity):
        z, current, gain, gamma, scale = ctx.saved_tensors
        shape: _Shape = ctx.shape
        gain_row, offset_row, mean, unit = current
        if upstream.dtype not in _TYPES:
            upstream = upstream.float()
        upstream = upstream.contiguous(memory_format=torch.channels_last)
        grad = torch.empty_like(z)  # at the output of the normalisation, then at its input
        sums = torch.empty((2, shape.channels), dtype=torch.float64)
        _call(
            "fire_gradient", shape, z, _bf16(z), gain_row, offset_row, mean, unit, upstream, _bf16(upstream),
            grad, sums[0], sums[1],
        )  # fmt: skip
        count = parallel.ranks() * z.numel() // shape.channels
        whole = parallel.total(sums.clone())  # of all ranks; gradients of parameters are summed after backward
        constant = (whole[0] / count).float()
        linear = (whole[1] / count * unit).float()
        _call("input_gradient", shape, z, _bf16(z), gain, mean, constant, linear, grad)
        grad_scale = None
        if scale is not None:
            # (scale*z - scale*mean) / sqrt(scale^2 var + eps) depends on the scale by way of eps alone
            ratio = unit.double() / scale.double()
            grad_scale = (gamma * sums[1] * ctx.eps * ratio * ratio / scale).to(scale.dtype)
        grad_beta, grad_gamma = sums.to(gamma.dtype)
        return grad, grad_gamma, grad_beta, grad_scale, *(None,) * 8


def _moments(shape: _Shape, z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance (biased) per channel, float64 [C]; summed around one value of the channel."""
    centre = z[0, :, 0, 0].float()
    sums = torch.empty((2, shape.channels), dtype=torch.float64)
    _call("moments", shape, z, _bf16(z), centre, sums[0], sums[1])
    first, second = sums / (z.numel() // shape.channels)
    return centre + first, (second - first * first).clamp_(min=0)


def _bf16(x: Tensor) -> int:
    return int(x.dtype == torch.bfloat16)


def _call(name: str, shape: _Shape, *arguments: Tensor | int | None) -> None:
    """Tensors go as the address of their first element, None as a null pointer."""
    function = getattr(_library(), f"scaflow_{name}")
    function(
        ctypes.byref(shape),
        *(
            ctypes.c_void_p(argument.data_ptr()) if isinstance(argument, Tensor)
            else ctypes.c_void_p(None) if argument is None
            else ctypes.c_int(argument)
            for argument in arguments
        ),
    )  # fmt: skip
