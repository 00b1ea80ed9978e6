"""FIFO depths: deep enough for a stage that gives its words in bursts, and no deeper."""

import numpy as np
import pytest
from chains import images_of, readout, spiking
from graphs import added, folding, preactivated

from scaflow.hw.clock import predict
from scaflow.hw.design import design
from scaflow.hw.fifo import choose_fifos, with_fifos
from scaflow.hw.fold import Fold
from scaflow.quant.graph import Conv, Graph, Readout, validate

FOLDING = {"first": Fold(4, 1, "event"), "second": Fold(4, 4, "event"), "readout": Fold(2, 1)}


@pytest.fixture
def bursts():
    """A bright half spikes everywhere, a dark one nowhere: there the second stage gives a word a cycle, of which the
    read-out takes one in four."""
    ones, flat = np.ones(4, int), np.zeros(4, int)
    nodes = (
        Conv("first", np.ones((4, 1, 1, 1), int), flat, 100 * ones, 1, 0, 0, "hard", 0, 4, 8, (0, 1, 2, 3)),
        Conv("second", np.ones((4, 4, 3, 3), int), flat, 30 * ones, 1, 1, 0, "hard", 0, 4, 1, (0, 1, 2, 3)),
        Readout("readout", np.ones((2, 4, 8, 8), int), np.zeros(2, int), 8),
    )
    images = np.zeros((12, 1, 8, 8), np.uint8)
    images[:, :, 4:] = 255
    return validate(Graph("bursts", (1, 8, 8), 2, nodes)), images


def interval(laid, images):
    return predict(laid, images).interval.mean()


def test_depths_of_a_design(bursts):
    graph, _ = bursts
    made = design(graph, FOLDING, fifo_depths={"first": 2, "second": 64})
    changed = with_fifos(design(graph, FOLDING), {"first": 2, "second": 64})
    queues = [[stage.instances[-1].cfg for stage in laid.stages[:-1]] for laid in (made, changed)]
    assert queues[0] == queues[1]


def test_deep_enough_and_no_deeper(bursts):
    graph, images = bursts
    laid = design(graph, FOLDING)
    depths = choose_fifos(laid, images)
    assert depths == {"first": 2, "second": 32}
    longest = 1.01 * interval(with_fifos(laid, {"first": 4096, "second": 4096}), images)
    assert interval(with_fifos(laid, depths), images) <= longest
    assert interval(with_fifos(laid, {"first": 2, "second": 16}), images) > longest


def test_a_list_design_keeps_the_interval_of_its_law():
    """Also where a shallower queue would cost less than what event designs may lose."""
    nodes = (spiking("one", 4, 3, (2, 2), 1, 1, 8), readout(3, 4, 12, 11))
    graph = validate(Graph("near", (3, 11, 10), 5, nodes))
    laid = design(graph, {"one": Fold(3, 1), "readout": Fold(3, 1)})
    images = images_of(laid, 20)
    assert laid.interval < predict(with_fifos(laid, {"one": 8}), images).interval[-1] < 1.01 * laid.interval
    assert predict(with_fifos(laid, choose_fifos(laid, images)), images).interval[-1] == laid.interval


def test_two_images_are_too_few(bursts):
    graph, images = bursts
    with pytest.raises(ValueError, match=r"^FIFO depths: 2 images show no interval; give at least 3$"):
        choose_fifos(design(graph, FOLDING), images[:2])


@pytest.mark.parametrize(("make", "pe"), [(preactivated, 3), (added, 2)])
def test_a_list_design_of_a_graph_keeps_the_interval_of_its_law(make, pe):
    """Its shorter ways hold more than they must: with what the theorem asks for they hold the longer ones up."""
    graph = make(height=12, width=12)
    laid = design(graph, folding(graph, "list", pe=pe))
    images = images_of(laid, 4)
    assert predict(laid, images).interval[-1] > laid.interval
    depths = choose_fifos(laid, images)
    deeper = with_fifos(laid, depths)
    assert predict(deeper, images).interval[-1] == laid.interval
    before, after = (
        {queue.name: queue.cfg.depth for part in d.parts if part.kind == "fork" for queue in part.queues}
        for d in (laid, deeper)
    )
    longer = [name for name in before if after[name] > before[name]]
    assert len(longer) == 1 and after[longer[0]] <= 1.5 * before[longer[0]]
    less = depths | {longer[0]: after[longer[0]] - before[longer[0]] // 4 - 1}
    assert predict(with_fifos(laid, less), images).interval[-1] > laid.interval
