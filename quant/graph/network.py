"""A graph: nodes in an order in which each reads what was written before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from scaflow.quant.graph.edges import Bounds, Edge, currents, written
from scaflow.quant.graph.nodes import (
    IMAGE,
    PIXEL_BITS,
    Conv,
    Current,
    Frozen,
    Join,
    Neuron,
    Node,
    Pool,
    Readout,
    SumPool,
    Weighted,
)


def plain(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes, which name what they read only where that is not the node before."""
    before = (IMAGE, *(node.name for node in nodes))
    return tuple(
        replace(node, reads=()) if node.reads == (name,) else node for node, name in zip(nodes, before, strict=False)
    )


@dataclass(frozen=True, eq=False)
class Graph(Frozen):
    name: str
    input_shape: tuple[int, int, int]  # (C, H, W)
    time_steps: int
    nodes: tuple[Node, ...]
    pixel_bits: int = PIXEL_BITS  # of each pixel of an image the highest are seen; of a frame's there are no more
    frames: int = 0  # the most of a recording, each a step, over which membranes live; 0: images of `time_steps`

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and (
            (self.name, self.input_shape, self.time_steps, self.nodes, self.pixel_bits, self.frames)
            == (other.name, other.input_shape, other.time_steps, other.nodes, other.pixel_bits, other.frames)
        )

    @property
    def order(self) -> Literal["pixel", "time"]:
        """What comes together: all steps of a pixel, or all pixels of a step."""
        return "time" if self.frames else "pixel"

    @property
    def steps(self) -> int:
        """The most in which a membrane or a logit grows."""
        return self.frames or self.time_steps

    @property
    def readout(self) -> Readout:
        """The last node; a graph that is not validated may end otherwise."""
        last = self.nodes[-1]
        if not isinstance(last, Readout):
            raise TypeError(f"graph {self.name!r} ends with {last.name!r}, which is no read-out")
        return last

    @cached_property
    def sources(self) -> dict[str, tuple[str, ...]]:
        """The names of what each node reads, by its name; IMAGE is the image."""
        before = [IMAGE, *(node.name for node in self.nodes)]
        return {node.name: node.reads or (before[i],) for i, node in enumerate(self.nodes)}

    def readers(self, name: str) -> tuple[Node, ...]:
        """The nodes that read what a node, or IMAGE, writes."""
        return tuple(node for node in self.nodes if name in self.sources[node.name])

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    @cached_property
    def _flows(self) -> tuple[dict[str, Edge], dict[str, Bounds | None]]:
        edges: dict[str, Edge] = {IMAGE: self.image}
        bounds: dict[str, Bounds | None] = {IMAGE: None}
        for node in self.nodes:
            if isinstance(node, Readout):
                continue
            sources = self.sources[node.name]
            reads = [edges[source] for source in sources]
            bounds[node.name] = currents(node, reads, [bounds[source] for source in sources])
            edges[node.name] = written(node, reads, bounds[node.name], self.time_steps)
        return edges, bounds

    def edge(self, name: str) -> Edge:
        """What a node, or IMAGE, writes."""
        return self._flows[0][name]

    def bounds(self, name: str) -> Bounds | None:
        """Of the currents that a node writes, if it does."""
        return self._flows[1][name]

    def read(self, node: Node) -> tuple[Edge, ...]:
        """What a node reads: a Join two edges, the others one."""
        return tuple(self.edge(source) for source in self.sources[node.name])

    def edges(self) -> tuple[Edge, ...]:
        """`edges()[i]` is what `nodes[i]` reads, of a Join the first."""
        return tuple(self.read(node)[0] for node in self.nodes)

    @cached_property
    def trunks(self) -> tuple[tuple[Node, ...], ...]:
        """Nodes whose channels belong together: what is joined, and what goes on with it. A Conv by itself, with the
        pools behind it, is one too."""
        of: dict[str, str] = {}  # the trunk of each node, by the name of its last one
        for node in self.nodes[:-1]:
            goes_on = isinstance(node, Join | Neuron | Pool | SumPool)
            before = {of[source] for source in self.sources[node.name]} if goes_on else set()
            of = {name: node.name if trunk in before else trunk for name, trunk in of.items()}
            of[node.name] = node.name
        trunks = dict.fromkeys(of.values())
        return tuple(tuple(node for node in self.nodes[:-1] if of[node.name] == trunk) for trunk in trunks)

    @cached_property
    def travelling(self) -> dict[str, tuple[int, ...]]:
        """The channels that travel of what each node writes, rising: all that one of its trunk keeps."""
        found: dict[str, tuple[int, ...]] = {}
        for trunk in self.trunks:
            kept = tuple(sorted({channel for node in trunk for channel in self.edge(node.name).kept}))
            found |= {node.name: kept for node in trunk}
        return found

    def outputs(self, node: Weighted) -> int:
        """Classes, or channels that travel, of what a node with weights writes."""
        return len(node.weight) if isinstance(node, Readout) else len(self.travelling[node.name])

    @cached_property
    def weighted(self) -> tuple[tuple[Weighted, Edge], ...]:
        """The nodes with weights, each a stage of hardware, and what they walk: of what they read all that travels."""
        found: list[tuple[Weighted, Edge]] = []
        for node in self.nodes:
            if isinstance(node, Conv | Current | Readout):
                source, edge = self.sources[node.name][0], self.read(node)[0]
                found.append((node, replace(edge, kept=self.travelling.get(source, edge.kept))))
        return tuple(found)

    def pools_behind(self, node: Node) -> tuple[tuple[Pool | SumPool, Edge], ...]:
        """The pools that alone read a node, one behind the other, and what each of them reads."""
        found: list[tuple[Pool | SumPool, Edge]] = []
        name = node.name
        while len(readers := self.readers(name)) == 1 and isinstance(reader := readers[0], Pool | SumPool):
            found.append((reader, self.edge(name)))
            name = reader.name
        return tuple(found)

    @property
    def image(self) -> Edge:
        """What the first node reads: an image, or frames, which come anew each step as spikes do."""
        kind: Literal["pixels", "spikes"] = "spikes" if self.frames else "pixels"
        return Edge(self.input_shape, 1, self.pixel_bits, tuple(range(self.input_shape[0])), kind)

    def seen(self, images: np.ndarray) -> np.ndarray:
        """uint8 images or frames as the first node sees them."""
        return images if self.frames else images >> (PIXEL_BITS - self.pixel_bits)
