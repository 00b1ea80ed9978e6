"""The report's parts on folding: the plan that was solved for, and what pruning gains under the same budget."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from scaflow.flow.report.section import Section
from scaflow.flow.stages import Project
from scaflow.model.files import read_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = dict[str, Any]
FOLDED = ("dense", "compact")
GAINS = {
    "dense": "dense",
    "same_lanes": "pruned, same lanes",
    "same_area": "pruned, same area",
}
COLOURS = {"dense": "#6b7280", "same_lanes": "#d97706", "same_area": "#2563eb"}


def collect(project: Project) -> Row:
    """What `scaflow fold` found, as `fold`; nothing where it has not run on the networks that are there now, or for
    another width of the way in."""
    path = project / "fold.json"
    if not path.is_file():
        return {}
    remedy = f"run `scaflow fold {project.net}` again, or remove the file"
    found = read_json(path, remedy, ("graphs", "request", "stages", "gains", "scheduler", "interval", "lut", "fps"))
    same = found.get("axi_bytes") == project.network.fold.axi_bytes and found["graphs"] == graph_digests(project)
    return {"fold": found} if same else {}


def graph_digests(project: Project) -> dict[str, str]:
    """Of the networks that are folded."""
    digests = {}
    for name in FOLDED:
        digest = hashlib.sha256()
        for kind in ("json", "npz"):
            digest.update((project / f"{name}/graph.{kind}").read_bytes())
        digests[name] = digest.hexdigest()[:16]
    return digests


def sections(found: Row) -> list[Section]:
    """Of `fold`, where it is there."""
    if "fold" not in found:
        return []
    fold = found["fold"]
    return [plan_section(fold), *([gain_section(fold)] if fold["gains"] else [])]


def plan_section(fold: Row) -> Section:
    rows = tuple(
        (
            row["name"],
            f"{row['pe']}x{row['simd']}" if "pe" in row else "",
            f"{row['neurons']}" if "neurons" in row else "",
            row.get("scheduler", ""),
            f"{row['cycles']:,.0f}" if "cycles" in row else "",
            f"{row['lut']:,}",
            f"{row['bram']:g}",
            f"{row['dsp']}",
        )
        for row in fold["stages"]
    )
    total = ("total", "", "", "", f"{fold['interval']:,.0f}", f"{fold['lut']:,}", f"{fold['bram']:g}", f"{fold['dsp']}")
    rest = f"{fold['fps']:,.0f} images/s."
    return Section(
        title=f"Folding for {fold['request']}",
        columns=("stage", "lanes PExSIMD", "neurons", "scheduler", "cycles an image", "LUT", "BRAM", "DSP"),
        rows=rows,
        total=total,
        note=(
            "The pruned network; area by the model fitted to our own syntheses (on the ECP5 with what the placer adds)."
            " Cycles of an event stage: the mean over the calibration images; of the whole: the interval, by the exact"
            f" clock. {rest}"
        ),
    )


def gain_section(fold: Row) -> Section:
    gains = {name: fold["gains"][name] for name in GAINS if name in fold["gains"]}
    dense = gains["dense"]
    rows = tuple(
        (
            GAINS[name],
            f"{row['interval']:,.0f}",
            f"{dense['interval'] / row['interval']:.2f}",
            f"{row['fps']:,.0f}",
            f"{row['lut']:,}",
            f"{row['bram']:g}",
            f"{row['dsp']}",
        )
        for name, row in gains.items()
    )
    return Section(
        title="What pruning gains under the same budget",
        columns=("design", "interval, cycles", "times faster", "images/s", "LUT", "BRAM", "DSP"),
        rows=rows,
        note=(
            "Dense: the list scheduler, folded for the budget. Same lanes: the pruned network on the lanes of that"
            f" design. Same area: the pruned network folded anew within its LUTs, schedulers: {fold['scheduler']}."
        ),
        plots=lambda: {"Images a second": gain_plot(gains)},
    )


def gain_plot(gains: dict[str, Row]) -> Figure:
    """Bars: images a second of each design; the LUTs stand in the bars' names."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.8), layout="constrained")
    axes = figure.subplots()
    names = [f"{GAINS[name]}\n{row['lut']:,} LUTs" for name, row in gains.items()]
    bars = axes.barh(names, [row["fps"] for row in gains.values()], color=[COLOURS[name] for name in gains])
    axes.bar_label(bars, [f"{row['fps']:,.0f}" for row in gains.values()], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("images a second")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
