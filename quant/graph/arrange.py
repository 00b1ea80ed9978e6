"""One order and one naming of a graph's nodes, whatever those were in that they came in.

Neurons are counted in their order. What leads to the neurons i and to none before bears their number, and stands in
front of them: `conv<i>` the convolution that sees the latest spikes, `shortcut<i>` others, `join<i>`; a convolution by
itself has its neurons in it, others are `fire<i>`. Behind them stand, with the number of the latest neurons they see,
`pool<i>`, `sums<i>` and, of spikes, `join<i>`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scaflow.quant.graph.network import plain
from scaflow.quant.graph.nodes import IMAGE, Conv, Current, Join, Neuron, Node, Pool, Readout, SumPool


def arranged(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes, which stand behind what they read, in that order and by those names."""
    before = (IMAGE, *(node.name for node in nodes))
    made = _Arranged({node.name: node.reads or (name,) for node, name in zip(nodes, before, strict=False)}, nodes)
    for node in nodes:
        if isinstance(node, Conv | Neuron):
            made.lead(node)
            made.place(node, "conv" if isinstance(node, Conv) else "fire", made.count)
            made.count += 1
            made.see()
        elif isinstance(node, Readout):
            made.place(node, "readout", None)
    return plain(made.nodes)


class _Arranged:
    def __init__(self, sources: dict[str, tuple[str, ...]], nodes: Sequence[Node]) -> None:
        self.count = 0  # of neurons
        self.nodes: list[Node] = []
        self._sources, self._given = sources, {node.name: node for node in nodes}
        self._names = {IMAGE: IMAGE}  # of what is placed
        self._seen = {IMAGE: -1}  # of spikes, the latest neurons that they come from

    def place(self, node: Node, kind: str, number: int | None) -> None:
        name = kind if number is None else f"{kind}{number}"
        while name in self._names.values():
            name += "_next"
        reads = tuple(self._names[source] for source in self._sources[node.name])
        self.nodes.append(replace(node, name=name, reads=reads))
        self._names[node.name] = name
        if isinstance(node, Conv | Neuron):
            self._seen[node.name] = self.count

    def lead(self, node: Node) -> None:
        """Places the currents that a node reads."""
        found: dict[str, Node] = {}

        def look(name: str) -> None:
            for source in self._sources[name]:
                if source not in self._names and source not in found:
                    look(source)
                    found[source] = self._given[source]

        look(node.name)
        weighted = [other for other in found.values() if isinstance(other, Current)]
        weighted.sort(key=lambda other: -self._seen[self._sources[other.name][0]])
        for i, other in enumerate(weighted):
            self.place(other, "shortcut" if i else "conv", self.count)
        for join in found.values():
            if isinstance(join, Join):
                self.place(join, "join", self.count)

    def see(self) -> None:
        """Places what is made of the spikes so far."""
        kinds = {Pool: "pool", SumPool: "sums", Join: "join"}
        for name, node in self._given.items():
            sources = self._sources[name]
            if name not in self._names and type(node) in kinds and all(source in self._seen for source in sources):
                self._seen[name] = max(self._seen[source] for source in sources)
                self.place(node, kinds[type(node)], self._seen[name])
