"""How many threads a training has, and how they wait: so that it goes on at its pace where it shares the processors.

A thread that waits at a barrier by turning round and round takes its processor from the very thread it waits for, once
others want processors too: what takes seconds takes minutes. And below some work a step, barriers cost more than a
second thread saves, on an idle machine as well.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scaflow.model.config import NetworkConfig

VECTOR = 16  # channels that a processor computes at once, whether there are as many or not
# products of a step's forward pass from which on several threads were faster than one (two cores, AVX-512)
WORTH = 256_000_000
_V2, _V1 = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/cpu")


def wait_idly() -> None:
    """Let threads that wait sleep, unless the user's environment says otherwise. Before torch is imported."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def processors() -> int:
    """Those that this process may use: by its affinity, and by the quota of its container."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = min((*_quotas(Path("/proc/self/cgroup")), math.inf))
    return max(1, min(allowed, math.ceil(quota) if quota < allowed else allowed))


def _quotas(membership: Path) -> Iterator[float]:
    """Processors that the control groups of a process grant, where they bound them."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = _V1 if controllers else _V2
        place = base / group.strip("/")
        for folder in (place, *place.parents):
            try:
                if controllers:
                    quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
                else:
                    quota, period = (folder / "cpu.max").read_text().split()
                if int(quota) > 0:
                    yield int(quota) / int(period)
            except (OSError, ValueError):  # no such folder in this container's view; "max": no bound
                pass
            if folder == base:
                break


def work(cfg: NetworkConfig, shapes: Sequence[tuple[int, int, int]], images: int) -> int:
    """Products of a forward pass, of channels in whole vectors.

    Args:
        shapes: (C, H, W) of each layer's output.
    """
    total, before = 0, cfg.input_shape
    for layer, shape in zip(cfg.layers, shapes, strict=True):
        inputs, window = (before[0], layer.kernel**2) if layer.kind == "conv" else (math.prod(before), 1)
        places = shape[1] * shape[2] * layer.pool**2 * cfg.steps
        total += _padded(inputs) * window * _padded(layer.channels) * places
        before = shape
    return total * images


def _padded(channels: int) -> int:
    return -(-channels // VECTOR) * VECTOR


@contextmanager
def fitting(products: int) -> Iterator[None]:
    """torch's threads for steps of so much work: as many as it has at most, and as there are processors.

    A matter of the network and the machine, not of the moment: what is computed depends on the number.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1 if products < WORTH else min(before, processors()))
    try:
        yield
    finally:
        torch.set_num_threads(before)
