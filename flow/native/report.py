"""The report's parts on whole test sets through the hardware, and on what the cycles of each stage went to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scaflow.flow.recordings.figures import section as recordings_section
from scaflow.flow.report.section import Section
from scaflow.flow.stages import Project, design_digests
from scaflow.model.files import read_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = dict[str, Any]
KINDS = ("busy", "starved", "stalled")  # what a counter counts, in the order of the hardware
COLOURS = {"busy": "#059669", "starved": "#e5e7eb", "stalled": "#d97706"}


def collect(project: Project, counters: list[Row]) -> dict[str, Any]:
    """What `sim --engine native` found, with its equalities; nothing where it has not run on the designs of now.

    Args:
        counters: those of `sim`, which stand where the native engine has none.
    """
    path = project / "native.json"
    remedy = f"run `scaflow sim {project.net} --engine native --force` again, or remove the file"
    keys = ("designs", "native", "counters", "equality")
    found = read_json(path, remedy, keys) if path.is_file() else {"designs": {}}
    if not found["designs"] or found["designs"] != design_digests(project, tuple(found["designs"])):
        found = {"native": [], "counters": [], "equality": []}
    counters = found["counters"] or counters
    return {
        "native": found["native"],
        "counters": counters,
        "bottleneck": bottlenecks(counters),
        "equality": found["equality"],
        "recordings": found.get("recordings", {}),
    }


def sections(found: dict[str, Any]) -> list[Section]:
    """Of `native` and `counters`, those that are there."""
    parts = []
    if found.get("native"):
        parts.append(native_section(found["native"]))
    if found.get("recordings"):
        parts.append(recordings_section(found["recordings"]))
    if found.get("counters"):
        parts.append(counter_section(found["counters"]))
    return parts


def native_section(runs: list[Row]) -> Section:
    rows = tuple(
        (
            run["variant"] + (", stalling" if run["stalls"] else ""),
            f"{run['images']:,}",
            f"{run['logit_mismatches']:,}",
            f"{run['cycle_mismatches']:,}",
            *(f"{run[key]['mean']:,.0f}" if run[key] else "-" for key in ("interval", "latency")),
            *(f"{run[key]:,}" if run[key] else "-" for key in ("kcycles_per_second", "kcycles_per_core_second")),
        )
        for run in runs
    )
    return Section(
        title="Test images through the whole design",
        columns=(
            "design", "images", "logit mismatches", "cycle mismatches", "mean interval",
            "mean latency", "kcycles /s", "/s core",
        ),
        rows=rows,
        note=(
            "Every logit and class against the golden model; the cycles of each image's first and last beat in and"
            " first and last word out against the exact clock. The last column is by the processor time of one core."
        ),
    )  # fmt: skip


def counter_section(rows: list[Row]) -> Section:
    named = bottlenecks(rows)
    return Section(
        title="Where the cycles of each stage go",
        columns=("stage", "variant", *KINDS, "busy part", "bottleneck"),
        rows=tuple(
            (
                row["stage"],
                row["variant"],
                *(f"{row[kind]:,}" for kind in KINDS),
                f"{row['busy'] / max(_total(row), 1):.1%}",
                "bottleneck" if named[row["variant"]] == row["stage"] else "",
            )
            for row in rows
        ),
        note=(
            "Cycles since reset, counted in hardware at the synapse steps of each stage, filling and draining included:"
            " busy takes one, starved has none, stalled has one and may not go on. Bottleneck: "
            + ", ".join(f"{variant}: {stage}" for variant, stage in named.items())
            + "."
        ),
        plots=lambda: {"Busy, starved and stalled, in parts of all cycles": counter_plot(rows)},
    )


def counter_plot(rows: list[Row]) -> Figure:
    """One panel a design, one stacked bar a stage; the bottleneck's name is bold."""
    from matplotlib.figure import Figure

    named = bottlenecks(rows)
    figure = Figure(figsize=(8, 1.2 + 0.28 * len(rows)), layout="constrained")
    panels = figure.subplots(len(named), squeeze=False)[:, 0]
    for axes, variant in zip(panels, named, strict=True):
        chosen = [row for row in rows if row["variant"] == variant][::-1]  # stage 0 on top
        names, left = [row["stage"] for row in chosen], [0.0] * len(chosen)
        for kind in KINDS:
            parts = [100 * row[kind] / max(_total(row), 1) for row in chosen]
            axes.barh(names, parts, left=left, color=COLOURS[kind], label=kind)
            left = [a + b for a, b in zip(left, parts, strict=True)]
        for label in axes.get_yticklabels():
            label.set_fontweight("bold" if label.get_text() == named[variant] else "normal")
        axes.set_xlim(0, 100)
        axes.set_title(f"{variant}, bottleneck {named[variant]}", fontsize=9, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, fontsize=8, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    panels[-1].set_xlabel("cycles, %")
    return figure


def _total(row: Row) -> int:
    return sum(row[kind] for kind in KINDS)


def bottlenecks(rows: list[Row]) -> dict[str, str]:
    """The stage of each design with the most busy cycles, the first of equals."""
    named: dict[str, Row] = {}
    for row in rows:
        if row["variant"] not in named or row["busy"] > named[row["variant"]]["busy"]:
            named[row["variant"]] = row
    return {variant: row["stage"] for variant, row in named.items()}
