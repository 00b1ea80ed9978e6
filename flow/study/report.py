"""What a study found, as a table and as plots: mean and spread over seeds, accuracy against what a network costs."""

from __future__ import annotations

import io
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaflow.flow.report.section import Section
from scaflow.model.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = dict[str, Any]
DENSE = "dense"
COSTS = {"cycles_over_dense": "cycles, of dense", "parameters": "parameters", "synops": "synaptic operations"}
AHEAD = {
    "sca-cycles": "#d97706",
    "sca-gradient": "#b91c1c",
    "sca": "#2563eb",
    "sca-published": "#93c5fd",
    DENSE: "#111827",
}


def spread(values: list[float]) -> tuple[float, float]:
    """Mean, and standard deviation of the sample (0 of one)."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def by_criterion(rows: list[Row]) -> dict[str, list[Row]]:
    """The rows of each criterion: dense first, then by falling accuracy."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["criterion"], []).append(row)
    return dict(sorted(groups.items(), key=lambda item: (item[0] != DENSE, -_mean(item[1], "accuracy"))))


def section(found: Row) -> Section:
    groups = by_criterion(found["rows"])
    rows = tuple(_cells(name, rows) for name, rows in groups.items())
    budget = found["budget"]
    aim = f"{budget['cycles']:.0%} of the dense cycles" if budget["cycles"] else f"{budget['keep']:.0%} of the channels"
    return Section(
        f"Study: {found['network']}, {found['dataset']}, T={found['time_steps']}, {found['weight_bits']}-bit weights, "
        f"{found['epochs']} epochs, pruned to {aim}",
        ("criterion", "accuracy %", "parameters", "synops", "cycles", "of dense", "event cycles", "channels"),
        rows,
        note="accuracy of the integer network on the whole test set; mean and standard deviation over seeds "
        "(how many), of the other figures the mean; channels of the first seed",
        plots=lambda: {"Accuracy against cost": plot(found)},
    )


def plot(found: Row) -> Figure:
    """One panel a cost; each criterion's mean, with its spread over seeds."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    groups = by_criterion(found["rows"])
    figure = Figure(figsize=(13, 4.4), layout="constrained")
    markers = "osD^v<>Pp*Xh"
    for panel, (cost, label) in zip(figure.subplots(1, len(COSTS), sharey=True), COSTS.items(), strict=True):
        for marker, (name, rows) in zip(markers * len(groups), groups.items(), strict=False):
            x, dx = spread([row[cost] for row in rows])
            y, dy = spread([100 * row["accuracy"] for row in rows])
            panel.errorbar(x, y, dy, dx, fmt=marker, color=AHEAD.get(name, "#9ca3af"), label=name, capsize=2)
        panel.set_xlabel(label)
        if cost != "cycles_over_dense":
            panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.grid(alpha=0.3)
    figure.axes[0].set_ylabel("test accuracy, %")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    return figure


def save_plot(found: Row, path: Path) -> None:
    picture = io.BytesIO()
    plot(found).savefig(picture, dpi=150, format="png")
    write_bytes(path, picture.getbuffer())


def _mean(rows: list[Row], key: str) -> float:
    return statistics.fmean(row[key] for row in rows)


def _cells(name: str, rows: list[Row]) -> tuple[str, ...]:
    accuracy, deviation = spread([100 * row["accuracy"] for row in rows])
    return (
        name,
        f"{accuracy:.2f} ± {deviation:.2f} ({len(rows)})",
        f"{_mean(rows, 'parameters'):,.0f}",
        f"{_mean(rows, 'synops'):,.0f}",
        f"{_mean(rows, 'cycles'):,.0f}",
        f"{_mean(rows, 'cycles_over_dense'):.3f}",
        f"{_mean(rows, 'cycles_event'):,.0f}",
        " ".join(map(str, rows[0]["channels"])),
    )
