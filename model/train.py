"""Training: how it begins, goes on where it was cut off, and what comes of it; run.py has its epochs.

The test set is not read here. A run cut off continues from its last whole epoch to the same result.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from scaflow.model import parallel, threads
from scaflow.model.batches import Images
from scaflow.model.board import board
from scaflow.model.checkpoint import CHECKPOINT, MODEL, Trained, beginning, load_trained
from scaflow.model.config import NetworkConfig
from scaflow.model.cost import Budget
from scaflow.model.data import Dataset
from scaflow.model.memory import keep_freed
from scaflow.model.network import ConvFactory, LinearFactory, SpikingNetwork, float_conv, float_linear
from scaflow.model.pruner import Memory, Pruner
from scaflow.model.run import Fold, Module, Run, State, count_right
from scaflow.model.teacher import Teacher

__all__ = ("Trained", "evaluate", "load_trained", "train", "use_bfloat16")


def train(
    cfg: NetworkConfig,
    dataset: Dataset,
    out: Path,
    *,
    prune: bool,
    conv: ConvFactory = float_conv,
    linear: LinearFactory = float_linear,
    fold: Fold | None = None,
    budget: Budget | None = None,
    resume: bool = False,
    start: Path | None = None,
    until: int | None = None,
    teacher: Path | None = None,
    device: str = "auto",
    console: Console | None = None,
) -> Path:
    """Train the network, with SCA if `prune`, and write `out/model.pt` (read it by `load_trained`).

    Also written, after each epoch: checkpoint.pt, log.csv, events.csv (SCA) and TensorBoard files. The float
    stage keeps the epoch best on the validation split, of a pruned network among those with the final mask.
    `fold` then turns that network into its integer form (a module of the same forward signature, with
    trainable parameters), which is fine-tuned and selected alike, the form before fine-tuning included.

    In a process group (see parallel.py) every rank calls this alike; the first reads and writes the files, and the
    result is that of one process but for rounding.

    Args:
        budget: what pruning counts; None: channels. `sca.cycles` needs one of cycles.
        resume: continue from `out/checkpoint.pt` if there is one; return at once if the run had ended.
        start: continue from this checkpoint of a run of the same network, data and epochs, in which nothing was pruned
            yet; where `resume` finds a run, that goes before.
        until: stop after so many epochs of the float stage, and return the checkpoint.
        teacher: model.pt of the dense network, where `sca.soft` wants its answers.
        device: cpu, cuda, or auto: cuda where there is one.

    Raises:
        ValueError: the checkpoint belongs to another configuration, the loss is no number, pruning has no
            epoch to learn with its final mask, ranks cannot share a batch, no such device.
        RankLost: another rank of the process group has ended; what to do.
    """
    if prune and cfg.train.epochs < 2:
        raise ValueError("train.epochs=1: pruning needs one epoch to score and one to learn with its mask; use >= 2")
    soft = prune and cfg.sca.soft > 0
    if soft and teacher is None:
        raise ValueError(f"sca.soft={cfg.sca.soft}: the dense network's answers are wanted; train it first")
    out, first = Path(out), parallel.rank() == 0
    console = (console or Console()) if first else Console(quiet=True)
    where = parallel.device(device)
    identity = {"config": cfg.model_dump(mode="json"), "prune": prune, "fold": fold is not None}
    if parallel.from_first(lambda: identity) != identity:
        raise ValueError(f"rank {parallel.rank()} was given another network or training than rank 0; start all alike")
    begin = parallel.from_first(lambda: beginning(out, identity, resume, start))

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False)

    if begin.notice:
        say(begin.notice)
    if begin.ended:
        return out / MODEL

    keep_freed()
    torch.manual_seed(cfg.train.seed)
    net = SpikingNetwork(cfg, conv, linear).to(where).accelerate(use_bfloat16(cfg.train.precision, where))
    images = Images.of(cfg, dataset)
    pruner = Pruner(cfg, budget or Budget(None), images.validation) if prune else None
    run = Run(cfg, pruner, images, out, console, identity, (conv, linear), where)
    run.shapes = net.shapes
    if soft and teacher is not None:
        run.teacher = Teacher.of(teacher, cfg, images, (conv, linear), where)
    if pruner is not None:
        pruner.check(net)
    if begin.saved is not None:
        run.state = State(**begin.saved["state"])
        if pruner is not None:
            pruner.memory = Memory(**begin.saved["pruning"])
    try:
        share = images.batch(cfg) // parallel.ranks()
        showing = board(out, len(run.state.log), say) if first else nullcontext()
        with threads.fitting(threads.work(cfg, net.shapes, share)), showing as run.board:
            if not run.stages(net, fold, begin.saved, until):
                return out / CHECKPOINT
        parallel.from_first(run.finish)
    except parallel.RankLost as error:
        raise parallel.RankLost(
            f"{error}; rank 0 keeps the last whole epoch in {out / CHECKPOINT}: start all ranks again with --resume"
        ) from None
    return out / MODEL


def evaluate(
    module: Module, images: np.ndarray | Tensor, labels: np.ndarray | Tensor, batch: int = 500
) -> float:
    """Part of the images uint8 [N, C, H, W] whose arg-max logit (lowest index on a tie) is the label."""
    return count_right(module, torch.as_tensor(images), torch.as_tensor(labels), batch=batch) / len(images)


def use_bfloat16(precision: str, device: torch.device | None = None) -> bool:
    """Are convolutions in bfloat16? `auto`: where this CPU does them faster so."""
    if precision != "auto":
        return precision == "bfloat16"
    if device is not None and device.type != "cpu":
        return False
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
