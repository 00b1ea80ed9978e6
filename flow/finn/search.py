"""FINN at its own best: the fastest folding whose circuit takes no more LUTs than a bound.

Pure: what a folding takes is told by a function of the caller's, which is asked once for each folding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from scaflow.hw.fold import Fold

NEIGHBOURS = 3  # steps faster than a found one that are tried too: LUTs do not quite rise with the lanes


@dataclass(frozen=True)
class Step:
    """A number of cycles on the frontier, and the shapes that reach it with the fewest lanes."""

    cycles: int
    folds: tuple[Fold, ...]


@dataclass(frozen=True)
class Best:
    """What a search found: the foldings within the bound of the fastest step, or else the smallest of those seen."""

    folds: tuple[Fold, ...]  # the one with the fewest LUTs first
    within: bool


def frontier(cycles: Mapping[Fold, int]) -> tuple[Step, ...]:
    """The foldings of which none has both fewer lanes and no more cycles; the fastest first."""
    steps: list[Step] = []
    for amount in sorted(set(cycles.values())):
        folds = [fold for fold, taken in cycles.items() if taken == amount]
        lanes = min(fold.lanes for fold in folds)
        if not steps or lanes < steps[-1].folds[0].lanes:
            steps.append(Step(amount, tuple(fold for fold in folds if fold.lanes == lanes)))
    return tuple(steps)


def fastest(steps: Sequence[Step], luts: Callable[[Fold], int], bound: int) -> Best:
    """Bisects the frontier over LUTs, then tries the neighbours that are faster than what it found."""
    seen: dict[Fold, int] = {}

    @cache
    def least(index: int) -> int:
        seen.update({fold: luts(fold) for fold in steps[index].folds})
        return min(seen[fold] for fold in steps[index].folds)

    low, found = 0, len(steps)
    while low < found:
        middle = (low + found) // 2
        if least(middle) <= bound:
            found = middle
        else:
            low = middle + 1
    while (near := next((i for i in range(max(found - NEIGHBOURS, 0), found) if least(i) <= bound), None)) is not None:
        found = near
    if found == len(steps):
        return Best((min(seen, key=lambda fold: seen[fold]),), within=False)
    within = (fold for fold in steps[found].folds if seen[fold] <= bound)
    return Best(tuple(sorted(within, key=lambda fold: seen[fold])), within=True)
