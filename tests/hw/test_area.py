"""The area model: what it counts, that it grows with the lanes, and its error against syntheses made here."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from scaflow.hw.area import COEFFICIENTS, DEVICES, FAMILIES, FITTED_AS, Area, area, coefficients, features, summed
from scaflow.hw.area_array import Lanes, array
from scaflow.hw.area_fit import Sample, errors, fit, netlist_feeds
from scaflow.hw.design import Design, design
from scaflow.hw.emit import emit
from scaflow.hw.fold import Fold
from scaflow.hw.layers import Instance
from scaflow.hw.mem import parameters
from scaflow.hw.ram import ram, rom
from scaflow.hw.synth import Resources, SynthResult, synthesize
from scaflow.quant.golden.axis_events import AxisEvents
from scaflow.quant.golden.current_pe import CurrentPe
from scaflow.quant.golden.lif_neuron import LifNeuron
from scaflow.quant.golden.spike_sum import SpikeSum
from scaflow.quant.golden.stream_fifo import StreamFifo
from scaflow.quant.golden.stream_fork import StreamFork
from scaflow.quant.golden.stream_join import StreamJoin
from scaflow.quant.graph import Graph, validate

FOLDING = {"first": Fold(2, 1), "middle": Fold(2, 2), "dense": Fold(3, 2, neurons=2), "readout": Fold(3, 2)}
ONE_STEP_FOLDING = {
    "first": Fold(4, 1, "event"),
    "middle": Fold(2, 2, "event"),
    "dense": Fold(7, 2),
    "readout": Fold(3, 2),
}
TARGETS = {"ecp5": "ecp5-85", "xc7": "xc7"}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_error_on_networks_not_fitted_is_within_what_is_promised(family):
    found = json.loads(COEFFICIENTS.read_text())["error"][family]
    assert found["stages"] >= 10
    assert found["median"] <= 0.10
    assert found["worst"] <= 0.25
    assert (found["bram_miscounted"], found["dsp_miscounted"]) == (0, 0)


def one_step_of_few_bits(graph: Graph) -> Graph:
    """The same with one time step and pixel weights of three bits: other hardware in mac_array and lif_update."""
    first, *others = graph.nodes
    few = replace(first, weight=np.clip(first.weight, -3, 3), weight_bits=3)
    return validate(replace(graph, time_steps=1, nodes=(few, *others)))


@pytest.fixture(scope="module")
def synthesized(graph, tmp_path_factory):
    """synthesized(steps, family): a design of so many time steps, synthesised once; 3 on ecp5 also placed."""
    folder = tmp_path_factory.mktemp("area")

    @cache
    def make(steps: int, family: str) -> tuple[Design, SynthResult]:
        laid = design(graph, FOLDING) if steps == 3 else design(one_step_of_few_bits(graph), ONE_STEP_FOLDING)
        emit(laid, folder / f"{steps}-{family}")
        placed = (steps, family) == (3, "ecp5")
        target, kept = TARGETS[family], folder / "cache"
        return laid, synthesize(folder / f"{steps}-{family}", "top", target, lambda _: None, kept, route=placed)

    return make


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fresh_axis_events_is_within_the_promise(family, tmp_path):
    cfg = AxisEvents(x0=0, y0=0, width=34, height=34, channels=2, bits=2, bin=30_000, time_bits=20)
    given = ", ".join(f".{name}({value})" for name, value in parameters(cfg).items())
    (tmp_path / "top.sv").write_text(
        "module top (input logic clk, rst_n, s_axis_tvalid, s_axis_tlast, out_ready, input logic [63:0] s_axis_tdata,\n"
        "  output logic s_axis_tready, out_valid, time_error, output logic [31:0] dropped,\n"
        f"  output logic [5:0] out_data); axis_events #({given}) intake (.*); endmodule\n"
    )
    cells = synthesize(tmp_path, "top", TARGETS[family], lambda _: None, tmp_path / "cache", route=False).per_stage
    predicted = area([Instance("axis_events", "intake", cfg, 0, 0)], family)
    assert predicted.lut == pytest.approx(cells["intake"].lut, rel=0.15)
    assert predicted.ff == pytest.approx(cells["intake"].ff, rel=0.15)
    assert predicted.bram == cells["intake"].bram > 0


def test_what_the_placer_adds_is_what_nextpnr_added(synthesized):
    """The heads and ends of carry chains and LUT-RAM writing; two more are the constants of the whole."""
    _, result = synthesized(3, "ecp5")
    feeds = netlist_feeds(json.loads((result.log / "netlist.json").read_text()), "top")
    assert abs(result.per_stage["(packing)"].lut - sum(feeds.values())) <= 2


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("steps", [3, 1])
def test_a_fresh_synthesis_is_within_the_promise(synthesized, family, steps):
    laid, result = synthesized(steps, family)
    cells = result.per_stage
    for stage in laid.stages:
        predicted = area(stage.instances, family)
        assert predicted.lut == pytest.approx(cells[stage.name].lut, rel=0.25)
        assert predicted.ff == pytest.approx(cells[stage.name].ff, rel=0.35)
        assert (predicted.bram, predicted.dsp) == (cells[stage.name].bram, cells[stage.name].dsp)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_area_falls_when_lanes_are_added(graph, family):
    def taken(folding) -> Area:
        return area(design(graph, folding).instances(), family)

    smallest = {"first": Fold(1, 1), "middle": Fold(1, 1), "dense": Fold(1, 1), "readout": Fold(3, 1)}
    # the same folds and groups with fewer lanes: 4 kept outputs in 2 folds, 7 in 3 and 2, 3 kept inputs in 2 groups
    for name, less, more in (
        ("first", Fold(2, 1), Fold(3, 1)),
        ("dense", Fold(4, 1), Fold(5, 1)),
        ("dense", Fold(4, 1), Fold(6, 1)),
        ("dense", Fold(7, 1, neurons=4), Fold(7, 1, neurons=6)),  # two rounds
        ("readout", Fold(3, 4), Fold(3, 5)),
        ("readout", Fold(3, 4), Fold(3, 6)),
    ):
        few, many = taken(smallest | {name: less}), taken(smallest | {name: more})
        assert few.placed <= many.placed and few.ff <= many.ff
        assert few.bram <= many.bram and few.dsp <= many.dsp


def array_of(pe: int) -> CurrentPe:
    return CurrentPe(pe, 2, 1, 0, 1, 72, 2, 4, 0, 4, 10, np.ones((2, 72, pe), dtype=int))


def neurons(pe: int) -> LifNeuron:
    return LifNeuron(pe, 2, 4, 10, 16, 3, 1, 0, np.ones((2, pe), dtype=int), np.ones((2, pe), dtype=int))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("module", "less", "more"),
    [
        ("stream_fork", StreamFork(40, 2), StreamFork(40, 4)),
        ("stream_join", StreamJoin(8, 10, 12, 2, 0, 13, 1), StreamJoin(16, 10, 12, 2, 0, 13, 1)),
        ("stream_join", StreamJoin(8, 1, 1, 0, 0, 2, 0), StreamJoin(8, 2, 2, 0, 0, 3, 0)),
        ("spike_sum", SpikeSum(8, 1, 3, 14, 14, 2, 4), SpikeSum(16, 1, 3, 14, 14, 2, 4)),
        ("current_pe", array_of(4), array_of(8)),
        ("lif_neuron", neurons(4), neurons(8)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_modules_of_graphs_grow(family, module, less, more):
    few, many = (area([Instance(module, "", cfg, 0, 0)], family) for cfg in (less, more))
    assert 0 < few.placed < many.placed
    assert 0 < few.ff < many.ff and few.bram <= many.bram and few.dsp == many.dsp == 0


@pytest.mark.parametrize(
    ("family", "depth", "width", "expected"),
    [
        ("ecp5", 16, 8, (0.0, 8)),  # two 16x4
        ("ecp5", 128, 10, (0.0, 96)),  # eight times three 16x4
        ("ecp5", 512, 36, (1.0, 0)),
        ("ecp5", 1024, 36, (2.0, 0)),
        ("xc7", 32, 6, (0.0, 4)),
        ("xc7", 64, 24, (0.0, 32)),
        ("xc7", 512, 36, (0.5, 0)),
        ("xc7", 1024, 36, (1.0, 0)),
    ],
)
def test_memories_are_built_of_the_cells_yosys_takes(family, depth, width, expected):
    found = ram(family, depth, width, collides=True)
    assert (found.blocks, found.luts) == expected


def test_a_rom_is_logic_until_it_is_long_or_asked_for():
    assert rom("ecp5", 16, 40).blocks == 0
    assert rom("ecp5", 64, 20, block=True).blocks == 1
    assert rom("ecp5", 1024, 400).blocks == 23  # 1024 x 18 each


def test_an_unknown_module_is_refused():
    with pytest.raises(ValueError, match="no coefficients for module 'crossbar' on xc7"):
        area([Instance("crossbar", "x", None, 1, 1)], "xc7")
    with pytest.raises(ValueError, match="module 'crossbar' has no features"):
        features("crossbar", None, "xc7")


def test_equal_bits_are_counted_once_and_zero_weights_not_at_all():
    def counted(weights: list[list[list[int]]]) -> dict[str, float]:
        return array(Lanes.of(np.array(weights)), 1, 4, 8, "xc7")  # [simd, depth, pe]

    # a lane, two words, two neurons; bits of the words of a neuron, lowest first: (1, 0), (0, 1), (1, 1), (0, 1)
    assert counted([[[5, 5], [-2, -2]]])["bank_read"] == 3
    assert counted([[[5, 0], [-2, 0]]])["bank_read"] == 3
    # two lanes: 5 and -2 need 4 bits, their sum 5; -2 and -4 add nothing to the lowest bit of the other
    added = ("adder_bits", "shared_adder_bits")
    assert sum(counted([[[5], [-2]], [[5], [-2]]])[name] for name in added) == 5
    assert sum(counted([[[5], [3]], [[-2], [-4]]])[name] for name in added) == 4
    # a lane without weights is left out
    assert counted([[[5], [3]], [[0], [0]]]) == counted([[[5], [3]]])


def test_every_coefficient_is_of_a_feature_and_none_is_negative():
    for family in FAMILIES:
        for module, resources in coefficients()[family].items():
            for weights in resources.values():
                assert all(c >= 0 for c in weights.values()), (family, module)


def queue_sample(width: int, depth: int, lut: int, stage: str) -> Sample:
    return Sample("xc7", stage, "stream_fifo", StreamFifo(width, depth), Resources(lut=lut, ff=5 + width), 0)


def test_a_fit_finds_what_its_samples_were_made_of_and_the_error_is_the_largest_of_the_stages():
    shapes = [(4, 8), (9, 16), (16, 4), (33, 16), (60, 32)]
    samples = [queue_sample(width, depth, 10 + 3 * width, f"net.{width}") for width, depth in shapes]
    model = fit(samples)
    assert errors(model, samples)["xc7"]["worst"] < 0.01
    half_as_large = queue_sample(20, 16, 140, "net.off")
    found = errors(model, [*samples, half_as_large])["xc7"]
    assert found["stages"] == 6
    assert found["worst"] == pytest.approx(0.5, abs=0.01)
    # instances of one stage are held against the model together: 70 + 210 where it says 70 + 70
    together = [queue_sample(20, 16, 70, "net.pair"), queue_sample(20, 16, 210, "net.pair")]
    assert errors(model, together)["xc7"]["worst"] == pytest.approx(0.5, abs=0.01)


def test_devices_have_a_family_and_room():
    assert {device.family for device in DEVICES.values()} == set(FITTED_AS)
    assert (DEVICES["ecp5-85"].lut, DEVICES["ecp5-85"].bram) == (83_640, 208)
    assert (DEVICES["xc7z020"].lut, DEVICES["xc7z020"].bram, DEVICES["xc7z020"].dsp) == (53_200, 140, 220)


def test_the_sums_of_a_decay():
    """1/2^K is none; 115 = 128 - 16 + 4 - 1 is three; 171 = 256 - 64 - 16 - 4 - 1 is four, the most of 8 bits."""
    assert [summed(factor) for factor in (0, 1, 64, 3, 115, 171)] == [[], [], [], [2], [7, 5, 3], [8, 6, 4, 2]]
    assert max(len(summed(factor)) for factor in range(256)) == 4


@pytest.mark.parametrize("family", FAMILIES)
def test_a_decay_of_more_digits_takes_more(graph, family):
    def lut(**neuron):
        first, pool, middle, *others = graph.nodes
        laid = design(validate(replace(graph, nodes=(first, pool, replace(middle, **neuron), *others))), FOLDING)
        return area(laid.stages[1].instances, family).lut

    decays = [lut(leak_shift=0, decay=decay) for decay in ((1, 2), (7, 3), (115, 7), (171, 8))]
    assert decays == sorted(set(decays))
    assert lut(reset="delayed") > lut(reset="soft")
