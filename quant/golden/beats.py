"""Packing of stream beats: a beat is a Python integer, its first field in the lowest bits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def pack(values: Iterable[int], bits: int) -> int:
    """Join equally wide fields, the first lowest; negative values as two's complement."""
    mask, beat = (1 << bits) - 1, 0
    for i, value in enumerate(values):
        beat |= (int(value) & mask) << (i * bits)
    return beat


def unpack(beat: int, bits: int, count: int, signed: bool = False) -> list[int]:
    """Split a beat into `count` equally wide fields, the lowest first."""
    mask = (1 << bits) - 1
    fields = [beat >> (i * bits) & mask for i in range(count)]
    if signed:
        fields = [f - (1 << bits) if f >> (bits - 1) else f for f in fields]
    return fields


def address_bits(count: int) -> int:
    """Bits of an index below `count`, at least 1."""
    return max(1, (count - 1).bit_length())


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def batches(beats: Sequence[int], size: int) -> list[Sequence[int]]:
    """Whole runs of `size` beats; an incomplete one at the end is left out."""
    return [beats[i : i + size] for i in range(0, len(beats) - size + 1, size)]
