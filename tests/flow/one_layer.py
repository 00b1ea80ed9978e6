"""The network that several tests of the command lay out: a convolution with a pruned channel, and a read-out."""

from __future__ import annotations

import numpy as np

from scaflow.quant.graph import Conv, Graph, Readout, validate


def one_layer(name: str, classes: int, rng: np.random.Generator) -> Graph:
    """Of images of 8 x 8 grey pixels, at two time steps."""
    first = Conv(
        name="first",
        weight=rng.integers(-100, 101, size=(4, 1, 3, 3)),
        bias=rng.integers(-100, 100, size=4),
        threshold=rng.integers(200, 900, size=4),
        stride=1,
        padding=0,
        leak_shift=1,
        reset="hard",
        fraction_bits=2,
        weight_bits=8,
        in_bits=8,
        kept=(0, 1, 3),
    )
    weight = rng.integers(-100, 100, size=(classes, 4, 6, 6))
    readout = Readout("readout", weight, rng.integers(-20, 20, size=classes), 8)
    return validate(Graph(name, (1, 8, 8), 2, (first, readout)))
