"""Tops whose images come in by beats of 1 to 16 bytes: golden model = RTL = exact clock, in both engines; the law of
the way in; widths that cannot be.

Images of 63 bytes fill the last beat of no width above 7, and those of 192 that of each.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from chains import assert_as_simulated, images_of, readout, spiking

from scaflow.hw.area import area
from scaflow.hw.clock import predict
from scaflow.hw.design import Design, design, from_manifest
from scaflow.hw.emit import beat_bytes, check_emitted, emit
from scaflow.hw.fold import Fold
from scaflow.hw.solve import problem
from scaflow.hw.stalls import OFFERS, TAKES, stall_pattern
from scaflow.hw.synth import synthesize
from scaflow.quant.graph import Graph, execute, validate
from scaflow.sim.native import simulate_native
from scaflow.sim.rtl import SimulationError, simulate_axis

SHAPES = {63: (1, 9, 7), 192: (3, 8, 8)}
FOLDS = {"one": Fold(4, 1), "readout": Fold(3, 2)}


def laid_out(axi_bytes: int, frame: int, folds: dict[str, Fold] = FOLDS) -> Design:
    channels, height, width = SHAPES[frame]
    nodes = (spiking("one", 4, channels, (3, 3), 1, 0, 8), readout(3, 4, height - 2, width - 2))
    weight = np.random.default_rng(frame).integers(-100, 101, nodes[1].weight.shape)
    graph = validate(Graph(f"by{axi_bytes}", SHAPES[frame], 1, (nodes[0], replace(nodes[1], weight=weight))))
    return design(graph, folds, axi_bytes=axi_bytes)


WIDTHS = [
    (1, 63), (8, 63), (16, 63),
    *(pytest.param(*case, marks=pytest.mark.full) for case in ((3, 63), (4, 63), (1, 192), (3, 192), (4, 192), (8, 192),
                                                              (9, 63), (16, 192))),
]  # fmt: skip


@pytest.mark.rtl
@pytest.mark.parametrize(("axi_bytes", "frame"), WIDTHS)
def test_the_whole_top(axi_bytes, frame, tmp_path):
    """Classes and logits through either engine with pauses; every beat in its cycle, flowing and with pauses."""
    laid = laid_out(axi_bytes, frame)
    images = images_of(laid, 6)
    logits = execute(laid.graph, images)
    expected = np.concatenate([logits.argmax(1)[:, None], logits], 1)
    assert len(np.unique(expected)) > 6
    rtl = emit(laid, tmp_path / "rtl", counters=True).parent
    assert beat_bytes(rtl) == axi_bytes
    for stalls in (np.empty(0, np.uint8), stall_pattern(0.3, 1, 300)):
        ends = (stalls & OFFERS != 0, stalls & TAKES != 0) if len(stalls) else (None, None)
        _, run = assert_as_simulated(laid, images, *ends, rtl)
        assert run.words.astype(np.int32).tolist() == expected.tolist()
        assert not run.frame_error
    frames = [image.transpose(1, 2, 0).tobytes() for image in images]
    cocotb = simulate_axis(rtl, "top", frames, axi_bytes=axi_bytes, expect=4, stalls=0.3, seed=2)
    assert not cocotb.frame_error
    assert np.array(cocotb.words, np.uint32).astype(np.int32).tolist() == expected.tolist()


@pytest.mark.rtl
def test_a_beat_of_another_width_than_the_port_is_an_error(tmp_path):
    """In the native engine, which knows the port by its bytes in memory."""
    rtl = emit(laid_out(16, 63), tmp_path / "rtl", counters=True).parent  # built already
    with pytest.raises(SimulationError, match="a beat of IN has 8 bytes, s_axis_tdata others"):
        simulate_native(rtl, "top", np.zeros((1, 63), np.uint8), axi_bytes=8, expect=4, workers=1)


@pytest.mark.parametrize("axi_bytes", [1, 3, 4, 8, 16])
@pytest.mark.parametrize("frame", SHAPES)
def test_the_interval_is_the_longer_of_work_and_way_in(axi_bytes, frame):
    """By the exact clock. A pixel of three bytes takes three cycles, but one where a beat is whole pixels; behind an
    image what fills its last beat up takes its own."""
    laid = laid_out(axi_bytes, frame, {"one": Fold(4, SHAPES[frame][0]), "readout": Fold(3, 4)})
    unit = 3 if (axi_bytes, frame) == (3, 192) else 1
    beats = -(-frame // axi_bytes)
    assert laid.way_in.frame_beats == beats and laid.way_in.frame_cycles == beats * axi_bytes // unit
    assert laid.interval == max(laid.way_in.frame_cycles, *(stage.law for stage in laid.stages))
    assert predict(laid, images_of(laid, 8)).interval[-3:].tolist() == [laid.interval] * 3


def test_the_manifest_keeps_the_width(tmp_path):
    laid = laid_out(16, 63)
    emit(laid, tmp_path / "rtl")
    manifest = json.loads((tmp_path / "rtl/manifest.json").read_text())
    assert (manifest["axi_bytes"], manifest["way_in"]) == (16, 64)
    again = from_manifest(laid.graph, manifest)
    assert again.axi_bytes == 16 and again.way_in == laid.way_in
    check_emitted(again, tmp_path / "rtl")
    assert "  input  logic [127:0] s_axis_tdata,\n" in (tmp_path / "rtl/top.sv").read_text()


@pytest.mark.parametrize("axi_bytes", [0, 17])
def test_a_width_that_cannot_be(axi_bytes):
    told = rf"^axi_bytes={axi_bytes}: an input beat has 1 to 16 bytes; give a width among these, or leave it out for 4$"
    with pytest.raises(ValueError, match=told):
        laid_out(axi_bytes, 63)


def test_the_solver_counts_with_the_width():
    """The way in bounds the first stage, and its cells are those of the ends."""
    graph = validate(Graph("dot", (3, 8, 8), 1, (spiking("one", 4, 3, (1, 1), 1, 0, 8), readout(3, 4, 8, 8))))
    slow, fast = (problem(graph, "xc7", axi_bytes=width) for width in (1, 3))
    assert (slow.way_in, fast.way_in) == (192, 64)
    assert [min(c.cycles for c in found.choices["one"]) for found in (slow, fast)] == [192, 64]
    assert slow.ends != fast.ends


CELLS = [
    ("xc7", 16),
    *(
        pytest.param(family, axi_bytes, marks=pytest.mark.full)
        for family, axi_bytes in (("xc7", 1), ("xc7", 4), ("ecp5", 1), ("ecp5", 4), ("ecp5", 16))
    ),
]


@pytest.mark.parametrize(("family", "axi_bytes"), CELLS)
def test_the_area_of_the_way_in_is_near_that_of_a_synthesis(family, axi_bytes, tmp_path):
    """Of 5 to 125 LUTs; its flip-flops to the bit."""
    graph = validate(Graph("way", (1, 8, 8), 1, (spiking("one", 2, 1, (1, 1), 1, 0, 8), readout(2, 2, 8, 8))))
    laid = design(graph, {"one": Fold(1, 1), "readout": Fold(2, 1)}, axi_bytes=axi_bytes)
    emit(laid, tmp_path / "rtl")
    (tmp_path / "rtl/manifest.json").unlink()  # each instance is then counted for itself
    target = {"xc7": "xc7", "ecp5": "ecp5-85"}[family]
    found = synthesize(tmp_path / "rtl", "top", target, lambda _: None, tmp_path / "cache", route=False)
    told, real = area(laid.instances()[:1], family), found.per_stage["axis_in"]
    assert told.lut == pytest.approx(real.lut, abs=12)
    assert round(told.ff) == real.ff
