"""One process of a test of parallel.py, a rank or alone: `python parallel_worker.py SCENARIO OUT`, writes OUT."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import torch
from rich.console import Console
from torch.nn import functional

from scaflow.model import fused, parallel
from scaflow.model.batches import Images
from scaflow.model.config import NetworkConfig
from scaflow.model.data import load_dataset
from scaflow.model.network import SpikingNetwork
from scaflow.model.pruning import KeepMask, Statistics, set_mask
from scaflow.model.train import train
from scaflow.quant.fold import fold
from scaflow.quant.layers import brevitas_conv, brevitas_linear

SEED = 3


def describe(**changes) -> NetworkConfig:
    data = {
        "name": "small",
        "dataset": "digits",
        "time_steps": 3,
        "layers": [{"channels": 4}, {"channels": 8, "pool": 2}, {"channels": 8}],
        "train": {
            "epochs": 6, "batch": 32, "lr": 0.05, "validation": 101, "train_images": 320, "precision": "float32",
            "augment": "shift",
        },
        "sca": {"keep": 0.6, "granularity": 2, "warmup": 0.2, "ramp": 0.5, "freeze": 0.3, "momentum": 0.5},
    }  # fmt: skip
    for key, value in changes.items():
        data[key] = {**data[key], **value} if isinstance(value, dict) else value
    return NetworkConfig.model_validate(data)


def step(out: Path, data: Path, cfg: NetworkConfig, dtype: torch.dtype, plain: bool, quantised: bool) -> None:
    """Three batches through a network of which some is pruned: what a step leaves behind."""
    torch.manual_seed(SEED)
    net = SpikingNetwork(cfg, *((brevitas_conv, brevitas_linear) if quantised else ())).to(dtype).accelerate(False)
    masks = [torch.arange(block.bn.num_features) % 4 != 1 for block in net.blocks]
    set_mask(net, KeepMask(tuple(mask.numpy() for mask in masks)))
    images = Images.of(cfg, load_dataset("digits", data))
    statistics = Statistics(net)
    statistics.record(True)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    found = []
    keep = fused.available
    fused.available = (lambda x: False) if plain else keep
    batches = images.batches(cfg, "float", 0, parallel.part(cfg.train.batch))
    for _, (x, labels, _) in zip(range(3), batches, strict=False):
        optimizer.zero_grad()
        rates = net.spikes(x.to(dtype))[-1].unflatten(0, (cfg.time_steps, -1)).mean(0)
        loss = functional.cross_entropy(net.readout(rates.flatten(1)), labels)
        loss.backward()
        (value,) = parallel.average_gradients(net.parameters(), (loss,))
        statistics.update()
        optimizer.step()
        found.append({"loss": value, **{n: p.grad.clone() for n, p in net.named_parameters()}})
    fused.available = keep
    activity, gradient = statistics.arrays()
    found.append({"activity": torch.from_numpy(activity[-1]), "gradient": torch.from_numpy(gradient[0])})
    found.append(dict(net.state_dict()))
    _keep(found, out)


def run(out: Path, data: Path, cfg: NetworkConfig, **options) -> None:
    """A whole training with SCA and fine-tuning of the folded form; ranks that are not the first write nothing."""
    folder = out.parent / f"{out.stem}-run"
    console = Console(file=io.StringIO())
    dataset = load_dataset("digits", data)
    parts = {"prune": True, "conv": brevitas_conv, "linear": brevitas_linear, "fold": fold, "console": console}
    path = train(cfg, dataset, folder, **{**parts, **options})
    if path.exists():
        _keep(torch.load(path, weights_only=True), out)


def in_double(scenario: Callable[[], None]) -> None:
    """With every float32 of the training as float64, in plain torch: rounding then moves no spike in a short run."""

    def integrate(self: SpikingNetwork, spikes: torch.Tensor, lengths: None = None) -> torch.Tensor:
        return self.readout(spikes.unflatten(0, (self.cfg.time_steps, -1)).mean(0).flatten(1))

    with (
        patch.object(torch.Tensor, "float", torch.Tensor.double),
        patch.object(torch, "float32", torch.float64),
        patch.object(SpikingNetwork, "integrate", integrate),
    ):
        torch.set_default_dtype(torch.float64)
        scenario()
        torch.set_default_dtype(torch.float)


def disagree(out: Path, data: Path) -> None:
    try:
        parallel.agree("the masks", [torch.tensor([True, parallel.rank() == 0])])
    except ValueError as error:
        out.with_suffix(f".{parallel.rank()}.txt").write_text(str(error))
    parallel.agree("the masks", [torch.tensor([True, True])])


def refuse(out: Path, data: Path) -> None:
    """Errors of the first rank, and of all, are those of all."""
    found = []
    for cfg in (describe(train={"batch": 33}), describe(train={"lr": 1e30, "optimizer": "sgd", "schedule": "cosine"})):
        try:
            run(out, data, cfg)
        except ValueError as error:
            found.append(str(error))
    try:
        parallel.from_first(lambda: int("x") if parallel.rank() == 0 else 1)
    except ValueError as error:
        found.append(str(error))
    out.with_suffix(f".{parallel.rank()}.txt").write_text("\n".join(found))


def _keep(found: object, out: Path) -> None:
    torch.save(found, out.with_suffix(f".{parallel.rank()}.pt"))


SGD = {"optimizer": "sgd", "schedule": "cosine", "finetune_epochs": 2}
RESIDUAL = {"layers": [{"channels": 4}, {"channels": 4, "shortcut": -1}, {"channels": 4, "shortcut": -1}]}
SCENARIOS = {
    "step-double": lambda *a: in_double(lambda: step(*a, describe(), torch.float64, True, False)),
    "step-residual": lambda *a: in_double(lambda: step(*a, describe(**RESIDUAL), torch.float64, True, False)),
    "step-plain": lambda *a: step(*a, describe(), torch.float32, True, True),
    "step-fused": lambda *a: step(*a, describe(), torch.float32, False, True),
    "run-double": lambda *a: in_double(lambda: run(*a, describe(train=SGD))),
    "run-rank": lambda *a: in_double(lambda: run(*a, describe(train=SGD, sca={"criterion": "rank", "rate": 0.5}))),
    "disagree": disagree,
    "refuse": refuse,
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    scenarios, where, data = sys.argv[1].split(","), Path(sys.argv[2]), Path(sys.argv[3])
    with parallel.group():
        for scenario in scenarios:
            SCENARIOS[scenario](where / f"{scenario}.pt", data)
    sys.stdout.flush()
    os._exit(0)  # see flow/training/ranks.py, `leaving`
