"""Direct coding without membranes: from which sum on a neuron that gets the same one each step fires first, by steps.

With hard reset a spike train from v = 0 depends on the sum alone. Until its first spike the membrane is monotone in it:
every decay is monotone in v, and bias and threshold are constants. So the neuron has fired by step k where the sum is
above a level, and as it starts again at v = 0, it fires every p steps where it first fires at step p. After soft reset
something is left of v that depends on how far the sum is above its level, and from another v_reset than 0 the second
way to the threshold is not the first: there it is not so.
"""

from __future__ import annotations

import numpy as np

from scaflow.quant.graph import Conv, Edge
from scaflow.quant.neuron import decayed


def at_once(node: Conv, edge: Edge, time_steps: int) -> bool:
    """Does a network of so many steps tell all spikes of a pixel of this layer from one sum?"""
    return edge.repeats(time_steps) > 1 and node.reset == "hard" and not node.v_reset.any()


def silent_levels(node: Conv, time_steps: int, acc_bits: int) -> np.ndarray:
    """The highest sum with which each neuron has not fired up to each step, int64 [Co, T].

    Args:
        acc_bits: of a sum. One less than the lowest of so many bits: the neuron always has.
    """
    shape = (len(node.weight), time_steps)
    silent, fires = np.full(shape, -(1 << (acc_bits - 1)) - 1), np.full(shape, 1 << (acc_bits - 1))
    while (fires - silent > 1).any():
        middle = (silent + fires) // 2
        fired = _has_fired(node, middle)
        silent, fires = np.where(fired, silent, middle), np.where(fired, middle, fires)
    return silent


def _has_fired(node: Conv, sums: np.ndarray) -> np.ndarray:
    """Of sums [Co, T]: has the neuron fired after as many steps as the column says?"""
    current = (sums << node.fraction_bits) + node.bias[:, None]
    fired, v = np.zeros(sums.shape, bool), np.zeros_like(sums)
    for step in range(sums.shape[1]):
        v = decayed(node, v) + current  # as no reset has come
        fired |= (v >= node.threshold[:, None]) & (np.arange(sums.shape[1]) >= step)
    return fired
