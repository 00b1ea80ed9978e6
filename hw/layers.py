"""What a weighted node is made of: from the words it reads through its scheduler and array to what it writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scaflow.hw import ring
from scaflow.hw.fold import Fold
from scaflow.hw.groups import SYNAPSE, Kernel, bank_depth, group_bits, lookups, tables, window_rows, word_bits
from scaflow.quant.direct import at_once, silent_levels
from scaflow.quant.golden.beats import address_bits, ceil_div
from scaflow.quant.golden.current_pe import CurrentPe
from scaflow.quant.golden.direct_pe import DirectPe
from scaflow.quant.golden.lif_pe import LifPe
from scaflow.quant.golden.lif_update import ZERO
from scaflow.quant.golden.pixel_index import PixelIndex
from scaflow.quant.golden.readout import Readout as ReadoutModule
from scaflow.quant.golden.spike_pack import SpikePack
from scaflow.quant.golden.spike_pool import SpikePool
from scaflow.quant.golden.spike_sum import SpikeSum
from scaflow.quant.golden.stream_fifo import StreamFifo
from scaflow.quant.golden.stream_width import StreamWidth
from scaflow.quant.golden.synapse_event import SynapseEvent
from scaflow.quant.golden.synapse_list import SynapseList
from scaflow.quant.golden.synapse_word import SynapseWord
from scaflow.quant.golden.window_buffer import WindowBuffer
from scaflow.quant.graph import Conv, Current, Edge, Graph, Pool, Readout, Spiking, SumPool, Weighted
from scaflow.quant.neuron import RESETS
from scaflow.quant.widths import ConvWidths, ReadoutWidths


@dataclass(frozen=True)
class Instance:
    """One module instance of the generated top."""

    module: str
    name: str
    cfg: Any  # the module's parameters, the dataclass of its golden twin
    in_bits: int
    out_bits: int
    # what its inputs are tied to: instances, `name[i]` a branch of a fork, `name.port` a further output; none: the one
    # before it
    reads: tuple[str, ...] = ()


def scheduler(
    graph: Graph, node: Conv | Current, edge: Edge, in_order: Sequence[int], kept_in: int, kept_out: int, fold: Fold
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


def neurons(
    graph: Graph,
    node: Conv,
    edge: Edge,
    bits: ConvWidths,
    pools: Sequence[tuple[Pool | SumPool, Edge]],
    in_order: Sequence[int],
    out_order: Sequence[int],
    kept_in: int,
    kept_out: int,
    fold: Fold,
    fifo_depth: int,
    images: bool = True,
) -> tuple[Instance, ...]:
    """From synapse steps to the words of the next map."""
    pe = fold.pe
    spare = -kept_out % pe  # idle lanes of the last fold: weights 0, and bias 0, threshold 1 never fire
    rows, time_steps = list(out_order[:kept_out]), graph.time_steps
    sums = _array(graph, node, edge, bits.acc_bits, in_order, out_order, kept_in, kept_out, fold, images)
    folds = sums["folds"]

    if at_once(node, edge, time_steps):
        silent = np.pad(
            silent_levels(node, time_steps, bits.acc_bits)[rows],
            ((0, spare), (0, 0)),
            constant_values=(1 << (bits.acc_bits - 1)) - 1,  # no sum is above it
        )
        told = DirectPe(**sums, levels=silent.reshape(folds, pe, time_steps).transpose(0, 2, 1).reshape(folds, -1))
        element = Instance("direct_pe", f"{node.name}_direct_pe", told, _step_bits(told), time_steps * pe)
        return (element, *words(node.name, len(node.weight), pools, pe, folds, time_steps, 1, fifo_depth))

    idle = fold.rounds * fold.served - pe  # neurons of the last round that stand for no sum

    def levels(of_channel: np.ndarray, otherwise: int) -> np.ndarray:
        """Of each neuron in each round of each fold."""
        if not images:
            return np.broadcast_to(np.int64(0), (folds * fold.rounds, fold.served))
        folded = np.pad(of_channel[rows], (0, spare), constant_values=otherwise).reshape(folds, pe)
        return np.pad(folded, ((0, 0), (0, idle)), constant_values=otherwise).reshape(-1, fold.served)

    direct = int(edge.repeats(time_steps) > 1)
    _, height, width = graph.edge(node.name).shape
    served = LifPe(
        **sums,
        neurons=fold.served,
        direct=direct,
        **membranes(node, bits.v_bits, levels),
        map_pixels=height * width if graph.frames else 0,
    )
    element = Instance("lif_pe", f"{node.name}_lif_pe", served, _step_bits(served), pe)
    return (element, *words(node.name, len(node.weight), pools, pe, folds, 1, time_steps, fifo_depth))


def membranes(node: Spiking, v_bits: int, levels: Callable[[np.ndarray, int], np.ndarray]) -> dict[str, Any]:
    """The parameters of what updates the membranes of a node.

    Args:
        v_bits: that hold all it computes with.
        levels: puts a number a channel where the hardware has it, and another one where there is no channel.
    """
    return {
        "v_bits": max(v_bits, node.leak_shift + 1),  # a bit at least is left of what leaks
        "fraction_bits": node.fraction_bits,
        "leak_shift": node.leak_shift,
        "soft_reset": RESETS.index(node.reset),
        "bias": levels(node.bias, 0),
        "threshold": levels(node.threshold, 1),
        "decay_factor": node.decay[0],
        "decay_shift": node.decay[1],
        "v_reset": levels(node.v_reset, 0) if node.v_reset.any() else ZERO,
    }


def currents(
    graph: Graph,
    node: Current,
    edge: Edge,
    acc_bits: int,
    in_order: Sequence[int],
    out_order: Sequence[int],
    kept_in: int,
    kept_out: int,
    fold: Fold,
    fifo_depth: int,
    images: bool = True,
) -> tuple[Instance, ...]:
    """From synapse steps to currents, PE a beat, in order pixel, t, fold."""
    computed = replace(node, weight=node.weight * np.isin(np.arange(len(node.weight)), node.kept)[:, None, None, None])
    sums = _array(graph, computed, edge, acc_bits, in_order, out_order, kept_in, kept_out, fold, images)
    cfg = CurrentPe(**sums, direct=int(edge.repeats(graph.time_steps) > 1))
    bits = fold.pe * acc_bits
    return (
        Instance("current_pe", f"{node.name}_current_pe", cfg, _step_bits(cfg), bits),
        queue(f"{node.name}_stream_fifo", bits, fifo_depth),
    )


def _array(
    graph: Graph,
    node: Conv | Current,
    edge: Edge,
    acc_bits: int,
    in_order: Sequence[int],
    out_order: Sequence[int],
    kept_in: int,
    kept_out: int,
    fold: Fold,
    images: bool,
) -> dict[str, Any]:
    """The parameters of what forms a node's sums from synapse steps."""
    lookup = lookups(fold.group, edge.bits)
    weights = _memories(node, edge, list(out_order[:kept_out]), in_order[:kept_in], fold, images)
    return {
        "pe": fold.pe,
        "simd": fold.simd,
        "in_bits": group_bits(fold.group, edge.bits),
        "lookup": lookup,
        "places": fold.group[0] * fold.group[1],
        "depth": weights.shape[1],
        "folds": ceil_div(kept_out, fold.pe),
        "time_steps": graph.time_steps,
        "weight_bits": _bits(weights) if lookup else node.weight_bits,
        "acc_bits": acc_bits,
        "weights": weights,
    }


def _step_bits(array: DirectPe | LifPe | CurrentPe) -> int:
    """Of a synapse step: an activation and an address a bank, and whether it is a window's last."""
    return array.simd * (array.in_bits + array.addr_bits) + 1


def queue(name: str, bits: int, depth: int, reads: tuple[str, ...] = ()) -> Instance:
    return Instance("stream_fifo", name, StreamFifo(bits, depth), bits, bits, reads)


def words(
    name: str,
    channels: int,
    pools: Sequence[tuple[Pool | SumPool, Edge]],
    pe: int,
    folds: int,
    steps: int,
    beats: int,
    fifo_depth: int,
) -> tuple[Instance, ...]:
    """From the spikes of folds to the words of the next map. steps: time steps side by side in a beat; beats: that a
    pixel comes in."""
    bits = steps * channels
    chain = [Instance("spike_pack", f"{name}_spike_pack", SpikePack(pe, folds, channels, steps), steps * pe, bits)]
    chain += pooled(name, pools, bits, 1, beats)
    bits = chain[-1].out_bits
    if steps > 1:
        cfg = StreamWidth(bits, bits // steps)
        chain.append(Instance("stream_width", f"{name}_stream_width", cfg, bits, bits // steps))
    return (*chain, queue(f"{name}_stream_fifo", bits // steps, fifo_depth))


def pooled(
    name: str, pools: Sequence[tuple[Pool | SumPool, Edge]], numbers: int, in_bits: int, beats: int
) -> list[Instance]:
    """Pools behind what writes words of so many numbers of `in_bits` bits.

    Args:
        pools: and the edge that each one reads.
    """
    chain = []
    for pool, edge in pools:
        _, h, w = edge.shape
        title, bits = f"{name}_{pool.name}", numbers * in_bits
        if isinstance(pool, Pool):
            chain.append(Instance("spike_pool", title, SpikePool(bits, h, w, pool.size, beats), bits, bits))
            continue
        out_bits = (edge.largest * pool.size**2).bit_length()
        cfg = SpikeSum(numbers, in_bits, out_bits, h, w, pool.size, beats)
        chain.append(Instance("spike_sum", title, cfg, bits, numbers * out_bits))
        in_bits = out_bits
    return chain


def _bits(sums: np.ndarray) -> int:
    """That hold each of the sums."""
    return max(2, int(max(sums.max(), ~sums.min())).bit_length() + 1)


def _memories(
    node: Weighted, edge: Edge, rows: Sequence[int], walked: Sequence[int], fold: Fold, images: bool
) -> np.ndarray:
    """The memories of the banks, or where no images are wanted and no sums are looked up, zeros of their shape."""
    if images or fold.group != SYNAPSE:
        return _weights(node, rows, walked, edge.bits, fold)
    folds = ceil_div(len(rows), fold.pe)
    depth = bank_depth(node, edge, len(walked), folds, fold.simd, fold.scheduler)
    return np.broadcast_to(np.int64(0), (fold.simd, depth, fold.pe))


def _weights(node: Weighted, rows: Sequence[int], walked: Sequence[int], bits: int, fold: Fold) -> np.ndarray:
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


def readout(
    graph: Graph,
    node: Readout,
    edge: Edge,
    bits: ReadoutWidths,
    order: Sequence[int],
    kept_in: int,
    fold: Fold,
    tell_every: int,
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
        frames=int(graph.frames > 0),
        tell_every=tell_every,
    )
    word_bits = channels + address_bits(pixels) + 1
    step_bits = simd * (cfg.in_bits + walk.addr_bits) + 1
    out_bits = classes * cfg.logit_bits + address_bits(classes) + cfg.frames
    return (
        Instance("pixel_index", f"{node.name}_pixel_index", index, channels, word_bits),
        Instance(module, f"{node.name}_{module}", walk, word_bits, step_bits),
        Instance("readout", f"{node.name}_readout", cfg, step_bits, out_bits),
    )
