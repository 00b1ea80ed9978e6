"""Designs that see the highest bits of a pixel: top = golden model, cycles = exact clock, whatever the scheduler.

With one bit a pixel looks like a spike and is none: it enters once, and its current feeds all steps.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from chains import assert_as_simulated, images_of, readout, seeing, spiking, stage_beats

from scaflow.hw.activity import reads
from scaflow.hw.area import area
from scaflow.hw.clock import stage_cycles
from scaflow.hw.cost import cycle_model
from scaflow.hw.cycles import node_law
from scaflow.hw.design import design, from_manifest
from scaflow.hw.emit import check_emitted, emit, emit_stage
from scaflow.hw.fold import Fold
from scaflow.hw.synth import synthesize
from scaflow.model.config import NetworkConfig
from scaflow.model.cost import EventStage, ListStage
from scaflow.quant.golden.beats import unpack
from scaflow.quant.graph import Graph, Pool, Readout, execute, validate
from scaflow.sim.build import MODULE, lint, sources_of
from scaflow.sim.rtl import simulate_axis, simulate_top

NODES = (
    spiking("one", 6, 3, (3, 3), 1, 1, 8), Pool("pool_one", 2), spiking("two", 5, 6, (3, 3), 1, 1),
    Readout("readout", np.random.default_rng(4).integers(-100, 101, (3, 5, 4, 3)), np.array([7, 0, -9]), 8),
)  # fmt: skip
WHOLE = Graph("seen", (3, 8, 7), 3, NODES)
FOLDS = {"one": Fold(4, 2), "two": Fold(5, 3), "readout": Fold(3, 2)}


def laid_out(bits, scheduler, time_steps=3):
    graph = seeing(replace(WHOLE, time_steps=time_steps), bits)
    folds = {n: replace(f, scheduler="list" if n == "readout" else scheduler) for n, f in FOLDS.items()}
    return design(graph, folds)


ALSO = [pytest.param(*case, marks=pytest.mark.full) for case in ((1, "list"), (2, "event"), (3, "list"))]
TIMED = [(2, "list", 1), pytest.param(1, "event", 3, marks=pytest.mark.full)]


@pytest.mark.rtl
@pytest.mark.parametrize(("bits", "scheduler"), [(1, "event"), (2, "list"), *ALSO])
def test_the_whole_top(bits, scheduler, tmp_path):
    """Classes and logits; no warning; the manifest tells all of it."""
    laid = laid_out(bits, scheduler)
    images = images_of(laid, 6)
    logits = execute(laid.graph, images)
    assert len(np.unique(logits)) > 6
    top = emit(laid, tmp_path / "rtl")
    lint("top", sources_of(top))
    check_emitted(from_manifest(laid.graph, json.loads((tmp_path / "rtl/manifest.json").read_text())), tmp_path / "rtl")
    frames = [image.transpose(1, 2, 0).tobytes() for image in images]
    run = simulate_axis(tmp_path / "rtl", "top", frames, axi_bytes=4, expect=4, stalls=0.3, seed=2)
    assert not run.frame_error
    assert [words[0] for words in run.words] == logits.argmax(1).tolist()
    assert [[w - (w >> 31 << 32) for w in words[1:]] for words in run.words] == logits.tolist()


@pytest.mark.rtl
@pytest.mark.parametrize(("bits", "scheduler", "time_steps"), TIMED)
def test_the_exact_clock(bits, scheduler, time_steps, tmp_path):
    laid = laid_out(bits, scheduler, time_steps)
    emit(laid, tmp_path / "rtl", counters=True)
    assert_as_simulated(laid, images_of(laid, 12), None, None, tmp_path / "rtl")


@pytest.mark.rtl
@pytest.mark.parametrize("scheduler", ["list", "event"])
def test_the_first_stage_alone(scheduler, tmp_path):
    """Beats at both ends in the cycles that are predicted, the words those of the golden model."""
    laid = laid_out(1, scheduler)
    images = images_of(laid, 3)
    clock = stage_cycles(laid, "one", images)
    emit_stage(laid, "one", tmp_path / "rtl")
    beats = stage_beats(laid, "one", images)
    run = simulate_top(tmp_path / "rtl", "top", beats, expect=clock.out_at.size, engine=MODULE)
    assert run.out_at == (clock.out_at - clock.in_at[0, 0]).ravel().tolist()
    pooled = execute(laid.graph, images, trace=True)[1]["pool_one"].transpose(0, 3, 4, 1, 2).reshape(-1, 6)
    assert [unpack(word, 1, 6) for word in run.y] == pooled[:, list(laid.stages[0].out_order)].tolist()


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_an_image_costs_the_same_whatever_is_seen_of_it(bits):
    """By the law; more steps than synapses: words set the pace, one a step, or after soft reset the repeater."""
    nodes = (spiking("one", 4, 1, (2, 2), 1, 0, 8), readout(2, 4, 5, 5))
    graph = seeing(validate(Graph("slow", (1, 6, 6), 9, nodes)), bits)
    node, edge = graph.nodes[0], graph.edges()[0]
    assert node_law(graph, node, edge, 2, 1, 1, 4) == 25 * 9
    folds = {"one": Fold(2, 1), "readout": Fold(2, 1)}
    assert design(graph, folds).stages[0].instances[2].cfg.in_bits == bits
    soft = replace(graph, nodes=(replace(node, reset="soft"), *graph.nodes[1:]))
    assert node_law(soft, soft.nodes[0], edge, 2, 1, 1, 4) == 25 * 9 * 2
    element = design(soft, folds).stages[0].instances[2].cfg
    assert (element.direct, element.in_bits) == (1, bits)


def test_an_event_is_a_pixel_of_which_something_is_seen():
    laid = laid_out(2, "event")
    images = np.array([0, 63, 64, 255] * 42, np.uint8).reshape(1, 3, 8, 7)
    assert sorted(np.unique(reads(laid.graph, images)["one"])) == [0, 1, 3]
    bright, dark = (images_of(laid, 4) | 192, images_of(laid, 4) & 63)
    cycles = [stage_cycles(laid, "one", part).interval.mean() for part in (bright, dark)]
    assert cycles[0] > 2 * cycles[1]


def test_fewer_bits_take_fewer_cells():
    """Synthesised: 1,726, 1,680 and 1,648 LUTs. (On the ECP5 the words of 4 bits leave block RAM for LUTs.)"""
    areas = [area(laid_out(bits, "event").instances(), "xc7").lut for bits in (8, 4, 2)]
    assert areas[0] > areas[1] > areas[2]


SHORT = [("xc7", 5), *(pytest.param(*case, marks=pytest.mark.full) for case in (("xc7", 6), ("ecp5", 5)))]


@pytest.mark.parametrize(("family", "weight_bits"), SHORT)
def test_short_products_are_logic_on_one_family(family, weight_bits, tmp_path):
    """The model's DSPs are those of a synthesis, its LUTs near them: products of 8 and 9 bits, one each side of the 9
    from which the xc7 has a DSP."""
    one = spiking("one", 4, 1, (3, 3), 1, 0, 8)
    weight = np.random.default_rng(0).integers(-(1 << weight_bits - 1) + 1, 1 << weight_bits - 1, one.weight.shape)
    one = replace(one, weight=weight, weight_bits=weight_bits, threshold=weight.clip(0).sum((1, 2, 3)) * 128)
    graph = seeing(validate(Graph("short", (1, 6, 6), 1, (one, readout(3, 4, 4, 4)))), 3)
    laid = design(graph, {"one": Fold(4, 1), "readout": Fold(3, 1)})
    emit(laid, tmp_path / "rtl")
    target = {"xc7": "xc7", "ecp5": "ecp5-85"}[family]
    found = synthesize(tmp_path / "rtl", "top", target, lambda _: None, tmp_path / "cache", route=False)
    told, real = area(laid.stages[0].instances, family), found.per_stage["one"]
    assert (told.dsp, real.dsp) == ((0, 0) if (family, weight_bits) == ("xc7", 5) else (4, 4))
    assert told.lut == pytest.approx(real.lut, rel=0.1)


def test_pruning_counts_a_first_layer_of_one_bit_as_the_image():
    described = {
        "name": "small", "dataset": "digits", "time_steps": 3, "layers": [{"channels": 4}, {"channels": 4}],
        "train": {"epochs": 1}, "sca": {"cycles": 0.5, "scheduler": "event"}, "quant": {"pixel_bits": 1},
    }  # fmt: skip
    stages = cycle_model(NetworkConfig.model_validate(described), "event").stages
    assert [type(stage) for stage in stages] == [ListStage, EventStage, ListStage]
