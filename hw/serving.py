"""Cycles of stages whose results wait for neurons: the recurrences of the cycle law, compiled.

A result (a fold of a window) is formed in n synapse steps, a cycle each, and its sums are served in `rounds` cycles.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scaflow.hw import compiled


def settled(recurrence: Callable[[np.ndarray], np.ndarray], steps: np.ndarray) -> int:
    """Cycles between images that are all alike: the first ones run into an empty stage.

    Args:
        recurrence: the end of each image, from its steps [N, results].
        steps: of one image.
    """
    count = 4
    while True:
        intervals = np.diff(recurrence(np.tile(steps, (count, 1))))
        if intervals[-1] == intervals[-2]:
            return int(intervals[-1])
        count *= 2


@compiled.cached()
def served(steps: np.ndarray, rounds: int) -> np.ndarray:
    """The end of each image, over the steps of its results [N, results], in the order in which they come.

    A result is served while another one waits and a third is formed. With l(i) the cycle of the last step of a result
    and w(i) the one from which on its sums are served:

        l(i) = max(l(i-1) + n(i), w(i-1) + 1)        w(i) = max(l(i), w(i-1) + rounds)

    So an image takes no less than the sum of all n and `rounds` times its results, and no more than the sum of the
    larger of the two for each result.
    """
    ends = np.empty(len(steps), np.int64)
    last, begun = 0, -rounds
    for i in range(len(steps)):
        for n in steps[i]:
            last = max(last + n, begun + 1)
            begun = max(last, begun + rounds)
        ends[i] = begun
    return ends


@compiled.cached()
def repeated(steps: np.ndarray, folds: int, time_steps: int, rounds: int) -> np.ndarray:
    """The end of each image in a first layer, whose current is formed once a pixel and fed to all time steps.

    The array works n(p) cycles on each of the pixel's `folds` currents; the repeater behind it emits them `time_steps`
    times, `rounds` cycles each, and holds two pixels. With a(p,f) the cycle in which a current enters the repeater,
    o(p,f) the one in which it has left once and c(p) the one in which it leaves last:

        a(p,f) = max(a before + n(p), c(p-2) + 1)        o(p,f) = max(o or c before, a(p,f)) + rounds
        c(p)   = o(p, last f) + (time_steps - 1) * folds * rounds

    Where there is more than one round, a current leaves the array in cycle b for a register, when the one before has
    left that, and enters the repeater from there, round by round from a on:

        b(p,f) = max(b before + n(p), a before + rounds - 1)        a(p,f) = max(b(p,f), c(p-2)) + 1

    Args:
        steps: n(p) of the pixels of each image [N, pixels].
    """
    ends = np.empty(len(steps), np.int64)
    taken, entered, left, freed, older = 0, -rounds, 0, -1, -1
    for i in range(len(steps)):
        for n in steps[i]:
            for _ in range(folds):
                if rounds == 1:
                    entered = max(taken + n, older + 1)
                    taken = entered
                else:
                    taken = max(taken + n, entered + rounds - 1)
                    entered = max(taken, older) + 1
                left = max(left, entered) + rounds
            left += (time_steps - 1) * folds * rounds
            older, freed = freed, left
        ends[i] = left
    return ends
