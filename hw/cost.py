"""The accelerator's cycles as data for pruning: by channels kept (list scheduler) or by spikes (event scheduler)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from scaflow.hw.cycles import inside, node_law
from scaflow.hw.fold import Folding, balanced, given
from scaflow.hw.groups import arriving
from scaflow.model.config import NetworkConfig
from scaflow.model.cost import CycleModel, EventStage, ListStage
from scaflow.quant.golden.beats import ceil_div
from scaflow.quant.graph import Conv, Current, Edge, Graph, Node, Pool, Readout, Weighted
from scaflow.quant.neuron import NO_DECAY


def cycle_model(cfg: NetworkConfig, scheduler: Literal["list", "event"] = "list") -> CycleModel:
    """What the layers of `cfg` cost, at the lanes of its dense list design.

    With "event" the spiking layers behind the first are priced by their spikes; the first, which reads the image, and
    the read-out walk their list.
    """
    graph = outline(cfg)
    folding = folding_of(cfg, graph)
    weighted = graph.weighted
    tables = [_table(graph, node, edge, folding) for node, edge in weighted]
    stages = [
        _event(graph, node, edge, folding)
        if scheduler == "event" and isinstance(node, Conv) and edge.kind == "spikes"
        else table
        for (node, edge), table in zip(weighted, tables, strict=True)
    ]
    dense = tuple(float(table.cycles[-1, -1]) for table in tables)
    return CycleModel(tuple(stages), graph.input_shape[0], len(graph.readout.weight), dense)


def folding_of(cfg: NetworkConfig, graph: Graph) -> Folding:
    """The lanes of the list designs: as the description gives them, or balanced for its total."""
    if cfg.fold.pe is not None and cfg.fold.simd is not None:
        return given(graph, cfg.fold.pe, cfg.fold.simd, cfg.fold.neurons)
    return balanced(graph, cfg.fold.lanes, cfg.sca.granularity)


def outline(cfg: NetworkConfig) -> Graph:
    """The integer graph of a network in its shapes alone: all weights 0, all channels kept.

    Raises:
        ValueError: the network is no chain.
    """
    if cfg.residual:
        raise ValueError(f"network {cfg.name!r} has shortcuts: the hardware runs chains, so no cycles are known")
    nodes: list[Node] = []
    shape = cfg.input_shape
    for i, layer in enumerate(cfg.layers):
        channels, height, width = shape
        flat = layer.kind == "linear"
        kernel = (height, width) if flat else (layer.kernel, layer.kernel)
        stride, padding = (1, 0) if flat else (layer.stride, layer.padding)
        some = np.ones(layer.channels, dtype=np.int64)
        nodes.append(
            Conv(
                f"conv{i}", np.zeros((layer.channels, channels, *kernel), np.int64), some, some, stride, padding,
                cfg.neuron.leak_shift, cfg.neuron.reset, cfg.quant.fraction_bits, cfg.quant.weight_bits,
                cfg.pixel_bits if i == 0 else 1, tuple(range(layer.channels)),
                decay=cfg.neuron.decay or NO_DECAY, v_reset=-some if cfg.neuron.v_reset else 0 * some,
            )
        )  # fmt: skip
        if layer.pool > 1:
            nodes.append(Pool(f"pool{i}", layer.pool))
        height, width = (
            ((size + 2 * padding - k) // stride + 1) // layer.pool
            for size, k in zip((height, width), kernel, strict=True)
        )
        shape = (layer.channels, height, width)
    classes = cfg.classes
    nodes.append(
        Readout("readout", np.zeros((classes, *shape), np.int64), np.zeros(classes, np.int64), cfg.quant.last_bits)
    )
    return Graph(cfg.name, cfg.input_shape, cfg.time_steps, tuple(nodes), cfg.pixel_bits, frames=cfg.frames)


def _table(graph: Graph, node: Weighted, edge: Edge, folding: Folding) -> ListStage:
    """The law for every pair of counts; it depends on the steps and folds they need only."""
    fold, (out, into) = folding[node.name], node.weight.shape[:2]
    law = {
        (steps, folds): steps and folds
        and node_law(graph, node, edge, fold.pe, fold.simd, steps * fold.simd, folds * fold.pe, fold.rounds)
        for steps in range(ceil_div(into, fold.simd) + 1)
        for folds in range(ceil_div(out, fold.pe) + 1)
    }
    return ListStage(
        np.array([
            [law[ceil_div(i, fold.simd), ceil_div(o, fold.pe)] for o in range(out + 1)] for i in range(into + 1)
        ])
    )


def _event(graph: Graph, node: Conv | Current, edge: Edge, folding: Folding) -> EventStage:
    _, height, width = edge.shape
    rows = inside(height, node.kernel[0], node.stride, node.padding)
    columns = inside(width, node.kernel[1], node.stride, node.padding)
    fold, steps = folding[node.name], graph.time_steps
    reach = float(sum(rows) * sum(columns) * steps)
    return EventStage(fold.pe, fold.simd, len(rows) * len(columns) * steps, reach, arriving(edge), fold.rounds)
