import pytest
import torch

from scaflow.model.config import NetworkConfig


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
