"""Deals the channels of an edge to the weight banks of its reader, so that no bank gets most of a window's spikes.

An event stage takes as long as its fullest bank. Channel i of an edge's order belongs to bank i mod SIMD, so the deal
is an order of the channels; it is folded into the weights on both sides and costs no hardware.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise

import numpy as np

from scaflow.quant.graph import Conv, Graph, Pool

SWEEPS = 8


def orders(graph: Graph, simds: Mapping[str, int], counts: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """For each node whose reader walks events, the order of its kept channels that balances the reader's banks.

    Args:
        simds: banks of each event stage, by its name.
        counts: events of each channel in windows of a stage [windows, C], by its name.
    """
    weighted = [node for node in graph.nodes if not isinstance(node, Pool)]
    return {
        writer.name: deal(writer.kept, counts[reader.name], simds[reader.name])
        for writer, reader in pairwise(weighted)
        if reader.name in simds and isinstance(writer, Conv)
    }


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
