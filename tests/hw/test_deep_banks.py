"""Weight banks deeper than a block RAM, as few lanes ask for: whole tops against golden model and exact clock."""

from __future__ import annotations

from dataclasses import replace

import pytest
from chains import assert_as_simulated, images_of, readout, spiking

from scaflow.hw.design import design
from scaflow.hw.emit import emit
from scaflow.hw.fold import balanced
from scaflow.quant.golden.mac_array import choosing, segments
from scaflow.quant.graph import Graph, validate

GRAPH = validate(Graph("deep", (1, 4, 4), 2, (
    spiking("one", 34, 1, (3, 3), 2, 1, 8), spiking("two", 60, 34, (3, 3), 1, 1), readout(3, 60, 2, 2),
)))  # fmt: skip
ROWS = {"one": (3, 1), "two": (1, 1), "readout": (1, 1)}  # of pixels share a look-up: a bank of many patterns


def laid_out(scheduler):
    folding = balanced(GRAPH, 5)  # one a layer, and the classes
    assert {name: fold.lanes for name, fold in folding.items()} == {"one": 1, "two": 1, "readout": 3}
    if scheduler == "event":
        folding = {name: replace(fold, scheduler="event", group=ROWS[name]) for name, fold in folding.items()}
    return design(GRAPH, folding)


@pytest.mark.parametrize(("scheduler", "depths"), [
    ("list", {"one": 34 * 9, "two": 60 * 34 * 9}), ("event", {"one": 3 * 64 * 512, "two": 9 * 64 * 64}),
])  # fmt: skip
@pytest.mark.rtl
def test_a_lane_a_layer(scheduler, depths, tmp_path):
    laid = laid_out(scheduler)
    arrays = {stage.name: i.cfg for stage in laid.stages for i in stage.instances if hasattr(i.cfg, "acc_bits")}
    assert {name: cfg.depth for name, cfg in arrays.items()} == depths
    emit(laid, tmp_path / "rtl", counters=True)
    assert_as_simulated(laid, images_of(laid, 1), None, None, tmp_path / "rtl")


def test_segments_and_the_cycles_of_choosing_one():
    assert [choosing(depth) for depth in (1, 16384, 16385, 8 * 16384, 8 * 16384 + 1, 65 * 16384)] == [0, 0, 2, 2, 3, 4]
    assert segments(40000) == (16384, 16384, 7232)


def test_more_lanes_never_take_more_cycles():
    intervals = [design(GRAPH, balanced(GRAPH, lanes)).interval for lanes in (5, 9, 17, 40, 100)]
    assert intervals == sorted(intervals, reverse=True)
