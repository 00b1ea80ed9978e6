"""FIFO depths: small enough, not too small, and as in the design that is made with them."""

import numpy as np
import pytest

from scaflow.hw.clock import predict
from scaflow.hw.design import design
from scaflow.hw.fifo import choose_fifos, with_fifos
from scaflow.hw.fold import Fold

FOLDING = {
    "first": Fold(4, 1, "event"), "middle": Fold(2, 2, "event"), "dense": Fold(3, 4, "event"), "readout": Fold(3, 2),
}  # fmt: skip


@pytest.fixture
def images(graph):
    """Dark in one half and bright in the other: stages run dry and ahead in turn."""
    pixels = np.random.default_rng(0).integers(0, 256, size=(12, *graph.input_shape), dtype=np.uint8)
    pixels[:, :, :, : graph.input_shape[2] // 2] = 0
    return pixels


def interval(laid, images):
    return predict(laid, images).interval.mean()


def test_depths_of_a_design(graph):
    laid = design(graph, FOLDING, fifo_depths={"first": 2, "dense": 64})
    other = with_fifos(design(graph, FOLDING), {"first": 2, "dense": 64})
    assert [s.instances[-1].cfg for s in laid.stages[:-1]] == [s.instances[-1].cfg for s in other.stages[:-1]]


def test_no_depth_can_be_halved(graph, images):
    laid = design(graph, FOLDING)
    depths = choose_fifos(laid, images)
    longest = 1.01 * interval(with_fifos(laid, dict.fromkeys(depths, 4096)), images)
    assert depths.keys() == {"first", "middle", "dense"}
    assert interval(with_fifos(laid, depths), images) <= longest
    halved = {name: depth // 2 for name, depth in depths.items() if depth > 2}
    for name, depth in halved.items():
        assert interval(with_fifos(laid, depths | {name: depth}), images) > longest


def test_two_images_are_too_few(graph, images):
    with pytest.raises(ValueError, match=r"^FIFO depths: 2 images show no interval; give at least 3$"):
        choose_fifos(design(graph, FOLDING), images[:2])
