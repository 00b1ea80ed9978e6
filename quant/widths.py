"""How many bits each integer of a graph needs, from its weights alone: no input can overflow them.

Two's complement throughout. x is the largest input (255 for pixels of 8 bits, 1 for spikes); sums go over one output
channel's weights, those that meet an input channel which can be non-zero.

    accumulator   P = x * sum of the positive weights, N = x * sum of the negative ones: N <= acc <= P, and so
                  is every partial sum, in whatever order the synapses come
    current       N*2^F + bias <= i <= P*2^F + bias
    membrane      intervals, T times from v = [0, 0]; leak(v) = v - (v >>> L) never falls when v rises, so
                  u = [leak(v_low) + i_low, leak(v_high) + i_high]
                  silent:  v = [u_low, min(u_high, threshold - 1)]      where u_low < threshold
                  fired:   v = 0 (hard), u - threshold (soft)           where u_high >= threshold
                  and v becomes the smallest interval that holds both
    logit         [T*N + min(T*bias, 0), T*P + max(T*bias, 0)]: bias and synapses in whatever order

The accumulator's bounds are reached by some input; the membrane's hold for every input.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaflow.quant.graph import Conv, Edge, Graph, Readout


@dataclass(frozen=True)
class ConvWidths:
    """`acc_bits` holds every accumulator, `v_bits` all the neuron computes with."""

    acc_bits: int
    v_bits: int


@dataclass(frozen=True)
class ReadoutWidths:
    """`logit_bits` holds every logit and all that is summed on the way to it."""

    logit_bits: int


def widths(graph: Graph) -> dict[str, ConvWidths | ReadoutWidths]:
    """The widths of every Conv and of the Readout, by node name."""
    result: dict[str, ConvWidths | ReadoutWidths] = {}
    for node, edge in zip(graph.nodes, graph.edges(), strict=True):
        if isinstance(node, Conv):
            low, high = acc_bounds(node, edge)
            membrane = membrane_bounds(node, edge, graph.time_steps)
            result[node.name] = ConvWidths(signed_bits(low, high), signed_bits(*membrane))
        elif isinstance(node, Readout):
            result[node.name] = ReadoutWidths(signed_bits(*logit_bounds(node, edge, graph.time_steps)))
    return result


def signed_bits(*values: np.ndarray) -> int:
    """The two's complement bits that hold all of the values; at least 1."""
    low = min(int(v.min()) for v in values)
    high = max(int(v.max()) for v in values)
    return 1 + max(high.bit_length() if high > 0 else 0, (-low - 1).bit_length() if low < 0 else 0)


def acc_bounds(node: Conv | Readout, edge: Edge) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest accumulator of one step, per output channel, int64 [Co] each."""
    weight = node.weight[:, list(edge.kept)].reshape(len(node.weight), -1)
    largest = (1 << edge.bits) - 1
    return np.minimum(weight, 0).sum(1) * largest, np.maximum(weight, 0).sum(1) * largest


def membrane_bounds(node: Conv, edge: Edge, time_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest value per output channel of all that the neuron computes with, int64 [Co] each."""
    acc_low, acc_high = (bound << node.fraction_bits for bound in acc_bounds(node, edge))
    lows = [node.bias, node.threshold, acc_low, acc_low + node.bias]
    highs = [node.bias, node.threshold, acc_high, acc_high + node.bias]
    for low, high in zip(*potential_bounds(node, edge, time_steps), strict=True):
        v_low, v_high = _after_reset(node, low, high)
        lows += [low, low - node.threshold, v_low, leak(v_low, node.leak_shift)]
        highs += [high, high - node.threshold, v_high, leak(v_high, node.leak_shift)]
    return np.min(lows, 0), np.max(highs, 0)


def potential_bounds(node: Conv, edge: Edge, time_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest u of each step, per output channel, int64 [T, Co] each."""
    current_low, current_high = ((b << node.fraction_bits) + node.bias for b in acc_bounds(node, edge))
    lows, highs = [], []
    v_low = v_high = np.zeros_like(node.threshold)
    for _ in range(time_steps):
        low, high = leak(v_low, node.leak_shift) + current_low, leak(v_high, node.leak_shift) + current_high
        lows.append(low)
        highs.append(high)
        v_low, v_high = _after_reset(node, low, high)
    return np.stack(lows), np.stack(highs)


def leak(v: np.ndarray, shift: int) -> np.ndarray:
    """v - (v >>> L), or v without leak."""
    return v - (v >> shift) if shift else v


def _after_reset(node: Conv, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    threshold = node.threshold
    if node.reset == "hard":
        fired_low = fired_high = np.zeros_like(threshold)
    else:
        fired_low, fired_high = np.maximum(low - threshold, 0), high - threshold
    silent, fires = low < threshold, high >= threshold
    silent_high = np.minimum(high, threshold - 1)
    v_low = np.where(silent & fires, np.minimum(low, fired_low), np.where(fires, fired_low, low))
    v_high = np.where(silent & fires, np.maximum(silent_high, fired_high), np.where(fires, fired_high, high))
    return v_low, v_high


def logit_bounds(node: Readout, edge: Edge, time_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest sum on the way to a logit, and the logit itself, int64 [classes] each."""
    low, high = acc_bounds(node, edge)
    bias = time_steps * node.bias
    return time_steps * low + np.minimum(bias, 0), time_steps * high + np.maximum(bias, 0)
