"""What lies between the weighted layers of a graph: forks and their queues, joins, neurons by themselves, pools."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from scaflow.hw.fold import Folding
from scaflow.hw.layers import Instance, membranes, pooled, queue, words
from scaflow.quant.golden.beats import ceil_div
from scaflow.quant.golden.lif_neuron import LifNeuron
from scaflow.quant.golden.stream_fork import StreamFork
from scaflow.quant.golden.stream_join import StreamJoin
from scaflow.quant.graph import Current, Edge, Graph, Join, Neuron, Pool, SumPool
from scaflow.quant.graph.edges import signed_bits
from scaflow.quant.widths import ConvWidths, neuron_bounds

Pools = Sequence[tuple[Pool | SumPool, Edge]]  # and what each one reads


def orders_of(graph: Graph, orders: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """The channel in each place of what each node writes, those that travel first.

    Args:
        orders: of the channels that travel, wanted for some nodes; in a trunk the first that there is.
    """
    result: dict[str, tuple[int, ...]] = {}
    for trunk in graph.trunks:
        first = trunk[0].name
        wanted = next((orders[node.name] for node in trunk if node.name in orders), graph.travelling[first])
        rest = sorted(set(range(graph.edge(first).shape[0])) - set(wanted))
        result |= {node.name: (*wanted, *rest) for node in trunk}
    return result


def folds_of(graph: Graph, folding: Folding) -> dict[str, int]:
    """Beats of a pixel and step, of each node that writes currents."""
    found: dict[str, int] = {}
    for trunk in graph.trunks:
        pe = [folding[node.name].pe for node in trunk if isinstance(node, Current)]
        writers = [node.name for node in trunk if graph.bounds(node.name)]
        found |= {name: ceil_div(len(graph.travelling[name]), pe[0]) for name in writers}
    return found


def problems(graph: Graph, folding: Folding) -> list[str]:
    """Currents that are joined, and the neurons that read them, come in beats of one width."""
    found = []
    for trunk in graph.trunks:
        lanes = {node.name: folding[node.name].pe for node in trunk if isinstance(node, Current)}
        if len(set(lanes.values())) > 1:
            told = ", ".join(f"{name} {pe}" for name, pe in lanes.items())
            found.append(f"pe of {told}: their currents are joined; give all the same")
    return found


def neuron(
    graph: Graph,
    node: Neuron,
    bits: ConvWidths,
    pools: Pools,
    order: Sequence[int],
    kept: int,
    pe: int,
    fifo_depth: int,
) -> tuple[Instance, ...]:
    """From currents, PE a beat, to the words of a map."""
    folds = ceil_div(kept, pe)
    rows, spare = list(order[:kept]), folds * pe - kept

    # a pruned neuron on a current that others read: no sum of all steps reaches its threshold
    silent = ~np.isin(np.arange(len(node.bias)), node.kept)
    low, high = ((bound << node.fraction_bits) * graph.steps for bound in neuron_bounds(graph, node))
    beyond = np.maximum(high, 0) + 1
    quiet = replace(
        node, bias=np.where(silent, 0, node.bias), threshold=np.where(silent, beyond, node.threshold)
    )
    held = signed_bits(np.minimum(low, 0)[silent] - beyond[silent], beyond[silent]) if silent.any() else 0

    def levels(of_channel: np.ndarray, otherwise: int) -> np.ndarray:
        return np.pad(of_channel[rows], (0, spare), constant_values=otherwise).reshape(folds, pe)

    cfg = LifNeuron(
        pe=pe,
        folds=folds,
        time_steps=graph.time_steps,
        acc_bits=bits.acc_bits,
        **membranes(quiet, max(bits.v_bits, held), levels),
        map_pixels=math.prod(graph.edge(node.name).shape[1:]) if graph.frames else 0,
    )
    element = Instance("lif_neuron", f"{node.name}_lif_neuron", cfg, pe * bits.acc_bits, pe)
    return (element, *words(node.name, len(node.bias), pools, pe, folds, 1, graph.time_steps, fifo_depth))


def join(
    graph: Graph, node: Join, pools: Pools, lanes: int, in_bits: tuple[int, int], fifo_depth: int
) -> tuple[Instance, ...]:
    """Two streams added, beat by beat."""
    edge = graph.edge(node.name)
    signed = edge.kind == "currents"
    (a, b), (a_shift, b_shift) = in_bits, node.shifts
    bits = max(edge.bits, a + a_shift, b + b_shift)
    cfg = StreamJoin(lanes, a, b, a_shift, b_shift, bits, int(signed))
    chain = [Instance("stream_join", f"{node.name}_stream_join", cfg, lanes * max(a, b), lanes * bits)]
    chain += pooled(node.name, pools, lanes, bits, edge.time_steps)
    return (*chain, queue(f"{node.name}_stream_fifo", chain[-1].out_bits, fifo_depth))


def fork(name: str, source: Instance, names: Sequence[str], depths: Sequence[int]) -> tuple[Instance, ...]:
    """A stream for several readers, with a queue for each."""
    bits = source.out_bits
    divide = Instance("stream_fork", name, StreamFork(bits, len(names)), bits, bits, (source.name,))
    queues = (queue(n, bits, depth, (f"{name}[{i}]",)) for i, (n, depth) in enumerate(zip(names, depths, strict=True)))
    return (divide, *queues)
