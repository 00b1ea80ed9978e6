"""What a memory costs on a device: which RAM cells Yosys chooses for its shape, and how many.

Yosys weighs every way to build a memory (flip-flops, LUT RAM, block RAM in each of its widths) and takes the cheapest;
`choose` does the same sums, with the costs of the cell libraries that come with Yosys. A bank deeper or wider than its
cells is put together from several, with a multiplexer on the read side that counts half a unit a bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from scaflow.quant.golden.beats import ceil_div

Family = Literal["ecp5", "xc7", "xcup"]
Style = Literal["auto", "lut", "block"]


@dataclass(frozen=True)
class Ram:
    """Cells of one memory."""

    blocks: float = 0.0  # DP16KD; RAMB36, of which a RAMB18 is half
    luts: int = 0  # LUT positions of LUT RAM
    muxed: int = 0  # bits on the way through read multiplexers: width * (parts side by side in depth - 1)
    registers: int = 0  # bits in flip-flops, or of a ROM made of logic

    def __add__(self, other: Ram) -> Ram:
        return Ram(
            self.blocks + other.blocks,
            self.luts + other.luts,
            self.muxed + other.muxed,
            self.registers + other.registers,
        )

    def __rmul__(self, copies: int) -> Ram:
        return Ram(copies * self.blocks, copies * self.luts, copies * self.muxed, copies * self.registers)


@dataclass(frozen=True)
class _Cell:
    words: int
    width: int
    cost: float  # of a cell, whatever part of it is used
    cost_used: float  # of a cell that is used in full; in proportion otherwise
    block: float = 0.0
    luts: int = 0
    dual: bool = False  # block RAM: both sides read a word of its own


_HALF = [(1 << (14 - i), width) for i, width in enumerate((1, 2, 4, 9, 18, 36))]
_FULL = [(1 << (15 - i), width) for i, width in enumerate((1, 2, 4, 9, 18, 36, 72))]
_BLOCK = {
    "ecp5": [_Cell(*shape, 128, 0, block=1.0, dual=shape[1] < 36) for shape in _HALF],
    "xc7": [_Cell(*shape, 129, 0, block=0.5, dual=shape[1] < 36) for shape in _HALF]
    + [_Cell(*shape, 257, 0, block=1.0, dual=shape[1] < 72) for shape in _FULL],
}
_BLOCK["xcup"] = _BLOCK["xc7"]
_LUT_RAM = {
    "ecp5": [_Cell(16, 4, 4, 0, luts=4)],
    "xc7": [_Cell(32, 6, 1, 7, luts=4), _Cell(64, 3, 1, 7, luts=4)],
    "xcup": [_Cell(32, 14, 0, 16, luts=8), _Cell(64, 7, 0, 16, luts=8)],
}
_BYTE = 9  # block RAM is written in whole bytes; LUT RAM in whole cells
_COLLISION = 8  # logic around a block RAM that gives the old word where it is read while it is written
_ROM_BIT = 1 / 64  # cost of a bit of ROM in logic; a bit of RAM in flip-flops costs 1


@cache
def ram(
    family: Family, depth: int, width: int, style: Style = "auto", lanes: int = 1, collides: bool = False
) -> Ram:
    """A memory written and read once a cycle.

    Args:
        width: bits of a lane; each lane is written by itself and all are read together.
        style: "lut" where the read is not registered, so that block RAM is impossible; "block" where the source asks
            for it.
        collides: a word may be read while it is written, and the old one is wanted: block RAM needs logic for that.
    """
    choices = [(float(depth * width * lanes), Ram(registers=depth * width * lanes))]
    choices += [_built(cell, depth, width, lanes, cell.width, 0) for cell in _LUT_RAM[family]]
    if style == "block":
        choices = []
    extra = _COLLISION if collides else 0
    if style != "lut":
        choices += [_built(cell, depth, width, lanes, min(cell.width, _BYTE), extra) for cell in _BLOCK[family]]
    return min(choices, key=lambda choice: choice[0])[1]


@cache
def rom(family: Family, depth: int, width: int, block: bool = False, reads: int = 1) -> Ram:
    """A memory with contents that is never written.

    Args:
        block: it is kept in block RAM whatever its size.
        reads: words a cycle; a copy of the memory serves one of them, or two where its cells have two sides.
    """
    choices = [] if block else [(depth * width * _ROM_BIT * reads, Ram(registers=depth * width))]
    for cell in _BLOCK[family]:
        cost, cells = _built(cell, depth, width, 0, 1, 0)
        copies = ceil_div(reads, 2) if cell.dual else reads
        choices.append((cost * copies, copies * cells))
    return min(choices, key=lambda choice: choice[0])[1]


def _built(cell: _Cell, depth: int, width: int, lanes: int, byte: int, extra: float) -> tuple[float, Ram]:
    """Cost and cells of a memory made of one kind of cell, in which a lane fills whole bytes; no lanes: a ROM."""
    parts = ceil_div(depth, cell.words)
    copies = max(1, lanes)
    cells = ceil_div(parts * copies * ceil_div(width, byte) * byte, cell.width)
    muxed = (parts - 1) * width * copies
    cost = cell.cost * cells + cell.cost_used * parts * width * copies / cell.width + muxed / 2 + extra
    if parts > 1:
        cost += lanes * parts / 2
    return cost, Ram(blocks=cells * cell.block, luts=cells * cell.luts, muxed=muxed)
