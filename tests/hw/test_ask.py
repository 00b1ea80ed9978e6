"""A description is held against the hardware in shapes alone: what it could not do is told when a project is opened."""

from __future__ import annotations

import numpy as np
import pytest

from scaflow.flow.stages import open_project, shipped, with_cycles
from scaflow.hw.ask import problems
from scaflow.hw.cost import cycle_model
from scaflow.model.config import NetworkConfig
from scaflow.model.cost import Budget
from scaflow.model.pruning import channel_groups, floor_part
from scaflow.model.shortcuts import shortcuts

LAYERS = [{"channels": 8}, {"channels": 12, "kernel": 1, "stride": 2, "padding": 0}, {"channels": 16, "pool": 2}]
RESIDUAL = [{"channels": 8}, {"channels": 12}, {"channels": 8, "shortcut": -2}, {"channels": 16, "shortcut": -1}]


def describe(layers=LAYERS, **sections):
    return NetworkConfig.model_validate(
        {"name": "net", "dataset": "digits", "time_steps": 3, "layers": layers, "train": {"epochs": 1}}
        | {"sca": {"keep": 0.9}} | sections
    )  # fmt: skip


@pytest.mark.parametrize("objective", ["sum", "bottleneck"])
@pytest.mark.parametrize("scheduler", ["list", "event"])
@pytest.mark.parametrize("floor", [0.1, 0.5])
@pytest.mark.parametrize("layers", [LAYERS, RESIDUAL], ids=["chain", "residual"])
def test_the_least_cycles_are_those_of_pruning(layers, objective, scheduler, floor):
    cfg = describe(layers, sca={
        "cycles": 1e-6, "objective": objective, "scheduler": scheduler, "floor": floor, "granularity": 2,
    }, fold={"lanes": 40})  # fmt: skip
    budget = Budget(cycle_model(cfg, scheduler), objective)
    channels = [layer.channels for layer in cfg.layers]
    silent = [np.zeros(count) for count in channels]
    groups = channel_groups(shortcuts(cfg).groups(len(channels)), channels, floor, 2)
    least = floor_part(groups, budget, silent)
    assert [f"with every layer at its floor {least:.4f} of" in line for line in problems(cfg)] == [True]
    reached = cfg.model_copy(update={"sca": cfg.sca.model_copy(update={"cycles": least})})
    assert problems(reached) == []


def test_events_that_the_lanes_have_no_banks_for():
    layers = [{"channels": 300}, {"channels": 4}]
    event = {"scheduler": "event"}
    assert problems(describe(layers, fold={"lanes": 12, "event": event})) == [
        "fold.event.scheduler: layers[1]: simd=1 banks of 300 input channels hold more than 256 channels each;"
        " use a simd of at least 2; use auto or list"
    ]
    assert problems(describe(layers, fold={"lanes": 64, "event": event})) == []
    wide = [{"channels": 4}, {"channels": 300}]
    assert problems(describe(wide, fold={"lanes": 12, "event": {"readout": "event"}})) == [
        "fold.event.readout: simd=1 banks of 300 input channels hold more than 256 channels each;"
        " use a simd of at least 2; use auto or list"
    ]
    assert problems(describe(wide, fold={"lanes": 12, "event": {"readout": "auto"}})) == []
    assert problems(describe(layers, fold={"lanes": 12})) == []


def test_the_shipped_networks_can_be():
    for name, path in shipped().items():
        assert open_project(name, path.parent, path.parent).net == name


def test_every_verb_is_told(tmp_path):
    path = tmp_path / "net.toml"
    path.write_text(
        'name = "net"\ndataset = "digits"\ntime_steps = 2\nlayers = [{ channels = 8 }]\n[train]\nepochs = 1\n'
        "[sca]\ncycles = 0.001\n"
    )
    with pytest.raises(ValueError, match=r"^.*net.toml: 1 problem\(s\)\n  sca.cycles=0.001: with every layer at its"):
        open_project(str(path), tmp_path, tmp_path)
    path.write_text(path.read_text().replace("0.001", "1.0"))
    project = open_project(str(path), tmp_path, tmp_path)
    with pytest.raises(ValueError, match=r"^--cycles 0.002: 1 problem\(s\)\n  sca.cycles=0.002"):
        with_cycles(project, 0.002)
