"""The comparison: collects what the stages wrote into report.json, and prints it as tables.

Nothing is measured here. Where a stage has not written its figures, the command that makes them is named.
"""

from __future__ import annotations

import statistics
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scaflow.flow.activity import report as event_report
from scaflow.flow.finn import report as finn_report
from scaflow.flow.fold import report as fold_report
from scaflow.flow.native import report as native_report
from scaflow.flow.report import dataflow, density
from scaflow.flow.report.section import Section
from scaflow.flow.stages import DESIGNS, VARIANTS, Project
from scaflow.model.files import read_json

MAKERS = {
    "compile.json": "compile",
    "sim.json": "sim",
    "cycles.json": "cycles",
    "activity.json": "activity",
    "synth.json": "synth",
}
KEYS = {  # what is read of each
    "compile.json": ("equality", "accuracy", "channels", "provenance"),
    "sim.json": ("equality", "counters", "interval", "latency"),
    "cycles.json": ("equality", "stages"),
    "activity.json": ("images", "stages", "event"),
    "synth.json": ("synth",),
}
Report = dict[str, Any]
Row = dict[str, Any]


def collect(project: Project) -> Report:
    """The report of a network; docs/architecture.md names its keys.

    Raises:
        ValueError: a stage has not run, with the command for each.
    """
    missing = [name for name in MAKERS if not (project / name).is_file()]
    if missing:
        lines = [f"  {project / name}: run `scaflow {MAKERS[name]} {project.net}`" for name in missing]
        raise ValueError("the report lacks its figures:\n" + "\n".join(lines))
    compiled, sim, cycles, activity, synth = (
        read_json(project / name, f"run `scaflow {maker} {project.net}` again", KEYS[name])
        for name, maker in MAKERS.items()
    )
    network = project.network
    stages = with_activity(with_ideal(cycles["stages"]), activity["stages"])
    native = native_report.collect(project, sim["counters"])
    return {
        "network": network.name,
        "dataset": network.dataset,
        "time_steps": network.steps,
        "weight_bits": network.quant.weight_bits,
        "accuracy": compiled["accuracy"],
        "channels": compiled["channels"],
        "equality": [
            *compiled["equality"],
            *cycles["equality"],
            *law_rows(stages),
            *sim["equality"],
            *native.pop("equality"),
        ],
        "stages": stages,
        "reduction": reduction(stages),
        "interval": sim["interval"],
        "latency": sim["latency"],
        "synth": synth["synth"],
        "event": activity["event"],
        "activity": activity,
        "provenance": compiled["provenance"],
    } | dataflow.collect(project, activity["stages"]) | finn_report.collect(project) | fold_report.collect(
        project
    ) | native | density.collect(compiled["accuracy"], native["native"], synth["synth"])


def with_ideal(stages: list[Row]) -> list[Row]:
    """Adds to each stage the part of its dense work that is left: kept inputs x kept outputs."""

    def part(side: dict[str, int]) -> float:
        return side["kept"] / side["total"]

    return [stage | {"ideal": part(stage["kept_in"]) * part(stage["kept_out"])} for stage in stages]


def with_activity(stages: list[Row], events: list[Row]) -> list[Row]:
    """Adds the activity of a stage's input and the imbalance of its banks; the read-out has none."""
    seen = {row["name"]: {key: row[key] for key in ("activity", "bank_imbalance")} for row in events}
    return [stage | seen.get(stage["name"], {}) for stage in stages]


def sections(report: Report) -> list[Section]:
    """The parts of the report that have figures."""
    return [
        *dataflow.sections(report),
        event_report.section(report["activity"]),
        *fold_report.sections(report),
        *native_report.sections(report),
        *density.sections(report),
        *finn_report.sections(report),
    ]


def reduction(stages: list[Row]) -> dict[str, float]:
    """Cycles of all stages of a variant over those of the dense design, and what the ideal would be."""
    dense = sum(stage["cycles"]["dense"] for stage in stages)
    ratios = {name: sum(stage["cycles"][name] for stage in stages) / dense for name in VARIANTS}
    return ratios | {"ideal": sum(stage["cycles"]["dense"] * stage["ideal"] for stage in stages) / dense}


def law_rows(stages: list[Row]) -> list[Row]:
    """One equality row a variant: stages whose measured cycles are not the law's."""
    return [
        {
            "rung": "measured cycles = law, per stage",
            "variant": variant,
            "compared": len(stages),
            "mismatches": sum(stage["cycles"][variant] != stage["law"][variant] for stage in stages),
        }
        for variant in VARIANTS
    ]


def failures(equality: list[Row]) -> list[str]:
    """The equalities that do not hold; one that compared nothing has not been shown and counts as failed."""
    return [
        f"{row['rung']} ({row['variant']}): {row['mismatches']} mismatches in {row['compared']}"
        for row in equality
        if row["mismatches"] or not row["compared"]
    ]


def images_per_second(report: Report) -> dict[str, float]:
    """At the routed clock, one image per interval; only variants that were routed, and have one."""
    return {
        row["variant"]: row["fmax_mhz"] * 1e6 / report["interval"][row["variant"]]
        for row in report["synth"]
        if row["fmax_mhz"] and report["interval"][row["variant"]]
    }


def show(report: Report, console: Console) -> None:
    """Print the comparison."""
    bits = f"T = {report['time_steps']}, {report['weight_bits']}-bit weights"
    console.print(f"{report['network']}: {report['dataset']}, {bits}", style="bold", highlight=False)
    console.print(stage_table(report["stages"]))
    console.print(speed_table(report))
    console.print(synth_table(report["synth"]))
    for section in sections(report):
        console.print(section.table())
    console.print(equality_table(report["equality"]))
    console.print(_accuracy_line(report))


def stage_table(stages: list[Row]) -> Table:
    """Per stage and in total: lanes, kept channels, measured cycles beside the law, ratios."""
    names = ("lanes\nPExSIMD", "kept\nin", "kept\nout", *VARIANTS, "skip\n/dense", "compact\n/dense", "ideal")
    table = _table("Cycles an image, measured; = where the law says exactly that", ("stage",), names)
    for stage in stages:
        cycles = stage["cycles"]
        table.add_row(
            stage["name"],
            f"{stage['pe']}x{stage['simd']}",
            *(f"{stage[side]['kept']}/{stage[side]['total']}" for side in ("kept_in", "kept_out")),
            *(_beside_law(cycles[variant], stage["law"][variant]) for variant in VARIANTS),
            *(f"{cycles[variant] / cycles['dense']:.3f}" for variant in VARIANTS[1:]),
            f"{stage['ideal']:.3f}",
        )
    ratios = reduction(stages)
    sums = {key: [sum(stage[key][v] for stage in stages) for v in VARIANTS] for key in ("cycles", "law")}
    table.add_section()
    table.add_row(
        "total",
        f"{sum(stage['pe'] * stage['simd'] for stage in stages)}",
        "",
        "",
        *(_beside_law(measured, law) for measured, law in zip(sums["cycles"], sums["law"], strict=True)),
        *(f"{ratios[name]:.3f}" for name in (*VARIANTS[1:], "ideal")),
        style="bold",
    )
    return table


def speed_table(report: Report) -> Table:
    table = _table(
        "Speed", ("variant",), ("interval, cycles", "latency, cycles", "routed Fmax, MHz", "images/s")
    )
    fmax = {row["variant"]: row["fmax_mhz"] for row in report["synth"] if row["fmax_mhz"]}
    speed = images_per_second(report)
    for variant in DESIGNS:
        table.add_row(
            variant,
            f"{interval:,}" if (interval := report["interval"][variant]) else "n/a",
            f"{report['latency'][variant]:,}",
            f"{fmax[variant]:.1f}" if variant in fmax else "-",
            f"{speed[variant]:,.0f}" if variant in speed else "-",
        )
    return table


def synth_table(rows: list[Row]) -> Table:
    """Resources and clock; the clock over several seeds of the placement where they were asked for."""
    spread = max((len(row.get("fmax_seeds", ())) for row in rows), default=0)
    more = (f"of {spread} seeds:\nmedian", "least", "best") if spread else ()
    table = _table("Resources", ("target", "variant"), ("LUT", "FF", "BRAM", "DSP", "Fmax, MHz", *more))
    for row in rows:
        cells = [f"{row[key]:,}" for key in ("lut", "ff", "bram", "dsp")]
        seen = row.get("fmax_seeds")
        clocks = [row["fmax_mhz"], *((statistics.median(seen), min(seen), max(seen)) if seen else [None] * len(more))]
        table.add_row(row["target"], row["variant"], *cells, *(f"{clock:.1f}" if clock else "-" for clock in clocks))
    return table


def import_table(found: Row) -> Table:
    """A design made of a foreign file: how it is folded, and how near its spikes are to the file's."""
    names = (
        "lanes\nPExSIMD", "in", "out", "cycles\nan image",
        "spikes\ncompared", "other than\nthe file's", "rounding, of\na threshold",
    )  # fmt: skip
    table = _table(f"Interval {found['interval']:,} cycles, by the law", ("stage",), names)
    layers = {layer.name: layer for layer in found["layers"]}
    for stage in found["stages"]:
        cells = [f"{figure:,}" for figure in (stage.kept_in, stage.kept_out, stage.law)]
        if layer := layers.get(stage.name):
            cells += [f"{layer.spikes_compared:,}", f"{layer.spikes_differ:,}", f"{layer.rounding:.2%}"]
        table.add_row(stage.name, f"{stage.pe}x{stage.simd}", *cells)
    stages = {stage.name for stage in found["stages"]}
    for layer in (layer for layer in found["layers"] if layer.name not in stages):  # neurons by themselves
        figures = (f"{layer.spikes_compared:,}", f"{layer.spikes_differ:,}", f"{layer.rounding:.2%}")
        table.add_row(layer.name, "", "", "", "", *figures)
    return table


def equality_table(rows: list[Row]) -> Table:
    """The equalities, the failed ones in red."""
    table = _table("Equality", ("rung", "variant"), ("compared", "mismatches"))
    for row in rows:
        style = "bold red" if failures([row]) else None
        table.add_row(
            row["rung"], row["variant"], f"{row['compared']:,}", f"{row['mismatches']:,}", style=style
        )
    return table


def _table(title: str, left: tuple[str, ...], right: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _accuracy_line(report: Report) -> Text:
    accuracy, kept = report["accuracy"], report["channels"]
    change = 100 * (accuracy["pruned"] - accuracy["dense"])
    return Text(
        f"Accuracy on {accuracy['test_images']:,} test images: dense {accuracy['dense']:.2%}, pruned to"
        f" {kept['kept']} of {kept['total']} channels {accuracy['pruned']:.2%} ({change:+.2f} points)"
    )


def _beside_law(measured: int, law: int) -> Text:
    if measured == law:
        return Text(f"{measured:,} =")
    return Text(f"{measured:,} (law {law:,})", style="bold red")
