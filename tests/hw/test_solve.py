"""The folding solver against brute force over every PE, SIMD and number of neurons; its budgets, what it refuses."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from graphs import preactivated

from scaflow.hw.activity import law_events, reads, window_events
from scaflow.hw.area import DEVICES, Area, area
from scaflow.hw.banks import deal
from scaflow.hw.cycles import node_law
from scaflow.hw.design import design
from scaflow.hw.fold import Fold
from scaflow.hw.groups import SYNAPSE
from scaflow.hw.solve import Choice, Limits, Problem, fastest, fits, least_area, problem
from scaflow.quant.graph import Conv, Readout

FAMILY = "ecp5"


def every_fold(graph):
    """Each node's foldings with their cycles, by the law itself."""
    for node, edge in zip(graph.nodes, graph.edges(), strict=True):
        if not isinstance(node, Conv | Readout):
            continue
        out = len(node.weight) if isinstance(node, Readout) else len(node.kept)
        pes = [out] if isinstance(node, Readout) else range(1, out + 1)
        found = {}
        for pe, simd in product(pes, range(1, len(edge.kept) + 1)):
            for neurons in (None, *range(1, 1 if isinstance(node, Readout) else pe)):
                fold = Fold(pe, simd, neurons=neurons)
                found[fold] = node_law(graph, node, edge, pe, simd, len(edge.kept), out, fold.rounds)
        yield node.name, found


def stage_areas(graph, folds):
    """Area of every stage in every folding, one design a folding."""
    first = {name: next(iter(found)) for name, found in folds.items()}
    result = {}
    for name, found in folds.items():
        for fold in found:
            laid = design(graph, first | {name: fold})
            stage = next(s for s in laid.stages if s.name == name)
            result[name, fold] = area(stage.instances, FAMILY)
    return result


@pytest.mark.parametrize("interval", [250, 400, 800, 2000, 10_000])
def test_the_least_area_is_that_of_brute_force(graph, interval):
    folds = dict(every_fold(graph))
    areas = stage_areas(graph, folds)
    expected = 0.0
    for name, found in folds.items():
        enough = [areas[name, fold].placed for fold, cycles in found.items() if cycles <= interval]
        expected = expected + min(enough) if enough else np.inf
    plan = least_area(problem(graph, FAMILY), Limits(), interval)
    if np.isinf(expected):
        assert plan is None
    else:
        assert plan is not None and plan.interval <= interval
        assert sum(c.area.placed for c in plan.stages.values()) == pytest.approx(expected, rel=1e-9)


def test_the_plan_is_a_design_with_that_interval_and_area(graph):
    plan = fastest(problem(graph, FAMILY), Limits())
    laid = design(graph, plan.folding)
    assert laid.interval == plan.interval
    assert area(laid.instances(), FAMILY).placed == pytest.approx(plan.area.placed)


def test_the_fastest_within_a_budget_is_that_of_brute_force(graph):
    folds = dict(every_fold(graph))
    areas = stage_areas(graph, folds)
    found = problem(graph, FAMILY)
    for factor in (1.05, 1.3, 1.6, 3.0):
        least = least_area(found, Limits(), np.inf).area.placed
        budget = least * factor
        best = None
        for interval in sorted({cycles for part in folds.values() for cycles in part.values()}):
            parts = [
                min((areas[name, f].placed for f, cycles in part.items() if cycles <= interval), default=np.inf)
                for name, part in folds.items()
            ]
            if sum(parts) + found.ends.placed <= budget:
                best = max(interval, found.way_in)
                break
        plan = fastest(found, Limits(lut=budget))
        assert (plan.interval if plan else None) == best


def test_block_rams_and_dsps_are_respected_exactly():
    """Where the fewest LUTs break a budget, the best combination is found, not the best of each stage."""
    stages = {
        name: tuple(
            Choice(Fold(1, i + 1), 100.0, Area(lut=lut, bram=bram, dsp=dsp))
            for i, (lut, bram, dsp) in enumerate(offered)
        )
        for name, offered in {
            "a": [(100, 8, 0), (150, 3, 1), (400, 0, 2)],
            "b": [(100, 8, 0), (120, 6, 3), (300, 1, 0)],
            "c": [(50, 4, 1), (90, 2, 0)],
        }.items()
    }
    found = Problem(stages, Area(lut=10), 10)
    for limits in (
        Limits(bram=20), Limits(bram=13), Limits(bram=9), Limits(bram=6, dsp=2), Limits(bram=12, dsp=0), Limits(bram=3),
    ):  # fmt: skip
        combinations = [
            sum((choice.area for choice in picked), found.ends) for picked in product(*stages.values())
        ]
        allowed = [a.placed for a in combinations if a.bram <= limits.bram and a.dsp <= limits.dsp]
        plan = least_area(found, limits, 100)
        if not allowed:
            assert plan is None
        else:
            assert fits(plan, limits)
            assert plan.area.placed == pytest.approx(min(allowed))
    assert least_area(found, Limits(), 99) is None
    assert least_area(found, Limits(lut=0), 100) is None


def test_a_plan_fits_its_device_and_the_images_way_in_bounds_it(graph):
    found = problem(graph, "xc7")
    limits = Limits.of(DEVICES["xc7z010"], 3000)
    plan = fastest(found, limits)
    assert plan.area.placed <= 3000 and fits(plan, limits)
    pixels = np.prod(graph.input_shape)
    assert min(choice.cycles for choice in found.choices["first"]) >= pixels  # one a cycle
    assert least_area(found, Limits(), pixels - 1) is None


def test_event_stages_take_the_cycles_of_the_law_and_auto_takes_the_better(graph):
    images = np.random.default_rng(1).integers(0, 256, (6, *graph.input_shape), dtype=np.uint8)
    seen = reads(graph, images)
    found = problem(graph, FAMILY, ("event",), seen)
    node, edge = next(
        (n, e) for n, e in zip(graph.nodes, graph.edges(), strict=True) if n.name == "middle"
    )
    arriving = edge.shape[1] * edge.shape[2] * graph.time_steps
    for choice in found.choices["middle"]:
        assert choice.fold.scheduler == "event"
        kept = edge.kept
        if choice.fold.group == SYNAPSE and choice.fold.simd in (1, len(kept)):  # one order only
            order = deal(kept, np.zeros((1, edge.shape[0]), int), choice.fold.simd)
            bank = [order.index(c) % choice.fold.simd if c in order else -1 for c in range(edge.shape[0])]
            windows = window_events(seen["middle"], node, bank)
            folds = -(-len(node.kept) // choice.fold.pe)
            assert choice.cycles == max(arriving, law_events(windows, folds, graph.time_steps).mean())
    both = problem(graph, FAMILY, ("list", "event"), seen)
    for name in both.choices:
        ways = problem(graph, FAMILY, ("list",)).choices[name] + found.choices[name]
        for way in ways:  # nothing offered by either is better than all that is offered by both
            assert any(
                c.cycles <= way.cycles and c.area.placed <= way.area.placed and c.area.bram <= way.area.bram
                for c in both.choices[name]
            )


def test_an_event_stage_without_events_still_waits_for_its_words(graph):
    images = np.zeros((2, *graph.input_shape), np.uint8)
    silent = {name: 0 * seen for name, seen in reads(graph, images).items()}
    dense = problem(graph, FAMILY, ("event",), silent).choices["dense"]  # one window, of the whole 4 x 3 map
    for choice in dense:
        assert choice.cycles == graph.time_steps * max(4 * 3, -(-7 // choice.fold.pe))


def test_events_need_the_spikes_of_some_images(graph):
    with pytest.raises(ValueError, match="give those of calibration images"):
        problem(graph, FAMILY, ("event",))


def test_stages_whose_currents_are_joined_are_no_choices_of_their_own():
    with pytest.raises(ValueError, match=r"^solve: the currents of stem, outer1; outer2, across2 are joined"):
        problem(preactivated(), "xc7")
