"""What a graph must obey."""

from __future__ import annotations

import re
from collections.abc import Sequence

from scaflow.quant.graph.edges import Bounds, Edge, currents, written
from scaflow.quant.graph.network import Graph
from scaflow.quant.graph.nodes import (
    IMAGE,
    PIXEL_BITS,
    Conv,
    Current,
    Join,
    Neuron,
    Node,
    Pool,
    Readout,
    SumPool,
)
from scaflow.quant.neuron import neuron_problems

_READ = {  # what each node can read
    Conv: ("pixels", "spikes"),
    Current: ("pixels", "spikes"),
    Neuron: ("currents",),
    Join: ("spikes", "currents"),
    Pool: ("spikes",),
    SumPool: ("spikes",),
    Readout: ("spikes",),
}


def validate(graph: Graph) -> Graph:
    """Return the graph if it obeys every rule.

    Raises:
        ValueError: all problems, one a line: node, value, constraint and remedy.
    """
    problems = _graph_problems(graph)
    if not problems:
        edges: dict[str, Edge] = {IMAGE: graph.image}
        bounds: dict[str, Bounds | None] = {IMAGE: None}
        for node in graph.nodes:
            sources = graph.sources[node.name]
            reads = [edges[source] for source in sources]
            faults = _node_problems(node, reads)
            problems += [f"node {node.name!r}: {fault}" for fault in faults]
            if faults or isinstance(node, Readout):
                break  # what follows a faulty node would be measured against a wrong edge
            bounds[node.name] = currents(node, reads, [bounds[source] for source in sources])
            edges[node.name] = written(node, reads, bounds[node.name], graph.time_steps)
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise ValueError(f"graph {graph.name!r}: {len(problems)} problem(s)\n{lines}")
    return graph


def _graph_problems(graph: Graph) -> list[str]:
    problems: list[str] = []
    if graph.time_steps < 1:
        problems.append(f"graph: time_steps={graph.time_steps} must be at least 1")
    if graph.frames < 0 or (graph.frames and graph.time_steps != 1):
        problems.append(
            f"graph: frames={graph.frames} must be at least 0, and 0 where time_steps={graph.time_steps} is not 1:"
            " a frame is one step"
        )
    if len(graph.input_shape) != 3 or min(graph.input_shape, default=0) < 1:
        problems.append(f"graph: input_shape={graph.input_shape} must be three positive numbers (C, H, W)")
    if not 1 <= graph.pixel_bits <= PIXEL_BITS:
        problems.append(f"graph: pixel_bits={graph.pixel_bits} must be 1 to {PIXEL_BITS}")
    kinds = [type(node) for node in graph.nodes]
    if not kinds or kinds[0] not in (Conv, Current) or kinds[-1] is not Readout or Readout in kinds[:-1]:
        found = ", ".join(kind.__name__ for kind in kinds) or "nothing"
        problems.append(
            f"graph: nodes are {found}; start with a Conv or a Current and end with the only Readout"
        )
    names = [node.name for node in graph.nodes]
    for name in sorted({n for n in names if names.count(n) > 1}):
        problems.append(f"node {name!r}: the name is used {names.count(name)} times; names must differ")
    return problems or _order_problems(graph)


def _order_problems(graph: Graph) -> list[str]:
    """Of what reads what."""
    problems, before = [], {IMAGE}
    for node in graph.nodes:
        sources = graph.sources[node.name]
        wanted = 2 if isinstance(node, Join) else 1
        if len(sources) != wanted or len(set(sources)) != wanted:
            problems.append(f"node {node.name!r}: reads {', '.join(sources)}; give {wanted} of them, not the same")
        problems += [
            f"node {node.name!r}: reads {source!r}, which is no node before it; nodes follow what they read"
            for source in sources
            if source not in before
        ]
        before.add(node.name)
    unread = [node.name for node in graph.nodes[:-1] if not graph.readers(node.name)]
    problems += [f"node {name!r}: nothing reads it; leave it out" for name in unread]
    if len(graph.readers(IMAGE)) != 1:
        names = ", ".join(node.name for node in graph.readers(IMAGE))
        problems.append(f"graph: {names} read the image; one node reads it, the first one")
    return problems


def _node_problems(node: Node, reads: Sequence[Edge]) -> list[str]:
    problems = []
    edge = reads[0]
    if not re.fullmatch(r"[a-z][a-z0-9_]*", node.name) or node.name == IMAGE:
        problems.append(f"a name is a lower-case letter, then lower-case letters, digits and _, and not {IMAGE!r}")
    allowed = _READ[type(node)]
    if wrong := [edge.kind for edge in reads if edge.kind not in allowed]:
        return [*problems, f"a {type(node).__name__} reads {' or '.join(allowed)}, not {wrong[0]}"]
    if isinstance(node, Join):
        return problems + _join_problems(node, *reads)
    if isinstance(node, Pool | SumPool):
        return problems + _pool_problems(node, edge)
    if isinstance(node, Neuron):
        return problems + _neuron_problems(node, edge.shape[0])
    return problems + _weighted_problems(node, edge)


def _join_problems(node: Join, a: Edge, b: Edge) -> list[str]:
    problems = []
    if (a.kind, a.shape) != (b.kind, b.shape):
        problems.append(f"joins {a.kind} {a.shape} and {b.kind} {b.shape}; both must be alike")
    if len(node.shifts) != 2 or not 0 <= min(node.shifts) <= max(node.shifts) <= 16:
        problems.append(f"shifts={node.shifts} must be two numbers of 0 to 16")
    elif a.kind == "spikes" and any(node.shifts):
        problems.append(f"shifts={node.shifts}: spikes are added as they are; give (0, 0)")
    if a.kind == "spikes" and a.largest + b.largest >= 1 << PIXEL_BITS:
        problems.append(f"its sums reach {a.largest + b.largest}; an edge holds less than {1 << PIXEL_BITS}")
    return problems


def _pool_problems(node: Pool | SumPool, edge: Edge) -> list[str]:
    _, height, width = edge.shape
    if not 1 <= node.size <= min(height, width):
        return [f"size={node.size} leaves no pixel of a {height}x{width} map; use a smaller size"]
    if isinstance(node, Pool) and edge.bits > 1:
        return [f"is the OR of spikes, but reads numbers of {edge.bits} bits; use a SumPool, or pool first"]
    if isinstance(node, SumPool) and edge.largest * node.size**2 >= 1 << PIXEL_BITS:
        most = edge.largest * node.size**2
        return [f"its sums reach {most}; an edge holds less than {1 << PIXEL_BITS}: use a smaller size"]
    return []


def _weighted_problems(node: Conv | Current | Readout, edge: Edge) -> list[str]:
    channels, height, width = edge.shape
    if node.weight.ndim != 4 or 0 in node.weight.shape:
        return [f"weight has shape {node.weight.shape}; give [out, in, height, width], none of them 0"]
    problems = []
    if isinstance(node, Readout) and node.bias.shape != (len(node.weight),):
        problems.append(_per_channel("bias", node.bias.shape, len(node.weight)))
    if node.weight.shape[1] != channels:
        problems.append(f"weight reads {node.weight.shape[1]} channels, but the edge brings {channels}")
    if not 2 <= node.weight_bits <= 9:
        problems.append(f"weight_bits={node.weight_bits} must be 2 to 9")
    else:
        top = 1 << (node.weight_bits - 1)
        low, high = int(node.weight.min()), int(node.weight.max())
        if low < -top or high >= top:
            problems.append(
                f"weights: {low} to {high}; {node.weight_bits} bits hold {-top}..{top - 1}: raise weight_bits"
            )
    if isinstance(node, Readout):
        if node.weight.shape[2:] != (height, width):
            problems.append(f"weight covers {node.weight.shape[2:]}, the map is {(height, width)}; cover all")
        return problems
    if node.stride < 1:
        problems.append(f"stride={node.stride} must be at least 1")
    if not 0 <= node.padding < min(node.kernel):
        problems.append(f"padding={node.padding} must be 0 to {min(node.kernel) - 1}: below the kernel")
    if node.kernel[0] > height + 2 * node.padding or node.kernel[1] > width + 2 * node.padding:
        problems.append(f"kernel {node.kernel} exceeds the padded {height}x{width} map; use a smaller one")
    if node.in_bits != edge.bits:
        problems.append(f"in_bits={node.in_bits}, but the edge brings {edge.bits} bits a value")
    if isinstance(node, Conv):
        return problems + _neuron_problems(node, len(node.weight))
    return problems + _kept_problems(node.kept, len(node.weight))


def _neuron_problems(node: Conv | Neuron, channels: int) -> list[str]:
    problems = [
        _per_channel(key, value.shape, channels)
        for key, value in (("bias", node.bias), ("threshold", node.threshold), ("v_reset", node.v_reset))
        if value.shape != (channels,)
    ]
    if not 0 <= node.fraction_bits <= 16:
        problems.append(f"fraction_bits={node.fraction_bits} must be 0 to 16")
    problems += neuron_problems(node.leak_shift, node.decay, node.reset)
    if node.v_reset.any() and node.reset != "hard":
        problems.append(f"v_reset is where a hard reset puts a membrane, and reset={node.reset!r}; leave it out")
    if node.threshold.size and node.threshold.min() < 1:
        problems.append(
            f"threshold of channel {int(node.threshold.argmin())} is {int(node.threshold.min())};"
            " it must be at least 1: a neuron that always fires has weights 0, bias 1, threshold 1"
        )
    if node.v_reset.any() and node.v_reset.shape == node.threshold.shape and (node.v_reset >= node.threshold).any():
        c = int((node.v_reset >= node.threshold).argmax())
        problems.append(
            f"v_reset of channel {c} is {node.v_reset[c]}; it must be below the threshold, {node.threshold[c]}"
        )
    return problems + _kept_problems(node.kept, channels)


def _kept_problems(kept: tuple[int, ...], channels: int) -> list[str]:
    if not kept or list(kept) != sorted(set(kept) & set(range(channels))):
        return [f"kept={kept} must be rising channel numbers below {channels}, one or more"]
    return []


def _per_channel(key: str, shape: tuple[int, ...], channels: int) -> str:
    return f"{key} has shape {shape}; give one value for each of the {channels} output channels"
