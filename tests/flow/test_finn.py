"""FINN beside us: how its folding is chosen, what is counted of its netlist, and what a reader sees."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from scaflow.flow.cli import app
from scaflow.flow.finn import circuit
from scaflow.flow.finn import compare as finn
from scaflow.flow.finn import report as finn_report
from scaflow.flow.finn import worker as finn_worker
from scaflow.flow.report.section import Section
from scaflow.flow.stages import open_project
from scaflow.hw.fold import Fold
from scaflow.hw.synth import Resources
from scaflow.model.files import read_json, write_json
from scaflow.quant.graph import Conv, Edge

BUILD = Path("build")  # where `make finn` puts FINN


@pytest.mark.parametrize(
    ("ours", "rules", "expected"),
    [
        ((4, 8), (32, 9 * 16), (4, 8)),  # both divide: the same
        ((3, 4), (16, 9 * 8), (4, 3)),  # 3 does not divide 16: the same twelve lanes in the nearest shape
        ((5, 1), (16, 9), (2, 3)),  # no five lanes: six is nearer than four
        ((7, 1), (8, 4), (8, 1)),
        ((16, 1), (4, 9 * 4), (4, 4)),
    ],
)
def test_folding_takes_equal_lanes_where_finn_can(ours, rules, expected):
    assert finn.nearest_fold(*ours, *rules) == Fold(*expected)


def test_every_folding_obeys_finns_rules():
    for pe in range(1, 20):
        for simd in range(1, 12):
            fold = finn.nearest_fold(pe, simd, 24, 9 * 10)
            assert 24 % fold.pe == 0
            assert 90 % fold.simd == 0
            if (24 * 90) % (pe * simd) == 0:  # lanes that FINN can have at all
                assert fold.lanes == pe * simd


def spiking(co: int = 4, ci: int = 2, kernel: int = 3, stride: int = 1, padding: int = 1) -> Conv:
    weight = np.random.default_rng(co).integers(-8, 8, (co, ci, kernel, kernel))
    one = np.ones(co, int)
    return Conv("conv1", weight, one, one, stride, padding, 0, "hard", 4, 4, 1, tuple(range(co)))


def test_spikes_are_typed_as_two_bits_and_pixels_as_they_are():
    told = finn.layer_of(spiking(), Edge((2, 5, 6), 3, 1, (0, 1)), Fold(2, 1))
    assert (told["input_type"], told["weight_type"]) == ("UINT2", "INT4")
    assert (told["height"], told["width"], told["pe"], told["simd"]) == (5, 6, 2, 1)
    assert finn.layer_of(spiking(), Edge((2, 5, 6), 1, 8, (0, 1)), Fold(2, 1))["input_type"] == "UINT8"


def test_convolution_is_the_sum_over_the_window():
    weights = np.zeros((1, 1, 2, 2), int)
    weights[0, 0] = [[1, 10], [100, 1000]]
    frame = np.array([[[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]])
    assert circuit.convolution(frame, weights, 1, 0)[0, :, :, 0].tolist() == [[5421, 6532], [8754, 9865]]
    assert circuit.convolution(frame, weights, 2, 1)[0, :, :, 0].tolist() == [[1000, 3200], [7040, 9865]]


def test_finns_own_cells_are_counted_beside_the_flows():
    cells = {"LUT6_2": 5, "DSP48E2": 8, "LUT3": 2, "SRLC32E": 4, "FDRE": 7, "RAMB18E1": 1, "CARRY4": 9}
    stat = {"modules": {"\\top": {"num_cells_by_type": cells}}}
    assert circuit.finn_cells(stat) == Resources(lut=11, ff=7, bram=0.5, dsp=8)


def test_a_cell_of_unknown_cost_is_refused():
    stat = {"modules": {"\\top": {"num_cells_by_type": {"URAM288": 1}}}}
    with pytest.raises(ValueError, match="URAM288"):
        circuit.finn_cells(stat)


QUEUE = """
	(* SHREG_EXTRACT = "YES" *)
	output_t  OBuf[0:LAST];
	always_ff @(posedge ap_clk) begin
		if(ovld)  OBuf <= { odat, OBuf[0:LAST-1] };
	end
	always_ff @(posedge ap_clk) OReg <= OBuf[OPtr[2:0]];
"""


def test_an_addressed_shift_register_becomes_one_of_srls():
    text = circuit.with_shift_registers(QUEUE)
    assert "OBuf[" not in text
    assert ".DEPTH(LAST + 1)" in text
    assert ".clk(ap_clk), .en(ovld), .d(odat), .tap(5'(OPtr[2:0])), .q(OBuf_tap)" in text
    assert "OReg <= OBuf_tap;" in text
    assert circuit.with_shift_registers("module m; endmodule") == "module m; endmodule"


def test_a_shift_register_written_otherwise_is_refused():
    with pytest.raises(ValueError, match=r"OBuf is not written as in version 1\.6\.1"):
        circuit.with_shift_registers(QUEUE.replace("if(ovld)", "if(ovld && x)"))


def test_a_source_of_another_version_is_refused():
    with pytest.raises(ValueError, match=r"add_multi\.sv.*1\.6\.1"):
        finn_worker.portable("add_multi.sv", "module add_multi(); endmodule")
    with pytest.raises(ValueError, match=r"memstream\.sv.*1\.6\.1"):
        finn_worker.portable("memstream.sv", "module memstream(); endmodule")
    memory = finn_worker.portable("memstream.sv", "(* RAM_STYLE = RAM_STYLE *) data_t  Mem;")
    assert memory == "(* ram_style = RAM_STYLE *) data_t  Mem;"
    assert finn_worker.portable("replay_buffer.sv", "text") == "text"


def test_recordings_are_not_compared(tmp_path):
    done = CliRunner().invoke(app, ["compare-finn", "nmnist", "--build", str(tmp_path / "build")])
    assert done.exit_code == 2 and "nmnist is of recordings" in " ".join(done.output.split())


def test_without_finn_the_command_says_what_to_run(tmp_path):
    done = CliRunner().invoke(app, ["compare-finn", "digits", "--build", str(tmp_path / "build")])
    assert done.exit_code == 2
    assert "run `make finn`" in " ".join(done.output.split())
    (tmp_path / "build/finn/venv/bin").mkdir(parents=True)
    (tmp_path / "build/finn/venv/bin/python").touch()  # an environment, but nothing in it
    assert CliRunner().invoke(app, ["compare-finn", "digits", "--build", str(tmp_path / "build")]).exit_code == 2


@pytest.mark.parametrize(
    ("bound", "late", "expected"),
    [
        (496, 0, (2, 6, True)),
        (500, 0, (2, 6, True)),  # 4x3 is within too; as fast, with more LUTs
        (500, 99, (4, 3, True)),  # 2x6 takes longer than FINN expects, and 4x3 does not
        (500, 1, (4, 3, True)),
        (496, 99, (2, 6, True)),
        (40, 0, (1, 1, False)),
    ],
)
def test_finns_best_is_sought_among_all_its_foldings(monkeypatch, bound, late, expected):
    """Its weights and windows in block RAM, which the bound leaves free; of equal ones by the cycles in the RTL."""
    node, edge = spiking(), Edge((2, 5, 6), 3, 1, (0, 1))

    def estimates(python, home, layer, folds):
        assert {(fold.pe, fold.simd) for fold in folds} == {(pe, d) for pe in (1, 2, 4) for d in (1, 2, 3, 6, 9, 18)}
        return {fold: 30 * 4 * 18 // fold.lanes for fold in folds}

    def mapped(layer):
        assert layer["ram_style"] == "block"
        return Resources(lut=20 + 40 * layer["pe"] * layer["simd"] - layer["simd"])

    def measured(python, build, layer, spikes, progress):
        simulated.append((layer["pe"], layer["simd"]))
        frame = 30 * 4 * 18 // (layer["pe"] * layer["simd"]) + late * (layer["simd"] > 3)
        return {"cycles": 3 * frame, "lut": mapped(layer).lut}

    monkeypatch.setattr(finn, "estimates", estimates)
    monkeypatch.setattr(finn, "generate", lambda python, home, layer: layer)
    monkeypatch.setattr(finn, "map_finn", mapped)
    monkeypatch.setattr(finn, "measure_finn", measured)
    told: list[str] = []
    simulated: list[tuple[int, int]] = []
    found = finn.best_finn(Path(), Path(), node, edge, np.zeros(0), bound, told.append)
    assert (found["pe"], found["simd"], found["within"]) == expected
    assert found["frames"] == 3
    assert found["cycles"] == 3 * (30 * 4 * 18 // (expected[0] * expected[1]) + late * (expected[1] > 3))
    assert len(simulated) == (2 if late and bound == 500 else 1)  # one that takes what FINN expects settles it
    assert (found["lut"] <= bound) == found["within"]
    assert told[0].endswith(f"LUTs, of {bound}")


def figures(cycles: float, lut: int) -> dict:
    return {"pe": 2, "simd": 4, "cycles": cycles, "lut": lut, "ff": 10, "bram": 0.5, "dsp": 2}


def measured(within: bool = True) -> dict:
    layers = [
        ("conv0", False, 100, 90, 80, 70),
        ("conv1", True, 1000, 800, 400, 50),
        ("conv2", True, 2000, 1000, 200, 70),
    ]
    rows = [
        {
            "layer": name,
            "spiking": spiking,
            "lanes": 8,
            "finn": figures(finns, 5),
            "ours": {"dense": figures(dense, 6), "list": figures(walked, 7), "event": figures(event, 8)},
        }
        for name, spiking, finns, dense, walked, event in layers
    ]
    rows[1]["finn_best"] = figures(500, 8) | {"pe": 4, "within": True}
    rows[2]["finn_best"] = figures(4000, 4) | {"pe": 1, "simd": 1, "within": within}
    return {"finn": rows, "finn_event_images": 200}


def test_totals_are_of_the_spiking_convolutions():
    sums = finn_report.totals(measured()["finn"])
    assert {name: part["cycles"] for name, part in sums.items()} == {
        "FINN": 3000,
        finn_report.BEST: 4500,
        "dense": 1800,
        "list": 600,
        "event": 120,
    }
    assert sums["event"]["finn_over"] == 25
    assert sums["event"]["best_over"] == 37.5
    assert sums["event"]["lut_cycles"] == 120 * 16
    assert sums[finn_report.BEST]["within"]
    assert sums["FINN"]["lut"] == 10
    assert sums["event"]["bram"] == 1


def printed(section: Section) -> list[list[str]]:
    console = Console(file=io.StringIO(), width=100)
    console.print(section.table())
    return [line.split() for line in console.file.getvalue().splitlines()]


def test_the_section_is_there_when_finn_was_measured(tmp_path):
    assert finn_report.sections({}) == []
    project = open_project("digits", tmp_path / "build", tmp_path / "data")
    assert finn_report.collect(project) == {}
    write_json(project / "finn.json", measured())
    found = finn_report.collect(project)
    assert found["finn_total"]["event"]["finn_over"] == 25
    section, _ = finn_report.sections(found)
    lines = printed(section)
    assert ["conv1", "FINN", "2x4", "1,000", "1.00", "5", "10", "0.5", "2"] in lines
    assert ["conv0", "dense", "2x4", "90", "1.11", "6", "10", "0.5", "2"] in lines  # where FINN is near it shows
    assert ["all", "spiking", "event", "120", "25.00", "16", "20", "1", "4"] in lines
    (figure,) = section.plots().values()
    assert figure.axes[0].get_yscale() == "log"
    assert [bar.get_height() for bar in figure.axes[0].containers[0]] == [100, 1000, 2000]
    assert [bar.get_height() for bar in figure.axes[0].containers[1]] == [500, 4000]  # none of conv0


def test_finns_best_stands_beside_it_and_says_where_it_takes_more_than_ours():
    lines = printed(finn_report.sections(measured())[0])
    assert ["conv1", "FINN,", "best", "4x4", "500", "2.00", "8", "10", "0.5", "2"] in lines
    assert ["within", "our", "LUTs"] in lines
    assert ["all", "spiking", "FINN,", "best", "4,500", "0.67", "12", "20", "1", "4"] in lines
    assert [line for line in lines if line[:1] == ["conv0"] and "FINN," in line] == []
    over = measured(within=False)
    first, _ = finn_report.sections(over)
    lines = printed(first)
    assert ["conv2", "FINN,", "smallest:", "1x1", "4,000", "0.50", "4", "10", "0.5", "2"] in lines
    assert ["more", "LUTs", "than", "ours"] in lines
    assert ["or", "smallest,", "with", "more"] in lines  # the sum, of which it is a part
    assert not finn_report.totals(over["finn"])[finn_report.BEST]["within"]
    (figure,) = first.plots().values()
    assert [bar.get_hatch() for bar in figure.axes[0].containers[1]] == ["", "//"]


def test_area_times_time_is_set_against_finns():
    _, area = finn_report.sections(measured())
    rows = {row[:2]: row[2:] for row in area.rows}
    assert rows["conv1", "event"] == ("0.0 M", "12.50", "10.00", "10.00")  # 1000 x 5 and 500 x 8 over 50 x 8
    assert rows["all spiking", "event"] == ("0.0 M", "15.62", "28.12", "37.50")  # sums: 3000 x 10, 4500 x 12, 120 x 16
    assert rows["conv0", "event"] == ("0.0 M", "0.89", "", "")
    assert ["conv1", "event", "0.0", "M", "12.50", "10.00", "10.00"] in printed(area)
    large = measured()
    large["finn"][1]["finn"] = figures(1_053_696, 3_128)
    assert finn_report.sections(large)[1].rows[4] == ("conv1", "FINN", "3,296.0 M", "1.00", "0.00", "0.00")


@pytest.mark.full
@pytest.mark.rtl
def test_ours_are_measured_beside_it_as_they_stand(tmp_path, monkeypatch):
    """The verb on digits, all of our side in the RTL; of FINN and of Yosys only the figures are made up."""
    bounds: list[int] = []

    def best(python, build, node, edge, spikes, bound, progress):
        bounds.append(bound)
        return figures(9, 9) | {"within": True}

    monkeypatch.setattr(finn, "installed", Path)
    monkeypatch.setattr(finn, "measure_finn", lambda *_: {"cycles": 9, "lut": 9, "ff": 9, "bram": 0, "dsp": 1})
    monkeypatch.setattr(finn, "best_finn", best)
    monkeypatch.setattr(finn, "synthesize", lambda *_: Resources(lut=len(bounds) + 7))
    build = ["digits", "--build", str(tmp_path / "build")]
    for verb in ("reference", "compare-finn"):
        done = CliRunner().invoke(app, [verb, *build])
        assert done.exit_code == 0, done.output
    rows = read_json(tmp_path / "build/digits/finn.json")["finn"]
    assert [(row["layer"], "finn_best" in row) for row in rows] == [("conv0", False), ("conv1", True)]
    assert bounds == [7]  # of the event stage
    for row in rows:
        assert {kind: part["scheduler"] for kind, part in row["ours"].items()} == {
            "dense": "list",
            "list": "list",
            "event": "event" if row["spiking"] else row["ours"]["event"]["scheduler"],
        }
        assert 0 < row["ours"]["event"]["cycles"] < row["ours"]["dense"]["cycles"]


@pytest.mark.rtl
def test_finns_circuit_is_the_convolution(tmp_path):
    try:
        python = finn.installed(BUILD)
    except ValueError as missing:
        pytest.skip(str(missing))
    stride = 2
    told = finn.layer_of(spiking(4, 2, 3, stride), Edge((2, 5, 6), 2, 1, (0, 1)), Fold(2, 2))
    directory = circuit.generate(python, tmp_path, told)
    spikes = (np.random.default_rng(0).random((2, 2, 2, 5, 6)) < 0.4).astype(np.uint8)
    cycles = circuit.run_finn(directory, told, spikes)
    pixels = math.prod(-(-size // stride) for size in (5, 6))
    work = 2 * pixels * 9 * 2 * 4 // 4  # frames x pixels x positions x channels in and out, over the lanes
    assert work <= cycles <= 1.5 * work
    cells = circuit.map_finn(directory)
    assert cells.dsp == 2
    assert cells.lut > 100
    (directory / "memblock.dat").write_text((directory / "memblock.dat").read_text()[::-1].strip() + "\n")
    with pytest.raises(ValueError, match="output beats are wrong"):
        circuit.run_finn(directory, told, spikes)
