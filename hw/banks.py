"""Deals the channels of an edge to the weight banks of its reader, so that no bank gets most of the spikes.

An event stage takes as long as its fullest bank. Channel i of an edge's order belongs to bank i mod SIMD, so the deal
is an order of the channels; it is folded into the weights on both sides and costs no hardware.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


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
