"""A graph as a pair of files."""

from __future__ import annotations

import hashlib
import io
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_args

import numpy as np

from scaflow.model.files import read_json, write_bytes, write_json
from scaflow.quant.graph.network import Graph
from scaflow.quant.graph.nodes import PIXEL_BITS, Node
from scaflow.quant.graph.rules import validate

FORMAT = "scaflow graph 2"
OF_FRAMES = "scaflow graph 3"  # the same of frames: to a reader that knows none it is another network
CHAINS = "scaflow graph 1"  # in which each node reads the one before it: still read
REMEDY = "write the graph again (`scaflow compile`)"


def save(graph: Graph, stem: Path) -> None:
    """Write `<stem>.json` and its arrays `<stem>.npz`; the same graph gives the same bytes.

    The JSON carries the checksum of the arrays and is replaced last: a torn pair is found when loaded.
    """
    arrays: dict[str, np.ndarray] = {}
    nodes = []
    for node in graph.nodes:
        entry: dict[str, Any] = {"kind": type(node).__name__}
        for field in fields(node):
            value = getattr(node, field.name)
            if isinstance(value, np.ndarray):
                if field.default is not MISSING and not value.any():
                    continue  # as it is without
                arrays[f"{node.name}.{field.name}"] = value.astype(_smallest(value))
            elif value != field.default:
                entry[field.name] = value
        nodes.append(entry)
    npz, document = _files(stem)
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    record = {
        "format": OF_FRAMES if graph.frames else FORMAT,
        "name": graph.name,
        "input_shape": graph.input_shape,
        "time_steps": graph.time_steps,
        **({} if graph.pixel_bits == PIXEL_BITS else {"pixel_bits": graph.pixel_bits}),
        **({"frames": graph.frames} if graph.frames else {}),
        "nodes": nodes,
        "arrays_sha256": hashlib.sha256(content.getbuffer()).hexdigest(),
    }
    write_bytes(npz, content.getbuffer())
    write_json(document, record)


def load(stem: Path) -> Graph:
    """Read what `save` wrote, validated.

    Raises:
        ValueError: a file is missing, damaged or of another format, or the graph breaks a rule.
    """
    npz, document = _files(stem)
    for path in (document, npz):
        if not path.exists():
            raise ValueError(f"{path}: no such file; {REMEDY}")
    try:
        record = read_json(document, REMEDY, ("format",))
        if record["format"] not in (OF_FRAMES, FORMAT, CHAINS):
            raise ValueError(
                f"{document}: format {record['format']!r}; this is {FORMAT!r}: {REMEDY}"
            )
        if hashlib.sha256(npz.read_bytes()).hexdigest() != record["arrays_sha256"]:
            raise ValueError(f"{npz}: not the arrays {document.name} was written with; {REMEDY}")
        kinds: dict[str, type] = {kind.__name__: kind for kind in get_args(Node)}
        nodes = []
        with np.load(npz) as arrays:
            for entry in record["nodes"]:
                kind = kinds[entry.pop("kind")]
                for field in fields(kind):
                    array = f"{entry['name']}.{field.name}"
                    if field.type == "np.ndarray" and (field.default is MISSING or array in arrays):
                        entry[field.name] = arrays[array]
                nodes.append(kind(**entry))
        graph = Graph(
            record["name"],
            tuple(record["input_shape"]),
            record["time_steps"],
            tuple(nodes),
            record.get("pixel_bits", PIXEL_BITS),
            record.get("frames", 0),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{document}: not a graph: {error!r}; {REMEDY}") from None
    return validate(graph)


def _files(stem: Path) -> tuple[Path, Path]:
    return Path(f"{stem}.npz"), Path(f"{stem}.json")


def _smallest(array: np.ndarray) -> type:
    """The narrowest signed type that holds the values; loading widens it again."""
    for kind in (np.int8, np.int16, np.int32):
        if array.size == 0 or (np.iinfo(kind).min <= array.min() and array.max() <= np.iinfo(kind).max):
            return kind
    return np.int64
