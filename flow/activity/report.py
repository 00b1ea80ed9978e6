"""The report's part on events: what each stage sees, what it costs by either scheduler, and where they break even."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scaflow.flow.report.section import Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"event": "#059669", "list": "#2563eb", "dense": "#6b7280"}


def section(found: dict[str, Any]) -> Section:
    """Of what `scaflow activity` wrote."""
    stages, total = found["stages"], found["event"]
    rows = tuple(
        (
            stage["name"],
            f"{stage['pe']}x{stage['simd']}",
            stage["scheduler"],
            f"{stage['activity']:.1%}",
            f"{stage['cycles']:,.0f}",
            f"{stage['ideal']:,.0f}",
            f"{stage['list']:,}",
            f"{stage['dense_list']:,}",
            f"{stage['bank_imbalance']['before']:.2f}",
            f"{stage['bank_imbalance']['after']:.2f}",
        )
        for stage in stages
    )
    return Section(
        title=f"Events: mean cycles an image at equal lanes, {found['images']:,} test images",
        columns=(
            "stage", "PExSIMD", "scheduler", "activity", "event design", "ideal", "pruned list", "dense list",
            "banks before", "banks after",
        ),
        rows=rows,
        note=(
            f"Event stages take {total['cycles_over_ideal']:.3f} x the ideal (events / lanes). Over the spiking"
            f" convolutions the dense list design takes {total['dense_list_over_pruned_event']:.1f} x the cycles of the"
            " pruned event design. Banks: the fullest bank over the mean one, channels counted off and dealt."
        ),
        plots=lambda: {"Where the event scheduler breaks even, test image by test image": plot(stages)},
    )  # fmt: skip


def plot(stages: list[dict[str, Any]]) -> Figure:
    """One panel a stage: cycles of either scheduler against the activity of the stage's input."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.6 * len(stages), 2.8), layout="constrained")
    panels = figure.subplots(1, len(stages), squeeze=False)[0]
    for axes, stage in zip(panels, stages, strict=True):
        activity, cycles = np.array(stage["images"]).T
        slope = (activity * cycles).sum() / (activity**2).sum() if activity.any() else 0.0
        even = stage["list"] / slope if slope else 1.0
        axes.plot([0, 100 * even], [0, stage["list"]], color=COLOURS["event"], linewidth=0.8, linestyle=":")
        axes.scatter(100 * activity, cycles, s=5, color=COLOURS["event"], label="event", alpha=0.5)
        axes.axhline(stage["list"], color=COLOURS["list"], label="list")
        axes.plot([100 * even], [stage["list"]], "ko", markersize=4)
        axes.annotate(f"even at {even:.0%}", (100 * even, stage["list"]), ha="right", va="bottom", fontsize=8)
        axes.set_title(f"{stage['name']}, {stage['pe']}x{stage['simd']}", fontsize=9)
        axes.set_xlabel("activity, %")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("cycles an image")
    panels[0].legend(frameon=False, fontsize=8)
    return figure
