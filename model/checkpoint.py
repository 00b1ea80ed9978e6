"""The files of a training run: checkpoints, tables and the trained network; written whole or not at all."""

from __future__ import annotations

import csv
import io
import os
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scaflow.model.config import NetworkConfig
from scaflow.model.pruner import Memory

CHECKPOINT, MODEL = "checkpoint.pt", "model.pt"


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


def load_trained(path: Path) -> Trained:
    """Read what `train` wrote.

    Raises:
        ValueError: no such file, or no model of this program.
    """
    try:
        content = _load(path)
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
        raise ValueError(f"{path}: no trained network, or of another version ({error}); train again") from None


@dataclass(frozen=True)
class Beginning:
    """Where a run begins: `saved` is the checkpoint it continues from, if any; `ended`: there is nothing to do."""

    saved: dict[str, Any] | None
    ended: bool = False


def beginning(out: Path, identity: dict[str, Any], resume: bool, start: Path | None) -> Beginning:
    """Where the run in `out` begins; makes the folder.

    Raises:
        ValueError: what is there, or `start`, belongs to another run.
    """
    out.mkdir(parents=True, exist_ok=True)
    if resume:
        if (out / CHECKPOINT).exists():
            return Beginning(_same_run(out / CHECKPOINT, identity))
        if (out / MODEL).exists():
            return Beginning(_same_run(out / MODEL, identity), ended=True)
    return Beginning(_branched(start, identity) if start is not None else None)


def write_tensors(path: Path, content: dict[str, Any]) -> None:
    _write(path, lambda temporary: torch.save(content, temporary))


def write_csv(path: Path, fields: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    _write(path, lambda temporary: temporary.write_text(text.getvalue()))


def _load(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="cpu", weights_only=True)


def _branched(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint of a run that differs in [sca] at most, and has not pruned."""
    content = _load(path)
    mine, theirs = ({**c["config"], "fold": None, "sca": None} for c in (identity, content))
    pruned = content["pruning"] and content["pruning"]["events"]
    if mine != theirs or pruned or content["state"]["stage"] != "float":
        raise ValueError(f"{path}: no beginning of this run: another network, data or epochs, or pruned already")
    return {**content, "pruning": vars(Memory())}


def _same_run(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    content = _load(path)
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


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """By a temporary file of a fixed name: what a killed process leaves of it, the next one overwrites."""
    temporary = path.with_name(f".{path.name}.part")
    write(temporary)
    os.replace(temporary, path)
