"""Small graphs with shortcuts for the tests: a pre-activation residual network, and one that adds spikes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scaflow.hw.fold import Fold, Folding
from scaflow.quant.graph import Conv, Current, Graph, Join, Neuron, Pool, Readout, SumPool, validate


class _Draw:
    """Nodes with random integers."""

    def __init__(self, seed: int, reset: str = "hard") -> None:
        self.rng = np.random.default_rng(seed)
        self._reset = reset

    def weight(self, *shape: int) -> np.ndarray:
        return self.rng.integers(-7, 8, shape)

    def levels(self, channels: int, threshold: int) -> dict:
        return {
            "bias": self.rng.integers(-4, 8, channels),
            "threshold": self.rng.integers(max(1, threshold // 8), threshold, channels),
            "leak_shift": 2,
            "reset": self._reset,
            "fraction_bits": 2,
        }

    def conv(
        self, name: str, into: int, out: int, reads: str, k: int = 3, s: int = 1, bits: int = 1, threshold: int = 40,
        kept: Sequence[int] = (),
    ) -> Conv:  # fmt: skip
        return Conv(
            name=name, weight=self.weight(out, into, k, k), stride=s, padding=k // 2, weight_bits=4, in_bits=bits,
            kept=tuple(kept) or tuple(range(out)), reads=(reads,) * bool(reads), **self.levels(out, threshold),
        )  # fmt: skip

    def current(
        self, name: str, into: int, out: int, reads: str, k: int = 3, s: int = 1, bits: int = 1,
        kept: Sequence[int] = (),
    ) -> Current:  # fmt: skip
        kept = tuple(kept) or tuple(range(out))
        return Current(name, self.weight(out, into, k, k), s, k // 2, 4, bits, kept, (reads,) * bool(reads))

    def neuron(self, name: str, channels: int, reads: str, threshold: int, kept: Sequence[int] = ()) -> Neuron:
        kept = tuple(kept) or tuple(range(channels))
        return Neuron(name=name, kept=kept, reads=(reads,), **self.levels(channels, threshold))

    def readout(self, classes: int, channels: int, height: int, width: int, reads: str) -> Readout:
        return Readout(
            "readout", self.weight(classes, channels, height, width), self.rng.integers(-3, 3, classes), 4, (reads,)
        )


def preactivated(
    seed: int = 0, time_steps: int = 2, height: int = 6, width: int = 7, kept: Sequence[int] = (), reset: str = "hard"
) -> Graph:
    """Currents in the trunk: a stem of pixels, a block with an identity, one with a strided projection, a sum pool."""
    draw = _Draw(seed, reset)
    nodes = (
        draw.current("stem", 2, 6, "", bits=8, kept=kept),
        draw.neuron("fire0", 6, "stem", 4000, kept),
        draw.conv("inner1", 6, 5, "fire0"),
        draw.current("outer1", 5, 6, "inner1", kept=kept),
        Join("join1", ("stem", "outer1"), (0, 3)),
        draw.neuron("fire1", 6, "join1", 4000, kept),
        draw.conv("inner2", 6, 8, "fire1", s=2),
        draw.current("outer2", 8, 8, "inner2"),
        draw.current("across2", 6, 8, "fire1", k=1, s=2),
        Join("join2", ("across2", "outer2")),
        draw.neuron("fire2", 8, "join2", 48),
        SumPool("sums", 2, ("fire2",)),
        draw.conv("last", 8, 4, "sums", k=1, bits=3),
        draw.readout(3, 4, (height + 1) // 4, (width + 1) // 4, "last"),
    )
    return validate(Graph("preactivated", (2, height, width), time_steps, nodes))


def added(seed: int = 0, time_steps: int = 2, height: int = 6, width: int = 6) -> Graph:
    """Spikes are added, and read as numbers."""
    draw = _Draw(seed)
    nodes = (
        draw.conv("first", 1, 5, "", bits=8, threshold=3600),
        draw.conv("inner", 5, 4, "first"),
        draw.conv("outer", 4, 5, "inner"),
        Join("join", ("outer", "first")),
        draw.conv("after", 5, 4, "join", bits=2),
        Pool("pool", 2, ("after",)),
        draw.readout(3, 4, height // 2, width // 2, "pool"),
    )
    return validate(Graph("added", (1, height, width), time_steps, nodes))


def folding(graph: Graph, scheduler: str, pe: int = 2, simd: int = 2) -> Folding:
    return {
        node.name: Fold(len(node.weight), 1)
        if isinstance(node, Readout)
        else Fold(pe, min(simd, edge.shape[0]), scheduler)
        for node, edge in graph.weighted
    }
