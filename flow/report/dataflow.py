"""The report's part on the dataflow: the stages of the event design in a row, and the queues between them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from scaflow.flow.report.section import Section
from scaflow.flow.stages import Project

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = dict[str, Any]
COLOURS = {"event": "#059669", "list": "#2563eb"}
ARC = "#b45309"
ABREAST = 6  # stages side by side in the picture
WIDTH, GAP, HEIGHT, LINE = 1.5, 0.75, 1.15, 1.5  # of a box, between boxes, of a box, from line to line


def collect(project: Project, events: list[Row]) -> dict[str, Any]:
    """`dataflow`: one row a stage of the event design, and `way_in`: by how many bytes a beat and in how many cycles
    an image comes in; nothing where the design, or a figure of it, is not there. `flows`: of a graph with forks what
    reads what, [writer, reader, beats of the queue between], joins and neurons included.

    Args:
        events: the rows of `activity`, whose mean cycles stand where no law tells them.
    """
    path = project / "event/rtl/manifest.json"
    manifest = json.loads(path.read_text()) if path.is_file() else {}
    stages = manifest.get("stages", [])
    cycles = {row["name"]: row["cycles"] for row in events}
    cycles |= {stage["name"]: stage["law"] for stage in stages if stage["law"] is not None}
    if not stages or "way_in" not in manifest or any(stage["name"] not in cycles for stage in stages):
        return {}
    keys = ("name", "pe", "simd", "neurons", "scheduler", "kept_in", "kept_out")
    flows = {"flows": _flows(manifest)} if "parts" in manifest else {}
    without = {  # currents have neurons elsewhere
        stage["name"]: {"neurons": None}
        for stage in stages
        if f"{stage['name']}_current_pe" in stage.get("instances", ())
    }
    return {
        "dataflow": [
            {key: stage[key] for key in keys}
            | {"cycles": round(cycles[stage["name"]]), "queue": stage["fifo_depth"]}
            | without.get(stage["name"], {})
            for stage in stages
        ],
        "way_in": {"bytes": manifest["axi_bytes"], "cycles": manifest["way_in"]},
    } | flows


def _flows(manifest: Row) -> list[list[Any]]:
    parts = {part["name"]: part for part in manifest["parts"]}
    depths = manifest["queues"] | {stage["name"]: stage["fifo_depth"] for stage in manifest["stages"]}
    owner = {name: part["name"] for part in parts.values() for name in part["instances"]}
    found = []
    for part in parts.values():
        for queue in part["reads"] if part["kind"] != "fork" else ():
            writer, depth = owner[queue], depths.get(queue)
            if parts[writer]["kind"] == "fork":
                writer = owner[parts[writer]["reads"][0]]
            found.append([writer, part["name"], depth or depths[writer]])
    return found


def sections(found: dict[str, Any]) -> list[Section]:
    """Of `dataflow`, where it is there."""
    if "dataflow" not in found:
        return []
    stages, entry, flows = found["dataflow"], found["way_in"], found.get("flows", [])
    between = [f"{reader} reads {writer} ({depth:,})" for writer, reader, depth in flows]
    return [
        Section(
            title="Dataflow: the stages of the event design",
            columns=(
                "stage", "scheduler", "PExSIMD", "neurons", "channels in", "channels out", "cycles", "queue behind",
            ),
            rows=tuple(
                (
                    stage["name"],
                    stage["scheduler"],
                    f"{stage['pe']}x{stage['simd']}",
                    f"{stage['neurons']}" if stage["queue"] and stage["neurons"] else "-",
                    f"{stage['kept_in']}",
                    f"{stage['kept_out']}",
                    f"{stage['cycles']:,}",
                    f"{stage['queue']:,}" if stage["queue"] else "-",
                )
                for stage in stages
            ),
            note=(
                "All stages run at once. Cycles: means of test images (event) or the law (list). Queues: in beats. An"
                f" image comes in by {entry['bytes']} bytes a beat, in {entry['cycles']:,} cycles."
                + (f" Paths part and meet: {'; '.join(between)}." if flows else "")
            ),
            plots=lambda: {"Stages and queues; the darker, the busier": plot(stages, flows)},
        )
    ]


def plot(stages: list[Row], flows: Sequence[Sequence[Any]] = ()) -> Figure:
    """A box a stage, darker the more cycles it takes; an arrow a stream, with the beats its queue holds. Of a graph
    with forks (`flows`) also a box for each join and for neurons by themselves; what passes others by is an arc."""
    from matplotlib.figure import Figure

    boxes = {stage["name"]: stage for stage in stages}
    order = list(dict.fromkeys([stages[0]["name"], *(reader for _, reader, _ in flows)])) if flows else list(boxes)
    streams = list(flows) or [(a, b, boxes[a]["queue"]) for a, b in pairwise(order)]
    line_height = LINE + (0.55 if flows else 0)
    across = min(len(order), ABREAST) * (WIDTH + GAP) + GAP
    up = (-(-len(order) // ABREAST) - 1) * line_height + HEIGHT + 0.2 + (0.7 if flows else 0)
    figure = Figure(figsize=(across * 0.72, up * 0.72), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, across), ylim=(0.1 - up, 0.1 + (0.7 if flows else 0)), aspect="equal")
    axes.axis("off")
    slowest = max(stage["cycles"] for stage in stages)
    place = {name: (i % ABREAST, i // ABREAST) for i, name in enumerate(order)}
    for i, name in enumerate(order):
        column, line = place[name]
        left, middle = GAP + column * (WIDTH + GAP), -line * line_height - HEIGHT / 2
        if column == 0:
            _arrow(axes, left - GAP, middle, "" if line else "pixels")
        if name in boxes:
            _box(axes, left, middle, boxes[name], boxes[name]["cycles"] / slowest)
        else:
            _joint(axes, left, middle, name)
        beside = [depth for a, b, depth in streams if a == name and order.index(b) == i + 1]
        if i + 1 == len(order) or beside:
            _arrow(axes, left + WIDTH, middle, f"{beside[0]:,}" if beside else "logits")
    for writer, reader, depth in streams:
        if order.index(reader) != order.index(writer) + 1:
            start, end = (
                (GAP + column * (WIDTH + GAP) + WIDTH / 2, -line * line_height)
                for column, line in (place[writer], place[reader])
            )
            _arc(axes, start, end, f"{depth:,}")
    return figure


def _box(axes: Axes, left: float, middle: float, stage: Row, load: float) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import FancyBboxPatch

    depth = 0.12 + 0.88 * load
    colour = tuple(1 - depth * (1 - part) for part in to_rgb(COLOURS[stage["scheduler"]]))
    style = "round,pad=0,rounding_size=0.08"
    box = FancyBboxPatch((left, middle - HEIGHT / 2), WIDTH, HEIGHT, style, facecolor=colour, edgecolor="#111827")
    axes.add_patch(box)
    ink = "white" if load > 0.5 else "#111827"
    lines = (
        (stage["name"], "bold"),
        (f"{stage['kept_in']} to {stage['kept_out']}", "normal"),
        (f"{stage['pe']} × {stage['simd']}, {stage['scheduler']}", "normal"),
        (f"{stage['cycles']:,}", "normal"),
    )
    for at, (text, weight) in enumerate(lines):
        height = middle + HEIGHT * (0.36 - 0.24 * at)
        axes.text(left + WIDTH / 2, height, text, ha="center", va="center", fontsize=8, weight=weight, color=ink)


def _arrow(axes: Axes, start: float, middle: float, label: str) -> None:
    axes.annotate("", (start + GAP, middle), (start, middle), arrowprops={"arrowstyle": "-|>", "color": "#6b7280"})
    axes.text(start + GAP / 2, middle + 0.08, label, ha="center", va="bottom", fontsize=7, color="#374151")


def _joint(axes: Axes, left: float, middle: float, name: str) -> None:
    """A join, or neurons that stand by themselves."""
    from matplotlib.patches import FancyBboxPatch

    style = "round,pad=0,rounding_size=0.25"
    low, high = middle - HEIGHT / 3, HEIGHT / 1.5
    box = FancyBboxPatch((left + 0.2, low), WIDTH - 0.4, high, style, facecolor="#f3f4f6", edgecolor="#111827")
    axes.add_patch(box)
    axes.text(left + WIDTH / 2, middle, name, ha="center", va="center", fontsize=8, weight="bold", color="#111827")


def _arc(axes: Axes, start: tuple[float, float], end: tuple[float, float], label: str) -> None:
    """Over what lies between, from the top of a box to that of another; to one further down from its lower edge."""
    from matplotlib.patches import FancyArrowPatch

    flat, wide = start[1] == end[1], max(1.0, abs(end[0] - start[0]))
    start = start if flat else (start[0], start[1] - HEIGHT)
    bend = min(0.18, 0.9 / wide) if flat else 0.0
    style: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 9, "connectionstyle": f"arc3,rad={-bend}"}
    axes.add_patch(FancyArrowPatch(start, end, color=ARC, **style))
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + bend * wide / 2
    axes.text(x, y + 0.04, label, ha="center", va="bottom", fontsize=7, color=ARC)
