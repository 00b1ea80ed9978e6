"""A small graph with every kind of node, seeded weights, and pruned channels."""

import numpy as np
import pytest

from scaflow.quant.graph import Conv, Graph, Pool, Readout, validate


def conv(name, rng, co, ci, kernel, padding, in_bits, kept, **extra):
    top = 120 if in_bits > 1 else 7
    return Conv(
        name=name,
        weight=rng.integers(-top, top + 1, size=(co, ci, *kernel)),
        bias=rng.integers(-200, 300, size=co),
        threshold=rng.integers(50, 500, size=co) * (in_bits if in_bits > 1 else 1),
        stride=extra.get("stride", 1),
        padding=padding,
        leak_shift=1,
        reset=extra.get("reset", "hard"),
        fraction_bits=3,
        weight_bits=8 if in_bits > 1 else 4,
        in_bits=in_bits,
        kept=kept,
    )


@pytest.fixture(scope="session")
def graph() -> Graph:
    rng = np.random.default_rng(5)
    nodes = (
        conv("first", rng, 6, 1, (3, 3), 1, 8, (0, 2, 3, 5)),
        Pool("first_pool", 2),
        conv("middle", rng, 5, 6, (3, 3), 1, 1, (1, 2, 4), reset="soft"),
        conv("dense", rng, 7, 5, (4, 3), 0, 1, tuple(range(7))),
        Readout("readout", rng.integers(-100, 100, size=(3, 7, 1, 1)), rng.integers(-20, 20, size=3), 8),
    )
    return validate(Graph("sample", (1, 8, 7), 3, nodes))
