"""The event design: how it is laid out from a calibration run, and what its stages cost beside the list scheduler."""

from __future__ import annotations

from typing import Any

import numpy as np

from scaflow.hw.activity import law, reads, walked_events, window_events
from scaflow.hw.cycles import node_law
from scaflow.hw.design import Design, Stage, design
from scaflow.hw.fold import Fold, Folding, at_equal_lanes, dealt, narrowed, scheduled
from scaflow.hw.groups import SYNAPSE
from scaflow.hw.recordings import Given, as_frames
from scaflow.model.config import FoldConfig
from scaflow.model.limits import MOST_SIMD
from scaflow.quant.golden.axis_events import AxisEvents
from scaflow.quant.graph import Edge, Graph, Readout, Weighted

CALIBRATION_IMAGES = 64  # of the training split: they choose schedulers and banks
BATCH = 250  # images traced at once


def lay_out(
    graph: Graph, lanes: Folding, cfg: FoldConfig, calibration: Given, intake: AxisEvents | None = None
) -> Design:
    """The event design of a graph.

    Args:
        cfg: by stage (`hw.cost.by_stage`).
        lanes: the folding of the other designs, whose lanes a stage has unless `cfg.event` says its own: these are for
            the dense network, and no more than what pruning left of it.
        calibration: images or recordings whose activity decides.
        intake: what bins events to frames.
    """
    edges = reads(graph, *as_frames(calibration))
    wanted = cfg.event
    names = [node.name for node, _ in graph.weighted if not isinstance(node, Readout)]
    policies = (wanted.scheduler,) * len(names) if isinstance(wanted.scheduler, str) else wanted.scheduler
    schedulers = dict(zip(names, policies, strict=True)) | {graph.readout.name: wanted.readout}
    if wanted.pe is None or wanted.simd is None:
        folding = at_equal_lanes(graph, lanes, edges, schedulers)
    else:
        sides = zip((*wanted.pe, lanes[graph.nodes[-1].name].pe), wanted.simd, strict=True)
        served = (*(wanted.neurons or [None] * len(names)), None)
        groups = (*(wanted.groups or [SYNAPSE] * len(names)), SYNAPSE)[: len(names) + 1]
        asked = {
            name: Fold(*side, neurons=n, group=group)
            for name, side, n, group in zip(lanes, sides, served, groups, strict=True)
        }
        folding = scheduled(graph, narrowed(graph, asked), edges, schedulers)
    return design(graph, folding, dealt(graph, folding, edges), axi_bytes=cfg.axi_bytes, events=intake)


def figures(laid: Design, dense: Graph, images: Given) -> list[dict[str, Any]]:
    """Per spiking stage of an event design, and of its read-out where that walks events, over test images: activity,
    cycles, ideal, and the list's at equal lanes. Of recordings each frame is an image.

    Keys: name, lanes, pe, simd, neurons, scheduler; activity (events a channel, pixel and step), events (of an image's
    windows); cycles (of an image, by the law); ideal (events x kept outputs / lanes); list, dense_list (cycles of the
    list scheduler at the same lanes, on the kept channels and on the dense network); bank_imbalance (cycles of the
    fullest bank over those of the mean bank, before and after dealing); images (activity, cycles of each).
    """
    graph = laid.graph
    nodes, whole = ({node.name: (node, edge) for node, edge in of.weighted} for of in (graph, dense))
    shown = [stage for stage in laid.stages if stage.out_edge or stage.law is None]
    sums = {stage.name: _Sums(stage, nodes[stage.name][0], graph) for stage in shown}
    for batch in range(0, len(images), BATCH):
        edges = reads(graph, *as_frames(images[batch : batch + BATCH]))
        for name, total in sums.items():
            total.add(edges[name])
    rows = []
    for stage in shown:
        total, (node, edge) = sums[stage.name], nodes[stage.name]
        lanes, count = stage.pe * stage.simd, len(total.cycles)
        dense_node, dense_edge = whole[stage.name]
        rows.append(
            {
                "name": stage.name,
                "lanes": lanes,
                "pe": stage.pe,
                "simd": stage.simd,
                "neurons": stage.neurons if stage.out_edge else None,  # the read-out has none
                "scheduler": stage.scheduler,
                "activity": total.events_seen / total.places,
                "events": total.events / count,
                "cycles": stage.law or max(float(np.mean(total.cycles)), stage.arriving),
                "ideal": total.events * stage.kept_out / lanes / count,
                "list": best_list(graph, node, edge, lanes),
                "dense_list": best_list(dense, dense_node, dense_edge, lanes),
                "bank_imbalance": {
                    key: stage.simd * fullest / total.events if total.events else 1.0
                    for key, fullest in (("before", total.before), ("after", total.after))
                },
                "images": [[float(a), int(c)] for a, c in zip(total.activity, total.cycles, strict=True)],
            }
        )
    return rows


def summary(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Of the spiking convolutions behind the first layer; cycles_over_ideal of the stages that walk events."""
    events = [row for row in rows if row["scheduler"] == "event"]
    convolutions = [row for row in rows[1:] if row["neurons"] is not None]
    return {
        "cycles_over_ideal": _ratio(events, "cycles", "ideal"),
        "dense_list_over_pruned_event": _ratio(convolutions, "dense_list", "cycles"),
    }


def _ratio(rows: list[dict[str, Any]], above: str, below: str) -> float:
    return sum(row[above] for row in rows) / (sum(row[below] for row in rows) or 1)


def best_list(graph: Graph, node: Weighted, edge: Edge, lanes: int) -> int:
    """Cycles an image of the list scheduler with the best division of at most `lanes`; of the read-out PE is given."""
    into = len(edge.kept)
    if isinstance(node, Readout):
        out = len(node.weight)
        return node_law(graph, node, edge, out, lanes // out, into, out)
    out = graph.outputs(node)
    return min(
        node_law(graph, node, edge, min(lanes // simd, out), simd, into, out)
        for simd in range(1, min(lanes, into, MOST_SIMD) + 1)
    )


class _Sums:
    """What the windows of one stage hold, image by image."""

    def __init__(self, stage: Stage, node: Weighted, graph: Graph) -> None:
        self.stage, self.node, self.graph = stage, node, graph
        self.events_seen = self.places = self.events = self.before = self.after = 0
        self.activity: list[float] = []
        self.cycles: list[int] = []

    def add(self, seen: np.ndarray) -> None:
        """seen: [N, T, C, H, W], what the stage reads."""
        stage, node = self.stage, self.node
        walked = np.array(stage.banks) >= 0
        active = (seen != 0)[:, :, walked]
        self.events_seen += int(active.sum())
        self.places += active.size
        self.activity += active.mean((1, 2, 3, 4)).tolist()
        fullest = walked_events(seen, node, stage.places, stage.simd, stage.group)
        natural = np.where(walked, (np.cumsum(walked) - 1) % stage.simd, -1)
        self.events += int(window_events(seen, node, np.where(walked, 0, -1)).sum())
        self.before += int(window_events(seen, node, natural).sum())
        self.after += int(fullest.sum())
        self.cycles += law(self.graph, node, fullest, stage.pe, stage.simd, stage.rounds, stage.group).tolist()
