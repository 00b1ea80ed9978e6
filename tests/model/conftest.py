from itertools import pairwise

import numpy as np
import pytest
import torch

from scaflow.model.config import NetworkConfig
from scaflow.model.cost import CycleModel, ListStage


@pytest.fixture(autouse=True)
def _one_thread():
    """Small tensors are slower with more, and tests may run side by side."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def describe():
    """describe(train={...}, sca={...}, layers=[...], ...) -> a small network on digits."""

    def build(**changes) -> NetworkConfig:
        data = {
            "name": "small",
            "dataset": "digits",
            "time_steps": 3,
            "layers": [{"channels": 4}, {"channels": 8, "pool": 2}],
            "train": {"epochs": 4, "batch": 32, "lr": 0.01, "validation": 100, "train_images": 200},
            "sca": {"keep": 0.5, "granularity": 2},
        }
        for key, value in changes.items():
            data[key] = {**data.get(key, {}), **value} if isinstance(value, dict) else value
        return NetworkConfig.model_validate(data)

    return build


@pytest.fixture
def cycles_of():
    """A price list: each layer costs its kernels' synapses at every pixel of a map of 8x8."""

    def build(cfg: NetworkConfig) -> CycleModel:
        channels = [1, *(layer.channels for layer in cfg.layers), 10]
        stages = tuple(
            ListStage(64 * np.outer(np.arange(i + 1), np.arange(o + 1)))
            for i, o in pairwise(channels)
        )
        return CycleModel(stages, 1, 10, tuple(float(stage.cycles[-1, -1]) for stage in stages))

    return build
