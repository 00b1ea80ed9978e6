"""The report's part on density: images a second of a design for each thousand LUTs, at one clock for all.

Only designs that a whole test set has gone through without a mismatch count: their accuracy is that of the hardware.
"""

from __future__ import annotations

from typing import Any

from scaflow.flow.report.section import Section
from scaflow.flow.stages import TRAINING_OF

Row = dict[str, Any]
CLOCK_HZ = 100e6
TARGET = "xc7"


def rows(accuracy: Row, native: list[Row], synth: list[Row]) -> list[Row]:
    """One row a design, the densest first.

    Args:
        accuracy: of the trainings, over `test_images` images.
        native: runs of the native engine; one counts if it flowed, over the whole test set, without a mismatch.
        synth: cells by variant and target.
    """
    cells = {row["variant"]: row for row in synth if row["target"] == TARGET}
    found = []
    for run in native:
        whole = run["images"] == accuracy["test_images"] and not run["stalls"] and not run["logit_mismatches"]
        if not whole or not run["interval"] or run["variant"] not in cells:
            continue
        used, rate = cells[run["variant"]], CLOCK_HZ / run["interval"]["mean"]
        found.append(
            {
                "variant": run["variant"],
                "accuracy": accuracy[TRAINING_OF[run["variant"]]],
                "interval": run["interval"]["mean"],
                "images_per_second_at_100mhz": round(rate),
                "lut_xc7": used["lut"],
                "bram": used["bram"],
                "dsp": used["dsp"],
                "images_per_second_per_klut": round(rate / (used["lut"] / 1000)),
            }
        )
    return sorted(found, key=lambda row: -row["images_per_second_per_klut"])


def collect(accuracy: Row, native: list[Row], synth: list[Row]) -> Row:
    """`density`: the densest design, and all of them as its `designs`; nothing where none has its figures."""
    found = rows(accuracy, native, synth)
    return {"density": found[0] | {"designs": found}} if found else {}


def sections(found: Row) -> list[Section]:
    """Of `density`, where it is there."""
    if "density" not in found:
        return []
    return [
        Section(
            title="Density: images a second for each thousand 7-series LUTs, at 100 MHz",
            columns=("design", "accuracy", "mean interval", "images/s", "LUT", "BRAM", "DSP", "images/s /kLUT"),
            rows=tuple(
                (
                    row["variant"],
                    f"{row['accuracy']:.2%}",
                    f"{row['interval']:,.0f}",
                    f"{row['images_per_second_at_100mhz']:,}",
                    f"{row['lut_xc7']:,}",
                    f"{row['bram']:g}",
                    f"{row['dsp']}",
                    f"{row['images_per_second_per_klut']:,}",
                )
                for row in found["density"]["designs"]
            ),
            note="Accuracy and interval: the whole test set through the RTL. Cells: Yosys, LUT RAM counted as LUT.",
        )
    ]
