"""The reference networks' designs on UltraScale+: they map with Yosys, and the area model counts their block RAMs."""

from __future__ import annotations

import numpy as np
import pytest

from scaflow.flow.activity.events import lay_out
from scaflow.flow.designs.reference import KEPT, kept
from scaflow.flow.stages import shipped
from scaflow.hw.area import DEVICES, area
from scaflow.hw.cost import folding_of
from scaflow.hw.design import Design, design
from scaflow.hw.emit import emit
from scaflow.hw.fold import narrowed
from scaflow.hw.synth import synthesize
from scaflow.model.config import load_network
from scaflow.quant.compact import compact
from scaflow.quant.graph import load, validate

DRAWN = [
    pytest.param(name, variant, marks=() if name == "digits" and variant == "event" else pytest.mark.full)
    for name in kept()
    for variant in ("dense", "compact", "event")
]


def drawn(name: str, variant: str) -> Design:
    """A design of a reference network; its channels are dealt by noise, which changes no memory's shape."""
    cfg = load_network(shipped()[name])
    graphs = {training: validate(load(KEPT / name / training)) for training in ("dense", "pruned")}
    lanes = folding_of(cfg, graphs["dense"])
    if variant == "dense":
        return design(graphs["dense"], lanes, axi_bytes=cfg.fold.axi_bytes)
    small = compact(graphs["pruned"])[0]
    if variant == "compact":
        return design(small, narrowed(small, lanes), axi_bytes=cfg.fold.axi_bytes)
    noise = np.random.default_rng(0).integers(0, 256, (8, *small.input_shape), dtype=np.uint8)
    return lay_out(small, narrowed(small, lanes), cfg.fold, noise)


@pytest.mark.parametrize(("name", "variant"), DRAWN)
def test_a_reference_design_maps_and_its_block_rams_are_counted(name, variant, tmp_path):
    laid = drawn(name, variant)
    emit(laid, tmp_path / "rtl")
    cells = synthesize(tmp_path / "rtl", "top", "xcup", lambda _: None, tmp_path / "cache", route=False)
    for stage in laid.stages:
        counted, mapped = area(stage.instances, "xcup"), cells.per_stage[stage.name]
        assert (stage.name, counted.bram, counted.dsp) == (stage.name, mapped.bram, mapped.dsp)
        assert counted.lut == pytest.approx(mapped.lut, rel=0.3)
    device = DEVICES["xczu3eg"]
    assert (cells.lut <= device.lut, cells.bram <= device.bram, cells.dsp <= device.dsp) == (True, True, True)
    assert cells.fmax_mhz is None  # nothing routes it


def test_ultrascale_parts_are_devices():
    zu7 = DEVICES["xczu7ev"]
    assert (zu7.family, zu7.lut, zu7.bram, zu7.dsp, zu7.uram) == ("xcup", 230_400, 312, 1_728, 96)
