"""Registers behind block RAMs: those that can go into them, and none else."""

import copy

import pytest

from scaflow.hw.outreg import pack

CLK, CE, OTHER = 2, 3, 4


def flip_flop(data, out, **wires):
    enabled = {"CE": [CE]} | wires
    parameters = {"CEMUX": "CE" if enabled["CE"] != ["1"] else "1 ", "CLKMUX": "CLK"}
    directions = {"CLK": "input", "CE": "input", "LSR": "input", "DI": "input", "Q": "output"}
    return {
        "type": "TRELLIS_FF", "parameters": parameters, "port_directions": directions,
        "connections": {"CLK": [CLK], "LSR": ["0"], "DI": [data], "Q": [out]} | enabled,
    }  # fmt: skip


def module():
    """A port of two bits, 10 and 11; the registers' outputs 20 and 21 leave the module. Bit 12 ends nowhere."""
    memory = {
        "type": "DP16KD",
        "parameters": {
            "DATA_WIDTH_A": "10010", "DATA_WIDTH_B": "10010", "REGMODE_A": "NOREG", "REGMODE_B": "NOREG",
            "CLKAMUX": "CLKA", "CLKBMUX": "CLKB",
        },
        "port_directions": {"CLKA": "input", "CLKB": "input", "OCEA": "input"}
        | {f"DOA{i}": "output" for i in range(18)},
        "connections": {"CLKA": [CLK], "CLKB": ["0"], "OCEA": ["1"], "DOA0": [10], "DOA1": [11], "DOA2": [12]},
    }  # fmt: skip
    cells = {"memory": memory, "low": flip_flop(10, 20), "high": flip_flop(11, 21)}
    return {"modules": {"m": {"ports": {"q": {"bits": [20, 21]}}, "cells": cells}}}


def test_the_register_goes_into_the_memory():
    netlist = module()
    assert pack(netlist) == 2
    cells = netlist["modules"]["m"]["cells"]
    memory = cells.pop("memory")
    assert not cells
    assert memory["parameters"]["REGMODE_A"] == "OUTREG" and memory["parameters"]["REGMODE_B"] == "NOREG"
    assert [memory["connections"][name] for name in ("DOA0", "DOA1", "OCEA")] == [[20], [21], [CE]]
    assert pack(netlist) == 0  # it is full


def test_a_register_that_is_always_enabled():
    netlist = module()
    netlist["modules"]["m"]["cells"] |= {"low": flip_flop(10, 20, CE=["1"]), "high": flip_flop(11, 21, CE=["1"])}
    assert pack(netlist) == 2
    assert netlist["modules"]["m"]["cells"]["memory"]["connections"]["OCEA"] == ["1"]


def wide(cells):
    cells["memory"]["parameters"]["DATA_WIDTH_A"] = "100100"


def beside(cells):
    cells["more"] = flip_flop(11, 22)


@pytest.mark.parametrize(
    "change",
    [
        beside,
        wide,
        lambda cells: cells.update(high=flip_flop(11, 21, CE=["1"])),  # two enables
        lambda cells: cells.update(low=flip_flop(10, 20, LSR=[OTHER]), high=flip_flop(11, 21, LSR=[OTHER])),
        lambda cells: cells.update(low=flip_flop(10, 20, CLK=[OTHER]), high=flip_flop(11, 21, CLK=[OTHER])),
        lambda cells: cells["low"].update(type="LUT4"),
        lambda cells: cells["memory"]["parameters"].update(CLKAMUX="INV"),
        lambda cells: [cells[name]["parameters"].update(CLKMUX="INV") for name in ("low", "high")],
    ],
)
def test_what_is_not_such_a_register_stays(change):
    netlist = module()
    change(netlist["modules"]["m"]["cells"])
    before = copy.deepcopy(netlist)
    assert pack(netlist) == 0 and netlist == before


def test_a_bit_that_leaves_the_module_stays_a_memorys():
    netlist = module()
    netlist["modules"]["m"]["ports"]["q"]["bits"].append(10)
    assert pack(netlist) == 0
