"""The report's part on FINN: its circuit of each convolution beside ours, in a table and a plot."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from scaflow.flow.report.section import Section
from scaflow.flow.stages import Project
from scaflow.model.files import read_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = dict[str, Any]
FIGURES = ("cycles", "lut", "ff", "bram", "dsp")
COLOURS = {"FINN": "#b91c1c", "dense": "#6b7280", "list": "#2563eb", "event": "#059669"}
NOTE = (
    "FINN: padding, window generator and matrix-vector unit with its weights, without neurons; spikes typed UINT2, one"
    " frame a time step (the image once), from the last output of an image to that of the next. Ours: the whole stage"
    " with its neurons, pooling and queue; dense and list measured likewise, event the mean over {images} test images."
    " Cells: one Yosys flow for 7-series; FINN's DSPs are DSP48E2, four products each, its output queues SRLs."
)


def collect(project: Project) -> dict[str, Any]:
    """What `compare-finn` measured, with its totals; nothing where it has not run."""
    path = project / "finn.json"
    if not path.is_file():
        return {}
    remedy = f"run `scaflow compare-finn {project.net} --force` again, or remove the file"
    found = read_json(path, remedy, ("finn", "finn_event_images"))
    return found | {"finn_total": totals(found["finn"])}


def totals(rows: list[Row]) -> dict[str, Row]:
    """Each circuit's figures summed over the spiking convolutions; `finn_over`: FINN's cycles over its own."""
    spiking = [circuits(row) for row in rows if row["spiking"]]
    sums = {
        name: {key: sum(parts[name][key] for parts in spiking) for key in FIGURES}
        for name in (spiking[0] if spiking else ())
    }
    return {name: part | {"finn_over": sums["FINN"]["cycles"] / part["cycles"]} for name, part in sums.items()}


def circuits(row: Row) -> dict[str, Row]:
    return {"FINN": row["finn"], **row["ours"]}


def sections(found: dict[str, Any]) -> list[Section]:
    """Of a report, or of finn.json; none where FINN was not measured."""
    if "finn" not in found:
        return []
    layers = found["finn"]
    rows = [
        _line(row["layer"], name, f"{part['pe']}x{part['simd']}", part, row["finn"]["cycles"] / part["cycles"])
        for row in layers
        for name, part in circuits(row).items()
    ]
    rows += [_line("all spiking", name, "", part, part["finn_over"]) for name, part in totals(layers).items()]
    return [
        Section(
            title="FINN beside us, at equal lanes",
            columns=("convolution", "circuit", "PExSIMD", "cycles", "FINN/it", "LUT", "FF", "BRAM", "DSP"),
            rows=tuple(rows),
            note=NOTE.format(images=found["finn_event_images"]),
            plots=lambda: {"Cycles an image and LUTs of each convolution": plot(layers)},
        )
    ]


def _line(layer: str, name: str, fold: str, part: Row, ratio: float) -> tuple[str, ...]:
    cells = (f"{part[key]:,.0f}" for key in ("cycles", "lut", "ff"))
    cycles, lut, ff = cells
    return layer, name, fold, cycles, f"{ratio:.2f}", lut, ff, f"{part['bram']:g}", f"{part['dsp']:,}"


def plot(layers: list[Row]) -> Figure:
    """Bars of each convolution: cycles an image (logarithmic), and LUTs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    names = list(circuits(layers[0]))
    width = 0.8 / len(names)
    for axes, key in zip(figure.subplots(2, 1), ("cycles", "lut"), strict=True):
        for i, name in enumerate(names):
            place = [at + (i - (len(names) - 1) / 2) * width for at in range(len(layers))]
            axes.bar(place, [circuits(row)[name][key] for row in layers], width, color=COLOURS[name], label=name)
        axes.set_xticks(range(len(layers)), [f"{row['layer']}\n{row['lanes']} lanes" for row in layers])
        axes.set_ylabel("cycles an image" if key == "cycles" else "LUT, 7-series")
        axes.spines[["top", "right"]].set_visible(False)
        if key == "cycles":
            axes.set_yscale("log")
            least = min(part["cycles"] for row in layers for part in circuits(row).values())
            axes.set_ylim(bottom=10 ** math.floor(math.log10(least)))  # bars begin at a whole decade
            axes.legend(frameon=False, ncols=len(names), loc="lower center", bbox_to_anchor=(0.5, 1))
    return figure
