"""The files of a training run: checkpoints, tables and the trained network.

All are forced to the disk (fsync) before they take their names; the checkpoint before the last one is kept.
"""

from __future__ import annotations

import csv
import io
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scaflow.model.config import NetworkConfig
from scaflow.model.files import damaged, whole, write_bytes, write_text
from scaflow.model.pruner import Memory

CHECKPOINT, MODEL = "checkpoint.pt", "model.pt"
PREVIOUS = "checkpoint-previous.pt"  # of the epoch before, in case the last one cannot be read
IDENTITY = ("config", "prune", "fold")
OF_CHECKPOINT = (*IDENTITY, "state", "pruning", "module", "optimizer", "scheduler", "rng")
OF_STATE = ("stage", "epoch", "best", "best_weights", "log")
OF_MODEL = (*IDENTITY, "network", "folded", "masks", "validation_accuracy", "folded_accuracy")


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


class Damaged(ValueError):
    """A file that torch cannot read: cut off, overwritten, or never one of its own."""


def load_trained(path: Path) -> Trained:
    """Read what `train` wrote.

    Raises:
        ValueError: no such file, or no model of this program.
    """
    remedy = "train again: `scaflow train`"
    if not path.exists():
        raise ValueError(f"{path}: no such file; make it by `scaflow train`")
    content = _load(path, OF_MODEL, remedy)
    try:
        cfg = NetworkConfig.model_validate(content["config"])
    except ValueError as error:
        raise damaged(path, f"the network's description is of another version: {error}", remedy) from None
    return Trained(
        cfg,
        content["network"],
        content["folded"],
        content["masks"],
        content["prune"],
        content["validation_accuracy"],
        content["folded_accuracy"],
    )


@dataclass(frozen=True)
class Beginning:
    """Where a run begins: `saved` is the checkpoint it continues from, if any; `ended`: there is nothing to do."""

    saved: dict[str, Any] | None
    ended: bool = False
    notice: str = ""  # what the user is to know of it


def beginning(out: Path, identity: dict[str, Any], resume: bool, start: Path | None) -> Beginning:
    """Where the run in `out` begins; makes the folder. A damaged checkpoint gives way to the one before.

    Raises:
        ValueError: what is there, or `start`, belongs to another run, or cannot be read.
    """
    out.mkdir(parents=True, exist_ok=True)
    if resume:
        last, previous = out / CHECKPOINT, out / PREVIOUS
        anew = "remove it, or train without --resume"
        if last.exists():
            try:
                return Beginning(_same_run(_load(last, OF_CHECKPOINT, anew), identity, last))
            except Damaged as error:
                if not previous.exists():
                    raise
                found = _same_run(_load(previous, OF_CHECKPOINT, f"{anew}; {last.name} is damaged too"), identity, last)
                os.replace(previous, last)
                return Beginning(found, notice=_gone_back(str(error).splitlines()[0], previous, found))
        if previous.exists():  # killed between the two renames
            found = _same_run(_load(previous, OF_CHECKPOINT, anew), identity, previous)
            return Beginning(found, notice=_gone_back(f"{last}: no such file", previous, found))
        if (out / MODEL).exists():
            _same_run(_load(out / MODEL, OF_MODEL, anew), identity, out / MODEL)
            return Beginning(None, ended=True)
    return Beginning(_branched(start, identity) if start is not None else None)


def write_tensors(path: Path, content: dict[str, Any]) -> None:
    """By way of the memory: torch says of a full disk only that it failed."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(path, buffer.getbuffer())


def write_checkpoint(out: Path, content: dict[str, Any]) -> None:
    """The checkpoint of the run in `out`; the one before is kept beside it."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with whole(out / CHECKPOINT, former=out / PREVIOUS) as file:
        file.write(buffer.getbuffer())


def drop_checkpoints(out: Path) -> None:
    for name in (CHECKPOINT, PREVIOUS):
        (out / name).unlink(missing_ok=True)


def write_csv(path: Path, fields: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def restored(path: Path, problem: Exception) -> ValueError:
    """What to say where a readable checkpoint does not fit this program."""
    return damaged(path, f"it does not fit the network: {problem}", "remove it, or train without --resume")


def _load(path: Path, keys: Sequence[str], remedy: str) -> dict[str, Any]:
    """A file of tensors with these entries.

    Raises:
        Damaged: torch cannot read it.
        ValueError: it is of another program.
        OSError: the system cannot.
    """
    raw = path.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about old formats
            content = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever its unpickler comes upon
        reason = "it is empty" if not raw else str(error).strip().partition("\n")[0][:200] or type(error).__name__
        raise Damaged(str(damaged(path, reason, remedy))) from None
    wanted = {"": keys, "config": (), **({"state": OF_STATE} if "state" in keys else {})}
    for name, inner in wanted.items():
        part = content if not name else content[name]
        if not isinstance(part, dict) or not part.keys() >= set(inner):
            there = part.keys() if isinstance(part, dict) else ()
            lacking = ", ".join(key for key in inner if key not in there) or name
            raise damaged(path, f"it holds no {lacking}{f' in {name!r}' if name and inner else ''}", remedy)
    return content


def _gone_back(reason: str, used: Path, content: dict[str, Any]) -> str:
    state = content["state"]
    return f"{reason}\n  going on from {used.name}, after epoch {state['epoch']} of stage {state['stage']}"


def _branched(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint of a run that differs in [sca] at most, and has not pruned."""
    content = _load(path, OF_CHECKPOINT, "remove its folder, and the run that it begins is made again")
    mine, theirs = ({**c["config"], "fold": None, "sca": None} for c in (identity, content))
    pruned = content["pruning"] and content["pruning"]["events"]
    if mine != theirs or pruned or content["state"]["stage"] != "float":
        raise ValueError(f"{path}: no beginning of this run: another network, data or epochs, or pruned already")
    return {**content, "pruning": vars(Memory())}


def _same_run(content: dict[str, Any], identity: dict[str, Any], path: Path) -> dict[str, Any]:
    changed = [key for key in identity if _decisive(content, key) != _decisive(identity, key)]
    if changed:
        raise ValueError(f"{path}: made with another {', '.join(changed)}; train without --resume, or elsewhere")
    return content


def _decisive(content: dict[str, Any], key: str) -> Any:
    """What decides the result: lanes do not, nor does [sca] without pruning."""
    if key != "config":
        return content.get(key)
    ignored = {"fold"} if content["prune"] else {"fold", "sca"}
    return {section: value for section, value in content["config"].items() if section not in ignored}
