"""FINN's best folding within a bound on LUTs: what the frontier holds, and what the search on it asks and finds."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest

from scaflow.flow.finn.compare import divisors
from scaflow.flow.finn.search import Best, Step, fastest, frontier
from scaflow.hw.fold import Fold

PIXELS, CHANNELS, POSITIONS, SLOWEST_BLOCK = 49, 64, 9 * 32, 462


def cycles(fold: Fold) -> int:
    return max(PIXELS * (CHANNELS // fold.pe) * (POSITIONS // fold.simd), SLOWEST_BLOCK)


ALL = {fold: cycles(fold) for fold in (Fold(*s) for s in product(divisors(CHANNELS), divisors(POSITIONS)))}


def luts(fold: Fold) -> int:
    return 300 + 9 * fold.lanes + 20 * fold.pe  # of one number of lanes the fewest sums are the smallest


def test_the_frontier_holds_the_shapes_with_the_fewest_lanes():
    told = {Fold(1, 1): 80, Fold(1, 2): 40, Fold(2, 1): 40, Fold(2, 2): 30, Fold(4, 1): 20, Fold(4, 2): 20}
    assert frontier(told) == (
        Step(20, (Fold(4, 1),)),  # eight lanes are no faster, and 2x2 is slower with as many
        Step(40, (Fold(1, 2), Fold(2, 1))),
        Step(80, (Fold(1, 1),)),
    )


def test_of_a_layer_it_falls_in_lanes_as_cycles_rise():
    steps = frontier(ALL)
    assert [step.cycles for step in steps] == sorted({step.cycles for step in steps})
    lanes = [step.folds[0].lanes for step in steps]
    assert lanes == sorted(lanes, reverse=True)
    assert lanes[0] == 2048  # of 18,432: the slowest block leaves no use for more
    assert lanes[-1] == 1
    for fold, taken in ALL.items():
        assert any(step.cycles <= taken and step.folds[0].lanes <= fold.lanes for step in steps)


@pytest.mark.parametrize("bound", [329, 400, 612, 880, 1000, 5000, 10**6])
def test_the_search_finds_what_trying_all_finds_and_asks_little(bound):
    asked: Counter[Fold] = Counter()

    def count(fold: Fold) -> int:
        asked[fold] += 1
        return luts(fold)

    steps = frontier(ALL)
    found = fastest(steps, count, bound)
    fewest = min(ALL[fold] for fold in ALL if luts(fold) <= bound)
    lanes = min(fold.lanes for fold in ALL if ALL[fold] == fewest)
    best = [fold for fold in ALL if ALL[fold] == fewest and fold.lanes == lanes and luts(fold) <= bound]
    assert found == Best(tuple(sorted(best, key=luts)), within=True)
    assert set(asked.values()) == {1}
    assert sum(any(fold in asked for fold in step.folds) for step in steps) <= 5 + 3  # log2 of 30 steps; neighbours


def test_a_faster_neighbour_is_found_where_luts_do_not_rise():
    steps = frontier(ALL)
    at = next(i for i, step in enumerate(steps) if min(map(luts, step.folds)) <= 880)
    small = steps[at - 3].folds[0]  # two steps of more LUTs lie between; bisection goes past it
    assert set(fastest(steps, luts, 880).folds) <= set(steps[at].folds)
    assert fastest(steps, lambda fold: 870 if fold == small else luts(fold), 880) == Best((small,), within=True)


def test_neighbours_of_a_found_neighbour_are_tried_too():
    steps = frontier(ALL)
    at = next(i for i, step in enumerate(steps) if min(map(luts, step.folds)) <= 880)
    small = {steps[at - 2].folds[0], steps[at - 5].folds[0]}
    found = fastest(steps, lambda fold: 870 if fold in small else luts(fold), 880)
    assert found == Best((steps[at - 5].folds[0],), within=True)


def test_where_none_is_within_the_smallest_is_shown():
    assert fastest(frontier(ALL), luts, 328) == Best((Fold(1, 1),), within=False)
    bumpy = {Fold(1, 1): 700, Fold(1, 2): 600, Fold(2, 1): 650}  # one lane takes more than two
    assert fastest(frontier(ALL), lambda fold: bumpy.get(fold, 900), 500) == Best((Fold(1, 2),), within=False)
    assert fastest(frontier(ALL), lambda fold: bumpy.get(fold, 900), 600) == Best((Fold(1, 2),), within=True)
