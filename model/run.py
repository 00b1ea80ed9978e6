"""One training run: epochs over the training split, SCA between them, the best epoch by validation, then fine-tuning;
and what it writes after each epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.nn import functional

from scaflow.model import parallel
from scaflow.model.batches import Images
from scaflow.model.board import Show
from scaflow.model.checkpoint import (
    CHECKPOINT,
    MODEL,
    drop_checkpoints,
    restored,
    write_checkpoint,
    write_csv,
    write_tensors,
)
from scaflow.model.config import NetworkConfig
from scaflow.model.criteria import forget
from scaflow.model.narrow import indices, narrowed, narrows, picked, picked_optimizer, widened
from scaflow.model.network import PIXEL_MAX, ConvFactory, LinearFactory, SpikingNetwork, full_scale
from scaflow.model.pruner import Pruner
from scaflow.model.pruning import KeepMask, Schedule, Statistics, get_mask, set_mask
from scaflow.model.rate import spike_cost
from scaflow.model.teacher import Teacher

LOG_FIELDS = ("stage", "epoch", "loss", "train_accuracy", "validation_accuracy", "lr", "kept", "seconds")
EVENT_FIELDS = ("epoch", "layer", "kept", "pruned", "regrown")

Fold = Callable[[SpikingNetwork], nn.Module]
Module = Any  # a SpikingNetwork or its integer form: both have blocks, spikes and integrate


@dataclass
class State:
    """Everything a run needs to go on after the last whole epoch; the content of checkpoint.pt."""

    stage: str = "float"
    epoch: int = 0  # epochs of the stage that are done
    best: dict[str, float] = field(default_factory=dict)  # by stage: validation accuracy
    best_weights: dict[str, dict[str, Tensor]] = field(default_factory=dict)  # by stage
    log: list[dict[str, Any]] = field(default_factory=list)


class Run:
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
        device: torch.device,
    ) -> None:
        self.cfg, self.pruner, self.images, self.out = cfg, pruner, images, out
        self.console, self.identity, self.factories, self.device = console, identity, factories, device
        self.part = parallel.part(images.batch(cfg))
        self.shapes: list[tuple[int, int, int]] = []  # of the dense network's layers
        self.teacher: Teacher | None = None
        self.state = State()
        self.board: Show | None = None  # the first rank's

    def stages(
        self, net: SpikingNetwork, fold: Fold | None, saved: dict[str, Any] | None, until: int | None
    ) -> bool:
        """All that is left to train; false if `until` came before the end."""
        train = self.cfg.train
        if self.state.stage == "float":
            self.fit(net, train.epochs, train.lr, train.schedule, saved, until)
            if self.state.epoch < train.epochs:
                return False
            self.state.stage, self.state.epoch, saved = "folded", 0, None
        net.load_state_dict(self.state.best_weights["float"])
        if fold is not None:
            folded = fold(net)
            if saved is None:
                self.offer(folded, self.validate(folded))
                self.console.print(f"  folded          validation {self.state.best['folded']:.2%}")
            self.fit(folded, train.finetune_epochs, train.finetune_lr, "cosine", saved)
        return True

    def finish(self) -> None:
        """Write the trained network; the checkpoint goes."""
        state = self.state
        content = {
            **self.identity,
            "network": state.best_weights["float"],
            "folded": state.best_weights.get("folded"),
            "masks": [value for key, value in state.best_weights["float"].items() if key.endswith(".mask")],
            "validation_accuracy": state.best["float"],
            "folded_accuracy": state.best.get("folded"),
            "seed": self.cfg.train.seed,
            "torch": str(torch.__version__),
        }
        write_tensors(self.out / MODEL, content)
        drop_checkpoints(self.out)

    def fit(
        self,
        module: Module,
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
            try:
                module.load_state_dict(saved["module"])
                optimizer.load_state_dict(saved["optimizer"])
                scheduler.load_state_dict(saved["scheduler"])
                torch.set_rng_state(saved["rng"])
            except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as problem:
                raise restored(self.out / CHECKPOINT, problem) from None
        while self.state.epoch < min(epochs, until or epochs):
            epoch, started = self.state.epoch, time.perf_counter()
            plan = pruner.plan(epoch, epochs) if pruner else None
            still = pruner is not None and plan is not None and plan.final  # the mask does
            if still and pruner and pruner.memory.whole is None and narrows(whole, get_mask(whole).layers):
                pruner.memory.whole = _copied(whole)
                module, optimizer, scheduler = self._narrow(whole, optimizer, scheduler)
            statistics = Statistics(module) if plan and plan.event else None
            loss, accuracy = self._epoch(module, optimizer, scheduler, statistics, epochs)
            masks = self._event(pruner, module, statistics, plan) if pruner and plan and statistics else None
            published = masks is not None and pruner is not None and pruner.criterion.published
            if masks is not None and published:  # judged as what it will be on the accelerator: forgotten and masked
                forget(module, masks.layers)
                set_mask(module, masks)
            validation = self.validate(module)
            if plan is None or plan.final or published:
                self.offer(module, validation)
            self._log(loss, accuracy, validation, optimizer.param_groups[0]["lr"], module, started)
            if masks is not None and published:
                set_mask(module, KeepMask(tuple(np.ones_like(layer) for layer in masks.layers)))
            elif masks is not None:
                set_mask(module, masks)
            if masks is not None:
                title = f"the masks after epoch {epoch + 1}"
                parallel.agree(title, (torch.as_tensor(layer) for layer in (*masks.layers, *get_mask(module).layers)))
            self.state.epoch += 1
            self._save(module, optimizer, scheduler)

    def _narrow(
        self,
        whole: SpikingNetwork,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler,
    ) -> tuple[SpikingNetwork, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """The network at its final mask without the pruned channels, with the optimizer where it stood."""
        state = cast("dict[str, Tensor]", cast(Pruner, self.pruner).memory.whole)
        whole.load_state_dict(state)
        masks = get_mask(whole).layers
        net = SpikingNetwork(narrowed(self.cfg, masks), *self.factories).to(self.device)
        net.accelerate(whole.blocks[0].in_bfloat16)
        where = indices(whole, masks)
        net.load_state_dict(picked(state, where))
        groups = [group["params"] for group in optimizer.param_groups]
        train = self.cfg.train
        steps = max(1, train.epochs * self.images.steps(self.cfg))
        fresh, fresh_scheduler = _optimizer(self.cfg, net, train.lr, train.schedule, steps)
        fresh.load_state_dict(picked_optimizer(optimizer.state_dict(), whole, groups, where))
        fresh_scheduler.load_state_dict(scheduler.state_dict())
        return net, fresh, fresh_scheduler

    def validate(self, module: Module) -> float:
        """Part of the validation images that are classified right; each rank looks at some of them."""
        mine = slice(parallel.rank(), None, parallel.ranks())
        held = self.images.validation_lengths
        lengths = None if held is None else held[mine]
        images, labels = self.images.validation[mine], self.images.validation_labels[mine]
        right = count_right(module, images, labels, lengths, full_scale(self.cfg))
        return int(parallel.total(torch.tensor(right))) / len(self.images.validation)

    def offer(self, module: Module, validation: float) -> None:
        """Keep these weights if they are the stage's best so far."""
        if validation > self.state.best.get(self.state.stage, -1.0):
            self.state.best[self.state.stage] = validation
            weights = _copied(module)
            whole = self.pruner.memory.whole if self.pruner and self.state.stage == "float" else None
            if whole is not None:
                masks = [whole[f"blocks.{i}.mask"].numpy() for i in range(len(module.blocks))]
                weights = widened(weights, whole, indices(module, masks))
            self.state.best_weights[self.state.stage] = weights

    def _epoch(
        self,
        module: Module,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler,
        statistics: Statistics | None,
        epochs: int,
    ) -> tuple[float, float]:
        """One pass over the training images: (mean loss, accuracy)."""
        parallel.spread(module)
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
            for images, labels, chosen in self.images.batches(
                self.cfg, self.state.stage, self.state.epoch, self.part, self.device
            ):
                optimizer.zero_grad()
                spikes, lengths = module.spikes(images), self.images.lengths(chosen)
                logits = module.integrate(spikes[-1], lengths)
                loss = functional.cross_entropy(logits, labels)
                if self.teacher and self.state.stage == "float":
                    soft = self.cfg.sca.soft
                    loss = (1 - soft) * loss + soft * self.teacher.loss(logits, images, chosen, lengths)
                if self.state.stage == "float" and self.cfg.train.weight_l1:
                    norms = (layer.weight.abs().sum() for layer in module.modules() if isinstance(layer, nn.Conv2d))
                    loss = loss + self.cfg.train.weight_l1 * sum(norms)
                if self.pruner and self.state.stage == "float":
                    loss = loss + self.pruner.penalty(module)
                if self.pruner and self.cfg.sca.rate:
                    loss = loss + self.cfg.sca.rate * spike_cost(spikes, self.cfg, self.shapes, self.cfg.classes)
                loss.backward()
                right = (logits.detach().argmax(1) == labels).sum()
                value, share = parallel.average_gradients(module.parameters(), (loss, right))
                if not np.isfinite(value):
                    raise ValueError(
                        f"{title}: the loss is {value} at image {seen}; lower train.lr={self.cfg.train.lr}"
                    )
                optimizer.step()
                scheduler.step()
                if statistics is not None:
                    statistics.update()
                total += value * len(labels) * parallel.ranks()
                correct += round(share * parallel.ranks())
                seen += len(labels) * parallel.ranks()
                progress.update(task, advance=1, description=f"{title}  loss {total / seen:.3f}")
        if statistics is not None:
            statistics.record(False)
        return total / seen, correct / seen

    def _event(self, pruner: Pruner, net: SpikingNetwork, statistics: Statistics, plan: Schedule) -> KeepMask:
        """The masks after an epoch, by the criterion; they are written down here and set by the caller."""
        mask, events = pruner.decide(net, statistics, plan)
        for event in events:
            row = (self.state.epoch, event.layer, event.kept, event.pruned, event.regrown)
            pruner.memory.events.append(dict(zip(EVENT_FIELDS, row, strict=True)))
            self._show(f"kept/layer{event.layer}", event.kept, self.state.epoch)
        self.console.print(f"    kept {sum(mask.kept)} of {mask.total}: {list(mask.kept)}")
        return mask

    def _log(
        self, loss: float, accuracy: float, validation: float, lr: float, module: Module, started: float
    ) -> None:
        masks = [buffer for name, buffer in module.named_buffers() if name.endswith("mask")]
        kept = sum(int(mask.sum()) for mask in masks)
        seconds = time.perf_counter() - started
        row = (self.state.stage, self.state.epoch, loss, accuracy, validation, lr, kept, round(seconds, 2))
        self.state.log.append(dict(zip(LOG_FIELDS, row, strict=True)))
        for name, value in zip(LOG_FIELDS[2:6], row[2:6], strict=True):
            self._show(name, value, len(self.state.log) - 1)
        self.console.print(
            f"  {self.state.stage:6} epoch {self.state.epoch + 1:3}  loss {loss:.4f}  train {accuracy:.2%}  "
            f"validation {validation:.2%}  {seconds:.0f} s"
        )

    def _show(self, name: str, value: float, step: int) -> None:
        if self.board is not None:
            self.board(name, value, step)

    def _save(
        self,
        module: Module,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler,
    ) -> None:
        if parallel.rank():
            return
        # the tables first: an epoch of which they know is trained again if its checkpoint is not written
        write_csv(self.out / "log.csv", LOG_FIELDS, self.state.log)
        if self.pruner:
            write_csv(self.out / "events.csv", EVENT_FIELDS, self.pruner.memory.events)
        content = {
            **self.identity,
            "state": vars(self.state),
            "pruning": vars(self.pruner.memory) if self.pruner else None,
            "module": module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
            "rng": torch.get_rng_state(),
        }
        write_checkpoint(self.out, content)


def _copied(module: Module) -> dict[str, Tensor]:
    """Its state as it is now, on the CPU."""
    return {name: value.to("cpu", copy=True) for name, value in module.state_dict().items()}


def _optimizer(
    cfg: NetworkConfig, module: Module, lr: float, kind: str, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": cfg.train.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},  # BatchNorm, bias
    ]
    optimizer: torch.optim.Optimizer = (
        torch.optim.AdamW(groups, lr)
        if cfg.train.optimizer == "adamw"
        else torch.optim.SGD(groups, lr, momentum=0.9)
    )
    if kind == "onecycle":
        return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps, cycle_momentum=False)
    if kind == "step":
        thirds = [round(steps / 3), round(2 * steps / 3)]
        return optimizer, torch.optim.lr_scheduler.MultiStepLR(optimizer, thirds)
    return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)


@torch.no_grad()
def count_right(
    module: Module,
    images: Tensor,
    labels: Tensor,
    lengths: Tensor | None = None,
    full: int = PIXEL_MAX,
    batch: int = 500,
) -> int:
    """Of how many images, or recordings of these lengths, the arg-max logit (lowest index on a tie) is the label.

    Args:
        full: what is 1 for the network.
    """
    was_training = module.training
    module.eval()
    device = next((parameter.device for parameter in module.parameters()), None)
    correct = 0
    for start in range(0, len(images), batch):
        part = slice(start, start + batch)
        seen = images[part].to(device).float() / full
        logits = module(seen) if lengths is None else module(seen, lengths[part])
        correct += int((logits.argmax(1).cpu() == labels[part]).sum())
    module.train(was_training)
    return correct
