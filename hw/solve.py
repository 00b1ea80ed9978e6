"""Folding as a solver: PE, SIMD, scheduler and neurons of each stage for the least area at an interval, or the best
interval.

Stages run side by side and share nothing but the device, so that a stage offers a list of choices (cycles, area), and
the whole is a choice from each list: an integer program, solved exactly. Of the foldings of a stage only those are
tried that can be best: the least PE of each number of output folds, the fewest neurons of each number of rounds and,
for the list, the least SIMD of each number of synapse groups, since the cycles depend on these numbers alone and no
area falls when lanes are added.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import LinearConstraint, milp

from scaflow.hw.activity import channel_events, law, walked_events
from scaflow.hw.area import Area, Device, area, served_areas
from scaflow.hw.area_array import Lanes, needs_words, reaches
from scaflow.hw.banks import order
from scaflow.hw.cycles import node_law
from scaflow.hw.design import Layout, design, way_in
from scaflow.hw.fold import Fold, Folding
from scaflow.hw.groups import SYNAPSE, Group, Kernel, arriving, bank_depth, window_rows, word_bits
from scaflow.hw.ram import Family
from scaflow.model.limits import AXI_BYTES, MOST_SIMD, event_problems, group_problem
from scaflow.quant.direct import at_once
from scaflow.quant.golden.beats import ceil_div
from scaflow.quant.graph import Conv, Current, Edge, Graph, Readout, Weighted
from scaflow.quant.widths import widths

MOST_BANKS = 24  # of an event stage: more only wait for the fullest
MOST_BITS = 9  # of a pattern: a group of more takes more block RAM than it saves cycles
DEAL_WINDOWS = 256  # by which channels are dealt to banks, here where many numbers of banks are tried


@dataclass(frozen=True)
class Choice:
    """One way to build a stage."""

    fold: Fold
    cycles: float  # an image; of an event stage the mean over the calibration images
    area: Area


Choices = dict[str, tuple[Choice, ...]]  # by stage, in the order of the stages


@dataclass(frozen=True)
class Limits:
    """What a design may take: LUT positions (those that the placer adds included), block RAMs, DSPs."""

    lut: float = math.inf
    bram: float = math.inf
    dsp: float = math.inf

    @classmethod
    def of(cls, device: Device, lut: float | None = None) -> Limits:
        return cls(min(device.lut, lut or math.inf), device.bram, device.dsp)


@dataclass(frozen=True)
class Plan:
    """A choice for each stage."""

    stages: dict[str, Choice]
    ends: Area  # what is not in a stage: the AXI4-Stream ends
    way_in: int  # cycles of the image's way in

    @property
    def interval(self) -> float:
        return max(self.way_in, *(choice.cycles for choice in self.stages.values()))

    @property
    def area(self) -> Area:
        return sum((choice.area for choice in self.stages.values()), self.ends)

    @property
    def folding(self) -> Folding:
        return {name: choice.fold for name, choice in self.stages.items()}


@dataclass(frozen=True)
class Problem:
    """All that can be chosen for a graph."""

    choices: Choices
    ends: Area
    way_in: int

    def plan(self, picked: Sequence[Choice]) -> Plan:
        return Plan(dict(zip(self.choices, picked, strict=True)), self.ends, self.way_in)


def problem(
    graph: Graph,
    family: Family,
    schedulers: Sequence[str] = ("list",),
    inputs: Mapping[str, np.ndarray] | None = None,
    axi_bytes: int = AXI_BYTES,
) -> Problem:
    """The choices of every stage of a graph.

    Args:
        schedulers: that may be chosen, "list" and "event". The read-out may have the list in any case.
        inputs: for "event", what each weighted node reads on the calibration images, uint8 [N, T, C, H, W].
        axi_bytes: of a beat in which images come in.

    Raises:
        ValueError: a stage that no event scheduler can have, where there is no list; events without inputs; or stages
            whose currents are joined, whose foldings are no choices of their own.
    """
    trunks = [[node.name for node in trunk if isinstance(node, Current)] for trunk in graph.trunks]
    if joined := "; ".join(", ".join(names) for names in trunks if len(names) > 1):
        raise ValueError(f"solve: the currents of {joined} are joined and come in one PE, but each stage is chosen by"
                         " itself; give their folding, or lanes for all by [fold] lanes")  # fmt: skip
    if "event" in schedulers and inputs is None:
        raise ValueError("solve: the cycles of an event stage depend on its spikes; give those of calibration images")
    timed: dict[str, list[tuple[Fold, float]]] = {}
    for node, edge in graph.weighted:
        offered = _list_folds(graph, node, edge) if "list" in schedulers or isinstance(node, Readout) else []
        if "event" in schedulers:
            offered += _event_folds(graph, node, edge, (inputs or {})[node.name])
        if not offered:
            kernel = Kernel.of(node)
            why = "; ".join(event_problems(kernel.size, kernel.padding[0], len(edge.kept), MOST_BANKS))
            raise ValueError(f"node {node.name!r}: {why}; use the scheduler auto or list")
        timed[node.name] = [(fold, _fed(graph, node, edge, fold, cycles, axi_bytes)) for fold, cycles in offered]
    areas = _areas(graph, {name: [fold for fold, _ in offered] for name, offered in timed.items()}, family, axi_bytes)
    choices = {
        name: _best([Choice(fold, cycles, areas[name, fold]) for fold, cycles in offered])
        for name, offered in timed.items()
    }
    return Problem(choices, areas["", None], way_in(graph, axi_bytes).frame_beats)


def least_area(problem: Problem, limits: Limits, interval: float) -> Plan | None:
    """The plan of the fewest LUTs within the limits whose stages need at most `interval` cycles an image."""
    if interval < problem.way_in:
        return None
    offered = [[c for c in choices if c.cycles <= interval] for choices in problem.choices.values()]
    if not all(offered):
        return None
    plan = problem.plan([min(choices, key=lambda c: (c.area.placed, c.area.bram, c.cycles)) for choices in offered])
    if plan.area.placed > limits.lut:
        return None
    if fits(plan, limits):
        return plan
    picked = _program(offered, problem.ends, limits)
    return problem.plan(picked) if picked else None


def fastest(problem: Problem, limits: Limits) -> Plan | None:
    """The plan of the shortest interval within the limits, and of these the one of the fewest LUTs."""
    every = {choice.cycles for choices in problem.choices.values() for choice in choices}
    intervals = sorted({max(problem.way_in, cycles) for cycles in every})
    low, high = 0, len(intervals)  # what fits at an interval fits at every longer one
    while low < high:
        middle = (low + high) // 2
        if least_area(problem, limits, intervals[middle]) is None:
            low = middle + 1
        else:
            high = middle
    return least_area(problem, limits, intervals[low]) if low < len(intervals) else None


def fits(plan: Plan, limits: Limits) -> bool:
    taken = plan.area
    return taken.placed <= limits.lut and taken.bram <= limits.bram and taken.dsp <= limits.dsp


def _program(offered: Sequence[Sequence[Choice]], ends: Area, limits: Limits) -> list[Choice] | None:
    """One choice of each stage: the least sum of LUTs within the block RAMs and DSPs, exactly."""
    flat = [choice for choices in offered for choice in choices]
    stage = np.repeat(np.arange(len(offered)), [len(choices) for choices in offered])
    one = (np.arange(len(offered))[:, None] == stage).astype(float)
    rows, most = [], []
    for taken, spent, limit in (
        ([c.area.placed for c in flat], ends.placed, limits.lut),
        ([c.area.bram for c in flat], ends.bram, limits.bram),
        ([c.area.dsp for c in flat], ends.dsp, limits.dsp),
    ):
        if math.isfinite(limit):
            rows.append(taken)
            most.append(limit - spent)
    bounds = [LinearConstraint(one, 1, 1)]
    if rows:
        bounds.append(LinearConstraint(np.array(rows), -np.inf, most))
    luts = np.array([c.area.placed for c in flat])
    found = milp(luts, constraints=bounds, integrality=np.ones(len(flat)), bounds=(0, 1), options={"mip_rel_gap": 0})
    if not found.success:
        return None
    return [flat[i] for i in np.flatnonzero(found.x > 0.5)]


def _fed(graph: Graph, node: Weighted, edge: Edge, fold: Fold, cycles: float, axi_bytes: int) -> float:
    """The cycles of a stage, where it is the first one no fewer than its pixels need to come in."""
    if edge.kind != "pixels":
        return cycles
    rows = window_rows(node, edge, len(edge.kept), fold.group)
    return max(cycles, way_in(graph, axi_bytes, rows.columns if rows else 1).frame_cycles)


def _list_folds(graph: Graph, node: Weighted, edge: Edge) -> list[tuple[Fold, float]]:
    kept_in = len(edge.kept)
    kept_out = graph.outputs(node)
    found: list[tuple[Fold, float]] = []
    for pe in [kept_out] if isinstance(node, Readout) else _least(kept_out, kept_out):
        for simd in _least(kept_in, MOST_SIMD):
            for fold in _served(graph, node, edge, Fold(pe, simd)):
                found.append((fold, node_law(graph, node, edge, pe, simd, kept_in, kept_out, fold.rounds)))
    return found


def _event_folds(graph: Graph, node: Weighted, edge: Edge, spikes: np.ndarray) -> list[tuple[Fold, float]]:
    found = []
    kernel, readout = Kernel.of(node), isinstance(node, Readout)
    drawn = {positions: channel_events(spikes, node, DEAL_WINDOWS, positions) for positions in (1, kernel.size[1])}
    out = graph.outputs(node)
    ways = [
        (simd, group)
        for group in _groups(node, edge)
        for simd in range(1, min(ceil_div(len(edge.kept), group[1]), MOST_BANKS) + 1)
        if not event_problems(kernel.size, kernel.padding[0], len(edge.kept), simd, group)
        and (group == SYNAPSE or group_problem(group, kernel.size[1], edge.bits, simd) is None)
    ]
    for simd, group in ways:
        place = {channel: i for i, channel in enumerate(order(edge.kept, drawn[group[0]], simd, group))}
        places = [place.get(c, -1) for c in range(edge.shape[0])]
        windows = walked_events(spikes, node, places, simd, group)
        way = arriving(edge, window_rows(node, edge, len(edge.kept), group))
        for pe in [out] if readout else _least(out, out):
            wide = Fold(pe, simd, "event", group=group)
            for fold in _served(graph, node, edge, wide):
                cycles = law(graph, node, windows, pe, simd, fold.rounds, group)
                found.append((fold, max(way, float(cycles.mean()))))
    return found


def _groups(node: Weighted, edge: Edge) -> list[Group]:
    """What can share a look-up: a row of positions or one, of one, two or four channels."""
    width = Kernel.of(node).size[1]
    widths = sorted({1, width})
    offered: list[Group] = [(positions, channels) for positions in widths for channels in (1, 2, 4)]
    return [
        group
        for group in offered
        if group == SYNAPSE
        or (
            group[1] <= len(edge.kept)
            and group_problem(group, width, edge.bits) is None
            and word_bits(group, edge.bits) <= MOST_BITS
        )
    ]


def _served(graph: Graph, node: Weighted, edge: Edge, fold: Fold) -> list[Fold]:
    """A folding with each number of neurons that can be best, the widest first: that is the folding itself."""
    if not isinstance(node, Conv) or at_once(node, edge, graph.time_steps):
        return [fold]
    *narrow, _ = _least(fold.pe, fold.pe)
    return [fold, *(replace(fold, neurons=neurons) for neurons in narrow[::-1])]


def _least(total: int, most: int) -> list[int]:
    """The least number of lanes for each number of rounds over `total` channels."""
    return sorted({ceil_div(total, ceil_div(total, lanes)) for lanes in range(1, min(total, most) + 1)})


def _areas(
    graph: Graph, folds: Mapping[str, Sequence[Fold]], family: Family, axi_bytes: int
) -> dict[tuple[str, Fold | None], Area]:
    """Area of every stage in every folding, and of the ends. Each stage is laid out by itself, of foldings that differ
    in their neurons alone once, and only the neurons are counted anew."""
    first = {name: offered[0] for name, offered in folds.items()}
    chain = design(graph, first, axi_bytes=axi_bytes).instances()
    result: dict[tuple[str, Fold | None], Area] = {("", None): area((chain[0], chain[-1]), family)}
    layout = Layout(graph, first, widths(graph), {}, {}, 0)
    for node, edge in graph.weighted:
        served: dict[Fold, list[Fold]] = {}
        for fold in folds[node.name]:
            served.setdefault(replace(fold, neurons=None), []).append(fold)
        banks: Banks | None = None
        pools = graph.pools_behind(node)
        for wide, offered in served.items():
            lanes = banks.lanes(wide) if banks else None
            laid = layout.stage(node, pools, wide, images=lanes is None)
            if banks is None and isinstance(node, Conv) and laid.out_order:
                banks = Banks.of(node, edge, laid.out_order[: laid.kept_out], laid.in_order[: laid.kept_in])
            same = area([i for i in laid.instances if i.module != "lif_pe"], family)
            element = next((i for i in laid.instances if i.module == "lif_pe"), None)
            if element is None:
                result.update({(node.name, one): same for one in offered})
                continue
            found = served_areas(element, [one.served for one in offered], family, lanes)
            result.update({(node.name, one): same + own for one, own in zip(offered, found, strict=True)})
    return result


@dataclass(frozen=True)
class Banks:
    """The weights of a convolution, channel by channel: these tell what the banks of any folding hold."""

    node: Weighted
    edge: Edge
    reach: np.ndarray  # as in `reaches`, [out, in], the kept channels in their order
    used: np.ndarray

    @classmethod
    def of(cls, node: Weighted, edge: Edge, kept: Sequence[int], walked: Sequence[int]) -> Banks:
        reach, used = reaches(node.weight[np.ix_(kept, walked)])
        return cls(node, edge, reach.max((2, 3)), np.bitwise_or.reduce(used, axis=(2, 3)))

    def lanes(self, fold: Fold) -> Lanes | None:
        """Of a folding; None where its words must be looked at one by one."""
        out, into = self.used.shape
        folds, steps = ceil_div(out, fold.pe), ceil_div(into, fold.simd)
        depth = bank_depth(self.node, self.edge, into, folds, fold.simd, fold.scheduler)
        if fold.group != SYNAPSE or self.edge.kind == "pixels" or needs_words(depth, fold.scheduler):
            return None
        spare = ((0, folds * fold.pe - out), (0, steps * fold.simd - into))
        reach, used = (np.pad(of, spare).reshape(folds, fold.pe, steps, -1) for of in (self.reach, self.used))
        return Lanes.reduced(reach.max((0, 2)).T, np.bitwise_or.reduce(used, axis=(0, 2)).T, depth, None)


def _best(choices: Sequence[Choice]) -> tuple[Choice, ...]:
    """The choices that no other one beats or equals in cycles, LUTs, block RAMs and DSPs together."""
    ordered = sorted(choices, key=_figures)
    figures = np.array([_figures(choice) for choice in ordered])
    kept: list[int] = []
    left = np.arange(len(ordered))
    while len(left):  # the first one is beaten by none, and takes all that it beats with it
        first = left[0]
        kept.append(int(first))
        left = left[(figures[left] < figures[first]).any(1)]
    return tuple(ordered[i] for i in kept)


def _figures(choice: Choice) -> tuple[float, float, float, int]:
    return choice.cycles, choice.area.placed, choice.area.bram, choice.area.dsp
