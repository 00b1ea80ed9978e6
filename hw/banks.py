"""Deals the channels of an edge to the weight banks of its reader, so that no bank gets most of a window's spikes.

An event stage takes as long as its fullest bank. Channel i of an edge's order belongs to bank i mod SIMD, so the deal
is an order of the channels; it is folded into the weights on both sides and costs no hardware. Where channels share a
look-up, those that fire together are put together, and it is the groups that are dealt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from scaflow.hw import compiled
from scaflow.hw.groups import Group
from scaflow.quant.golden.beats import ceil_div
from scaflow.quant.graph import IMAGE, Graph, Pool, SumPool

SWEEPS = 8


def orders(
    graph: Graph, banks: Mapping[str, tuple[int, Group]], events: Mapping[str, np.ndarray]
) -> dict[str, tuple[int, ...]]:
    """For each node whose reader walks events, the order of its kept channels that balances the reader's banks.

    Args:
        banks: of each event stage, by its name, and what shares a look-up there.
        events: of each channel in windows of a stage, by its name (`hw.activity.channel_events`).
    """
    found: dict[str, tuple[int, ...]] = {}
    for reader, edge in graph.weighted:
        source = graph.sources[reader.name][0]
        writer = None if source == IMAGE else graph.node(source)
        while isinstance(writer, Pool | SumPool):
            writer = graph.node(graph.sources[writer.name][0])
        if writer and reader.name in banks and writer.name not in found:
            found[writer.name] = order(edge.kept, events[reader.name], *banks[reader.name])
    return found


def order(channels: Sequence[int], events: np.ndarray, simd: int, group: Group) -> tuple[int, ...]:
    """The channels in the order in which a stage walks them: neighbours share a look-up, and these are dealt to banks.

    Args:
        events: of all channels of the edge in a sample of windows, bool [windows, positions, C].
    """
    if group[1] == 1:
        return deal(channels, events.sum(1), simd)
    found = _together(channels, events, group[1])
    counts = np.stack([events[:, :, members].any(2).sum(1) for members in found], 1)
    places = list(deal(range(len(found)), counts, simd))
    last = places.index(len(found) - 1)  # the group that is not full is the last one, whatever its bank
    places[last], places[-1] = places[-1], places[last]
    dealt = np.full((len(found), group[1]), -1)  # of channels; only the last group may have less
    for place, members in zip(places, dealt, strict=True):
        members[: len(found[place])] = found[place]
    if simd > 1:
        _exchange(dealt, np.ascontiguousarray(events.transpose(2, 1, 0)), simd, SWEEPS)
    return tuple(int(channel) for channel in dealt.ravel() if channel >= 0)


@compiled.cached()
def _exchange(dealt: np.ndarray, events: np.ndarray, simd: int, sweeps: int) -> None:
    """Channels of two groups change places as long as the fullest banks of the windows then hold fewer: what fires most
    together need not be what the fullest bank wants together.

    Args:
        dealt: int64 [groups, channels], changed in place; -1: no channel.
        events: bool [C, positions, windows].
    """
    groups, size = dealt.shape
    windows = events.shape[2]
    counts, load = np.zeros((groups, windows), np.int64), np.zeros((simd, windows), np.int64)
    others = np.empty(windows, np.int64)  # the fullest of the banks that a change leaves alone
    for g in range(groups):
        counts[g] = _active(dealt[g], events)
        load[g % simd] += counts[g]
    best = 0
    for w in range(windows):
        best += load[:, w].max()
    for _ in range(sweeps):
        before = best
        for a in range(groups):
            for b in range(a + 1, groups):
                one, two = a % simd, b % simd
                others[:] = 0
                for bank in range(simd):
                    if bank != one and bank != two:
                        others = np.maximum(others, load[bank])
                for i in range(size):
                    for j in range(size):
                        if dealt[a, i] < 0 or dealt[b, j] < 0:
                            continue
                        dealt[a, i], dealt[b, j] = dealt[b, j], dealt[a, i]
                        now_a, now_b = _active(dealt[a], events), _active(dealt[b], events)
                        moved_a, moved_b = now_a - counts[a], now_b - counts[b]
                        if one == two:
                            fullest = np.maximum(others, load[one] + moved_a + moved_b)
                        else:
                            fullest = np.maximum(others, np.maximum(load[one] + moved_a, load[two] + moved_b))
                        total = fullest.sum()
                        if total < best:
                            best = total
                            counts[a], counts[b] = now_a, now_b
                            load[one] += moved_a
                            load[two] += moved_b
                        else:
                            dealt[a, i], dealt[b, j] = dealt[b, j], dealt[a, i]
        if best == before:
            break


@compiled.cached()
def _active(members: np.ndarray, events: np.ndarray) -> np.ndarray:
    """In how many positions of each window one of the channels has an event."""
    found = np.zeros(events.shape[2], np.int64)
    for k in range(events.shape[1]):
        some = np.zeros(events.shape[2], np.bool_)
        for channel in members:
            if channel >= 0:
                some |= events[channel, k]
        found += some
    return found


def _together(channels: Sequence[int], events: np.ndarray, size: int) -> list[list[int]]:
    """Groups of `size` channels that fire together, the last one of those that are left over.

    Each begins with the two that share most events, and takes one by one the channel that shares most with any of it.
    """
    rows = events.reshape(-1, events.shape[2])
    shared = rows.T.astype(np.int64) @ rows
    left = list(channels)
    found: list[list[int]] = []
    for _ in range(ceil_div(len(channels), size)):
        pairs = [(a, b) for i, a in enumerate(left) for b in left[i + 1 :]]
        members = list(max(pairs, key=lambda pair: int(shared[pair]))) if pairs else [left[0]]
        active = rows[:, members].any(1)
        left = [c for c in left if c not in members]
        while left and len(members) < size:
            best = max(left, key=lambda c: int((rows[:, c] & active).sum()))
            left.remove(best)
            members.append(best)
            active |= rows[:, best]
        found.append(members)
    return found


def deal(channels: Sequence[int], counts: np.ndarray, simd: int) -> tuple[int, ...]:
    """An order of the channels for which the fullest banks of the windows hold the fewest events, as far as found.

    The busiest channel first, each goes to the least loaded bank; then channels of two banks change places as long as
    that helps, because channels that fire together should not share a bank.

    Args:
        channels: the kept channels; the first len(channels) mod simd banks hold one more than the others.
        counts: events of each channel of the edge in a sample of windows, int [windows, C].
    """
    if simd == 1:
        return tuple(channels)
    room = [len(range(bank, len(channels), simd)) for bank in range(simd)]
    banks: list[list[int]] = [[] for _ in range(simd)]
    load = np.zeros((len(counts), simd), np.int64)
    for channel in sorted(channels, key=lambda c: (-counts[:, c].sum(), c)):
        bank = min((b for b in range(simd) if len(banks[b]) < room[b]), key=lambda b: (load[:, b].sum(), b))
        banks[bank].append(channel)
        load[:, bank] += counts[:, channel]
    best = load.max(1).sum()
    for _ in range(SWEEPS):
        before = best
        for a, b in combinations(range(simd), 2):
            others = np.delete(load, (a, b), axis=1).max(1, initial=0)
            for i in range(room[a]):
                for j in range(room[b]):
                    moved = counts[:, banks[b][j]] - counts[:, banks[a][i]]
                    here, there = load[:, a] + moved, load[:, b] - moved
                    total = np.maximum(np.maximum(here, there), others).sum()
                    if total < best:
                        best, load[:, a], load[:, b] = total, here, there
                        banks[a][i], banks[b][j] = banks[b][j], banks[a][i]
        if best == before:
            break
    return tuple(banks[i % simd][i // simd] for i in range(len(channels)))
