"""What a network's description asks of the hardware, held against it in shapes alone, before anything is trained."""

from __future__ import annotations

from scaflow.hw.cost import ends, folding_of, outline
from scaflow.hw.cycles import node_law
from scaflow.hw.fold import Folding, divisions
from scaflow.hw.groups import arriving
from scaflow.model.config import NetworkConfig
from scaflow.model.limits import event_problems
from scaflow.quant.golden.beats import ceil_div
from scaflow.quant.graph import IMAGE, Conv, Current, Graph, Readout


def problems(cfg: NetworkConfig) -> list[str]:
    """What cannot be, a line each: lanes too few, events where they cannot be had, cycles that no pruning reaches."""
    graph = outline(cfg)
    try:
        folding = folding_of(cfg, graph)
    except ValueError as error:
        return str(error).splitlines()
    found = [] if cfg.fold.event.pe else _events(cfg, graph, folding)
    if cfg.sca.cycles is not None:
        least = _least_part(cfg, graph, folding)
        if least > cfg.sca.cycles + 1e-9:
            found.append(
                f"sca.cycles={cfg.sca.cycles}: with every layer at its floor {least:.4f} of the dense design's cycles"
                f" are left; raise it, or lower sca.floor={cfg.sca.floor} or sca.granularity={cfg.sca.granularity}"
            )
    return found


def _events(cfg: NetworkConfig, graph: Graph, folding: Folding) -> list[str]:
    """Of event stages that share out the lanes of the list design; what pruning leaves asks for no more."""
    wanted = cfg.fold.event.scheduler
    readout = graph.readout
    found = []
    for (node, _), (_, i) in zip(graph.weighted[:-1], ends(cfg), strict=False):
        assert isinstance(node, Conv | Current)
        out, into = node.weight.shape[:2]
        own = folding[node.name]
        simds = [simd for _, simd in divisions(own, out, into)] if isinstance(node, Conv) else [own.simd]
        ways = [event_problems(node.kernel, node.padding, into, simd) for simd in simds]
        if (wanted if isinstance(wanted, str) else wanted[i]) == "event" and all(ways):
            found += [f"fold.event.scheduler: layers[{i}]: {problem}; use auto or list" for problem in ways[-1]]
    if cfg.fold.event.readout == "event":
        against = event_problems((1, 1), 0, readout.weight.shape[1], folding[readout.name].simd)
        found += [f"fold.event.readout: {problem}; use auto or list" for problem in against]
    return found


def _least_part(cfg: NetworkConfig, graph: Graph, folding: Folding) -> float:
    """What every layer at its floor costs of the dense design's cycles, where events are counted without any spike."""
    least, dense = [], []
    whole = [*(layer.channels for layer in cfg.layers), cfg.classes, graph.input_shape[0]]  # the image is layer -1
    kept = [*(cfg.sca.least(layer.channels) for layer in cfg.layers), cfg.classes, graph.input_shape[0]]
    for (node, edge), (read, written) in zip(graph.weighted, ends(cfg), strict=True):
        fold = folding[node.name]
        by_spikes = cfg.sca.scheduler == "event" and graph.sources[node.name][0] != IMAGE
        if by_spikes and not isinstance(node, Readout):
            _, height, width = edge.shape
            rows, columns = (
                (size + 2 * node.padding - k) // node.stride + 1
                for size, k in zip((height, width), node.kernel, strict=True)
            )
            windows = rows * columns * graph.time_steps * fold.rounds
            least.append(max(ceil_div(kept[written], fold.pe) * windows, arriving(edge)))
        else:
            law = node_law(graph, node, edge, fold.pe, fold.simd, kept[read], kept[written], fold.rounds)
            least.append(law)
        dense.append(node_law(graph, node, edge, fold.pe, fold.simd, whole[read], whole[written], fold.rounds))
    return sum(least) / sum(dense) if cfg.sca.objective == "sum" else max(least) / max(dense)
