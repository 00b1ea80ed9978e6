"""The report's part on the dataflow: the stages of the event design in a row, and the queues between them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from scaflow.flow.report.section import Section
from scaflow.flow.stages import Project

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = dict[str, Any]
COLOURS = {"event": "#059669", "list": "#2563eb"}
ABREAST = 6  # stages side by side in the picture
WIDTH, GAP, HEIGHT, LINE = 1.5, 0.75, 1.15, 1.5  # of a box, between boxes, of a box, from line to line


def collect(project: Project, events: list[Row]) -> dict[str, Any]:
    """`dataflow`: one row a stage of the event design, and `way_in`: by how many bytes a beat and in how many cycles
    an image comes in; nothing where the design, or a figure of it, is not there.

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
    return {
        "dataflow": [
            {key: stage[key] for key in keys} | {"cycles": round(cycles[stage["name"]]), "queue": stage["fifo_depth"]}
            for stage in stages
        ],
        "way_in": {"bytes": manifest["axi_bytes"], "cycles": manifest["way_in"]},
    }


def sections(found: dict[str, Any]) -> list[Section]:
    """Of `dataflow`, where it is there."""
    if "dataflow" not in found:
        return []
    stages, entry = found["dataflow"], found["way_in"]
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
                    f"{stage['neurons']}" if stage["queue"] else "-",
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
            ),
            plots=lambda: {"Stages and queues; the darker, the busier": plot(stages)},
        )
    ]


def plot(stages: list[Row]) -> Figure:
    """A box a stage, darker the more cycles it takes; an arrow a stream, with the beats its queue holds."""
    from matplotlib.figure import Figure

    across = min(len(stages), ABREAST) * (WIDTH + GAP) + GAP
    up = (-(-len(stages) // ABREAST) - 1) * LINE + HEIGHT + 0.2
    figure = Figure(figsize=(across * 0.72, up * 0.72), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, across), ylim=(0.1 - up, 0.1), aspect="equal")
    axes.axis("off")
    slowest = max(stage["cycles"] for stage in stages)
    for i, stage in enumerate(stages):
        line, place = divmod(i, ABREAST)
        left, middle = GAP + place * (WIDTH + GAP), -line * LINE - HEIGHT / 2
        if place == 0:
            _arrow(axes, left - GAP, middle, "" if line else "pixels")
        _box(axes, left, middle, stage, stage["cycles"] / slowest)
        _arrow(axes, left + WIDTH, middle, f"{stage['queue']:,}" if stage["queue"] else "logits")
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
