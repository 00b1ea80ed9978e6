"""Puts the register behind a block RAM into it, in the netlist that Yosys writes for the ECP5.

A word leaves the memory itself 5.8 ns after the clock, its own output register after less than one; Yosys builds the
latter from flip-flops. All of a port's bits that are used must end in flip-flops alone, with the port's clock, one
clock enable and no reset: then the flip-flops are the output register, and its clock enable (OCE) is theirs (Lattice,
Memory Usage Guide for ECP5, true dual port RAM with output registers). Ports of 36 bits, which take both sides of a
memory, stay.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

WIDEST = 18  # bits of a port that has a side of its own
Cells = dict[str, dict[str, Any]]


def pack(netlist: Mapping[str, Any]) -> int:
    """Change the modules of a netlist (`write_json`'s) in place; returns how many flip-flops went into memories."""
    return sum(_pack(module) for module in netlist["modules"].values())


def _pack(module: Mapping[str, Any]) -> int:
    cells: Cells = module["cells"]
    readers: dict[Any, list[tuple[str, str]]] = defaultdict(list)
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                for bit in bits:
                    readers[bit].append((name, port))
    for port in module["ports"].values():
        for bit in port["bits"]:
            readers[bit].append(("", ""))
    packed = 0
    memories = [cell for cell in cells.values() if cell["type"] == "DP16KD"]
    for memory in memories:
        if all(int(memory["parameters"][f"DATA_WIDTH_{side}"], 2) <= WIDEST for side in "AB"):
            packed += sum(_port(memory, side, cells, readers) for side in "AB")
    return packed


def _port(memory: dict[str, Any], side: str, cells: Cells, readers: Mapping[Any, list[tuple[str, str]]]) -> int:
    """Flip-flops of a port that went into the memory."""
    wires = memory["connections"]
    used = [port for port in _outputs(side) if wires.get(port) and readers.get(wires[port][0])]
    if not used or memory["parameters"][f"REGMODE_{side}"].strip() != "NOREG":
        return 0
    behind = []
    for port in used:
        (name, pin), *others = readers[wires[port][0]]
        if others or pin != "DI" or cells[name]["type"] != "TRELLIS_FF":
            return 0
        behind.append(name)
    kinds = {_kind(cells[name]) for name in behind}
    if len(kinds) > 1:
        return 0
    clock, clock_mux, enable, reset = kinds.pop()
    same_clock = clock == wires[f"CLK{side}"][0] and clock_mux == "CLK"
    if not same_clock or reset != "0" or memory["parameters"][f"CLK{side}MUX"].strip() != f"CLK{side}":
        return 0
    memory["parameters"][f"REGMODE_{side}"] = "OUTREG"
    wires[f"OCE{side}"] = [enable]
    for port, name in zip(used, behind, strict=True):
        wires[port] = cells.pop(name)["connections"]["Q"]
    return len(behind)


def _outputs(side: str) -> Iterator[str]:
    return (f"DO{side}{bit}" for bit in range(WIDEST))


def _kind(cell: Mapping[str, Any]) -> tuple[Any, str, Any, Any]:
    """Clock and its polarity, clock enable ("1": always) and reset of a flip-flop."""
    wires, parameters = cell["connections"], cell["parameters"]
    mode = parameters.get("CEMUX", "1").strip()
    enable = {"1": "1", "CE": wires.get("CE", ["1"])[0]}.get(mode, mode)
    return wires["CLK"][0], parameters.get("CLKMUX", "CLK").strip(), enable, wires.get("LSR", ["0"])[0]
