"""Training by several processes (ranks), as torchrun starts them: each takes its part of every batch.

Between the ranks go sums: the gradients, in one array a step (the loss is a mean over the batch, so theirs is the mean
of the parts'); the moments of batch normalisation and of its gradient, which are those of the whole batch; the
statistics of SCA. What is decided or read from a file, the first rank decides or reads for all. Without a process group
every function here does nothing.

torch's DistributedDataParallel is not used: it hooks on one `forward`, where training reads the spikes of every layer,
and would have to be built again for each form of the network (whole, narrow, folded) with parameters that get no
gradient in some of them. One sum after backward is the same mean.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from scaflow.model import processes

TIMEOUT = 600.0  # seconds that a rank waits for the others, unless $SCAFLOW_TIMEOUT says otherwise

T = TypeVar("T")


class RankLost(ValueError):
    """Another rank has ended, or does not answer."""


def started() -> bool:
    """Was this process started as one of several, by torchrun or alike?"""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", 1)) > 1


def active() -> bool:
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    return dist.get_rank() if active() else 0


def ranks() -> int:
    return dist.get_world_size() if active() else 1


@contextmanager
def group() -> Iterator[None]:
    """Join the process group that the environment describes (see `started`; otherwise nothing happens).

    Sums of CPU tensors go by gloo, those of CUDA tensors by NCCL. A SIGTERM, by which torchrun ends the ranks that are
    left when one has ended, is raised here as RankLost.

    Raises:
        ValueError: $SCAFLOW_TIMEOUT is no number of seconds.
        RankLost: not all ranks came.
    """
    if not started():
        yield
        return
    try:
        seconds = float(os.environ.get("SCAFLOW_TIMEOUT", TIMEOUT))
    except ValueError:
        raise ValueError(f"SCAFLOW_TIMEOUT={os.environ['SCAFLOW_TIMEOUT']!r}: give seconds, as 600") from None
    processes.end_with_parent()  # a killed torchrun leaves none behind
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        _reached(lambda: dist.init_process_group(backend, timeout=timedelta(seconds=seconds)))
        yield
        from_first(bool)  # the first has written its last file
        dist.destroy_process_group()  # after an error the process ends, and waits for nobody
    finally:
        signal.signal(signal.SIGTERM, before)


def device(name: str) -> torch.device:
    """Where this rank trains: `cpu`, `cuda` (of several GPUs that with the rank's number on its machine) or `auto`.

    Raises:
        ValueError: there is no such GPU.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device {name!r}: use auto, cpu or cuda")
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError("device 'cuda': torch finds no GPU here; use cpu, or install torch with CUDA")
    number = int(os.environ.get("LOCAL_RANK", 0)) if active() else torch.cuda.current_device()
    if number >= torch.cuda.device_count():
        raise ValueError(
            f"device 'cuda': rank {rank()} wants GPU {number}, but this machine has {torch.cuda.device_count()}; "
            "start fewer ranks on it (--nproc-per-node)"
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def part(batch: int) -> slice:
    """This rank's part of a batch.

    Raises:
        ValueError: the ranks cannot share it equally.
    """
    if batch % ranks():
        raise ValueError(
            f"train.batch: {batch} images are no multiple of the {ranks()} ranks; make it one, or start another number "
            "of ranks"
        )
    size = batch // ranks()
    return slice(rank() * size, (rank() + 1) * size)


def total(x: Tensor) -> Tensor:
    """The sum over the ranks, in place."""
    if active():
        _reached(lambda: dist.all_reduce(x))
    return x


def mean(x: Tensor) -> Tensor:
    """The mean over the ranks, in place."""
    return total(x).div_(ranks()) if active() else x


def average_gradients(parameters: Iterable[nn.Parameter], figures: Sequence[Tensor]) -> list[float]:
    """Each gradient becomes the mean over the ranks; returns the means of the figures, single values, too."""
    if not active():
        return [figure.item() for figure in figures]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    values = [figure.detach().to(gradients[0].dtype).reshape(1) for figure in figures]
    flat = mean(torch.cat([*(gradient.flatten() for gradient in gradients), *values]))
    pieces = flat.split([*(gradient.numel() for gradient in gradients), *([1] * len(values))])
    for gradient, piece in zip(gradients, pieces, strict=False):
        gradient.copy_(piece.view(gradient.shape))
    return [float(piece) for piece in pieces[len(gradients) :]]


def moments(mean_: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance [C] over all ranks, from those of each, in float64; the counts are the same."""
    if not active():
        return mean_, variance
    first, second = mean(torch.stack((mean_, variance + mean_ * mean_)).double())
    return first, (second - first * first).clamp_(min=0)


def from_first(work: Callable[[], T]) -> T:
    """What `work` gives on the first rank, for all; a ValueError or OSError there is raised on all."""
    if not active():
        return work()
    held: list[Any] = [None, None]
    if rank() == 0:
        try:
            held[0] = work()
        except ValueError as error:
            held[1] = ValueError(str(error))
        except OSError as error:
            held[1] = OSError(error.errno, error.strerror, error.filename)
    _reached(lambda: dist.broadcast_object_list(held, device=torch.device("cpu")))
    if held[1] is not None:
        raise held[1]
    return held[0]


@torch.no_grad()
def spread(module: nn.Module) -> None:
    """The first rank's parameters and buffers, for all: ranks on unlike processors round unlike."""
    if active():
        for tensor in module.state_dict().values():
            _reached(partial(dist.broadcast, tensor, 0))


def agree(what: str, tensors: Iterable[Tensor]) -> None:
    """Are they the same on all ranks, bit for bit?

    Raises:
        ValueError: they are not, on all ranks.
    """
    if not active():
        return
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    mine = torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)
    all_of_them = [torch.empty_like(mine) for _ in range(ranks())]
    _reached(lambda: dist.all_gather(all_of_them, mine))
    others = [i for i, theirs in enumerate(all_of_them) if not torch.equal(theirs, all_of_them[0])]
    if others:
        raise ValueError(
            f"{what} differ between the ranks: {', '.join(map(str, others))} from 0. This is a defect of the program "
            "or of a machine; the last checkpoint was written before it"
        )


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over the batch of all ranks, in plain torch and on any device."""

    def forward(self, x: Tensor) -> Tensor:
        if not (active() and self.training):
            return super().forward(x)
        variance, mean_ = torch.var_mean(x.detach().float() if x.dtype.itemsize < 4 else x.detach(), (0, 2, 3), False)
        mean_, variance = moments(mean_, variance)
        track(self, mean_, variance, ranks() * x.numel() // x.shape[1])
        return _Normalise.apply(x, self.weight, self.bias, mean_, (variance + self.eps).rsqrt())


def track(bn: nn.BatchNorm2d, mean_: Tensor, variance: Tensor, count: int) -> None:
    """The running statistics, as nn.BatchNorm2d keeps them, from those of `count` values a channel."""
    seen, running_mean, running_var = (
        cast(Tensor, buffer) for buffer in (bn.num_batches_tracked, bn.running_mean, bn.running_var)
    )
    seen.add_(1)
    share = 1 / float(seen) if bn.momentum is None else bn.momentum
    running_mean.mul_(1 - share).add_(mean_, alpha=share)
    running_var.mul_(1 - share).add_(variance * (count / (count - 1)), alpha=share)


class _Normalise(torch.autograd.Function):
    """gamma * (x - mean) * unit + beta; the gradient knows that mean and unit [C] are the whole batch's."""

    @staticmethod
    def forward(ctx, x: Tensor, gamma: Tensor, beta: Tensor, mean_: Tensor, unit: Tensor) -> Tensor:
        gain = gamma.double() * unit
        ctx.save_for_backward(x, gamma, gain, mean_, unit)
        return torch.addcmul(_wide(beta - gain * mean_, beta), x, _wide(gain, gamma)).to(x.dtype)

    @staticmethod
    def backward(ctx, upstream: Tensor):
        x, gamma, gain, mean_, unit = ctx.saved_tensors
        upstream = upstream.to(gamma.dtype)
        normal = (x - _wide(mean_, gamma)) * _wide(unit, gamma)
        sums = torch.stack((upstream.sum((0, 2, 3)), (upstream * normal).sum((0, 2, 3)))).double()
        grad_beta, grad_gamma = sums.to(gamma.dtype)  # of this rank's part: gradients of parameters are summed later
        constant, linear = total(sums.clone()) / (ranks() * x.numel() // x.shape[1])
        centred = upstream - _wide(constant, gamma) - normal * _wide(linear, gamma)
        return (centred * _wide(gain, gamma)).to(x.dtype), grad_gamma, grad_beta, None, None


def _wide(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.dtype).view(1, -1, 1, 1)


def _terminated(_signal: int, _frame: object) -> None:
    raise RankLost(f"rank {rank()} was ended (SIGTERM), as torchrun does when another rank has ended")


def _reached(collective: Callable[[], T]) -> T:
    """Its result; where it fails, a rank has ended or does not answer."""
    try:
        return collective()
    except RuntimeError as error:
        reason = re.sub(r"^\[\S+:\d+\] ", "", str(error).strip()).splitlines()[0].split(". ")[0]  # not where in gloo
        raise RankLost(
            f"rank {os.environ.get('RANK')} of {os.environ.get('WORLD_SIZE')}: another rank has ended, or does not "
            f"answer ({reason})"
        ) from None
