"""The exact clock against the RTL: every beat at both ends in the same cycle, stage by stage and as a whole."""

from __future__ import annotations

import numpy as np
import pytest

from scaflow.hw.clock import predict, stage_cycles
from scaflow.hw.design import AXI_BYTES, design
from scaflow.hw.emit import emit, emit_stage
from scaflow.hw.fold import Fold
from scaflow.quant.graph import Conv, Graph, Pool, Readout, validate
from scaflow.sim.native import simulate_native
from scaflow.sim.rtl import simulate_top


def spiking(name, co, ci, kernel, stride=1, padding=0, in_bits=1):
    """Weights and thresholds that let about a third of the neurons spike."""
    rng = np.random.default_rng(len(name) + co + ci)
    top = 100 if in_bits > 1 else 7
    weight = rng.integers(-top // 2, top + 1, size=(co, ci, *kernel))
    threshold = np.maximum(1, weight.clip(0).sum((1, 2, 3)) * (128 if in_bits > 1 else 1) // 2)
    return Conv(name, weight, np.zeros(co, int), threshold, stride, padding, 1, "hard", 0, 8, in_bits, tuple(range(co)))


def readout(classes, ci, height, width):
    return Readout("readout", np.ones((classes, ci, height, width), int), np.zeros(classes, int), 8)


GRAPHS = {
    # pools, folds that do not divide, a kernel that is the whole map, a dropped row and column
    "pools": (
        Graph("pools", (1, 9, 11), 3, (
            spiking("one", 6, 1, (3, 3), 1, 1, 8), Pool("pool_one", 2),
            spiking("two", 5, 6, (3, 3), 1, 1), spiking("three", 7, 5, (4, 5)), readout(3, 7, 1, 1),
        )),
        {"one": Fold(4, 1), "two": Fold(2, 4), "three": Fold(3, 4), "readout": Fold(3, 2)},
    ),
    # fewer synapse steps than time steps in the first layer; stride; pools one behind the other; even kernels
    "repeats": (
        Graph("repeats", (2, 12, 10), 7, (
            spiking("one", 5, 2, (2, 2), 1, 0, 8), spiking("two", 4, 5, (3, 3), 2, 1),
            Pool("pool_two", 2), Pool("pool_again", 1), spiking("three", 3, 4, (2, 2), 1, 1), readout(2, 3, 4, 3),
        )),
        {"one": Fold(5, 2), "two": Fold(4, 5), "three": Fold(1, 2), "readout": Fold(2, 3)},
    ),
    # a time step only, three colours, 1x1 kernels, a wide first kernel
    "single": (
        Graph("single", (3, 7, 6), 1, (
            spiking("one", 8, 3, (5, 4), 1, 2, 8), spiking("two", 9, 8, (1, 1)),
            Pool("pool_two", 3), spiking("three", 6, 9, (2, 1)), readout(5, 6, 1, 2),
        )),
        {"one": Fold(8, 3), "two": Fold(2, 3), "three": Fold(4, 2), "readout": Fold(5, 1)},
    ),
}  # fmt: skip


def images_of(graph, count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, size=(count, *graph.input_shape), dtype=np.uint8)


@pytest.mark.rtl
@pytest.mark.parametrize(("name", "stage"), [(n, f) for n, (_, folding) in GRAPHS.items() for f in folding])
def test_a_stage_alone(name, stage, tmp_path):
    graph, folding = GRAPHS[name]
    laid = design(validate(graph), folding, fifo_depths={"one": 2})
    images = images_of(graph, 4)
    clock = stage_cycles(laid, stage, images)
    emit_stage(laid, stage, tmp_path / "rtl")
    run = simulate_top(tmp_path / "rtl", "top", [0] * clock.in_at.size, expect=clock.out_at.size)
    origin = clock.in_at[0, 0]
    assert run.in_at == (clock.in_at - origin).ravel().tolist()
    assert run.out_at == (clock.out_at - origin).ravel().tolist()


def top_times(directory, images, classes, pattern=None):
    """int64 [N, 4]: cycles since reset of the first and last beat in, the first and last word out."""
    frames = images.transpose(0, 2, 3, 1).reshape(len(images), -1)
    stalls = None if pattern is None else lambda chunk: pattern
    run = simulate_native(
        directory, "top", frames, axi_bytes=AXI_BYTES, expect=classes + 1, stalls=stalls, chunk=len(images), workers=1
    )
    return run.at


def predicted(clock):
    return np.stack([clock.in_at[:, 0], clock.in_at[:, -1], clock.out_at[:, 0], clock.out_at[:, -1]], 1)


PATTERNS = {"flowing": None, "source": (0.02, 1), "sink": (1, 0.001), "both": (0.04, 0.004)}  # chances to be open


@pytest.mark.rtl
@pytest.mark.parametrize("stalls", PATTERNS)
@pytest.mark.parametrize("name", GRAPHS)
def test_the_whole_top(name, stalls, tmp_path):
    graph, folding = GRAPHS[name]
    laid = design(validate(graph), folding, fifo_depths={"one": 2, "three": 3})
    images = images_of(graph, 20)
    source = sink = pattern = None
    if PATTERNS[stalls]:
        rng = np.random.default_rng(3)
        source, sink = (rng.random(9973) < chance for chance in PATTERNS[stalls])
        pattern = source | sink << 1
    emit(laid, tmp_path / "rtl")
    seen = top_times(tmp_path / "rtl", images, laid.readout.classes, pattern)
    clock = predict(laid, images, source, sink)
    assert np.array_equal(predicted(clock), seen)
    if stalls == "sink":  # back-pressure has reached the first stage
        assert clock.stages[0].stalled > predict(laid, images).stages[0].stalled
