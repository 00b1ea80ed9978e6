"""report.html: the comparison as one self-contained page, its plots embedded as PNG."""

from __future__ import annotations

import base64
import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from scaflow.flow.report.collect import Report, failures, images_per_second, sections
from scaflow.flow.stages import TRAININGS, VARIANTS, Project
from scaflow.model.files import UNREADABLE, readable

COLOURS = {"dense": "#6b7280", "skip": "#d97706", "compact": "#2563eb", "pruned": "#2563eb"}


def render(project: Project, report: Report) -> str:
    """The page; reads the training logs and the spikes that compile wrote, where they exist."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(Path(__file__).with_name("page.html.j2").read_text())
    plots = {
        "Cycles an image, stage by stage": cycle_plot(report),
        "Channels kept, layer by layer": channel_plot(report),
    }
    logs = {name: project / f"{name}/log.csv" for name in TRAININGS}
    if all(path.is_file() for path in logs.values()):
        plots["Validation accuracy over the epochs"] = accuracy_plot(logs)
    raster = project / "raster.npz"
    if raster.is_file():
        remedy = f"run `scaflow compile {project.net}` again, or remove the file"
        with readable(raster, remedy, OSError, *UNREADABLE), np.load(raster) as arrays:
            plots["Spikes of one test image in the pruned network"] = raster_plot(dict(arrays))
    return template.render(
        report=report,
        variants=VARIANTS,
        sections=[
            (part, {title: embed(figure) for title, figure in part.plots().items()}) for part in sections(report)
        ],
        plots={title: embed(figure) for title, figure in plots.items()},
        failures=failures(report["equality"]),
        speed=images_per_second(report),
    )


def cycle_plot(report: Report) -> Figure:
    """Bars: measured cycles of each stage and variant; dashes: the law."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    at = np.arange(len(report["stages"]))
    for i, variant in enumerate(VARIANTS):
        place = at + (i - 1) * 0.27
        cycles, law = ([stage[key][variant] for stage in report["stages"]] for key in ("cycles", "law"))
        axes.bar(place, cycles, 0.25, color=COLOURS[variant], label=variant)
        axes.plot(place, law, "k_", markersize=14, markeredgewidth=1.5)
    axes.plot([], [], "k_", markersize=10, label="law")
    axes.set_xticks(at, [stage["name"] for stage in report["stages"]])
    axes.set_ylabel("cycles an image")
    axes.legend(frameon=False)
    return _plain(figure)


def channel_plot(report: Report) -> Figure:
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    axes = figure.subplots()
    layers = report["channels"]["layers"]
    names = [layer["name"] for layer in layers]
    axes.bar(names, [layer["total"] for layer in layers], color="#e5e7eb", label="all")
    bars = axes.bar(names, [layer["kept"] for layer in layers], color=COLOURS["pruned"], label="kept")
    axes.bar_label(bars, label_type="center", color="white")
    axes.set_ylabel("channels")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    return _plain(figure)


def accuracy_plot(logs: dict[str, Path]) -> Figure:
    """Validation accuracy by epoch; the fine-tuning epochs on the integer form follow the dotted line."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    for name, path in logs.items():
        with readable(path, "remove the file: the plot is left out", *UNREADABLE, TypeError, IndexError, csv.Error):
            rows = list(csv.DictReader(path.read_text().splitlines()))
            if not rows:
                raise ValueError("no epoch")
            values = [100 * float(row["validation_accuracy"]) for row in rows]
            tuned = sum(row["stage"] != rows[0]["stage"] for row in rows)
        axes.plot(range(1, len(rows) + 1), values, marker="o", markersize=3, color=COLOURS[name], label=name)
        if tuned:
            axes.axvline(len(rows) - tuned + 0.5, color=COLOURS[name], linestyle=":", linewidth=1)
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation accuracy, %")
    axes.legend(frameon=False)
    return _plain(figure)


def raster_plot(spikes: dict[str, np.ndarray]) -> Figure:
    """One panel a layer, uint8 [T, C, H, W]: channels upwards, stream beats (pixel, then t) rightwards."""
    figure = Figure(figsize=(8, 1.5 * len(spikes)), layout="constrained")
    panels = figure.subplots(len(spikes), squeeze=False)[:, 0]
    for axes, (name, array) in zip(panels, spikes.items(), strict=True):
        channels = array.shape[1]
        beats = array.transpose(1, 2, 3, 0).reshape(channels, -1)
        axes.imshow(
            beats, aspect="auto", cmap="Greys", interpolation="nearest", origin="lower", vmin=0, vmax=1
        )
        axes.set_ylabel(f"{name}\nchannel")
        title = f"{beats.mean():.1%} of {beats.size:,} places hold a spike"
        axes.set_title(title, fontsize=8, loc="right", pad=2)
    axes.set_xlabel("beat: pixel in raster order, then time step")
    return figure


def embed(figure: Figure) -> str:
    """A figure as a data URI."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _plain(figure: Figure) -> Any:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    return figure
