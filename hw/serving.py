"""Cycles of stages whose results wait for what is behind the array: the recurrences of the cycle law, compiled.

A result (a fold of a window) is formed in n synapse steps, a cycle each. Its sums are served by neurons in `rounds`
cycles; where all spikes of a pixel come at once, its words leave one a cycle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scaflow.hw import compiled

_ISSUED, _PART, _RESULT, _WORD, _GIVEN = range(5)  # of the state of `_result`
_PLACE, _BEAT, _MOVED, _D1, _D2 = range(5)  # of a pool's

Queue = tuple[int, int, int, np.ndarray, np.ndarray]  # the last fields of `Words`


@dataclass(frozen=True)
class Words:
    """What is behind an array whose results are the spikes of all time steps."""

    folds: int
    time_steps: int  # words of a pixel
    latency: int  # cycles from a result's last step until it is seen at the end of its queue
    credits: int  # results that can be on that way
    ends: np.ndarray  # bool, of the pools one behind the other: does a pixel end a window?
    beats: np.ndarray  # int64, pixels that come into each pool
    gap: int  # pixels from one that ends a window of all pools to the next, at least

    def wait(self, steps: int) -> bool:
        """Can they, where each result takes so many steps or more?"""
        return self.gap * self.folds * steps < self.time_steps

    @property
    def queue(self) -> Queue:
        return self.time_steps, self.latency, self.credits, self.ends, self.beats


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


def told(steps: np.ndarray, words: Words) -> np.ndarray:
    """The end of each image, over the steps of its pixels [N, pixels], where spikes come all at once: a result's last
    step waits for a credit, which comes back as it leaves its queue; words of T steps, behind the pools, for the T
    words before them to leave, one a cycle."""
    return _told(steps, words.folds, *words.queue)


@compiled.cached()
def _empty(pools: int, credits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The state of `_result` at reset."""
    never = -(1 << 40)
    state, of_pools = np.full(5, never), np.full((pools, 5), never)
    state[_ISSUED], state[_PART] = 0, 0
    of_pools[:, _PLACE] = 0
    return state, np.full(credits, never), of_pools


@compiled.cached()
def _result(
    state: np.ndarray,
    credits: np.ndarray,
    pools: np.ndarray,
    folds: int,
    time_steps: int,
    ends: np.ndarray,
    beats: np.ndarray,
    at: int,
) -> None:
    """A result is seen at the end of its queue from `at` on: its credit comes back, and its word goes on."""
    result = max(at, state[_RESULT] + 1)
    state[_PART] += 1
    if state[_PART] == folds:
        state[_PART] = 0
        result = max(result, state[_WORD])
        state[_WORD] = _word(state, pools, time_steps, ends, beats, result + 1)
    state[_RESULT] = result
    credits[state[_ISSUED] % len(credits)] = result
    state[_ISSUED] += 1


@compiled.cached()
def _word(
    state: np.ndarray, pools: np.ndarray, time_steps: int, ends: np.ndarray, beats: np.ndarray, seen: int
) -> int:
    """A word of all steps goes through the pools, as `hw.timing.results` has it; when it leaves the pack."""
    first, table = seen, 0
    for i in range(len(pools)):
        pool = pools[i]
        at = max(seen, int(pool[_BEAT]) + 1, int(pool[_D1]))
        if at > pool[_MOVED]:
            at = max(at, int(pool[_D2]))
        pool[_BEAT] = at
        if i == 0:
            first = at
        else:
            pools[i - 1, _D2] = at
        ended = ends[table + pool[_PLACE]]
        pool[_PLACE] = pool[_PLACE] + 1 if pool[_PLACE] + 1 < beats[i] else 0
        if not ended:
            return first
        moved = max(at + 1, int(pool[_D2]))
        pool[_MOVED], pool[_D1] = moved, pool[_D2]
        seen = moved + 1
        table += beats[i]
    at = max(seen, int(state[_GIVEN]))
    state[_GIVEN] = at + time_steps
    if len(pools):
        pools[-1, _D2] = at
        return first
    return at


@compiled.cached()
def _told(
    steps: np.ndarray, folds: int, time_steps: int, latency: int, room: int, ends: np.ndarray, beats: np.ndarray
) -> np.ndarray:
    state, credits, pools = _empty(len(beats), room)
    fill = latency + 1 + 2 * len(beats) + time_steps  # of an empty stage, behind a last step
    left = np.empty(len(steps), np.int64)
    taken = 0
    for i in range(len(steps)):
        for n in steps[i]:
            for _ in range(folds):
                taken = max(taken + n, credits[state[_ISSUED] % len(credits)] + 1)
                _result(state, credits, pools, folds, time_steps, ends, beats, taken + latency)
        left[i] = state[_GIVEN] - fill
    return left


@compiled.cached()
def keeps(
    height: int,
    width: int,
    kernel_h: int,
    kernel_w: int,
    stride: int,
    padding: int,
    time_in: int,
    steps: int,
    folds: int,
    repeats: int,
    rounds: int,
    time_out: int,
    latency: int,
    room: int,
    ends_window: np.ndarray,
    beats: np.ndarray,
    law: int,
    depth: int,
) -> bool:
    """Does a list stage with a ring of `depth` words keep up with an image every `law` cycles?

    The latencies are at least those of the hardware. Of the times behind a multiple of `law`, an image after the other,
    none falls; if none grows without end, they stand still once every row's room has had its say.

    Args:
        time_out, latency, room (its credits), ends_window, beats: of `Words`, where spikes come all at once; else
            time_out is 0.
    """
    out_h = (height + 2 * padding - kernel_h) // stride + 1
    out_w = (width + 2 * padding - kernel_w) // stride + 1
    words = height * width * time_in
    half = out_h + depth // words + 3
    wrote = np.zeros(words, np.int64)
    left_rows = np.zeros(2 * half * out_h, np.int64)  # when the windows of a row have left the ring
    ends = np.zeros(2 * half, np.int64)
    word, at = 0, -1  # words written, time of the last
    room_at, room_row, room_line = 0, 0, 0  # since when there is room for `depth` words from `room_line` on
    # a result's last step taken, served from; and of the repeater, or of the words
    taken, begun, entered, left, freed, older = 0, -rounds, -rounds, 0, -1, -1
    state, credits, pools = _empty(len(beats), room)
    for image in range(2 * half):
        for row in range(out_h):
            top = row * stride - padding
            bottom = min(top + kernel_h, height)
            for column in range(out_w):
                start = column * stride - padding
                right = min(start + kernel_w, width)
                need = image * words + ((bottom - 1) * width + right) * time_in
                while word < need:
                    while room_line <= word - depth:
                        room_at = left_rows[room_row] + 1
                        room_row += 1
                        line = max(0, room_row % out_h * stride - padding)
                        room_line = room_row // out_h * words + line * width * time_in
                    at = max(at + 1, room_at, word // words * law)
                    wrote[word % words] = at
                    word += 1
                n = (bottom - max(top, 0)) * (right - max(start, 0)) * steps
                taken = max(taken, wrote[(need - 1) % words] + 1)
                if time_out:
                    for _ in range(folds):
                        taken = max(taken + n, credits[state[_ISSUED] % len(credits)] + 1)
                        _result(state, credits, pools, folds, time_out, ends_window, beats, taken + latency)
                    left = state[_GIVEN]
                    continue
                if repeats == 1:
                    for _ in range(time_in * folds):
                        taken = max(taken + n, begun + 1)
                        begun = max(taken, begun + rounds)
                    left = begun
                    continue
                for _ in range(folds):
                    if rounds == 1:
                        entered = max(taken + n, older + 1)
                        taken = entered
                    else:
                        taken = max(taken + n, entered + rounds - 1)
                        entered = max(taken, older) + 1
                    left = max(left, entered) + rounds
                left += (repeats - 1) * folds * rounds
                older, freed = freed, left
            left_rows[image * out_h + row] = taken
        ends[image] = left - image * law
    return bool(ends[half] == ends[-1])
