"""The accelerator's cycles as data for pruning: by channels kept (list scheduler) or by spikes (event scheduler)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from scaflow.hw.cycles import inside, node_law
from scaflow.hw.fold import Folding, balanced, given
from scaflow.hw.groups import arriving
from scaflow.model.config import EventFoldConfig, FoldConfig, NetworkConfig
from scaflow.model.cost import CycleModel, EventStage, ListStage
from scaflow.model.shortcuts import shortcuts
from scaflow.quant.golden.beats import ceil_div
from scaflow.quant.graph import IMAGE, Conv, Current, Edge, Graph, Join, Neuron, Node, Pool, Readout, Weighted
from scaflow.quant.neuron import NO_DECAY


def cycle_model(cfg: NetworkConfig, scheduler: Literal["list", "event"] = "list") -> CycleModel:
    """What the layers of `cfg` cost, at the lanes of its dense list design.

    With "event" the layers behind the first are priced by their spikes; the first, which reads the image, and the
    read-out walk their list.
    """
    graph = outline(cfg)
    folding = folding_of(cfg, graph)
    weighted = graph.weighted
    tables = [_table(graph, node, edge, folding) for node, edge in weighted]
    stages = [
        _event(graph, node, edge, folding)
        if scheduler == "event" and not isinstance(node, Readout) and graph.sources[node.name][0] != IMAGE
        else table
        for (node, edge), table in zip(weighted, tables, strict=True)
    ]
    dense = tuple(float(table.cycles[-1, -1]) for table in tables)
    return CycleModel(tuple(stages), graph.input_shape[0], len(graph.readout.weight), dense, ends(cfg))


def ends(cfg: NetworkConfig) -> tuple[tuple[int, int], ...]:
    """The layers that each stage of a network reads and writes: -1 is the image, and behind the last are the logits."""
    strides = shortcuts(cfg).strides
    found = []
    for i, layer in enumerate(cfg.layers):
        found += [(i - 1, i), *([(i + (layer.shortcut or 0), i)] if i in strides else [])]
    return (*found, (len(cfg.layers) - 1, len(cfg.layers)))


def folding_of(cfg: NetworkConfig, graph: Graph) -> Folding:
    """The lanes of the list designs: as the description gives them, or balanced for its total."""
    fold = by_stage(cfg)
    if fold.pe is not None and fold.simd is not None:
        return given(graph, fold.pe, fold.simd, fold.neurons)
    return balanced(graph, fold.lanes, cfg.sca.granularity)


def by_stage(cfg: NetworkConfig) -> FoldConfig:
    """What a description's [fold] gives layer by layer, stage by stage: the convolution of a shortcut has what its
    layer has, on one kernel position and on no more banks than it reads channels; currents have no neurons."""
    layers, fold, event = ends(cfg)[:-1], cfg.fold, cfg.fold.event
    beside = {k for k, (source, i) in enumerate(layers) if k and layers[k - 1][1] == i}
    trunks = shortcuts(cfg).trunks(len(cfg.layers))

    def lanes(section: FoldConfig | EventFoldConfig) -> dict[str, Any]:
        pe, simd, neurons = section.pe, section.simd, section.neurons
        return {
            "pe": pe and tuple(pe[i] for _, i in layers),
            "simd": simd and (
                *(
                    min(simd[i], cfg.layers[source].channels) if k in beside else simd[i]
                    for k, (source, i) in enumerate(layers)
                ),
                simd[-1],
            ),
            "neurons": neurons and tuple(None if i in trunks else neurons[i] for _, i in layers),
        }  # fmt: skip

    more: dict[str, Any] = {}
    if event.groups is not None:
        own = tuple(
            (1, event.groups[i][1]) if k in beside else event.groups[i] for k, (_, i) in enumerate(layers)
        )
        more["groups"] = (*own, *event.groups[len(cfg.layers) :])
    if not isinstance(event.scheduler, str):
        more["scheduler"] = tuple(event.scheduler[i] for _, i in layers)
    return fold.model_copy(update=lanes(fold) | {"event": event.model_copy(update=lanes(event) | more)})


def outline(cfg: NetworkConfig) -> Graph:
    """The integer graph of a network in its shapes alone: all weights 0, all channels kept."""
    nodes: list[Node] = []
    led = shortcuts(cfg)
    trunks, currents = led.trunks(len(cfg.layers)), dict[int, str]()
    written: list[str] = []  # what the spikes of each layer come from
    shape = cfg.input_shape
    for i, layer in enumerate(cfg.layers):
        channels, height, width = shape
        flat = layer.kind == "linear"
        kernel = (height, width) if flat else (layer.kernel, layer.kernel)
        stride, padding = (1, 0) if flat else (layer.stride, layer.padding)
        some, kept = np.ones(layer.channels, dtype=np.int64), tuple(range(layer.channels))
        reads = (written[-1],) if i else ()
        weight = np.zeros((layer.channels, channels, *kernel), np.int64)
        bits = cfg.pixel_bits if i == 0 else 1
        levels: dict[str, Any] = {
            "bias": some, "threshold": some, "leak_shift": cfg.neuron.leak_shift, "reset": cfg.neuron.reset,
            "fraction_bits": cfg.quant.fraction_bits, "kept": kept, "decay": cfg.neuron.decay or NO_DECAY,
            "v_reset": -some if cfg.neuron.v_reset else 0 * some,
        }  # fmt: skip
        own = f"conv{i}"
        if i not in trunks:
            nodes.append(
                Conv(
                    own, weight, stride=stride, padding=padding, weight_bits=cfg.quant.weight_bits, in_bits=bits,
                    reads=reads, **levels,
                )
            )  # fmt: skip
        else:
            nodes.append(Current(own, weight, stride, padding, cfg.quant.weight_bits, bits, kept, reads))
            other, source = currents.get(led.joined.get(i, -1)), i + (layer.shortcut or 0)
            if i in led.strides:
                other, read = f"shortcut{i}", written[source]
                weight = np.zeros((layer.channels, cfg.layers[source].channels, 1, 1), np.int64)
                nodes.append(Current(other, weight, led.strides[i], 0, cfg.quant.weight_bits, 1, kept, (read,)))
            if other:
                nodes.append(Join(f"join{i}", (other, own)))
            currents[i] = nodes[-1].name
            nodes.append(Neuron(name=f"fire{i}", reads=(nodes[-1].name,), **levels))
        if layer.pool > 1:
            nodes.append(Pool(f"pool{i}", layer.pool))
        written.append(nodes[-1].name)
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
