"""The dataflow of a graph: for each node its chain of module instances, with their parameters and memory images.

A pruned channel keeps its wire but is neither computed nor walked. Channels travel with the kept ones first, so that
these fill whole synapse groups and whole folds, and for an event scheduler dealt to its banks by activity; the order is
folded into weights, biases and thresholds here and costs no hardware.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from scaflow.hw import ring
from scaflow.hw.cycles import node_law
from scaflow.hw.fold import Fold, Folding
from scaflow.hw.groups import SYNAPSE, Group, Kernel, arriving, group_bits, lookups, tables, window_rows, word_bits
from scaflow.model.limits import (
    AXI_BYTES,
    LOGIT_BITS,
    MOST_READOUT_SIMD,
    MOST_SIMD,
    axi_problem,
    event_problems,
    group_problem,
    neurons_problem,
)
from scaflow.quant.direct import at_once, silent_levels
from scaflow.quant.golden.axis_in import AxisIn
from scaflow.quant.golden.axis_out import AxisOut
from scaflow.quant.golden.beats import address_bits, ceil_div
from scaflow.quant.golden.direct_pe import DirectPe
from scaflow.quant.golden.lif_pe import LifPe
from scaflow.quant.golden.pixel_index import PixelIndex
from scaflow.quant.golden.readout import Readout as ReadoutModule
from scaflow.quant.golden.spike_pack import SpikePack
from scaflow.quant.golden.spike_pool import SpikePool
from scaflow.quant.golden.stream_fifo import StreamFifo
from scaflow.quant.golden.stream_width import StreamWidth
from scaflow.quant.golden.synapse_event import SynapseEvent
from scaflow.quant.golden.synapse_list import SynapseList
from scaflow.quant.golden.synapse_word import SynapseWord
from scaflow.quant.golden.window_buffer import WindowBuffer
from scaflow.quant.graph import Conv, Edge, Graph, Pool, Readout, validate
from scaflow.quant.widths import ConvWidths, ReadoutWidths, widths

FIFO_DEPTH = 16  # one LUT-RAM cell deep: lets a stage run ahead over its neighbour's short stalls


@dataclass(frozen=True)
class Instance:
    """One module instance of the generated top: a link of the chain."""

    module: str
    name: str
    cfg: Any  # the module's parameters, the dataclass of its golden twin
    in_bits: int
    out_bits: int


@dataclass(frozen=True)
class Stage:
    """A weighted node and the pools behind it: the hardware that runs side by side with the other stages."""

    name: str
    pe: int
    simd: int
    scheduler: str  # "list" | "event"
    neurons: int  # of the PE sums of a fold, served a cycle; the read-out and `at_once` layers have none and serve all
    group: Group  # kernel positions and channels that share a look-up
    kept_in: int
    kept_out: int
    law: int | None  # cycles an image; None: they depend on the data (see hw/activity.py)
    in_edge: Edge
    in_order: tuple[int, ...]  # channel in each place of the input word, the kept ones first
    out_order: tuple[int, ...] | None  # channel in each bit of the output word; None: the read-out
    out_edge: Edge | None
    instances: tuple[Instance, ...]

    @property
    def folds(self) -> int:
        return ceil_div(self.kept_out, self.pe)

    @property
    def rounds(self) -> int:
        """Cycles in which the sums of a fold are served."""
        return ceil_div(self.pe, self.neurons)

    @property
    def fifo_depth(self) -> int | None:
        """Of the queue behind the stage; the read-out has none."""
        last = self.instances[-1].cfg
        return last.depth if isinstance(last, StreamFifo) else None

    @property
    def places(self) -> tuple[int, ...]:
        """Of each input channel among those that are walked, -1 for one that is not."""
        place = {channel: i for i, channel in enumerate(self.in_order[: self.kept_in])}
        return tuple(place.get(c, -1) for c in range(len(self.in_order)))

    @property
    def banks(self) -> tuple[int, ...]:
        """The weight bank of each input channel, -1 for a channel that is not walked."""
        return tuple(-1 if p < 0 else p // self.group[1] % self.simd for p in self.places)

    @property
    def arriving(self) -> int:
        """Cycles in which an image's words come in."""
        rows = [i.cfg for i in self.instances if i.module == "window_row"]
        return arriving(self.in_edge, *rows)


@dataclass(frozen=True)
class Design:
    graph: Graph
    stages: tuple[Stage, ...]
    axi_bytes: int  # of a beat in which images come in

    @property
    def interval(self) -> int | None:
        """Cycles between images: the slowest stage, or the image's way in. None: data-dependent."""
        laws = [stage.law for stage in self.stages if stage.law is not None]
        return max(self.way_in.frame_cycles, *laws) if len(laws) == len(self.stages) else None

    @property
    def way_in(self) -> AxisIn:
        """Of the images."""
        rows = [i.cfg for i in self.stages[0].instances if i.module == "window_row"]
        return way_in(self.graph, self.axi_bytes, rows[0].columns if rows else 1)

    @property
    def readout(self) -> ReadoutModule:
        module: ReadoutModule = self.stages[-1].instances[-1].cfg
        return module

    def instances(self) -> tuple[Instance, ...]:
        """The whole chain, from AXI4-Stream to AXI4-Stream."""
        module = self.readout
        class_bits = address_bits(module.classes)
        entry = self.way_in
        first = Instance("axis_in", "axis_in", entry, 8 * entry.axi_bytes, entry.pixel_bits * entry.pixel_bytes)
        last = Instance(
            "axis_out",
            "axis_out",
            AxisOut(module.classes, module.logit_bits, class_bits),
            module.classes * module.logit_bits + class_bits,
            32,
        )
        return (first, *(instance for stage in self.stages for instance in stage.instances), last)


def way_in(graph: Graph, axi_bytes: int, columns: int = 1) -> AxisIn:
    """Of the images of a graph, by beats of so many bytes, where the first stage takes so many neighbouring pixels at
    once."""
    channels, height, width = graph.input_shape
    return AxisIn(axi_bytes, columns * channels, height * width // columns, graph.pixel_bits)


def design(
    graph: Graph,
    folding: Folding,
    orders: Mapping[str, Sequence[int]] | None = None,
    fifo_depths: Mapping[str, int] | None = None,
    axi_bytes: int = AXI_BYTES,
) -> Design:
    """Lay out a graph.

    Args:
        folding: PE, SIMD, scheduler and neurons of each weighted node.
        orders: of a node's kept channels, by its name; ascending where it is not given (see `hw.banks.orders`).
        fifo_depths: of the queue behind a spiking stage, by its name; FIFO_DEPTH where it is not given.
        axi_bytes: of a beat in which images come in.

    Raises:
        ValueError: the graph breaks a rule, or a module cannot be built so; all problems are listed.
    """
    validate(graph)
    bits = widths(graph)
    problems = [f"axi_bytes={axi_bytes}: {problem}"] if (problem := axi_problem(axi_bytes)) else []
    if problems := problems + _problems(graph, folding, bits):
        raise ValueError("\n".join(problems))
    stages: list[Stage] = []
    order = tuple(range(graph.input_shape[0]))
    nodes = list(zip(graph.nodes, graph.edges(), strict=True))
    while nodes:
        node, edge = nodes.pop(0)
        pools: list[tuple[Pool, Edge]] = []
        while nodes and isinstance(pool := nodes[0][0], Pool):
            pools.append((pool, nodes.pop(0)[1]))
        if isinstance(node, Pool):
            continue  # none is left here: each was taken with the layer before it
        kept_in, in_order = len(edge.kept), order
        fold = folding[node.name]
        at_once_here = isinstance(node, Conv) and at_once(node, edge, graph.time_steps)
        law = None
        if fold.scheduler == "list":
            kept_out = len(node.weight) if isinstance(node, Readout) else len(node.kept)
            law = node_law(graph, node, edge, fold.pe, fold.simd, kept_in, kept_out, fold.rounds)
        if isinstance(node, Readout):
            logits = cast(ReadoutWidths, bits[node.name])
            instances = _readout(graph, node, edge, logits, order, kept_in, fold)
            kept_out, out_order, out_edge = len(node.weight), None, None
        else:
            kept = (orders or {}).get(node.name, node.kept)
            out_order = (*kept, *sorted(set(range(len(node.weight))) - set(kept)))
            kept_out, out_edge = len(kept), nodes[0][1]
            depth = (fifo_depths or {}).get(node.name, FIFO_DEPTH)
            currents = cast(ConvWidths, bits[node.name])
            instances = (
                *_scheduler(graph, node, edge, order, kept_in, kept_out, fold),
                *_neurons(graph, node, edge, currents, pools, order, out_order, kept_in, kept_out, fold, depth),
            )
            order = out_order
        stages.append(
            Stage(
                name=node.name,
                pe=fold.pe,
                simd=fold.simd,
                scheduler=fold.scheduler,
                neurons=fold.pe if at_once_here else fold.served,
                group=fold.group,
                kept_in=kept_in,
                kept_out=kept_out,
                law=law,
                in_edge=edge,
                in_order=in_order,
                out_order=out_order,
                out_edge=out_edge,
                instances=instances,
            )
        )
    return Design(graph, tuple(stages), axi_bytes)


def _problems(graph: Graph, folding: Folding, bits: Mapping[str, ConvWidths | ReadoutWidths]) -> list[str]:
    """What the modules cannot be built with, a line each."""
    problems = []
    for node, edge in zip(graph.nodes, graph.edges(), strict=True):
        if isinstance(node, Pool):
            continue
        fold, found = folding[node.name], []
        most = MOST_READOUT_SIMD if isinstance(node, Readout) else MOST_SIMD
        if fold.pe < 1 or not 1 <= fold.simd <= most:
            found.append(f"pe={fold.pe} must be at least 1, and simd={fold.simd} 1 to {most}")
        elif isinstance(node, Readout) and fold.neurons not in (None, fold.pe):
            found.append(f"neurons={fold.neurons}: the read-out has none; give none")
        elif fold.neurons is not None and (problem := neurons_problem(fold.neurons, fold.pe)):
            found.append(problem)
        elif fold.scheduler == "event":
            kernel = Kernel.of(node)
            found += [
                f"{problem}; use the scheduler auto or list"
                for problem in event_problems(kernel.size, kernel.padding[0], len(edge.kept), fold.simd, fold.group)
            ]
        if fold.group != SYNAPSE:
            found += [problem] if (problem := _group_problem(node, edge, fold)) else []
        width = bits[node.name]
        if isinstance(width, ReadoutWidths) and width.logit_bits > LOGIT_BITS:
            found.append(f"its logits have {width.logit_bits} bits, a word of the output {LOGIT_BITS}; use fewer bits")
        problems += [f"node {node.name!r}: {problem}" for problem in found]
    return problems


def _group_problem(node: Conv | Readout, edge: Edge, fold: Fold) -> str | None:
    if fold.scheduler != "event":
        return f"group={fold.group}: only event schedulers look sums up; leave it out"
    return group_problem(fold.group, Kernel.of(node).size[1], edge.bits, fold.simd)


def from_manifest(graph: Graph, manifest: Mapping[str, Any]) -> Design:
    """The design that `emit` wrote, from its graph and its manifest.json."""
    stages = manifest["stages"]
    return design(
        graph,
        {s["name"]: Fold(s["pe"], s["simd"], s["scheduler"], s["neurons"], tuple(s["group"])) for s in stages},
        {s["name"]: s["order"] for s in stages if s["order"]},
        {s["name"]: s["fifo_depth"] for s in stages if s["fifo_depth"]},
        manifest["axi_bytes"],
    )


def _scheduler(
    graph: Graph, node: Conv, edge: Edge, in_order: Sequence[int], kept_in: int, kept_out: int, fold: Fold
) -> tuple[Instance, ...]:
    """From the words of the map to synapse steps."""
    channels, height, width = edge.shape
    kernel = node.kernel[0] * node.kernel[1]
    steps, folds = ceil_div(kept_in, fold.simd), ceil_div(kept_out, fold.pe)
    word_bits = channels * edge.bits
    if fold.scheduler == "event":
        windows = Kernel.of(node, fold.group)
        kernel_of = (*windows.size, *windows.stride, *windows.padding)
        rows = window_rows(node, edge, kept_in, fold.group)
        if rows is None:
            words = (channels, kept_in, fold.simd, edge.bits, height, width)
        else:
            words = (rows.groups, rows.groups, fold.simd, rows.pattern_bits, height, rows.out_width)
        events = SynapseEvent(*words, *kernel_of, edge.time_steps, folds)
        row_bits, out_bits = words[0] * words[3], events.simd * (events.in_bits + events.addr_bits) + 1
        scheduler = Instance("synapse_event", f"{node.name}_synapse_event", events, row_bits, out_bits)
        if rows is None:
            return (scheduler,)
        return (Instance("window_row", f"{node.name}_window_row", rows, rows.columns * word_bits, row_bits), scheduler)
    geometry = (height, width, *node.kernel, node.stride, node.padding, edge.time_steps)
    depth = ring.depth(graph, node, edge, fold.pe, fold.simd, kept_in, kept_out, fold.rounds)
    buffer = WindowBuffer(word_bits, *geometry, folds, depth)
    walk = SynapseList(channels, fold.simd, edge.bits, kernel, folds, steps, np.arange(steps).reshape(-1, 1))
    beat_bits = word_bits + address_bits(kernel) + 1
    out_bits = fold.simd * (edge.bits + walk.addr_bits) + 1
    return (
        Instance("window_buffer", f"{node.name}_window_buffer", buffer, word_bits, beat_bits),
        Instance("synapse_list", f"{node.name}_synapse_list", walk, beat_bits, out_bits),
    )


def _neurons(
    graph: Graph,
    node: Conv,
    edge: Edge,
    bits: ConvWidths,
    pools: Sequence[tuple[Pool, Edge]],
    in_order: Sequence[int],
    out_order: Sequence[int],
    kept_in: int,
    kept_out: int,
    fold: Fold,
    fifo_depth: int,
) -> tuple[Instance, ...]:
    """From synapse steps to the words of the next map."""
    pe, simd = fold.pe, fold.simd
    folds = ceil_div(kept_out, pe)
    rows = list(out_order[:kept_out])
    spare = folds * pe - kept_out  # idle lanes of the last fold: weights 0, and bias 0, threshold 1 never fire
    in_bits = group_bits(fold.group, edge.bits)
    lookup, places = lookups(fold.group, edge.bits), fold.group[0] * fold.group[1]
    weights = _weights(node, rows, in_order[:kept_in], edge.bits, fold)
    weight_bits = _bits(weights) if lookup else node.weight_bits

    time_steps = graph.time_steps
    if at_once(node, edge, time_steps):
        silent = np.pad(
            silent_levels(node, time_steps, bits.acc_bits)[rows],
            ((0, spare), (0, 0)),
            constant_values=(1 << (bits.acc_bits - 1)) - 1,  # no sum is above it
        )
        told = DirectPe(
            pe=pe,
            simd=simd,
            in_bits=in_bits,
            lookup=lookup,
            places=places,
            depth=weights.shape[1],
            folds=folds,
            time_steps=time_steps,
            weight_bits=weight_bits,
            acc_bits=bits.acc_bits,
            weights=weights,
            levels=silent.reshape(folds, pe, time_steps).transpose(0, 2, 1).reshape(folds, -1),
        )
        step_bits = simd * (in_bits + told.addr_bits) + 1
        element = Instance("direct_pe", f"{node.name}_direct_pe", told, step_bits, time_steps * pe)
        return (element, *_words(node, pools, pe, folds, time_steps, 1, fifo_depth))

    neurons = fold.served
    idle = fold.rounds * neurons - pe  # neurons of the last round that stand for no sum

    def levels(of_channel: np.ndarray, otherwise: int) -> np.ndarray:
        """Of each neuron in each round of each fold."""
        folded = np.pad(of_channel[rows], (0, spare), constant_values=otherwise).reshape(folds, pe)
        return np.pad(folded, ((0, 0), (0, idle)), constant_values=otherwise).reshape(-1, neurons)

    served = LifPe(
        pe=pe,
        neurons=neurons,
        simd=simd,
        in_bits=in_bits,
        lookup=lookup,
        places=places,
        depth=weights.shape[1],
        folds=folds,
        time_steps=time_steps,
        direct=int(edge.repeats(time_steps) > 1),
        weight_bits=weight_bits,
        acc_bits=bits.acc_bits,
        v_bits=max(bits.v_bits, node.leak_shift + 1),  # a bit at least is left of what leaks
        fraction_bits=node.fraction_bits,
        leak_shift=node.leak_shift,
        soft_reset=int(node.reset == "soft"),
        weights=weights,
        bias=levels(node.bias, 0),
        threshold=levels(node.threshold, 1),
    )
    element = Instance("lif_pe", f"{node.name}_lif_pe", served, simd * (in_bits + served.addr_bits) + 1, pe)
    return (element, *_words(node, pools, pe, folds, 1, time_steps, fifo_depth))


def _words(
    node: Conv, pools: Sequence[tuple[Pool, Edge]], pe: int, folds: int, steps: int, beats: int, fifo_depth: int
) -> tuple[Instance, ...]:
    """From the spikes of folds to the words of the next map. steps: time steps side by side in a beat; beats: that a
    pixel comes in."""
    co = len(node.weight)
    bits = steps * co
    chain = [Instance("spike_pack", f"{node.name}_spike_pack", SpikePack(pe, folds, co, steps), steps * pe, bits)]
    for pool, pool_edge in pools:
        _, h, w = pool_edge.shape
        cfg = SpikePool(bits, h, w, pool.size, beats)
        chain.append(Instance("spike_pool", f"{node.name}_{pool.name}", cfg, bits, bits))
    if steps > 1:
        chain.append(Instance("stream_width", f"{node.name}_stream_width", StreamWidth(bits, co), bits, co))
    chain.append(Instance("stream_fifo", f"{node.name}_stream_fifo", StreamFifo(co, fifo_depth), co, co))
    return tuple(chain)


def _bits(sums: np.ndarray) -> int:
    """That hold each of the sums."""
    return max(2, int(max(sums.max(), ~sums.min())).bit_length() + 1)


def _weights(node: Conv | Readout, rows: Sequence[int], walked: Sequence[int], bits: int, fold: Fold) -> np.ndarray:
    """The memories of the banks, [simd, depth, pe]: bank b has every simd-th channel or group j of those walked."""
    simd, pe = fold.simd, fold.pe
    if fold.group == SYNAPSE:
        ways = node.weight[rows].reshape(len(rows), len(node.weight[0]), -1, 1)[:, list(walked)]
    else:
        of_word = word_bits(fold.group, bits) // (fold.group[0] * fold.group[1])
        ways = tables(node.weight[rows], walked, fold.group, of_word)  # a word for each pattern of a group
    out, groups, kernel, words = ways.shape
    steps, folds = ceil_div(groups, simd), ceil_div(out, pe)
    # address (k, fold, j, word) for events, with room for 2^n folds and groups j; else (fold, j, k)
    room = [1 << (count - 1).bit_length() if fold.scheduler == "event" else count for count in (steps, folds)]
    banks = np.zeros((room[1] * pe, room[0] * simd, kernel, words), np.int64)
    banks[:out, :groups] = ways
    banks = banks.reshape(room[1], pe, room[0], simd, kernel, words)
    address = (3, 4, 0, 2, 5, 1) if fold.scheduler == "event" else (3, 0, 2, 4, 5, 1)
    memories: np.ndarray = banks.transpose(address).reshape(simd, -1, pe)
    return memories


def _readout(
    graph: Graph, node: Readout, edge: Edge, bits: ReadoutWidths, order: Sequence[int], kept_in: int, fold: Fold
) -> tuple[Instance, ...]:
    channels, height, width = edge.shape
    classes, pixels, simd = len(node.weight), height * width, fold.simd
    weights = _weights(node, range(classes), order[:kept_in], edge.bits, replace(fold, pe=classes))
    index = PixelIndex(channels, pixels, graph.time_steps)
    walk: SynapseList | SynapseWord
    if fold.scheduler == "event":
        module, walk = "synapse_word", SynapseWord(channels, kept_in, fold.group[1], simd, pixels)
        depth = weights.shape[1]  # room for 2^n pixels too: a memory of another depth is read through multiplexers
        weights = np.pad(weights, ((0, 0), (0, (1 << (depth - 1).bit_length()) - depth), (0, 0)))
    else:
        steps = ceil_div(kept_in, simd)
        module = "synapse_list"
        walk = SynapseList(channels, simd, 1, pixels, 1, steps, np.arange(steps).reshape(-1, 1))
    cfg = ReadoutModule(
        classes=classes,
        simd=simd,
        in_bits=fold.group[1],
        depth=weights.shape[1],
        weight_bits=node.weight_bits if fold.group == SYNAPSE else _bits(weights),
        logit_bits=bits.logit_bits,
        weights=weights,
        bias=(node.bias * graph.time_steps).reshape(1, classes),
    )
    word_bits = channels + address_bits(pixels) + 1
    step_bits = simd * (cfg.in_bits + walk.addr_bits) + 1
    out_bits = classes * cfg.logit_bits + address_bits(classes)
    return (
        Instance("pixel_index", f"{node.name}_pixel_index", index, channels, word_bits),
        Instance(module, f"{node.name}_{module}", walk, word_bits, step_bits),
        Instance("readout", f"{node.name}_readout", cfg, step_bits, out_bits),
    )
