"""How deep the queues behind a fork must be: its branches meet again, and the shorter ways wait for the longest.

Let need_b(j) be the beats of branch b without which beat j does not leave a join. Before it does, the fork has given
max over a of need_a(j) beats to the branch that wants most, and all but the last of them to every branch; the reader of
branch b has taken need_b(j) of them or more, where it is the join itself all but the one it waits with. So no more than
    max over j of (max over a of need_a(j)) - 1 - taken_b(j)
beats stand in the queue of b while another branch waits, and with so much room no branch ever keeps the fork from what
another one waits for. To a join itself this is also the least: with one beat less the design stands still.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scaflow.hw.fold import Folding
from scaflow.quant.graph import Conv, Current, Graph, Join, Neuron, Node, Pool, SumPool

LEAST = 2  # of a queue that need hold nothing


def depths(graph: Graph, folding: Folding, folds: Mapping[str, int]) -> dict[tuple[str, str], int]:
    """The least depth of the queue between each node with several readers and each of these.

    Args:
        folds: beats that a pixel and step has on an edge of currents, by the node that writes it.
    """
    found: dict[tuple[str, str], int] = {}
    for writer in graph.nodes[:-1]:
        readers = graph.readers(writer.name)
        if len(readers) == 1:
            continue
        wanted = {reader.name: _needs(graph, folding, folds, writer, reader) for reader in readers}
        for name, own in wanted.items():
            meets = [meet for meet in own if any(meet in other for key, other in wanted.items() if key != name)]
            held = int(isinstance(graph.node(name), Join))
            most = {meet: np.max([needs[meet] for needs in wanted.values() if meet in needs], axis=0) for meet in meets}
            waits = [int((most[meet] - 1 - own[meet]).max()) + held for meet in meets]
            found[writer.name, name] = max([LEAST, *waits])
    return found


def _needs(
    graph: Graph, folding: Folding, folds: Mapping[str, int], writer: Node, reader: Node
) -> dict[str, np.ndarray]:
    """For each join behind a branch: how many of the branch's beats each beat that leaves it needs."""
    joins: dict[str, np.ndarray] = {}
    reached = {writer.name: _each(graph.edge(writer.name).words * folds.get(writer.name, 1))}
    for node in graph.nodes[:-1]:
        sources = [
            source
            for source in graph.sources[node.name]
            if source in reached and (source != writer.name or node is reader)
        ]
        if not sources:
            continue
        wanted = [reached[source][_taken(graph, folding, folds, node, source) - 1] for source in sources]
        reached[node.name] = np.max(wanted, axis=0)
        if isinstance(node, Join):
            joins[node.name] = reached[node.name]
    return joins


def _each(count: int) -> np.ndarray:
    """Of so many beats each one's number, from 1 on."""
    return np.arange(1, count + 1)


def _taken(graph: Graph, folding: Folding, folds: Mapping[str, int], node: Node, source: str) -> np.ndarray:
    """How many beats of what it reads each beat needs that leaves a node."""
    edge = graph.edge(source)
    if isinstance(node, Join):
        return _each(edge.words * folds.get(source, 1))
    if isinstance(node, Neuron):
        return _each(edge.words) * folds[source]
    _, height, width = edge.shape
    _, out_h, out_w = graph.edge(node.name).shape
    if isinstance(node, Pool | SumPool):
        rows, columns = (np.arange(1, n + 1) * node.size - 1 for n in (out_h, out_w))
        listed = over = False
    else:
        assert isinstance(node, Conv | Current)  # nothing reads a read-out
        (kh, kw), pad, stride = node.kernel, node.padding, node.stride
        rows, columns = (np.arange(n) * stride - pad + k - 1 for n, k in ((out_h, kh), (out_w, kw)))
        over = folding[node.name].scheduler == "event"
        listed = not over
    last = np.minimum(rows, height - 1)[:, None] * width + np.minimum(columns, width - 1)
    if over:  # events of a window over the right edge are told with the words of the row below
        last[:-1] += np.maximum(columns - (width - 1), 0)
    last = np.minimum(last, height * width - 1)
    steps = edge.time_steps
    # a window of a list begins when all its steps are there
    words = last.ravel()[:, None] * steps + (np.full(steps, steps) if listed else _each(steps))
    wanted: np.ndarray = words.ravel().repeat(folds.get(node.name, 1))
    return wanted
