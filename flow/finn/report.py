"""The report's part on FINN: its circuits of each convolution beside ours; tables of time and of area, and a plot."""

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
BEST = "FINN, best within our LUTs"
COLOURS = {"FINN": "#b91c1c", BEST: "#f59e0b", "dense": "#6b7280", "list": "#2563eb", "event": "#059669"}
NOTE = (
    "FINN: padding, window generator and matrix-vector unit with its weights, without neurons; spikes typed UINT2, one"
    " frame a time step (the image once), from the last output of an image to that of the next. Ours: the whole stage"
    " with its neurons, pooling and queue; dense and list measured likewise, event the mean over {images} test images."
    " Cells: one Yosys flow for 7-series; FINN's DSPs are DSP48E2, four products each, its output queues SRLs."
    " Within our LUTs: the fastest of FINN's foldings that takes no more LUTs than our event stage; DSPs and block RAMs"
    " are free. Where none does, its smallest one stands there, hatched in the plot."
)
AREA_NOTE = (
    "LUTs times cycles an image; of all spiking convolutions the sum of the LUTs times the sum of the cycles. FINN/it:"
    " FINN's at equal lanes over the circuit's own; best/it: that of FINN's best within our LUTs."
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
    """Each circuit's figures summed over the spiking convolutions.

    `finn_over`: FINN's cycles at equal lanes over its own; `best_over`: those of FINN's best; `lut_cycles`: the sum of
    its LUTs times that of its cycles.
    """
    spiking = [circuits(row) for row in rows if row["spiking"]]
    sums: dict[str, Row] = {
        name: {key: sum(parts[name][key] for parts in spiking) for key in FIGURES}
        for name in (spiking[0] if spiking else ())
    }
    if BEST in sums:
        sums[BEST]["within"] = all(parts[BEST]["within"] for parts in spiking)
    return {
        name: part
        | {"finn_over": sums["FINN"]["cycles"] / part["cycles"], "lut_cycles": part["lut"] * part["cycles"]}
        | ({"best_over": sums[BEST]["cycles"] / part["cycles"]} if BEST in sums else {})
        for name, part in sums.items()
    }


def circuits(row: Row) -> dict[str, Row]:
    best = {BEST: row["finn_best"]} if "finn_best" in row else {}
    return {"FINN": row["finn"], **best, **row["ours"]}


def label(name: str, part: Row) -> str:
    """What a circuit is called in a table; of two lines where the name is long."""
    if part.get("within", True):
        return name.replace("best ", "best\n")
    if "pe" not in part:  # a sum
        return "FINN, best within our LUTs\nor smallest, with more"
    return "FINN, smallest:\nmore LUTs than ours"


def sections(found: dict[str, Any]) -> list[Section]:
    """Of a report, or of finn.json; none where FINN was not measured."""
    if "finn" not in found:
        return []
    layers = found["finn"]
    told = [(row["layer"], circuits(row)) for row in layers] + [("all spiking", totals(layers))]
    return [
        Section(
            title="FINN beside us, at equal lanes and at its best within our LUTs",
            columns=("convolution", "circuit", "PExSIMD", "cycles", "FINN/it", "LUT", "FF", "BRAM", "DSP"),
            rows=tuple(_line(layer, name, part, parts) for layer, parts in told for name, part in parts.items()),
            note=NOTE.format(images=found["finn_event_images"]),
            plots=lambda: {"Cycles an image and LUTs of each convolution": plot(layers)},
        ),
        Section(
            title="LUTs times cycles: FINN beside us",
            columns=("convolution", "circuit", "LUT x cycles", "FINN/it", "best/it", "best/it, cycles"),
            rows=tuple(_area_line(layer, name, part, parts) for layer, parts in told for name, part in parts.items()),
            note=AREA_NOTE,
        ),
    ]


def _line(layer: str, name: str, part: Row, beside: dict[str, Row]) -> tuple[str, ...]:
    fold = f"{part['pe']}x{part['simd']}" if "pe" in part else ""  # none of a sum
    cycles, lut, ff = (f"{part[key]:,.0f}" for key in ("cycles", "lut", "ff"))
    ratio = f"{beside['FINN']['cycles'] / part['cycles']:.2f}"
    return layer, label(name, part), fold, cycles, ratio, lut, ff, f"{part['bram']:g}", f"{part['dsp']:,}"


def _area_line(layer: str, name: str, part: Row, beside: dict[str, Row]) -> tuple[str, ...]:
    def product(of: Row) -> float:
        return float(of["lut"] * of["cycles"])

    best = beside.get(BEST)
    over = (f"{product(best) / product(part):.2f}", f"{best['cycles'] / part['cycles']:.2f}") if best else ("", "")
    area = f"{product(part) / 1e6:,.1f} M"
    return layer, label(name, part), area, f"{product(beside['FINN']) / product(part):.2f}", *over


def plot(layers: list[Row]) -> Figure:
    """Bars of each convolution: cycles an image (logarithmic), and LUTs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    names = [name for name in COLOURS if any(name in circuits(row) for row in layers)]
    width = 0.8 / len(names)
    for axes, key in zip(figure.subplots(2, 1), ("cycles", "lut"), strict=True):
        for i, name in enumerate(names):
            there = [(at, circuits(row)[name]) for at, row in enumerate(layers) if name in circuits(row)]
            place = [at + (i - (len(names) - 1) / 2) * width for at, _ in there]
            bars = axes.bar(place, [part[key] for _, part in there], width, color=COLOURS[name], label=name)
            for bar, (_, part) in zip(bars, there, strict=True):
                bar.set_hatch("" if part.get("within", True) else "//")  # more LUTs than ours
        axes.set_xticks(range(len(layers)), [f"{row['layer']}\n{row['lanes']} lanes" for row in layers])
        axes.set_ylabel("cycles an image" if key == "cycles" else "LUT, 7-series")
        axes.spines[["top", "right"]].set_visible(False)
        if key == "cycles":
            axes.set_yscale("log")
            least = min(part["cycles"] for row in layers for part in circuits(row).values())
            axes.set_ylim(bottom=10 ** math.floor(math.log10(least)))  # bars begin at a whole decade
            axes.legend(frameon=False, ncols=len(names), fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1))
    return figure
