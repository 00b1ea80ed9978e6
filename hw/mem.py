"""Memory images: the array fields of a module's configuration as .mem files for $readmemh, and back.

A 2-D field [depth, lanes] becomes `<prefix><field>.mem`, one word a row, lane 0 in the lowest bits; a 3-D field
[banks, depth, lanes] becomes one such file a bank, `<prefix><field>_00.mem` and on, or one a column of its bits,
`<prefix><field>_00_000.mem` and on. The field's metadata names the attributes that hold the width of lanes and of
columns, and whether lanes are unsigned: `field(metadata={"bits": "weight_bits", "column": "column_bits"})`.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from scaflow.quant.golden.beats import pack


def parameters(cfg: Any, prefix: str = "") -> dict[str, int | str]:
    """The SystemVerilog parameters of a configuration: field names in capitals, memories as <NAME>_FILE.

    A field marked as optional that has its default is left to the parameter's own: no word of what a module has not.
    """
    result: dict[str, int | str] = {}
    for f in fields(cfg):
        value = getattr(cfg, f.name)
        if f.metadata.get("optional") and (not value.size if isinstance(value, np.ndarray) else value == f.default):
            continue
        if isinstance(value, np.ndarray):
            result[f"{f.name.upper()}_FILE"] = f"{prefix}{f.name}"
        else:
            result[f.name.upper()] = value
    return result


def images(cfg: Any, prefix: str = "") -> dict[str, str]:
    """File name -> text of every memory of a configuration.

    Raises:
        ValueError: a value does not fit its lane.
    """
    texts: dict[str, str] = {}
    for f in fields(cfg):
        array = getattr(cfg, f.name)
        if not isinstance(array, np.ndarray) or (f.metadata.get("optional") and not array.size):
            continue
        bits = getattr(cfg, f.metadata["bits"])
        low, high = int(array.min()), int(array.max())
        signed = f.metadata.get("signed", True)
        if low < (-(1 << (bits - 1)) if signed else 0) or high >= 1 << (bits - signed):
            raise ValueError(
                f"memory '{prefix}{f.name}': values {low}..{high} do not fit {bits} bits;"
                " derive the width from the values"
            )
        if array.ndim == 3:
            column = getattr(cfg, f.metadata["column"]) if "column" in f.metadata else bits * array.shape[2]
            for bank, words in enumerate(array):
                name = f"{prefix}{f.name}_{bank:02d}"
                if column == bits * words.shape[1]:
                    texts[f"{name}.mem"] = _text(words, bits)
                else:
                    texts |= {f"{name}_{i:03d}.mem": text for i, text in enumerate(_columns(words, bits, column))}
        else:
            texts[f"{prefix}{f.name}.mem"] = _text(array, bits)
    return texts


def write_memories(cfg: Any, directory: Path, prefix: str = "") -> dict[str, int | str]:
    """Write the memories of `cfg` into `directory`; returns the module's parameters."""
    for name, text in images(cfg, prefix).items():
        (Path(directory) / name).write_text(text)
    return parameters(cfg, prefix)


def _columns(words: np.ndarray, bits: int, column: int) -> list[str]:
    """The texts of a bank's columns, of so many bits each and the last one of those that are left."""
    width = bits * words.shape[1]
    packed = [pack(row, bits) for row in words.tolist()]
    texts = []
    for first in range(0, width, column):
        size = min(column, width - first)
        mask, digits = (1 << size) - 1, -(-size // 4)
        texts.append("".join(f"{word >> first & mask:0{digits}x}\n" for word in packed))
    return texts


def _text(words: np.ndarray, bits: int) -> str:
    digits = -(-bits * words.shape[1] // 4)
    return "".join(f"{pack(row, bits):0{digits}x}\n" for row in words.tolist())
