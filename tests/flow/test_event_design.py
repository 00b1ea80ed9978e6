"""The event design is described for the dense network and laid out for what pruning left of it."""

from __future__ import annotations

import numpy as np

from scaflow.flow.activity.events import figures, lay_out, summary
from scaflow.hw.fold import Fold, balanced
from scaflow.model.config import EventFoldConfig, FoldConfig
from scaflow.quant.compact import compact
from scaflow.quant.graph import Conv, Graph, Readout, validate


def pruned(stride=1, reset="hard"):
    """Two of six channels are kept in the first layer, three of five in the second, a 1x1 convolution."""
    rng = np.random.default_rng(2)
    ones, five = np.ones(6, int), np.ones(5, int)
    side = (6 - 1) // stride + 1
    return validate(Graph("net", (1, 6, 6), 3, (
        Conv("one", rng.integers(1, 90, (6, 1, 3, 3)), 0 * ones, 9000 * ones, 1, 1, 1, reset, 0, 8, 8, (1, 4)),
        Conv("two", rng.integers(1, 7, (5, 6, 1, 1)), 0 * five, 3 * five, stride, 0, 1, "hard", 0, 4, 1, (0, 2, 3)),
        Readout("readout", rng.integers(-9, 9, (3, 5, side, side)), np.zeros(3, int), 8),
    )))  # fmt: skip


IMAGES = np.random.default_rng(0).integers(0, 256, (8, 1, 6, 6)).astype(np.uint8)


def test_lanes_beyond_what_is_kept_are_left_out():
    small, _ = compact(pruned())
    given = FoldConfig(event=EventFoldConfig(pe=(6, 5), simd=(1, 6, 5), scheduler="event"))
    laid = lay_out(small, balanced(small, 20), given, IMAGES)
    kept_in, kept_out = [s.kept_in for s in laid.stages], [s.kept_out for s in laid.stages]
    assert max(kept_out[0], kept_in[1]) <= 2 and kept_out[1] <= 3
    assert [Fold(s.pe, s.simd, s.scheduler) for s in laid.stages] == [
        Fold(kept_out[0], 1, "event"), Fold(kept_out[1], kept_in[1], "event"), Fold(3, kept_in[2], "list"),
    ]  # fmt: skip


def test_images_come_in_by_the_width_of_all_designs():
    laid = lay_out(small := pruned(), balanced(small, 20), FoldConfig(axi_bytes=13), IMAGES)
    assert (laid.axi_bytes, laid.way_in.axi_bytes) == (13, 13)


def test_neurons_are_named_in_the_description():
    event = EventFoldConfig(pe=(6, 5), simd=(1, 6, 5), neurons=(1, 4), scheduler="event")
    hard, soft = pruned(), pruned(reset="soft")
    laid = lay_out(hard, balanced(hard, 20), FoldConfig(event=event), IMAGES)
    first = laid.stages[0]
    assert (first.pe, first.neurons, first.rounds) == (2, 2, 1)  # no membranes: none to serve
    laid = lay_out(soft, balanced(soft, 20), FoldConfig(event=event), IMAGES)
    assert [(s.pe, s.neurons, s.rounds) for s in laid.stages] == [(2, 1, 2), (3, 3, 1), (3, 3, 1)]
    rows = figures(laid, soft, IMAGES)
    assert [row["neurons"] for row in rows] == [1, 3]
    assert rows[0]["cycles"] >= 6 * 6 * 3 * 2  # two rounds of three steps are longer than any window of the image


def test_an_event_stage_behind_a_stride_costs_its_words():
    graph = pruned(stride=3)
    laid = lay_out(graph, balanced(graph, 60), FoldConfig(event=EventFoldConfig(scheduler="event")), IMAGES)
    row = figures(laid, graph, IMAGES)[1]
    assert max(cycles for _, cycles in row["images"]) < row["cycles"] == 6 * 6 * 3  # four windows


def test_the_read_out_walks_events_where_it_is_named():
    graph = pruned()
    kinds = {
        readout: lay_out(graph, balanced(graph, 20), FoldConfig(event=EventFoldConfig(readout=readout)), IMAGES)
        for readout in ("list", "event", "auto")
    }
    lists, events, auto = (laid.stages[-1] for laid in kinds.values())
    assert (lists.scheduler, events.scheduler, auto.scheduler) == ("list", "event", "event")
    assert len(figures(kinds["list"], graph, IMAGES)) == 2
    rows = figures(kinds["event"], graph, IMAGES)
    assert [row["name"] for row in rows] == ["one", "two", "readout"]
    assert rows[-1]["neurons"] is None
    assert rows[-1]["ideal"] <= rows[-1]["cycles"] < rows[-1]["list"] == lists.law
    assert summary(rows)["dense_list_over_pruned_event"] == rows[1]["dense_list"] / rows[1]["cycles"]
    given = EventFoldConfig(
        pe=(2, 3), simd=(1, 2, 1), readout="event", scheduler="event", groups=((1, 1), (1, 1), (1, 2))
    )
    grouped = lay_out(graph, balanced(graph, 20), FoldConfig(event=given), IMAGES)
    assert (grouped.stages[-1].group, grouped.stages[-1].simd) == ((1, 2), 1)
    assert figures(grouped, graph, IMAGES)[-1]["cycles"] <= rows[-1]["cycles"]
