"""Deals the channels of an edge to the weight banks of its reader, so that no bank gets most of the spikes.

An event stage takes as long as its fullest bank. Channel i of an edge's order belongs to bank i mod SIMD, so the deal
is an order of the channels; it is folded into the weights on both sides and costs no hardware.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from scaflow.quant.graph import Graph, Pool


def orders(graph: Graph, simds: Mapping[str, int], rates: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """For each node whose reader walks events, the order of its kept channels that balances the reader's banks.

    Args:
        simds: banks of each event stage, by its name.
        rates: events of each channel [C] on the edge a node reads, by the reader's name, in any unit.
    """
    weighted = [node for node in graph.nodes if not isinstance(node, Pool)]
    return {
        writer.name: deal(writer.kept, rates[reader.name], simds[reader.name])
        for writer, reader in pairwise(weighted)
        if reader.name in simds
    }


def deal(channels: Sequence[int], rates: np.ndarray, simd: int) -> tuple[int, ...]:
    """An order of the channels whose banks are loaded alike: the busiest first, each to the least loaded bank.

    Args:
        channels: the kept channels; len(channels) mod simd of the banks are one channel longer, the first ones.
        rates: events a window and channel, of all channels of the edge [C].
    """
    room = [len(range(bank, len(channels), simd)) for bank in range(simd)]
    banks: list[list[int]] = [[] for _ in range(simd)]
    load = np.zeros(simd)
    for channel in sorted(channels, key=lambda c: (-rates[c], c)):
        bank = min((b for b in range(simd) if len(banks[b]) < room[b]), key=lambda b: (load[b], b))
        banks[bank].append(channel)
        load[bank] += rates[channel]
    return tuple(banks[i % simd][i // simd] for i in range(len(channels)))
