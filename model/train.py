"""Training: epochs over the training split, SCA between them, the best epoch by validation, then fine-tuning.

The test set is not read here. A run cut off continues from its last whole epoch to the same result.
"""

from __future__ import annotations

import csv
import io
import os
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.tensorboard import SummaryWriter

from scaflow.model.batches import Images
from scaflow.model.config import NetworkConfig
from scaflow.model.cost import Budget
from scaflow.model.criteria import forget
from scaflow.model.data import Dataset
from scaflow.model.memory import keep_freed
from scaflow.model.narrow import indices, narrowed, picked, picked_optimizer, widened
from scaflow.model.network import ConvFactory, LinearFactory, SpikingNetwork, float_conv, float_linear
from scaflow.model.pruner import Memory, Pruner
from scaflow.model.pruning import KeepMask, Schedule, Statistics, get_mask, set_mask
from scaflow.model.rate import spike_cost

LOG_FIELDS = ("stage", "epoch", "loss", "train_accuracy", "validation_accuracy", "lr", "kept", "seconds")
EVENT_FIELDS = ("epoch", "layer", "kept", "pruned", "regrown")

Fold = Callable[[SpikingNetwork], nn.Module]


@dataclass(frozen=True)
class Trained:
    """What `model.pt` holds. State dicts; `folded` is None where no folding was asked for."""

    cfg: NetworkConfig
    network: dict[str, Tensor]
    folded: dict[str, Tensor] | None
    masks: list[Tensor]
    pruned: bool
    validation_accuracy: float
    folded_accuracy: float | None


@dataclass
class _State:
    """Everything a run needs to go on after the last whole epoch; the content of checkpoint.pt."""

    stage: str = "float"
    epoch: int = 0  # epochs of the stage that are done
    best: dict[str, float] = field(default_factory=dict)  # by stage: validation accuracy
    best_weights: dict[str, dict[str, Tensor]] = field(default_factory=dict)  # by stage
    log: list[dict[str, Any]] = field(default_factory=list)


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
    console: Console | None = None,
) -> Path:
    """Train the network, with SCA if `prune`, and write `out/model.pt` (read it by `load_trained`).

    Also written, after each epoch: checkpoint.pt, log.csv, events.csv (SCA) and TensorBoard files. The float
    stage keeps the epoch best on the validation split, of a pruned network among those with the final mask.
    `fold` then turns that network into its integer form (a module of the same forward signature, with
    trainable parameters), which is fine-tuned and selected alike, the form before fine-tuning included.

    Args:
        budget: what pruning counts; None: channels. `sca.cycles` needs one of cycles.
        resume: continue from `out/checkpoint.pt` if there is one; return at once if the run had ended.
        start: continue from this checkpoint of a run of the same network, data and epochs, in which nothing was pruned
            yet; where `resume` finds a run, that goes before.
        until: stop after so many epochs of the float stage, and return the checkpoint.

    Raises:
        ValueError: the checkpoint belongs to another configuration, the loss is no number, pruning has no
            epoch to learn with its final mask.
    """
    if prune and cfg.train.epochs < 2:
        raise ValueError(
            "train.epochs=1: pruning needs one epoch to score and one to learn with its mask; use >= 2"
        )
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    console = console or Console()
    identity = {"config": cfg.model_dump(mode="json"), "prune": prune, "fold": fold is not None}
    saved = _read_checkpoint(out, identity) if resume else None
    if resume and saved is None and (out / "model.pt").exists():
        return _same_run(out / "model.pt", identity)
    if start is not None and saved is None:
        saved = _branched(start, identity)

    keep_freed()
    torch.manual_seed(cfg.train.seed)
    net = SpikingNetwork(cfg, conv, linear).accelerate(use_bfloat16(cfg.train.precision))
    images = Images.of(cfg, dataset)
    pruner = Pruner(cfg, budget or Budget(None), images.validation) if prune else None
    run = _Run(cfg, pruner, images, out, console, identity, (conv, linear))
    run.shapes = net.shapes
    if pruner is not None:
        pruner.check(net)
    if saved is not None:
        run.state = _State(**saved["state"])
        if pruner is not None:
            pruner.memory = Memory(**saved["pruning"])
    with SummaryWriter(str(out), purge_step=len(run.state.log)) as run.board:
        if run.state.stage == "float":
            run.fit(net, cfg.train.epochs, cfg.train.lr, cfg.train.schedule, saved, until)
            if run.state.epoch < cfg.train.epochs:
                return out / "checkpoint.pt"
            run.state.stage, run.state.epoch, saved = "folded", 0, None
        net.load_state_dict(run.state.best_weights["float"])
        if fold is not None:
            folded = fold(net)
            if saved is None:
                run.offer(folded, evaluate(folded, run.images.validation, run.images.validation_labels))
                console.print(f"  folded          validation {run.state.best['folded']:.2%}")
            run.fit(folded, cfg.train.finetune_epochs, cfg.train.finetune_lr, "cosine", saved)

    state = run.state
    masks = [value for key, value in state.best_weights["float"].items() if key.endswith(".mask")]
    path = out / "model.pt"
    content = {
        **identity,
        "network": state.best_weights["float"],
        "folded": state.best_weights.get("folded"),
        "masks": masks,
        "validation_accuracy": state.best["float"],
        "folded_accuracy": state.best.get("folded"),
        "seed": cfg.train.seed,
        "torch": str(torch.__version__),
    }
    _write(path, lambda temporary: torch.save(content, temporary))
    (out / "checkpoint.pt").unlink(missing_ok=True)
    return path


def load_trained(path: Path) -> Trained:
    """Read what `train` wrote.

    Raises:
        ValueError: no such file, or no model of this program.
    """
    try:
        content = torch.load(path, weights_only=True)
        return Trained(
            NetworkConfig.model_validate(content["config"]),
            content["network"],
            content["folded"],
            content["masks"],
            content["prune"],
            content["validation_accuracy"],
            content["folded_accuracy"],
        )
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; make it by `scaflow train`") from None
    except (KeyError, RuntimeError, TypeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{path}: no trained network, or of another version ({error}); train again"
        ) from None


@torch.no_grad()
def evaluate(
    module: nn.Module, images: np.ndarray | Tensor, labels: np.ndarray | Tensor, batch: int = 500
) -> float:
    """Part of the images uint8 [N, C, H, W] whose arg-max logit (lowest index on a tie) is the label."""
    was_training = module.training
    module.eval()
    images, labels = torch.as_tensor(images), torch.as_tensor(labels)
    correct = 0
    for start in range(0, len(images), batch):
        logits = module(images[start : start + batch].float() / 255)
        correct += int((logits.argmax(1) == labels[start : start + batch]).sum())
    module.train(was_training)
    return correct / len(images)


def use_bfloat16(precision: str) -> bool:
    """Does this CPU convolve faster in bfloat16? (`auto` asks; the other two are told.)"""
    if precision == "auto":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return precision == "bfloat16"


class _Run:
    """One training run: its state, and where it is written."""

    def __init__(
        self,
        cfg: NetworkConfig,
        pruner: Pruner | None,
        images: Images,
        out: Path,
        console: Console,
        identity: dict[str, Any],
        factories: tuple[ConvFactory, LinearFactory],
    ) -> None:
        self.cfg, self.pruner, self.images, self.out = cfg, pruner, images, out
        self.console, self.identity, self.factories = console, identity, factories
        self.shapes: list[tuple[int, int, int]] = []  # of the dense network's layers
        self.state = _State()
        self.board: SummaryWriter | None = None

    def fit(
        self,
        module: nn.Module,
        epochs: int,
        lr: float,
        kind: str,
        saved: dict[str, Any] | None,
        until: int | None = None,
    ) -> None:
        """All remaining epochs of the current stage, up to `until`."""
        steps = self.images.steps(self.cfg)
        optimizer, scheduler = _optimizer(self.cfg, module, lr, kind, max(1, epochs * steps))
        pruner, whole = self.pruner if self.state.stage == "float" else None, module
        if pruner and pruner.memory.whole is not None:
            module, optimizer, scheduler = self._narrow(whole, optimizer, scheduler)
        if saved is not None:
            module.load_state_dict(saved["module"])
            optimizer.load_state_dict(saved["optimizer"])
            scheduler.load_state_dict(saved["scheduler"])
            torch.set_rng_state(saved["rng"])
        while self.state.epoch < min(epochs, until or epochs):
            epoch, started = self.state.epoch, time.perf_counter()
            plan = pruner.plan(epoch, epochs) if pruner else None
            if plan and plan.final and pruner.memory.whole is None and whole.is_chain:
                pruner.memory.whole = {name: value.clone() for name, value in whole.state_dict().items()}
                module, optimizer, scheduler = self._narrow(whole, optimizer, scheduler)
            statistics = Statistics(module) if plan and plan.event else None
            loss, accuracy = self._epoch(module, optimizer, scheduler, statistics, epochs)
            masks = self._event(module, statistics, plan) if plan and plan.event else None
            published = masks is not None and pruner.criterion.published
            if published:  # judged as what it will be on the accelerator: forgotten and masked
                forget(module, masks.layers)
                set_mask(module, masks)
            validation = evaluate(module, self.images.validation, self.images.validation_labels)
            if plan is None or plan.final or published:
                self.offer(module, validation)
            self._log(loss, accuracy, validation, optimizer.param_groups[0]["lr"], module, started)
            if published:
                set_mask(module, KeepMask(tuple(np.ones_like(layer) for layer in masks.layers)))
            elif masks is not None:
                set_mask(module, masks)
            self.state.epoch += 1
            self._save(module, optimizer, scheduler)

    def _narrow(
        self,
        whole: SpikingNetwork,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler,
    ) -> tuple[SpikingNetwork, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """The network at its final mask without the pruned channels, with the optimizer where it stood."""
        state = self.pruner.memory.whole
        whole.load_state_dict(state)
        masks = get_mask(whole).layers
        net = SpikingNetwork(narrowed(self.cfg, masks), *self.factories)
        net.accelerate(whole.blocks[0].bfloat16)
        where = indices(whole, masks)
        net.load_state_dict(picked(state, where))
        groups = [group["params"] for group in optimizer.param_groups]
        train = self.cfg.train
        steps = max(1, train.epochs * self.images.steps(self.cfg))
        fresh, fresh_scheduler = _optimizer(self.cfg, net, train.lr, train.schedule, steps)
        fresh.load_state_dict(picked_optimizer(optimizer.state_dict(), whole, groups, where))
        fresh_scheduler.load_state_dict(scheduler.state_dict())
        return net, fresh, fresh_scheduler

    def offer(self, module: nn.Module, validation: float) -> None:
        """Keep these weights if they are the stage's best so far."""
        if validation > self.state.best.get(self.state.stage, -1.0):
            self.state.best[self.state.stage] = validation
            weights = {key: value.clone() for key, value in module.state_dict().items()}
            whole = self.pruner.memory.whole if self.pruner and self.state.stage == "float" else None
            if whole is not None:
                masks = [whole[f"blocks.{i}.mask"].numpy() for i in range(len(module.blocks))]
                weights = widened(weights, whole, indices(module, masks))
            self.state.best_weights[self.state.stage] = weights

    def _epoch(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler,
        statistics: Statistics | None,
        epochs: int,
    ) -> tuple[float, float]:
        """One pass over the training images: (mean loss, accuracy)."""
        module.train()
        if statistics is not None:
            statistics.record(True)
        total, correct, seen = 0.0, 0, 0
        steps = self.images.steps(self.cfg)
        title = f"{self.state.stage} {self.state.epoch + 1}/{epochs}"
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        quiet = not self.console.is_terminal
        with Progress(*columns, console=self.console, transient=True, disable=quiet) as progress:
            task = progress.add_task(title, total=steps)
            for images, labels in self.images.batches(self.cfg, self.state.stage, self.state.epoch):
                optimizer.zero_grad()
                spikes = module.spikes(images)
                logits = module.integrate(spikes[-1])
                loss = functional.cross_entropy(logits, labels)
                if self.pruner and self.state.stage == "float":
                    loss = loss + self.pruner.penalty(module)
                if self.pruner and self.cfg.sca.rate:
                    loss = loss + self.cfg.sca.rate * spike_cost(spikes, self.cfg, self.shapes, self.cfg.classes)
                value = loss.item()
                if not np.isfinite(value):
                    raise ValueError(
                        f"{title}: the loss is {value} at image {seen}; lower train.lr={self.cfg.train.lr}"
                    )
                loss.backward()
                optimizer.step()
                scheduler.step()
                if statistics is not None:
                    statistics.update()
                total += value * len(labels)
                correct += int((logits.detach().argmax(1) == labels).sum())
                seen += len(labels)
                progress.update(task, advance=1, description=f"{title}  loss {total / seen:.3f}")
        if statistics is not None:
            statistics.record(False)
        return total / seen, correct / seen

    def _event(self, net: SpikingNetwork, statistics: Statistics, plan: Schedule) -> KeepMask:
        """The masks after an epoch, by the criterion; they are written down here and set by the caller."""
        mask, events = self.pruner.decide(net, statistics, plan)
        for event in events:
            row = (self.state.epoch, event.layer, event.kept, event.pruned, event.regrown)
            self.pruner.memory.events.append(dict(zip(EVENT_FIELDS, row, strict=True)))
            self.board.add_scalar(f"kept/layer{event.layer}", event.kept, self.state.epoch)
        self.console.print(f"    kept {sum(mask.kept)} of {mask.total}: {list(mask.kept)}")
        return mask

    def _log(
        self, loss: float, accuracy: float, validation: float, lr: float, module: nn.Module, started: float
    ) -> None:
        masks = [buffer for name, buffer in module.named_buffers() if name.endswith("mask")]
        kept = sum(int(mask.sum()) for mask in masks)
        seconds = time.perf_counter() - started
        row = (self.state.stage, self.state.epoch, loss, accuracy, validation, lr, kept, round(seconds, 2))
        self.state.log.append(dict(zip(LOG_FIELDS, row, strict=True)))
        for name, value in zip(LOG_FIELDS[2:6], row[2:6], strict=True):
            self.board.add_scalar(name, value, len(self.state.log) - 1)
        self.console.print(
            f"  {self.state.stage:6} epoch {self.state.epoch + 1:3}  loss {loss:.4f}  train {accuracy:.2%}  "
            f"validation {validation:.2%}  {seconds:.0f} s"
        )

    def _save(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler,
    ) -> None:
        content = {
            **self.identity,
            "state": vars(self.state),
            "pruning": vars(self.pruner.memory) if self.pruner else None,
            "module": module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
            "rng": torch.get_rng_state(),
        }
        _write(self.out / "checkpoint.pt", lambda temporary: torch.save(content, temporary))
        _write_csv(self.out / "log.csv", LOG_FIELDS, self.state.log)
        if self.pruner:
            _write_csv(self.out / "events.csv", EVENT_FIELDS, self.pruner.memory.events)


def _optimizer(
    cfg: NetworkConfig, module: nn.Module, lr: float, kind: str, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": cfg.train.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},  # BatchNorm, bias
    ]
    if cfg.train.optimizer == "adamw":
        optimizer = torch.optim.AdamW(groups, lr)
    else:
        optimizer = torch.optim.SGD(groups, lr, momentum=0.9)
    if kind == "onecycle":
        return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps, cycle_momentum=False)
    return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)


def _read_checkpoint(out: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    path = out / "checkpoint.pt"
    if not path.exists():
        return None
    _same_run(path, identity)
    return torch.load(path, weights_only=True)


def _branched(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint of a run that differs in [sca] at most, and has not pruned."""
    content = torch.load(path, weights_only=True)
    mine, theirs = ({**c["config"], "fold": None, "sca": None} for c in (identity, content))
    pruned = content["pruning"] and content["pruning"]["events"]
    if mine != theirs or pruned or content["state"]["stage"] != "float":
        raise ValueError(f"{path}: no beginning of this run: another network, data or epochs, or pruned already")
    return {**content, "pruning": vars(Memory())}


def _same_run(path: Path, identity: dict[str, Any]) -> Path:
    content = torch.load(path, weights_only=True)
    changed = [key for key in identity if _decisive(content, key) != _decisive(identity, key)]
    if changed:
        raise ValueError(
            f"{path}: made with another {', '.join(changed)}; train without --resume, or elsewhere"
        )
    return path


def _decisive(content: dict[str, Any], key: str) -> Any:
    """What decides the result: lanes do not, nor does [sca] without pruning."""
    if key != "config":
        return content.get(key)
    ignored = {"fold"} if content["prune"] else {"fold", "sca"}
    return {section: value for section, value in content["config"].items() if section not in ignored}


def _write(path: Path, write: Callable[[Path], object]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    write(temporary)
    os.replace(temporary, path)


def _write_csv(path: Path, fields: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    _write(path, lambda temporary: temporary.write_text(text.getvalue()))
