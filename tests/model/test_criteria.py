"""What a channel is worth: each measure against a plain computation, each criterion through a whole run."""

import io
import math

import numpy as np
import pytest
import torch
from rich.console import Console

from scaflow.model.cost import Budget
from scaflow.model.criteria import CRITERIA, Probe, forget, scores
from scaflow.model.data import load_dataset
from scaflow.model.network import SpikingNetwork
from scaflow.model.train import load_trained, train

QUIET = Console(file=io.StringIO())
IMAGES = torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def net(describe):
    """A network whose batch normalisation has seen something, and whose second layer has lost a channel."""
    torch.manual_seed(0)
    net = SpikingNetwork(describe())
    for _ in range(5):
        net(torch.rand(16, 1, 8, 8))
    net.blocks[1].mask[3] = False
    return net


def spikes_of(net):
    """Block by block: current before the mask, spikes before the pool, spikes behind it."""
    net.eval()
    x, rows = IMAGES.float() / 255, []
    with torch.no_grad():
        for block in net.blocks:
            current = block.bn(block.conv(x))
            fired = block.neuron(current * block.mask.view(1, -1, 1, 1), constant=block.first)
            x = torch.nn.functional.max_pool2d(fired, block.pool)
            rows.append((current, fired, x))
    return rows


def test_rates_are_the_means_behind_the_pool(net):
    rates = Probe(net).measure(IMAGES, ["rate"], batch=4)["rate"]
    for rate, (_, _, spikes) in zip(rates, spikes_of(net), strict=True):
        np.testing.assert_allclose(rate, spikes.mean((0, 2, 3)), rtol=1e-6)
    assert rates[1][3] == 0


def test_rank_is_the_sum_of_singular_values_of_the_mean_map(net):
    ranks = Probe(net).measure(IMAGES, ["rank"], batch=4)["rank"]
    for rank, (_, fired, _) in zip(ranks, spikes_of(net), strict=True):
        maps = fired.view(3, 6, *fired.shape[1:]).mean(0).numpy()
        size = maps.shape[-1]
        by_hand = [[np.sqrt(np.abs(np.linalg.eigvalsh(m.T @ m))).sum() for m in image] for image in maps]
        np.testing.assert_allclose(rank, np.mean(by_hand, 0) / (size * math.sqrt(size)), atol=1e-3)


def test_criticality_looks_behind_the_mask(net):
    found = Probe(net).measure(IMAGES, ["criticality"])["criticality"]
    for block, values, (current, _, _) in zip(net.blocks, found, spikes_of(net), strict=True):
        currents = current.numpy()
        currents = [currents] * 3 if block.first else np.split(currents, 3)
        v, total = 0.0, 0.0
        for c in currents:
            u = v - v / 2 + c
            total = total + 1 / (1 + (np.pi * (u - 1)) ** 2)
            v = np.where(u >= 1, 0, u)
        np.testing.assert_allclose(values, (total / 3).max((2, 3)).mean(0), rtol=1e-4)
    assert found[1][3] > 0


def test_weights_compare_between_layers(net):
    with torch.no_grad():
        net.blocks[1].conv.weight *= 1000
        net.blocks[1].conv.weight[2] *= 10
    first, second = scores(CRITERIA["weight"], net, [], [], {}, 0)
    assert 0 < first.mean() < 2
    assert 0 < second.mean() < 2
    assert second.argmax() == 2


def test_cycle_aware_sca_multiplies_activity_by_the_filter(net):
    activity = [np.linspace(1, 2, 4), np.linspace(3, 1, 8)]
    found = scores(CRITERIA["sca-cycles"], net, activity, [], {}, 0)
    for values, a, block in zip(found, activity, net.blocks, strict=True):
        w = block.conv.weight.detach().double().numpy().reshape(len(a), -1)
        np.testing.assert_allclose(values, a * np.abs(w).mean(1) / np.sqrt((w**2).mean()))
    assert scores(CRITERIA["sca"], net, activity, [], {}, 0) == activity


def test_sensitivity_is_activity_times_the_gradient(net):
    activity, gradient = [np.linspace(1, 2, 4), np.linspace(3, 1, 8)], [np.full(4, 2.0), np.arange(8.0)]
    found = scores(CRITERIA["sca-gradient"], net, activity, gradient, {}, 0)
    assert [values.tolist() for values in found] == [
        (activity[0] * 2).tolist(), (activity[1] * np.arange(8)).tolist()
    ]  # fmt: skip


def test_the_random_order_stands_for_the_run(net):
    once, again, other = (scores(CRITERIA["random"], net, [], [], {}, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))
    assert not np.array_equal(once[0], other[0])


def test_what_is_forgotten_cannot_come_back(net):
    forget(net, [np.ones(4, bool), np.arange(8) != 5])
    net.train()
    net(torch.rand(16, 1, 8, 8)).square().sum().backward()
    block = net.blocks[1]
    assert not block.conv.weight[5].any()
    assert block.bn.weight.grad[5] == 0
    assert not block.conv.weight.grad[5].any()
    assert block.bn.weight.grad[4] != 0


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion_prunes_to_the_budget_of_cycles(describe, criterion, tmp_path, cycles_of):
    cfg = describe(
        sca={"keep": None, "cycles": 0.4, "criterion": criterion, "momentum": 0.5, "floor": 0.25},
        layers=[{"channels": 8}, {"channels": 16, "pool": 2}, {"channels": 16}],
        train={"epochs": 5, "train_images": 320},
    )
    budget = Budget(cycles_of(cfg))
    data = load_dataset("digits", tmp_path)
    trained = load_trained(train(cfg, data, tmp_path, prune=True, budget=budget, console=QUIET))
    masks = [mask.numpy() for mask in trained.masks]
    assert 0.25 < budget.part(masks) <= 0.4
    assert all(mask.sum() % 2 == 0 and mask.any() for mask in masks)
    net = SpikingNetwork(cfg)
    net.load_state_dict(trained.network)
    assert [block.mask.tolist() for block in net.blocks] == [mask.tolist() for mask in masks]
