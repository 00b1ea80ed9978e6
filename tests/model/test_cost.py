"""Budgets: the parts of channels, cycles and spikes by hand, and masks that meet them."""

import numpy as np
import pytest

from scaflow.model.cost import Budget, CycleModel, EventStage, ListStage
from scaflow.model.pruning import KeepMask, channel_groups, floor_part, update_masks


def lists(*shape_and_price):
    """List stages of price * kept_in * kept_out cycles."""
    return tuple(ListStage(price * np.outer(np.arange(i + 1), np.arange(o + 1))) for i, o, price in shape_and_price)


STAGES = lists((1, 4, 100), (4, 4, 1), (4, 10, 0))  # the first layer is the dear one
MODEL = CycleModel(STAGES, 1, 10, (400.0, 16.0, 0.0))
FULL = KeepMask((np.ones(4, bool), np.ones(4, bool)))
GROUPS = channel_groups([(0,), (1,)], [4, 4], 0.25, 1)
FLAT = [np.zeros(4), np.zeros(4)]


def masks(first, second):
    return [np.arange(4) < first, np.arange(4) < second]


def test_parts_of_the_sum_and_of_the_bottleneck():
    assert MODEL(masks(2, 3)).tolist() == [200, 6, 0]
    assert Budget(MODEL).part(masks(2, 3)) == pytest.approx(206 / 416)
    assert Budget(MODEL, "bottleneck").part(masks(2, 3)) == pytest.approx(200 / 400)
    assert Budget(None).part(masks(2, 3)) == 5 / 8


def test_by_cost_prunes_where_cycles_are():
    scores = [np.full(4, 2.0), np.full(4, 1.0)]
    plain, _ = update_masks(FULL, scores, FLAT, GROUPS, Budget(MODEL), 0.6, 0.0)
    wise, _ = update_masks(FULL, scores, FLAT, GROUPS, Budget(MODEL), 0.6, 0.0, by="cost")
    assert wise.kept == (2, 4)  # two of the dear layer are worth 4, and enough
    assert plain.kept == (2, 4)  # what was given up first comes back as far as it fits
    assert Budget(MODEL).part(wise.layers) <= 0.6


def test_a_layer_that_saves_nothing_stays_whole():
    """By score alone the free layer would go first."""
    free = CycleModel(lists((1, 4, 100), (4, 4, 0), (4, 10, 0)), 1, 10, (400.0, 0.0, 0.0))
    scores = [np.array([5.0, 4, 3, 2]), np.array([0.5, 0.4, 0.3, 0.2])]
    mask, _ = update_masks(FULL, scores, FLAT, GROUPS, Budget(free), 0.75, 0.0, by="cost")
    assert mask.kept == (3, 4)


def test_no_layer_is_emptied_to_keep_its_neighbours():
    """A channel costs what its neighbours are wide: a narrow layer makes them cheap, and they must not stay for it."""
    sizes = (16, 32, 32, 64, 64)
    stages = lists(*((i, o, 1e6 / (i * o)) for i, o in zip((1, *sizes), (*sizes, 10), strict=True)))
    stages = (*stages[:-1], *lists((64, 10, 0)))
    chain = CycleModel(stages, 1, 10, (1e6,) * 5 + (0.0,))
    scores = [np.random.default_rng(i).uniform(0.9, 1.1, n) for i, n in enumerate(sizes)]
    full, flat = KeepMask(tuple(np.ones(n, bool) for n in sizes)), [np.zeros(n) for n in sizes]
    groups = channel_groups([(i,) for i in range(5)], sizes, 0.0, 4)
    mask, _ = update_masks(full, scores, flat, groups, Budget(chain), 0.2, 0.0, by="cost")
    parts = [kept / n for kept, n in zip(mask.kept, sizes, strict=True)]
    assert min(parts) >= 0.25 and max(parts) <= 0.75, mask.kept


def test_layers_become_narrower_about_evenly():
    """The middle one costs at both of its ends, and must not pay for all three."""
    sizes = (64, 160, 160)
    stages = lists((1, 64, 210), (64, 160, 25), (160, 160, 22.56), (160, 10, 2.45))
    chain = CycleModel(stages, 1, 10, (13448.0, 256000.0, 577600.0, 3920.0))
    full, flat = KeepMask(tuple(np.ones(n, bool) for n in sizes)), [np.zeros(n) for n in sizes]
    groups = channel_groups([(i,) for i in range(3)], sizes, 0.1, 8)
    mask, _ = update_masks(full, [np.ones(n) for n in sizes], flat, groups, Budget(chain), 0.2, 0.0, by="cost")
    parts = [kept / n for kept, n in zip(mask.kept, sizes, strict=True)]
    assert max(parts) <= 1.3 * min(parts), mask.kept


def test_a_layer_half_gone_counts_twice():
    """By score the second layer would pay for all that its floor allows."""
    scores = [np.full(4, 2.0), np.full(4, 1.5)]
    plain, _ = update_masks(FULL, scores, FLAT, GROUPS, Budget(None), 0.5, 0.0)
    even, _ = update_masks(FULL, scores, FLAT, GROUPS, Budget(None), 0.5, 0.0, by="narrowing")
    assert plain.kept == (3, 1)
    assert even.kept == (2, 2)


def test_equal_bottlenecks_take_turns():
    even = CycleModel(lists((1, 4, 100), (4, 4, 25), (4, 10, 0)), 1, 10, (400.0, 400.0, 0.0))
    scores = [np.arange(1, 5.0), np.arange(1, 5.0)]
    mask, _ = update_masks(FULL, scores, FLAT, GROUPS, Budget(even, "bottleneck"), 0.5, 0.0, by="cost")
    assert even(mask.layers).max() == 200


def test_regrowth_takes_its_share_of_the_budget_by_gradient_over_cost():
    scores = [np.arange(8, 4, -1.0), np.arange(4, 0, -1.0)]
    gradients = [np.array([0, 0, 0, 9.0]), np.array([0, 0, 0, 8.0])]
    channels = Budget(None)
    mask, events = update_masks(FULL, scores, gradients, GROUPS, channels, 0.75, 0.25)
    assert [layer.tolist() for layer in mask.layers] == [[True, True, True, True], [True, False, False, True]]
    assert [event.kept for event in events] == [4, 2]


def test_what_comes_back_is_ranked_by_gradient_over_cost():
    scores, gradients = [np.arange(4, 0, -1.0), np.zeros(4)], [np.array([0, 0, 0, 9.0]), np.array([0, 0, 0, 8.0])]
    plain, wise = (
        update_masks(FULL, scores, gradients, GROUPS, Budget(MODEL), 0.49, 0.24, by=by)[0] for by in ("score", "cost")
    )
    assert plain.layers[0].tolist() == [True, False, False, True]  # 2 x 1 channels: 202 of at most 203 cycles
    assert wise.kept == (1, 4)


def test_events_cost_what_the_kept_channels_spike():
    stage = EventStage(pe=2, simd=1, windows=10, reach=100.0, arriving=7)
    read, rates = np.array([True, True, False]), np.array([0.5, 0.25, 1.0])
    assert stage(read, np.ones(4, bool), rates) == 2 * 75
    assert stage(read, np.ones(5, bool), rates) == 3 * 75
    assert stage(read, np.ones(4, bool), rates * 0.01) == 2 * 10  # a silent window costs a cycle a fold
    with pytest.raises(ValueError, match="give the rates"):
        stage(read, np.ones(4, bool), None)


def test_the_floors_are_the_least_that_is_left():
    assert floor_part(GROUPS, Budget(MODEL)) == pytest.approx((100 + 1) / 416)
    mask, _ = update_masks(FULL, FLAT, FLAT, GROUPS, Budget(MODEL), 0.01, 0.0)
    assert mask.kept == (1, 1)


def test_a_group_is_kept_as_one():
    groups = channel_groups([(0, 2), (1,)], [4, 4, 4], 0.25, 1)
    full = KeepMask((*FULL.layers, np.ones(4, bool)))
    scores = [np.array([4.0, 1, 1, 9]), np.full(4, 5.0), np.array([1.0, 4, 1, 9])]
    mask, _ = update_masks(full, scores, scores, groups, Budget(None), 2 / 3, 0.0)
    assert mask.kept == (2, 4, 2)
    assert np.array_equal(mask.layers[0], mask.layers[2])
    assert not mask.layers[0][2]
