"""The comparison: collects what the stages wrote into report.json, and prints it as tables.

Nothing is measured here. Where a stage has not written its figures, the command that makes them is named.
"""

from __future__ import annotations

import json
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text
from scaflow.flow.stages import VARIANTS, Project

MAKERS = {"compile.json": "compile", "sim.json": "sim", "cycles.json": "cycles", "synth.json": "synth"}
Report = dict[str, Any]


def collect(project: Project) -> Report:
    """The report of a network; docs/architecture.md names its keys.

    Raises:
        ValueError: a stage has not run, with the command for each.
    """
    missing = [name for name in MAKERS if not (project / name).is_file()]
    if missing:
        lines = [f"  {project / name}: run `scaflow {MAKERS[name]} {project.config}`" for name in missing]
        raise ValueError("the report lacks its figures:\n" + "\n".join(lines))
    compiled, sim, cycles, synth = (json.loads((project / name).read_text()) for name in MAKERS)
    network = project.network
    stages = [stage | {"ideal": ideal(stage)} for stage in cycles["stages"]]
    return {
        "network": network.name,
        "dataset": network.dataset,
        "time_steps": network.time_steps,
        "weight_bits": network.quant.weight_bits,
        "accuracy": compiled["accuracy"],
        "channels": compiled["channels"],
        "equality": [*compiled["equality"], *sim["equality"], *law_rows(stages)],
        "stages": stages,
        "reduction": reduction(stages),
        "interval": sim["interval"],
        "latency": sim["latency"],
        "synth": synth["synth"],
        "provenance": compiled["provenance"],
    }


def ideal(stage: dict[str, Any]) -> float:
    """The part of a stage's dense work that is left: kept inputs x kept outputs, each of its total."""
    kept_in, kept_out = stage["kept_in"], stage["kept_out"]
    return kept_in["kept"] / kept_in["total"] * kept_out["kept"] / kept_out["total"]


def reduction(stages: list[dict[str, Any]]) -> dict[str, float]:
    """Cycles of all stages of a variant over those of the dense design, and what the ideal would be."""
    dense = sum(stage["cycles"]["dense"] for stage in stages)
    ratios = {name: sum(stage["cycles"][name] for stage in stages) / dense for name in VARIANTS}
    return ratios | {"ideal": sum(stage["cycles"]["dense"] * ideal(stage) for stage in stages) / dense}


def law_rows(stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
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


def failures(report: Report) -> list[str]:
    """The equalities that do not hold; one that compared nothing has not been shown and counts as failed."""
    return [
        f"{row['rung']} ({row['variant']}): {row['mismatches']} mismatches in {row['compared']}"
        for row in report["equality"]
        if row["mismatches"] or not row["compared"]
    ]


def images_per_second(report: Report) -> dict[str, float]:
    """At the routed clock, one image per interval; only variants that were routed."""
    return {
        row["variant"]: row["fmax_mhz"] * 1e6 / report["interval"][row["variant"]]
        for row in report["synth"]
        if row["fmax_mhz"]
    }


def show(report: Report, console: Console) -> None:
    """Print the comparison."""
    title = (
        f"{report['network']}: {report['dataset']}, T = {report['time_steps']}, {report['weight_bits']}-bit"
    )
    console.print(Group(Text(title, style="bold"), stage_table(report), design_table(report)))
    console.print(Group(equality_table(report), _accuracy_line(report)))


def stage_table(report: Report) -> Table:
    table = Table(
        title="Cycles an image, measured (where the law differs: beside it, in red)", box=box.SIMPLE_HEAD
    )
    for name in (
        "stage",
        "PE x SIMD",
        "kept in",
        "kept out",
        *VARIANTS,
        "skip/dense",
        "compact/dense",
        "ideal",
    ):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage in report["stages"]:
        cycles = stage["cycles"]
        table.add_row(
            stage["name"],
            f"{stage['pe']} x {stage['simd']}",
            *(f"{stage[side]['kept']}/{stage[side]['total']}" for side in ("kept_in", "kept_out")),
            *(_beside_law(cycles[variant], stage["law"][variant]) for variant in VARIANTS),
            *(f"{cycles[variant] / cycles['dense']:.3f}" for variant in VARIANTS[1:]),
            f"{stage['ideal']:.3f}",
        )
    stages, ratios, channels = report["stages"], report["reduction"], report["channels"]
    table.add_section()
    table.add_row(
        "total",
        str(sum(stage["pe"] * stage["simd"] for stage in stages)),
        "",
        f"{channels['kept']}/{channels['total']}",
        *(
            _beside_law(*(sum(stage[key][variant] for stage in stages) for key in ("cycles", "law")))
            for variant in VARIANTS
        ),
        *(f"{ratios[variant]:.3f}" for variant in VARIANTS[1:]),
        f"{ratios['ideal']:.3f}",
        style="bold",
    )
    return table


def design_table(report: Report) -> Table:
    table = Table(title="The three designs", box=box.SIMPLE_HEAD)
    for name in ("variant", "interval", "latency", "target", "LUT", "FF", "BRAM", "DSP", "Fmax", "images/s"):
        table.add_column(name, justify="left" if name in ("variant", "target") else "right")
    speed = images_per_second(report)
    for variant in VARIANTS:
        rows = [row for row in report["synth"] if row["variant"] == variant]
        for i, row in enumerate(rows or [None]):
            figures = (
                ("-",) * 7
                if row is None
                else (
                    row["target"],
                    *(f"{row[key]:,}" for key in ("lut", "ff", "bram", "dsp")),
                    f"{row['fmax_mhz']:.1f} MHz" if row["fmax_mhz"] else "-",
                    f"{speed[variant]:,.0f}" if row["fmax_mhz"] else "-",
                )
            )
            first = (variant, f"{report['interval'][variant]:,}", f"{report['latency'][variant]:,}")
            table.add_row(*(first if i == 0 else ("", "", "")), *figures)
    return table


def equality_table(report: Report) -> Table:
    table = Table(title="Equality", box=box.SIMPLE_HEAD)
    for name in ("rung", "variant", "compared", "mismatches"):
        table.add_column(name, justify="left" if name in ("rung", "variant") else "right")
    for row in report["equality"]:
        bad = row["mismatches"] or not row["compared"]
        table.add_row(
            str(row["rung"]),
            row["variant"],
            f"{row['compared']:,}",
            f"{row['mismatches']:,}",
            style="bold red" if bad else None,
        )
    return table


def _accuracy_line(report: Report) -> Text:
    accuracy = report["accuracy"]
    drop = 100 * (accuracy["dense"] - accuracy["pruned"])
    return Text(
        f"accuracy on {accuracy['test_images']:,} test images: dense {accuracy['dense']:.2%},"
        f" pruned {accuracy['pruned']:.2%} ({-drop:+.2f} points)",
        style="bold",
    )


def _beside_law(measured: int, law: int) -> Text:
    if measured == law:
        return Text(f"{measured:,}")
    return Text(f"{measured:,} (law {law:,})", style="bold red")
