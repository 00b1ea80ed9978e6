"""The comparison: what is collected, what counts as failed, and what a reader sees."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
from rich.console import Console

from scaflow.flow.activity.events import summary
from scaflow.flow.report import collect as report
from scaflow.flow.report import dataflow
from scaflow.flow.report.page import render
from scaflow.flow.stages import VARIANTS, design_digests, open_project
from scaflow.model.files import write_json


def row(rung: str, variant: str, compared: int = 10, mismatches: int = 0) -> dict:
    return {"rung": rung, "variant": variant, "compared": compared, "mismatches": mismatches}


def stage(name: str, kept_in, kept_out, cycles) -> dict:
    by_variant = dict(zip(VARIANTS, cycles, strict=True))
    return {
        "name": name,
        "pe": 4,
        "simd": 2,
        "kept_in": dict(zip(("kept", "total"), kept_in, strict=True)),
        "kept_out": dict(zip(("kept", "total"), kept_out, strict=True)),
        "cycles": by_variant,
        "law": dict(by_variant),
    }


def counted(variant: str, stage: str, busy: int, starved: int, stalled: int) -> dict:
    return {"variant": variant, "stage": stage, "busy": busy, "starved": starved, "stalled": stalled}


@pytest.fixture
def project(tmp_path):
    """A finished build with figures chosen so that every derived number can be worked out by hand."""
    project = open_project("digits", tmp_path / "build", tmp_path / "data")
    layers = [{"name": "conv0", "total": 8, "kept": 4}, {"name": "conv1", "total": 16, "kept": 8}]
    compiled = {
        "equality": [row("0 torch = golden", "dense", 360)],
        "accuracy": {"dense": 0.96, "pruned": 0.95, "test_images": 360},
        "channels": {"total": 24, "kept": 12, "layers": layers},
        "provenance": {"scaflow": "0.1.0"},
    }
    sim = {
        "equality": [row("3 top = golden", variant, 20) for variant in VARIANTS],
        "interval": {"dense": 6000, "skip": 2000, "compact": 1500, "event": 400},
        "latency": {"dense": 9000, "skip": 4000, "compact": 3000, "event": 900},
        "counters": [counted("skip", "conv0", 600, 300, 100), counted("skip", "conv1", 700, 250, 50)],
    }
    cycles = {
        "equality": [row("2 stage = golden", "dense", 64)],
        "stages": [
            stage("conv0", (1, 1), (4, 8), (2000, 1000, 1000)),
            stage("conv1", (4, 8), (8, 16), (6000, 1500, 1400)),
        ],
    }
    routed = {"target": "ecp5-85", "lut": 4321, "ff": 1234, "bram": 5, "dsp": 0, "fmax_mhz": 120.0}
    synth = {
        "synth": [
            routed | {"variant": "skip"},
            routed | {"variant": "skip", "target": "xc7", "fmax_mhz": None},
        ]
    }
    events = {
        "name": "conv1", "lanes": 8, "pe": 8, "simd": 1, "neurons": 8, "scheduler": "event", "activity": 0.125,
        "events": 320.0, "cycles": 330.0, "ideal": 320.0, "list": 1500, "dense_list": 6600,
        "bank_imbalance": {"before": 1.5, "after": 1.25}, "images": [[0.1, 310], [0.15, 350]],
    }  # fmt: skip
    activity = {"images": 2, "stages": [events], "event": summary([events | {"name": "conv0"}, events])}
    contents = {"compile": compiled, "sim": sim, "cycles": cycles, "activity": activity, "synth": synth}
    for name, content in contents.items():
        write_json(project / f"{name}.json", content)
    return project


def printed(found: dict) -> str:
    console = Console(file=io.StringIO(), width=120)
    report.show(found, console)
    return console.file.getvalue()


def test_the_clock_over_placement_seeds_is_told_by_median_least_and_best():
    cells = {"lut": 4321, "ff": 1234, "bram": 5, "dsp": 0}
    even, odd = ([100.0, 131.06, 90.0, 112.0], [120.0, 80.0, 95.04])
    rows = [
        {"target": "ecp5-85", "variant": "dense", **cells, "fmax_mhz": 100.0, "fmax_seeds": even},
        {"target": "ecp5-85", "variant": "event", **cells, "fmax_mhz": 120.0, "fmax_seeds": odd},
        {"target": "xc7", "variant": "dense", **cells, "fmax_mhz": None},
    ]
    spread = {column.header: list(column.cells) for column in report.synth_table(rows).columns}
    assert spread["variant"] == ["dense", "event", "dense"]
    assert spread["Fmax, MHz"] == ["100.0", "120.0", "-"]  # of the first seed, not of the best
    assert spread["of 4 seeds:\nmedian"] == ["106.0", "95.0", "-"]
    assert spread["least"] == ["90.0", "80.0", "-"] and spread["best"] == ["131.1", "120.0", "-"]
    plain = report.synth_table([{k: v for k, v in row.items() if k != "fmax_seeds"} for row in rows])
    assert [column.header for column in plain.columns] == list(spread)[:7]


def test_the_report_has_the_agreed_keys(project):
    found = report.collect(project)
    assert found.keys() >= {
        "network", "dataset", "time_steps", "weight_bits", "accuracy", "channels", "equality", "stages",
        "interval", "latency", "synth",
    }  # fmt: skip
    assert (found["network"], found["dataset"], found["time_steps"], found["weight_bits"]) == (
        "digits",
        "digits",
        4,
        4,
    )
    assert found["stages"][0].keys() >= {
        "name",
        "pe",
        "simd",
        "kept_in",
        "kept_out",
        "cycles",
        "law",
        "ideal",
    }
    assert json.loads(json.dumps(found)) == found


def test_ratios_are_those_of_the_whole_network(project):
    found = report.collect(project)
    assert [s["ideal"] for s in found["stages"]] == [0.5, 0.25]
    assert found["reduction"] == {
        "dense": 1.0,
        "skip": 2500 / 8000,
        "compact": 2400 / 8000,
        "ideal": 2500 / 8000,
    }
    assert report.images_per_second(found) == {"skip": 60_000.0}


def test_equalities_of_all_stages_are_there_and_hold(project):
    found = report.collect(project)
    assert len(found["equality"]) == 1 + 1 + 3 + 3
    assert report.failures(found["equality"]) == []


@pytest.mark.parametrize("broken", [{"mismatches": 1}, {"compared": 0}])
def test_a_mismatch_or_an_empty_comparison_fails(broken):
    rows = [row("3 top = golden", "skip") | broken, row("3 top = golden", "dense")]
    failed = report.failures(rows)
    assert len(failed) == 1 and failed[0].startswith("3 top = golden (skip)")


def test_cycles_beside_the_law_fail_and_show_both(project):
    content = json.loads((project / "cycles.json").read_text())
    content["stages"][1]["cycles"]["skip"] += 1
    write_json(project / "cycles.json", content)
    found = report.collect(project)
    assert report.failures(found["equality"]) == [
        "measured cycles = law, per stage (skip): 1 mismatches in 2"
    ]
    assert "1,501 (law 1,500)" in printed(found)
    assert 'class="bad"' in render(project, found)


def test_a_missing_stage_is_named_with_its_command(project):
    (project / "sim.json").unlink()
    (project / "synth.json").unlink()
    with pytest.raises(ValueError) as error:
        report.collect(project)
    assert re.findall(r"run `(.+)`", str(error.value)) == ["scaflow sim digits", "scaflow synth digits"]


def test_the_tables_hold_every_figure_uncut(project):
    text = printed(report.collect(project))
    for figure in (
        "6,000 =",
        "1,400 =",
        "0.312",
        "60,000",
        "120.0",
        "4,321",
        "360",
        "96.00%",
        "95.00%",
        "-1.00",
    ):
        assert figure in text
    assert "…" not in text


def test_the_page_is_self_contained_and_escapes(project):
    for name in ("dense", "pruned"):
        (project / name).mkdir()
        lines = ["stage,epoch,validation_accuracy", "float,0,0.5", "float,1,0.9", "folded,0,0.91"]
        (project / f"{name}/log.csv").write_text("\n".join(lines))
    spikes = np.zeros((4, 8, 8, 8), np.uint8)
    np.savez(project / "raster.npz", conv0=spikes)
    found = report.collect(project)
    found["equality"][0]["rung"] = "<script>"
    page = render(project, found)
    assert page.count('src="data:image/png;base64,') == 6
    assert "http" not in page and "<script>" not in page and "&lt;script&gt;" in page
    assert "All equalities hold." in page


def test_the_page_needs_neither_logs_nor_raster(project):
    assert render(project, report.collect(project)).count('src="data:image/png;base64,') == 4


def test_events_in_the_report(project):
    found = report.collect(project)
    assert found["event"] == {"cycles_over_ideal": 330 / 320, "dense_list_over_pruned_event": 20.0}
    assert found["stages"][1]["activity"] == 0.125
    assert found["stages"][1]["bank_imbalance"] == {"before": 1.5, "after": 1.25}
    assert "12.5%" in printed(found)
    assert "takes 20.0 x the cycles" in " ".join(printed(found).split())
    assert "breaks even" in render(project, found)


def test_counters_in_the_report_name_the_bottleneck(project):
    found = report.collect(project)
    assert found["native"] == [] and len(found["counters"]) == 2
    assert found["bottleneck"] == {"skip": "conv1"}
    text = " ".join(printed(found).split())
    assert "60.0%" in text and "70.0% bottleneck" in text
    assert "Bottleneck: skip: conv1." in render(project, found)


def test_a_run_of_the_native_engine_counts_if_it_ran_the_designs_of_now(project):
    top = project / "dense/rtl/top.sv"
    top.parent.mkdir(parents=True)
    top.write_text("module top;\n")
    run = {
        "variant": "dense", "images": 9000, "stalls": False, "logit_mismatches": 2, "cycle_mismatches": 0,
        "cycles_total": 123456, "seconds": 0.5, "kcycles_per_second": 987, "kcycles_per_core_second": 654,
        "latency": None, "interval": {"least": 10, "mean": 12.5, "most": 20},
    }  # fmt: skip
    native = {
        "designs": design_digests(project, ["dense"]),
        "native": [run],
        "counters": [counted("dense", "conv0", 1, 2, 3)],
        "equality": [row("3 native: top = golden", "dense", 9000, 2)],
    }
    write_json(project / "native.json", native)
    found = report.collect(project)
    assert found["native"] == [run] and found["bottleneck"] == {"dense": "conv0"}
    assert report.failures(found["equality"]) == ["3 native: top = golden (dense): 2 mismatches in 9000"]
    assert " 2 0 12 - 987 654 " in " ".join(printed(found).split())
    assert "<td>987</td>" in render(project, found)
    top.write_text("module top; // another\n")
    found = report.collect(project)
    assert found["native"] == [] and report.failures(found["equality"]) == []


def test_the_dataflow_is_told_where_the_design_is_there(project):
    assert "dataflow" not in report.collect(project)
    by_law = {"name": "conv0", "pe": 4, "simd": 2, "neurons": 2, "scheduler": "list", "kept_in": 1, "kept_out": 4}
    by_law["law"] = 700
    by_events = by_law | {"name": "conv1", "scheduler": "event", "law": None}
    stages = [by_law | {"fifo_depth": 512}, by_events | {"fifo_depth": None}]
    write_json(project / "event/rtl/manifest.json", {"stages": stages, "axi_bytes": 2, "way_in": 1032})
    found = report.collect(project)
    assert [(stage["cycles"], stage["queue"]) for stage in found["dataflow"]] == [(700, 512), (330, None)]
    (section,) = dataflow.sections(found)
    assert [row[-2:] for row in section.rows] == [("700", "512"), ("330", "-")]
    assert "An image comes in by 2 bytes a beat, in 1,032 cycles." in section.note
    written = {text.get_text() for axes in dataflow.plot(found["dataflow"] * 4).axes for text in axes.texts}
    assert {"conv0", "4 × 2, list", "700", "512", "4 × 2, event", "330", "pixels", "logits"} <= written


def test_the_dataflow_of_a_graph_shows_where_paths_part_and_meet(project):
    stage = {"pe": 4, "simd": 2, "neurons": 4, "scheduler": "list", "kept_in": 1, "kept_out": 4, "law": 700}
    names = ("conv0", "conv1", "conv2", "readout")
    stages = [
        stage | {"name": name, "fifo_depth": 2 * i + 2, "instances": [f"{name}_current_pe"] * (name != "conv1")}
        for i, name in enumerate(names)
    ]
    stages[-1]["fifo_depth"] = None

    def part(name, kind, reads, instances):
        return {"name": name, "kind": kind, "reads": reads, "instances": instances}

    parts = [
        part("conv0", "stage", [], ["conv0_stream_fifo"]),
        part("conv0_fork", "fork", ["conv0_stream_fifo"], ["conv0_fork", "conv0_to_fire0", "conv0_to_join2"]),
        part("fire0", "neuron", ["conv0_to_fire0"], ["fire0_stream_fifo"]),
        part("conv1", "stage", ["fire0_stream_fifo"], ["conv1_stream_fifo"]),
        part("conv2", "stage", ["conv1_stream_fifo"], ["conv2_stream_fifo"]),
        part("join2", "join", ["conv0_to_join2", "conv2_stream_fifo"], ["join2_stream_fifo"]),
        part("fire2", "neuron", ["join2_stream_fifo"], ["fire2_stream_fifo"]),
        part("readout", "stage", ["fire2_stream_fifo"], []),
    ]
    queues = {"conv0_to_fire0": 3, "conv0_to_join2": 145, "fire0": 16, "join2": 17, "fire2": 18}
    manifest = {"stages": stages, "axi_bytes": 2, "way_in": 1032, "parts": parts, "queues": queues}
    write_json(project / "event/rtl/manifest.json", manifest)
    found = report.collect(project)
    assert found["flows"] == [
        ["conv0", "fire0", 3], ["fire0", "conv1", 16], ["conv1", "conv2", 4], ["conv0", "join2", 145],
        ["conv2", "join2", 6], ["join2", "fire2", 17], ["fire2", "readout", 18],
    ]  # fmt: skip
    (section,) = dataflow.sections(found)
    assert [row[3] for row in section.rows] == ["-", "4", "-", "-"]
    assert "join2 reads conv0 (145); join2 reads conv2 (6);" in section.note
    figure = section.plots()["Stages and queues; the darker, the busier"]
    written = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert written.count("145") == written.count("18") == written.count("logits") == 1
    assert {"join2", "fire0", "fire2", "conv1"} <= set(written)
    arcs = [patch for axes in figure.axes for patch in axes.patches if type(patch).__name__ == "FancyArrowPatch"]
    assert len(arcs) == 1


def test_a_stage_whose_cycles_nobody_told_leaves_the_dataflow_out(project):
    stage = {"name": "other", "law": None, "fifo_depth": 2}
    write_json(project / "event/rtl/manifest.json", {"stages": [stage]})
    assert "dataflow" not in report.collect(project)
