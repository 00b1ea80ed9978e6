"""Density: what counts, and the arithmetic, by hand."""

from __future__ import annotations

import pytest

from scaflow.flow.report.density import collect, sections

ACCURACY = {"dense": 0.99, "pruned": 0.985, "test_images": 10_000}


def run(variant: str, interval: float | None, images: int = 10_000, wrong: int = 0, stalls: bool = False) -> dict:
    mean = None if interval is None else {"least": 1, "mean": interval, "most": 9999}
    return {"variant": variant, "images": images, "logit_mismatches": wrong, "stalls": stalls, "interval": mean}


def cells(variant: str, lut: int, target: str = "xc7") -> dict:
    return {"variant": variant, "target": target, "lut": lut, "ff": 1, "bram": 4.5, "dsp": 2, "fmax_mhz": None}


def test_rate_and_rate_for_each_thousand_luts():
    found = collect(ACCURACY, [run("event", 1250.0)], [cells("event", 4000), cells("event", 1, "ecp5-85")])["density"]
    assert {key: found[key] for key in found if key != "designs"} == {
        "variant": "event",
        "accuracy": 0.985,
        "interval": 1250.0,
        "images_per_second_at_100mhz": 80_000,
        "lut_xc7": 4000,
        "bram": 4.5,
        "dsp": 2,
        "images_per_second_per_klut": 20_000,
    }


def test_densest_design_stands_first_and_has_its_own_accuracy():
    found = collect(
        ACCURACY, [run("event", 2000.0), run("dense", 1000.0)], [cells("event", 1000), cells("dense", 1000)]
    )
    assert [(row["variant"], row["accuracy"]) for row in found["density"]["designs"]] == [
        ("dense", 0.99),
        ("event", 0.985),
    ]
    assert found["density"]["variant"] == "dense"


@pytest.mark.parametrize(
    "native",
    [
        [],
        [run("event", 1000.0, images=9_999)],
        [run("event", 1000.0, wrong=1)],
        [run("event", 1000.0, stalls=True)],
        [run("event", None)],
        [run("compact", 1000.0)],
    ],
    ids=["no run", "part of the test set", "mismatch", "stalling", "no interval", "not synthesised"],
)
def test_design_without_proof_is_left_out(native):
    assert collect(ACCURACY, native, [cells("event", 1000)]) == {}
    assert sections({}) == []


def test_section_has_a_row_a_design():
    found = collect(ACCURACY, [run("event", 1250.0)], [cells("event", 4000)])
    (section,) = sections(found)
    assert section.rows == (("event", "98.50%", "1,250", "80,000", "4,000", "4.5", "2", "20,000"),)
    assert len(section.columns) == len(section.rows[0])
