"""Folding: PE sums and SIMD synapses a cycle for each weighted node, given or balanced for a number of lanes, and how
many neurons a cycle serve the sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from scaflow.hw.activity import channel_events, law, walked_events
from scaflow.hw.banks import order, orders
from scaflow.hw.cycles import node_law
from scaflow.hw.groups import SYNAPSE, Group, Kernel
from scaflow.model.limits import (
    MOST_READOUT_SIMD,
    MOST_SIMD,
    event_problems,
    neurons_problem,
    pe_problem,
    simd_problem,
)
from scaflow.quant.golden.beats import ceil_div
from scaflow.quant.graph import Conv, Current, Graph, Readout, Weighted


@dataclass(frozen=True)
class Fold:
    pe: int
    simd: int
    scheduler: str = "list"  # "list" walks the kept synapses of a window, "event" those whose input spiked
    neurons: int | None = None  # how many of the PE sums of a window are served a cycle; None: all
    group: Group = SYNAPSE  # kernel positions and channels that share a look-up, where events are walked

    @property
    def lanes(self) -> int:
        return self.pe * self.simd

    @property
    def served(self) -> int:
        """How many of the PE sums are served a cycle."""
        return self.neurons or self.pe

    @property
    def rounds(self) -> int:
        """Cycles in which the sums of a window's fold are served."""
        return ceil_div(self.pe, self.served)


Folding = dict[str, Fold]  # by node name

BLOCK_RAM_DEPTH = 1024  # words of 18 bits in an ECP5 or 7-series block


def given(
    graph: Graph, pe: tuple[int, ...], simd: tuple[int, ...], neurons: tuple[int | None, ...] | None = None
) -> Folding:
    """The folding a user wrote down: PE per spiking layer, SIMD per spiking layer and the read-out; neurons per spiking
    layer, or (None) as many as PE. What is a spiking layer here is a stage of currents, too.

    Raises:
        ValueError: a count or a value does not fit the network; all problems are listed.
    """
    nodes = [node for node, _ in graph.weighted]
    problems = []
    if len(pe) != len(nodes) - 1 or len(simd) != len(nodes):
        problems.append(
            f"fold: {len(pe)} pe and {len(simd)} simd for {len(nodes) - 1} spiking layers;"
            f" give {len(nodes) - 1} pe, and {len(nodes)} simd (the last is the read-out's)"
        )
    elif neurons is not None and len(neurons) != len(pe):
        problems.append(f"fold: {len(neurons)} neurons for {len(pe)} spiking layers; give one a layer")
    else:
        problems += [
            f"node {node.name!r}: {problem}"
            for node, served, p in zip(nodes, neurons or (), pe, strict=False)
            if served is not None and (problem := neurons_problem(served, p))
        ]
        pe = (*pe, len(nodes[-1].weight))
        for node, p, s in zip(nodes, pe, simd, strict=True):
            out, into = node.weight.shape[:2]
            most = MOST_READOUT_SIMD if isinstance(node, Readout) else MOST_SIMD
            found = (pe_problem(p, out), simd_problem(s, into, most))
            problems += [f"node {node.name!r}: {problem}" for problem in found if problem]
    if problems:
        raise ValueError("\n".join(problems))
    served = (*(neurons or [None] * (len(nodes) - 1)), None)
    return {node.name: Fold(p, s, neurons=n) for node, p, s, n in zip(nodes, pe, simd, served, strict=True)}


def balanced(graph: Graph, lanes: int, granularity: int = 1, asked: str = "fold.lanes") -> Folding:
    """The folding with the shortest dense interval within `lanes`, then the fewest lanes.

    Lane counts are powers of two that divide `granularity` (where it is above 1), so that a layer pruned in steps of
    the granularity leaves no lane idle. The read-out computes all classes side by side. A weight bank stays within
    the depth of one block RAM where it can and the lanes are enough: deeper ones are cut into columns, and beyond
    16,384 words into segments of which one is chosen, which takes registers and cycles.

    Args:
        asked: by which field or option, for a refusal to name it.

    Raises:
        ValueError: not even one lane a layer and a class; says how many that are.
    """
    top = granularity & -granularity if granularity > 1 else 16
    offered = []
    for node, edge in graph.weighted:
        out, into = node.weight.shape[:2]
        simds = [s for s in (1, 2, 4, 8, 16) if s <= min(top, into)]
        pes = [out] if isinstance(node, Readout) else [p for p in (1, 2, 4, 8, 16) if p <= min(top, out)]
        folds = [Fold(p, s) for p in pes for s in simds]
        timed = [(f, node_law(graph, node, edge, f.pe, f.simd, len(edge.kept), out)) for f in folds]
        # fewest lanes first, and then the fewest neurons: a membrane costs more than a synapse
        offered.append((node, sorted(timed, key=lambda c: (c[0].lanes, c[0].pe))))
    shallow = [
        (node, [choice for choice in timed if _bank_depth(node, choice[0]) <= BLOCK_RAM_DEPTH] or timed)
        for node, timed in offered
    ]
    for choices in (shallow, offered):
        for target in sorted({cycles for _, timed in choices for _, cycles in timed}):
            enough = [(node.name, [f for f, cycles in timed if cycles <= target]) for node, timed in choices]
            picked = _picked(graph, dict(enough))
            if picked and sum(fold.lanes for fold in picked.values()) <= lanes:
                return picked
    fewest = _picked(graph, {node.name: [fold for fold, _ in timed] for node, timed in offered}) or {}
    least = sum(fold.lanes for fold in fewest.values())
    raise ValueError(f"{asked}={lanes}: network {graph.name!r} needs at least {least}; raise {asked}")


def _picked(graph: Graph, offered: Mapping[str, list[Fold]]) -> Folding | None:
    """The first fold offered to each node, but one PE for what is joined: that of the fewest lanes. None: there is
    none."""
    if not all(offered.values()):
        return None
    picked = {name: folds[0] for name, folds in offered.items()}
    for trunk in graph.trunks:
        names = [node.name for node in trunk if isinstance(node, Current)]
        if len(names) < 2:
            continue
        of_pe = [{fold.pe: fold for fold in reversed(offered[name])} for name in names]  # the fewest lanes of each PE
        common = set.intersection(*map(set, of_pe))
        if not common:
            return None
        pe = min(common, key=lambda pe: (sum(folds[pe].lanes for folds in of_pe), pe))
        picked |= {name: folds[pe] for name, folds in zip(names, of_pe, strict=True)}
    return picked


def narrowed(graph: Graph, folding: Folding) -> Folding:
    """The folding of a network on what pruning left of it: no more lanes and neurons than channels."""
    result = {}
    for node, edge in graph.weighted:
        out = graph.outputs(node)
        fold = folding[node.name]
        groups = ceil_div(len(edge.kept), fold.group[1])
        neurons = fold.neurons if fold.neurons is None or fold.neurons < out else None
        result[node.name] = replace(fold, pe=min(fold.pe, out), simd=min(fold.simd, groups), neurons=neurons)
    return result


def at_equal_lanes(
    graph: Graph, folding: Folding, edges: Mapping[str, np.ndarray], schedulers: Mapping[str, str]
) -> Folding:
    """The same lanes per stage, divided anew into PE and SIMD, none narrow: fewest cycles on what the stages read.

    Few banks are best for events, because a window takes as long as its fullest one; PE beyond the kept channels
    would idle. The read-out keeps its PE and SIMD, and so do stages whose currents are joined.

    Args:
        edges: what each node reads, by its name (`hw.activity.reads`), of some calibration images.
        schedulers: of each convolution, by its name, and of the read-out, or it has the list; "auto" is the one with
            fewer cycles.

    Raises:
        ValueError: events are asked for where they cannot be had.
    """
    return _cheapest(graph, folding, edges, schedulers, lambda *of: [Fold(*pair) for pair in divisions(*of)])


def divisions(fold: Fold, out: int, into: int) -> list[tuple[int, int]]:
    """PE and SIMD of the same lanes for a layer with so many kept channels on both sides."""
    simds = range(1, min(fold.lanes, into, MOST_SIMD) + 1)
    return [(min(fold.lanes // simd, out), simd) for simd in simds if fold.lanes % simd == 0]


def scheduled(
    graph: Graph, folding: Folding, edges: Mapping[str, np.ndarray], schedulers: Mapping[str, str]
) -> Folding:
    """The same PE, SIMD and neurons, with the schedulers asked for; "auto" is the one with fewer cycles.

    Raises:
        ValueError: events are asked for where they cannot be had.
    """
    return _cheapest(graph, folding, edges, schedulers, lambda fold, *_: [fold])


def dealt(graph: Graph, folding: Folding, edges: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """The orders of channels (`hw.banks.orders`) that balance the banks of a folding's event stages.

    Args:
        edges: what each event stage reads, by its name (`hw.activity.reads`), of some calibration images.
    """
    banks = {name: (fold.simd, fold.group) for name, fold in folding.items() if fold.scheduler == "event"}
    walked = [node for node, _ in graph.weighted if node.name in banks]
    events = {
        node.name: channel_events(edges[node.name], node, positions=folding[node.name].group[0]) for node in walked
    }
    return orders(graph, banks, events)


def _cheapest(
    graph: Graph,
    folding: Folding,
    edges: Mapping[str, np.ndarray],
    schedulers: Mapping[str, str],
    ways: Callable[[Fold, int, int], list[Fold]],
) -> Folding:
    result, problems = dict(folding), []
    for node, edge in graph.weighted:
        out, into = graph.outputs(node), len(edge.kept)
        wanted, kernel = schedulers.get(node.name, "list"), Kernel.of(node)
        options: list[tuple[float, Fold]] = []
        against: list[str] = []
        divided = isinstance(node, Conv)
        for fold in ways(folding[node.name], out, into) if divided else [folding[node.name]]:
            pe, simd, rounds = fold.pe, fold.simd, fold.rounds
            if wanted != "event":
                cycles = float(node_law(graph, node, edge, pe, simd, into, out, rounds))
                options.append((cycles, replace(fold, scheduler="list", group=SYNAPSE)))
            against = event_problems(kernel.size, kernel.padding[0], into, simd, fold.group)
            if wanted != "list" and not against:
                drawn = channel_events(edges[node.name], node, positions=fold.group[0])
                place = {c: i for i, c in enumerate(order(edge.kept, drawn, simd, fold.group))}
                places = [place.get(c, -1) for c in range(edge.shape[0])]
                windows = walked_events(edges[node.name], node, places, simd, fold.group)
                cycles = float(law(graph, node, windows, pe, simd, rounds, fold.group).mean())
                options.append((cycles, replace(fold, scheduler="event")))
        if options:
            result[node.name] = min(options, key=lambda o: (o[0], o[1].pe, o[1].simd, o[1].scheduler))[1]
        else:
            problems.append(f"node {node.name!r}: no events: {'; '.join(against)}; use the scheduler auto or list")
    if problems:
        raise ValueError("\n".join(problems))
    return result


def _bank_depth(node: Weighted, fold: Fold) -> int:
    """Words of a weight bank of the dense layer."""
    out, into, height, width = node.weight.shape
    words: int = ceil_div(out, fold.pe) * ceil_div(into, fold.simd) * height * width
    return words
