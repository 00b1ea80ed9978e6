"""Memory images: the array fields of a module's configuration as .mem files for $readmemh, and back.

A 2-D field [depth, lanes] becomes `<prefix><field>.mem`, one word a row, lane 0 in the lowest bits; a 3-D field
[banks, depth, lanes] becomes one such file a bank, `<prefix><field>_00.mem` and on, or several of its parts. The
field's metadata names the attribute that holds the width of lanes, says whether they are unsigned, and into which parts
a bank is cut:
`field(metadata={"bits": "weight_bits", "cut": quant.golden.mac_array.cut})`.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np


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
            depth, width = array.shape[1], bits * array.shape[2]
            cut = f.metadata.get("cut", _whole)(depth, width)
            for bank, words in enumerate(array):
                every = _bits(words, bits)
                texts |= {
                    f"{prefix}{f.name}_{bank:02d}{end}.mem": _text(every[part]) for end, part in cut.items()
                }
        else:
            texts[f"{prefix}{f.name}.mem"] = _text(_bits(array, bits))
    return texts


def write_memories(cfg: Any, directory: Path, prefix: str = "") -> dict[str, int | str]:
    """Write the memories of `cfg` into `directory`; returns the module's parameters."""
    for name, text in images(cfg, prefix).items():
        (Path(directory) / name).write_text(text)
    return parameters(cfg, prefix)


def _whole(depth: int, width: int) -> dict[str, tuple[slice, slice]]:
    return {"": (slice(depth), slice(width))}


def _bits(words: np.ndarray, bits: int) -> np.ndarray:
    """Of words of lanes, the lowest first, uint8 [words, lanes * bits]."""
    lanes = words.astype(np.int64)[..., None] >> np.arange(bits) & 1
    return lanes.astype(np.uint8).reshape(len(words), -1)


def _text(bits: np.ndarray) -> str:
    """A word a line, in hexadecimal digits."""
    padded = np.pad(bits, ((0, 0), (0, -bits.shape[1] % 4)))
    digits = (padded.reshape(len(bits), -1, 4) << np.arange(4, dtype=np.uint8)).sum(2, dtype=np.uint8)[:, ::-1]
    lines = np.full((len(bits), digits.shape[1] + 1), ord("\n"), np.uint8)
    lines[:, :-1] = np.frombuffer(b"0123456789abcdef", np.uint8)[digits]
    return lines.tobytes().decode("ascii")
