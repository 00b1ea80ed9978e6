"""Training as the chain and the study run it: Brevitas's layers, the integer form, the budget of the description."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scaflow.hw.cost import cycle_model
from scaflow.model.config import NetworkConfig
from scaflow.model.cost import Budget
from scaflow.model.data import Dataset
from scaflow.model.files import readable
from scaflow.model.network import SpikingNetwork
from scaflow.model.train import load_trained, train
from scaflow.quant.fold import fold
from scaflow.quant.folded import FoldedNetwork
from scaflow.quant.layers import brevitas_conv, brevitas_linear


def train_network(cfg: NetworkConfig, data: Dataset, out: Path, *, prune: bool, **options: Any) -> Path:
    """`model.train.train` of a quantised network."""
    budget = None
    if prune and cfg.sca.cycles is not None:
        budget = Budget(cycle_model(cfg, cfg.sca.scheduler), cfg.sca.objective)
    return train(
        cfg,
        data,
        out,
        prune=prune,
        conv=brevitas_conv,
        linear=brevitas_linear,
        fold=fold,
        budget=budget,
        **options,
    )


def folded_network(path: Path) -> FoldedNetwork:
    """The trained network of a model.pt in its integer form, as a torch module for evaluation.

    Raises:
        ValueError: the model was trained without.
    """
    trained = load_trained(path)
    folded = fold(SpikingNetwork(trained.cfg, brevitas_conv, brevitas_linear))
    if trained.folded is None:
        raise ValueError(f"{path}: holds no folded network; train again with `scaflow train`")
    with readable(path, "train again: `scaflow train`", AttributeError, RuntimeError, TypeError):
        folded.load_state_dict(trained.folded)
    return folded.eval()
