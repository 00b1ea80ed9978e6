"""The networks of the SCA paper: their size, and that they train, prune and regrow."""

from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from scaflow.model.config import NetworkConfig, load_network
from scaflow.model.data import Dataset
from scaflow.model.network import SpikingNetwork
from scaflow.model.train import load_trained, train

CONFIGS = Path(__file__).parents[2] / "model" / "configs"
EPOCHS = 6


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """32 images of noise, in classes told apart by their colour."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 32)
    pixels = rng.integers(0, 128, (32, 3, 32, 32)) + 12 * labels[:, None, None, None]
    pixels = pixels.astype(np.uint8)
    return Dataset(pixels, labels, pixels[:4], labels[:4])


def few_steps(name: str, width: int = 1) -> NetworkConfig:
    """The network that ships, for a few steps on a few images; all layers narrower by `width`."""
    described = load_network(CONFIGS / f"{name}.toml").model_dump()
    for layer in described["layers"]:
        layer["channels"] //= width
    described["train"] |= {"epochs": EPOCHS, "batch": 4, "lr": 0.02, "validation": 8, "train_images": 8}
    described["sca"] |= {"keep": 0.5, "regrow": 0.2, "ramp": 0.2, "floor": 0.1, "granularity": 4}
    return NetworkConfig.model_validate(described)


@pytest.mark.parametrize(("name", "parameters"), [("vgg16", 15_250_378), ("resnet18", 11_172_298)])
def test_the_number_of_parameters_is_the_published_one(name, parameters):
    net = SpikingNetwork(load_network(CONFIGS / f"{name}.toml"))
    assert sum(parameter.numel() for parameter in net.parameters()) == parameters


def test_the_trunks_of_the_residual_network_are_pruned_as_one():
    with torch.device("meta"):
        net = SpikingNetwork(load_network(CONFIGS / "resnet18.toml"))
    assert net.groups == (
        (0, 2, 4), (1,), (3,), (5,), (6, 8), (7,), (9,), (10, 12), (11,), (13,), (14, 16), (15,)
    )  # fmt: skip


@pytest.mark.parametrize("width", [8, 1])
@pytest.mark.parametrize("name", ["vgg16", "resnet18"])
def test_trains_prunes_and_regrows(tmp_path, dataset, name, width):
    cfg = few_steps(name, width)
    path = train(cfg, dataset, tmp_path, prune=True, console=Console(quiet=True))
    trained = load_trained(path)
    torch.manual_seed(cfg.train.seed)
    net = SpikingNetwork(cfg)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.load_state_dict(trained.network)
    masks = [block.mask for block in net.blocks]
    assert sum(int(mask.sum()) for mask in masks) <= 0.5 * sum(mask.numel() for mask in masks)
    for group in net.groups:
        assert all(torch.equal(masks[i], masks[group[0]]) for i in group)
    for i, mask in enumerate(masks):
        assert mask.sum() >= 0.1 * mask.numel()
        assert not torch.equal(net.state_dict()[f"blocks.{i}.conv.weight"], before[f"blocks.{i}.conv.weight"])

    rows = np.genfromtxt(tmp_path / "events.csv", delimiter=",", names=True)
    assert set(rows["layer"]) == set(range(len(masks)))
    assert rows["pruned"].sum() > 0
    assert rows["regrown"].sum() > 0

    net.eval()
    for mask, spikes in zip(masks, net.spikes(torch.from_numpy(dataset.test_images).float() / 255), strict=True):
        assert not spikes[:, ~mask].any()
