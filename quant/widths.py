"""How many bits each integer of a graph needs, from its weights alone: no input can overflow them.

Two's complement throughout. x is the largest input (255 for pixels of 8 bits, 1 for spikes); sums go over one output
channel's weights, those that meet an input channel which can be non-zero; T: the steps of an image, or the most frames
of a recording.

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

from scaflow.quant.graph import Conv, Current, Edge, Graph, Neuron, Readout, Spiking, Weighted
from scaflow.quant.graph.edges import Bounds, signed_bits, sums
from scaflow.quant.neuron import decayed, remains


@dataclass(frozen=True)
class ConvWidths:
    """Of a Conv or a Neuron: `acc_bits` holds every accumulator, `v_bits` all the neuron computes with."""

    acc_bits: int
    v_bits: int


@dataclass(frozen=True)
class CurrentWidths:
    """`acc_bits` holds every sum; a channel without currents has none."""

    acc_bits: int


@dataclass(frozen=True)
class ReadoutWidths:
    """`logit_bits` holds every logit and all that is summed on the way to it."""

    logit_bits: int


Widths = ConvWidths | CurrentWidths | ReadoutWidths


def widths(graph: Graph) -> dict[str, Widths]:
    """The widths of what computes, by node name."""
    result: dict[str, Widths] = {}
    for node, edge in zip(graph.nodes, graph.edges(), strict=True):
        if isinstance(node, Conv | Neuron):
            acc = neuron_bounds(graph, node)
            membrane = membrane_bounds(node, acc, graph.steps)
            result[node.name] = ConvWidths(signed_bits(*acc), signed_bits(*membrane))
        elif isinstance(node, Current):
            result[node.name] = CurrentWidths(signed_bits(*acc_bounds(node, edge)))
        elif isinstance(node, Readout):
            result[node.name] = ReadoutWidths(signed_bits(*logit_bounds(node, edge, graph.steps)))
    return result


def acc_bounds(node: Weighted, edge: Edge) -> Bounds:
    """Lowest and highest accumulator of one step, per output channel, int64 [Co] each."""
    return sums(node.weight, edge)


def neuron_bounds(graph: Graph, node: Spiking) -> Bounds:
    """Lowest and highest accumulator, or current, that the neurons of a node get in a step, int64 [Co] each."""
    if isinstance(node, Conv):
        return acc_bounds(node, graph.read(node)[0])
    bounds = graph.bounds(graph.sources[node.name][0])
    assert bounds is not None  # a Neuron reads currents
    return bounds


def membrane_bounds(node: Spiking, acc: Bounds, time_steps: int) -> Bounds:
    """Lowest and highest value per output channel of all that the neuron computes with, int64 [Co] each.

    Args:
        acc: bounds of the accumulator.
    """
    acc_low, acc_high = (bound << node.fraction_bits for bound in acc)
    lows = [node.bias, node.threshold, node.v_reset, acc_low, acc_low + node.bias]
    highs = [node.bias, node.threshold, node.v_reset, acc_high, acc_high + node.bias]
    for low, high in zip(*potentials(node, acc, time_steps), strict=True):
        left_low, left_high = _left(node, low, high)
        lows += [low, low - node.threshold, left_low]
        highs += [high, high - node.threshold, left_high]
    return np.min(lows, 0), np.max(highs, 0)


def potential_bounds(node: Conv, edge: Edge, time_steps: int) -> Bounds:
    """Lowest and highest u of each step, per output channel, int64 [T, Co] each."""
    return potentials(node, acc_bounds(node, edge), time_steps)


def potentials(node: Spiking, acc: Bounds, time_steps: int) -> Bounds:
    """The same by the bounds of the accumulator."""
    current_low, current_high = ((b << node.fraction_bits) + node.bias for b in acc)
    lows, highs = [current_low], [current_high]
    for _ in range(time_steps - 1):
        left_low, left_high = _left(node, lows[-1], highs[-1])
        lows.append(left_low + current_low)
        highs.append(left_high + current_high)
    return np.stack(lows), np.stack(highs)


def _left(node: Spiking, low: np.ndarray, high: np.ndarray) -> Bounds:
    """Of a membrane between these, the least and the most that the next step finds."""
    threshold = node.threshold
    silent, fires = low < threshold, high >= threshold
    silent_low, silent_high = decayed(node, low), decayed(node, np.minimum(high, threshold - 1))
    fired_low, fired_high = remains(node, np.maximum(low, threshold), fires), remains(node, high, fires)
    return (
        np.where(fires, np.where(silent, np.minimum(silent_low, fired_low), fired_low), silent_low),
        np.where(fires, np.where(silent, np.maximum(silent_high, fired_high), fired_high), silent_high),
    )


def logit_bounds(node: Readout, edge: Edge, time_steps: int) -> Bounds:
    """Lowest and highest sum on the way to a logit, and the logit itself, int64 [classes] each."""
    low, high = acc_bounds(node, edge)
    bias = time_steps * node.bias
    return time_steps * low + np.minimum(bias, 0), time_steps * high + np.maximum(bias, 0)
