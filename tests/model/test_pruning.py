"""SCA: the rule of one event, its schedule, and channels that really come back."""

import numpy as np
import pytest
import torch

from scaflow.model.config import ScaConfig
from scaflow.model.cost import Budget
from scaflow.model.network import SpikingNetwork
from scaflow.model.pruning import (
    KeepMask,
    Statistics,
    channel_groups,
    get_mask,
    schedule,
    set_mask,
    update_masks,
)

FULL = KeepMask((np.ones(4, bool), np.ones(6, bool)))
SCORES = [np.array([9.0, 1.0, 8.0, 7.0]), np.array([0.1, 6.0, 0.3, 0.2, 5.0, 0.4])]
FLAT = [np.zeros(4), np.zeros(6)]
CHANNELS = Budget(None)


def alone(sizes, floor=0.0, granularity=1):
    """Each layer a group of its own."""
    return channel_groups([(i,) for i in range(len(sizes))], sizes, floor, granularity)


def test_prunes_by_global_rank():
    mask, events = update_masks(FULL, SCORES, FLAT, alone([4, 6]), CHANNELS, 0.5, 0.0)
    assert [layer.tolist() for layer in mask.layers] == [
        [True, False, True, True],
        [False, True, False, False, True, False],
    ]
    assert [(e.layer, e.kept, e.pruned, e.regrown) for e in events] == [(0, 3, 1, 0), (1, 2, 4, 0)]


def test_regrows_by_gradient_among_the_pruned():
    gradients = [np.array([99.0, 1.0, 99.0, 99.0]), np.array([3.0, 99.0, 2.0, 0.0, 0.0, 0.0])]
    before = KeepMask((np.array([1, 0, 1, 1], bool), np.array([0, 1, 0, 1, 1, 0], bool)))
    mask, events = update_masks(before, SCORES, gradients, alone([4, 6]), CHANNELS, 0.5, 0.2)
    # three by score (0.0, 0.2, 0.3), then the two largest gradients of the rest: 1.1 and 1.0
    assert np.concatenate(mask.layers).tolist() == [1, 0, 1, 1, 1, 1, 0, 0, 0, 0]
    assert [(e.pruned, e.regrown) for e in events] == [(0, 0), (2, 1)]


def test_the_floor_holds():
    mask, _ = update_masks(FULL, SCORES, FLAT, alone([4, 6], 0.5), CHANNELS, 0.5, 0.0)
    assert mask.kept == (2, 3)
    assert np.concatenate(mask.layers).tolist() == [1, 0, 1, 0, 0, 1, 0, 0, 1, 1]


@pytest.mark.parametrize("seed", range(20))
def test_counts_are_multiples_within_the_budget(seed):
    rng = np.random.default_rng(seed)
    sizes = [8, 16, 32, 64]
    full = KeepMask(tuple(np.ones(n, bool) for n in sizes))
    scores = [rng.gamma(1 + i, size=n) for i, n in enumerate(sizes)]
    gradients = [rng.random(n) for n in sizes]
    keep = rng.uniform(0.35, 1)
    mask, events = update_masks(full, scores, gradients, alone(sizes, 0.2, 8), CHANNELS, keep, 0.1)
    assert all(kept % 8 == 0 and kept >= 0.2 * n for kept, n in zip(mask.kept, sizes, strict=True))
    assert keep * 120 - 8 < sum(mask.kept) <= keep * 120
    assert [e.kept for e in events] == list(mask.kept)


def test_granularity_must_divide():
    with pytest.raises(ValueError, match="layer 1: 6 channels are no multiple of granularity=4"):
        alone([4, 6], 0.0, 4)


@pytest.mark.parametrize("epochs", [2, 3, 6, 15, 40])
def test_ramp_then_freeze(epochs):
    plans = [
        schedule(ScaConfig(keep=0.4, regrow=0.1, ramp=0.6, freeze=0.25), e, epochs) for e in range(epochs)
    ]
    events = [plan for plan in plans if not plan.final]
    assert [plan.final for plan in plans] == sorted(plan.final for plan in plans)
    assert 1 <= len(events) < epochs
    assert epochs - len(events) >= 0.25 * epochs
    keeps = [plan.limit for plan in events]
    assert keeps == sorted(keeps, reverse=True)
    assert keeps[-1] == pytest.approx(0.4)
    assert events[-1].regrow == 0.0
    regrows = [plan.regrow for plan in events]
    assert regrows == sorted(regrows, reverse=True)


def test_the_ramp_is_cubic():
    sca = ScaConfig(keep=0.2, ramp=0.5, freeze=0.25)
    keeps = [schedule(sca, e, 20).limit for e in range(12)]
    assert keeps[4] == pytest.approx(1 - 0.8 * (1 - 0.5**3))
    assert keeps[9:] == pytest.approx([0.2] * 3)


def test_a_pruned_channel_comes_back_and_fires(describe):
    """A channel that carries the decision is pruned by force; its straight-through gradient revives it."""
    torch.manual_seed(0)
    net = SpikingNetwork(describe(layers=[{"channels": 4}, {"channels": 8, "pool": 2}]))
    mask = get_mask(net)
    mask.layers[1][3] = False
    with torch.no_grad():
        net.readout.weight.mul_(0.1)
        net.readout.weight.view(10, 8, 16)[:, 3] *= 50
    set_mask(net, mask)
    statistics = Statistics(net)
    statistics.record(True)
    fired = []
    net.blocks[1].register_forward_hook(lambda _m, _i, out: fired.append(out[:, 3].sum().item()))
    for _ in range(3):
        net.zero_grad()
        logits = net(torch.rand(16, 1, 8, 8))
        torch.nn.functional.cross_entropy(logits, torch.randint(0, 10, (16,))).backward()
        statistics.update()
    activity, gradient = statistics.arrays()
    assert activity[1][3] == 0  # by score alone it would stay away
    assert activity[1].sum() > 0
    after, events = update_masks(mask, activity, gradient, alone([4, 8]), CHANNELS, 11 / 12, 1 / 12)
    assert after.layers[1][3]
    assert events[1].regrown == 1
    assert fired == [0, 0, 0]
    set_mask(net, after)
    net(torch.rand(16, 1, 8, 8))
    assert fired[-1] > 0


def test_statistics_are_the_mean_and_the_sum_over_batches(describe):
    torch.manual_seed(0)
    net = SpikingNetwork(describe())
    statistics = Statistics(net)
    statistics.record(True)
    activities, gradients = [], []
    for _ in range(3):
        net.zero_grad()
        net(torch.rand(8, 1, 8, 8)).square().sum().backward()
        statistics.update()
        activities.append(net.blocks[1].neuron.activity.clone())
        gradients.append(net.blocks[1].bn.weight.grad.abs().clone())
    activity, gradient = statistics.arrays()
    np.testing.assert_allclose(activity[1], torch.stack(activities).mean(0), rtol=1e-5)
    np.testing.assert_allclose(gradient[1], torch.stack(gradients).sum(0), rtol=1e-5)
