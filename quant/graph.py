"""The integer graph: a network once no real number is left in it; it executes, and that is the golden model.

A chain of `Conv`, `Pool` and `Readout` nodes. The first node sees the highest 1 to 8 bits of the image's unsigned 8-bit
pixels; every edge after it carries 0/1 spikes over `time_steps` steps. The semantics are the integer contract of
docs/architecture.md.
"""

from __future__ import annotations

import hashlib
import io
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from threadpoolctl import threadpool_limits

from scaflow.model.files import read_json, write_bytes, write_json
from scaflow.model.threads import processors

FORMAT = "scaflow graph 1"
REMEDY = "write the graph again (`scaflow compile`)"
PIXEL_BITS = 8  # of an image as it comes
_BATCH = 32  # images executed at once: the unfolded windows of one layer then stay at some tens of megabytes


class _Node:
    """Integer arrays are taken over as read-only int64; nodes are equal when all their fields are."""

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if field.type == "np.ndarray":
                array = np.asarray(value)
                if array.size and not np.issubdtype(array.dtype, np.integer):
                    raise ValueError(
                        f"node {getattr(self, 'name', '?')!r}: {field.name} has type {array.dtype};"
                        " the graph holds integers only: round before building a node"
                    )
                array = array.astype(np.int64)
                array.setflags(write=False)
                object.__setattr__(self, field.name, array)
            elif field.type == "tuple[int, ...]":
                object.__setattr__(self, field.name, tuple(int(v) for v in value))

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(
            np.array_equal(getattr(self, f.name), getattr(other, f.name))
            for f in fields(self)  # type: ignore[arg-type]
        )


@dataclass(frozen=True, eq=False)
class Conv(_Node):
    """A spiking convolution; a spiking linear layer is one whose kernel is the whole map, without padding."""

    name: str
    weight: np.ndarray  # [Co, Ci, Kh, Kw], signed weight_bits
    bias: np.ndarray  # [Co], in 2^-F of an accumulator step
    threshold: np.ndarray  # [Co], the same unit, at least 1
    stride: int
    padding: int
    leak_shift: int  # L: a step loses v >>> L; 0 is no leak
    reset: Literal["hard", "soft"]
    fraction_bits: int  # F
    weight_bits: int
    in_bits: int  # the first node's are those of a pixel, and one accumulation feeds all steps; 1: spikes
    kept: tuple[int, ...]  # output channels that may spike, rising; the others are pruned

    @property
    def kernel(self) -> tuple[int, int]:
        return self.weight.shape[2], self.weight.shape[3]


@dataclass(frozen=True, eq=False)
class Pool(_Node):
    """OR over windows of size x size, stride = size; rows and columns that fill no window are dropped."""

    name: str
    size: int


@dataclass(frozen=True, eq=False)
class Readout(_Node):
    """Integrates without firing: logit = sum over steps and inputs of weight*spike, + T*bias."""

    name: str
    weight: np.ndarray  # [classes, Ci, H, W], signed weight_bits
    bias: np.ndarray  # [classes], accumulator steps
    weight_bits: int


Node = Conv | Pool | Readout


@dataclass(frozen=True)
class Edge:
    """What flows between two nodes: `bits` a value, on the `kept` channels; the others are always zero.

    Pixels are an image, of which each current is formed once and feeds all steps; spikes come anew each step.
    """

    shape: tuple[int, int, int]  # (C, H, W)
    time_steps: int  # 1 for the image, which enters once
    bits: int
    kept: tuple[int, ...]
    kind: Literal["pixels", "spikes"] = "spikes"

    def repeats(self, time_steps: int) -> int:
        """Steps of a network of so many which one value serves."""
        return time_steps // self.time_steps


@dataclass(frozen=True, eq=False)
class Graph(_Node):
    name: str
    input_shape: tuple[int, int, int]  # (C, H, W)
    time_steps: int
    nodes: tuple[Node, ...]
    pixel_bits: int = PIXEL_BITS  # of each pixel of an image the highest are seen

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and (
            (self.name, self.input_shape, self.time_steps, self.nodes, self.pixel_bits)
            == (other.name, other.input_shape, other.time_steps, other.nodes, other.pixel_bits)
        )

    @property
    def readout(self) -> Readout:
        """The last node; a graph that is not validated may end otherwise."""
        last = self.nodes[-1]
        if not isinstance(last, Readout):
            raise TypeError(f"graph {self.name!r} ends with {last.name!r}, which is no read-out")
        return last

    def edges(self) -> tuple[Edge, ...]:
        """`edges()[i]` is what `nodes[i]` reads, `edges()[i + 1]` what it writes; the logits are no edge."""
        edge = self.image
        edges = [edge]
        for node in self.nodes[:-1]:
            edge = _output(node, edge, self.time_steps)
            edges.append(edge)
        return tuple(edges)

    @property
    def image(self) -> Edge:
        """What the first node reads."""
        return Edge(self.input_shape, 1, self.pixel_bits, tuple(range(self.input_shape[0])), "pixels")

    def seen(self, images: np.ndarray) -> np.ndarray:
        """uint8 images as the first node sees them."""
        return images >> (PIXEL_BITS - self.pixel_bits)


def _output(node: Node, edge: Edge, time_steps: int) -> Edge:
    channels, height, width = edge.shape
    if isinstance(node, Conv):
        (kh, kw), pad, stride = node.kernel, node.padding, node.stride
        shape = (
            len(node.weight),
            (height + 2 * pad - kh) // stride + 1,
            (width + 2 * pad - kw) // stride + 1,
        )
        return Edge(shape, time_steps, 1, node.kept)
    if isinstance(node, Pool):
        shape = (channels, height // node.size, width // node.size)
        return replace(edge, shape=shape)
    raise TypeError(f"node {node.name!r}: a {type(node).__name__} writes logits, no edge")


def validate(graph: Graph) -> Graph:
    """Return the graph if it obeys every rule.

    Raises:
        ValueError: all problems, one a line: node, value, constraint and remedy.
    """
    problems: list[str] = []
    if graph.time_steps < 1:
        problems.append(f"graph: time_steps={graph.time_steps} must be at least 1")
    if len(graph.input_shape) != 3 or min(graph.input_shape, default=0) < 1:
        problems.append(f"graph: input_shape={graph.input_shape} must be three positive numbers (C, H, W)")
    if not 1 <= graph.pixel_bits <= PIXEL_BITS:
        problems.append(f"graph: pixel_bits={graph.pixel_bits} must be 1 to {PIXEL_BITS}")
    kinds = [type(node) for node in graph.nodes]
    if not kinds or kinds[0] is not Conv or kinds[-1] is not Readout or Readout in kinds[:-1]:
        found = ", ".join(kind.__name__ for kind in kinds) or "nothing"
        problems.append(f"graph: nodes are {found}; start with a Conv and end with the only Readout")
    names = [node.name for node in graph.nodes]
    for name in sorted({n for n in names if names.count(n) > 1}):
        problems.append(f"node {name!r}: the name is used {names.count(name)} times; names must differ")
    if not problems:
        edge = graph.image
        for node in graph.nodes:
            faults = _node_problems(node, edge)
            problems += [f"node {node.name!r}: {fault}" for fault in faults]
            if faults or isinstance(node, Readout):
                break  # what follows a faulty node would be measured against a wrong edge
            edge = _output(node, edge, graph.time_steps)
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise ValueError(f"graph {graph.name!r}: {len(problems)} problem(s)\n{lines}")
    return graph


def _node_problems(node: Node, edge: Edge) -> list[str]:
    problems = []
    channels, height, width = edge.shape
    if not re.fullmatch(r"[a-z][a-z0-9_]*", node.name):
        problems.append("a name is a lower-case letter, then lower-case letters, digits and _")
    if isinstance(node, Pool):
        if not 1 <= node.size <= min(height, width):
            problems.append(f"size={node.size} leaves no pixel of a {height}x{width} map; use a smaller size")
        return problems
    if node.weight.ndim != 4 or 0 in node.weight.shape:
        return [
            *problems,
            f"weight has shape {node.weight.shape}; give [out, in, height, width], none of them 0",
        ]
    per_channel = {"bias": node.bias}
    if isinstance(node, Conv):
        per_channel["threshold"] = node.threshold
    problems += [
        f"{key} has shape {value.shape}; give one value for each of the {len(node.weight)} output channels"
        for key, value in per_channel.items()
        if value.shape != (len(node.weight),)
    ]
    if node.weight.shape[1] != channels:
        problems.append(f"weight reads {node.weight.shape[1]} channels, but the edge brings {channels}")
    if not 2 <= node.weight_bits <= 9:
        problems.append(f"weight_bits={node.weight_bits} must be 2 to 9")
    else:
        top = 1 << (node.weight_bits - 1)
        low, high = int(node.weight.min()), int(node.weight.max())
        if low < -top or high >= top:
            problems.append(
                f"weights: {low} to {high}; {node.weight_bits} bits hold {-top}..{top - 1}: raise weight_bits"
            )
    if isinstance(node, Readout):
        if node.weight.shape[2:] != (height, width):
            problems.append(f"weight covers {node.weight.shape[2:]}, the map is {(height, width)}; cover all")
        return problems
    if node.stride < 1:
        problems.append(f"stride={node.stride} must be at least 1")
    if not 0 <= node.padding < min(node.kernel):
        problems.append(f"padding={node.padding} must be 0 to {min(node.kernel) - 1}: below the kernel")
    if node.kernel[0] > height + 2 * node.padding or node.kernel[1] > width + 2 * node.padding:
        problems.append(f"kernel {node.kernel} exceeds the padded {height}x{width} map; use a smaller one")
    if node.in_bits != edge.bits:
        problems.append(f"in_bits={node.in_bits}, but the edge brings {edge.bits} bits a value")
    if not 0 <= node.leak_shift <= 8:
        problems.append(f"leak_shift={node.leak_shift} must be 0 (no leak) to 8")
    if not 0 <= node.fraction_bits <= 16:
        problems.append(f"fraction_bits={node.fraction_bits} must be 0 to 16")
    if node.reset not in ("hard", "soft"):
        problems.append(f"reset={node.reset!r} must be 'hard' or 'soft'")
    if node.threshold.size and node.threshold.min() < 1:
        problems.append(
            f"threshold of channel {int(node.threshold.argmin())} is {int(node.threshold.min())};"
            " it must be at least 1: a neuron that always fires has weights 0, bias 1, threshold 1"
        )
    if not node.kept or list(node.kept) != sorted(set(node.kept) & set(range(len(node.weight)))):
        problems.append(
            f"kept={node.kept} must be rising channel numbers below {len(node.weight)}, one or more"
        )
    return problems


Traced = tuple[np.ndarray, dict[str, np.ndarray]]  # logits, and spikes by node name


@overload
def execute(graph: Graph, images: np.ndarray, trace: Literal[False] = False) -> np.ndarray: ...


@overload
def execute(graph: Graph, images: np.ndarray, trace: Literal[True]) -> Traced: ...


def execute(graph: Graph, images: np.ndarray, trace: bool = False) -> np.ndarray | Traced:
    """Run the network exactly.

    Args:
        images: uint8 [N, C, H, W].
        trace: return also each Conv's and Pool's spikes, uint8 [N, T, C, H, W], by node name.

    Returns:
        logits, int64 [N, classes]; the class is `logits.argmax(1)`. With `trace`, (logits, spikes).

    Raises:
        ValueError: images of another type or shape.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.shape[1:] != graph.input_shape:
        raise ValueError(
            f"graph {graph.name!r}: images are {images.dtype} {images.shape};"
            f" give uint8 (N, {', '.join(map(str, graph.input_shape))})"
        )
    chunks = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
    # Chunks in parallel, each product on one thread: threads that share a product wait for each other.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(processors()) as threads:
        results = list(threads.map(lambda chunk: _run(graph, chunk, trace), chunks or [images]))
    logits = np.concatenate([result for result, _ in results])
    if not trace:
        return logits
    return logits, {name: np.concatenate([spikes[name] for _, spikes in results]) for name in results[0][1]}


def _run(graph: Graph, images: np.ndarray, trace: bool) -> Traced:
    x = graph.seen(images).transpose(0, 2, 3, 1)[:, None]  # [N, T or 1, H, W, C]
    spikes = {}
    for node in graph.nodes:
        if isinstance(node, Readout):
            break
        x = _fire(node, accumulate(node, x), graph.time_steps) if isinstance(node, Conv) else pool(node, x)
        if trace:
            spikes[node.name] = x.transpose(0, 1, 4, 2, 3)
    return integrate(graph.readout, x), spikes


def _exact_float(weight: np.ndarray, largest_input: int) -> type:
    """The float type in which a product with these rows is exact: no partial sum passes its mantissa."""
    bound = int(np.abs(weight.reshape(len(weight), -1)).sum(1).max()) * largest_input
    if bound < 1 << 24:
        return np.float32
    if bound >= 1 << 53:
        raise ValueError(
            f"an accumulator can reach {bound}, but execution is exact below 2^53: use fewer bits"
        )
    return np.float64


def accumulate(node: Conv, x: np.ndarray) -> np.ndarray:
    """[N, T, H, W, Ci] -> int64 [N, T, Ho, Wo, Co]: windows times weights, as one matrix product."""
    dtype = _exact_float(node.weight, (1 << node.in_bits) - 1)
    n, steps, height, width, channels = x.shape
    pad = node.padding
    padded = np.zeros((n * steps, height + 2 * pad, width + 2 * pad, channels), dtype)
    padded[:, pad : pad + height, pad : pad + width] = x.reshape(n * steps, height, width, channels)
    windows = sliding_window_view(padded, node.kernel, axis=(1, 2))[:, :: node.stride, :: node.stride]
    # columns and rows: kernel row, kernel column, channel
    columns = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, node.weight[0].size)
    rows: np.ndarray = node.weight.transpose(2, 3, 1, 0).reshape(-1, len(node.weight)).astype(dtype)
    sums: np.ndarray = columns @ rows
    return sums.astype(np.int64).reshape(n, steps, *windows.shape[1:3], len(node.weight))


def _fire(node: Conv, acc: np.ndarray, time_steps: int) -> np.ndarray:
    """int64 accumulators [N, T or 1, H, W, C] -> uint8 spikes [N, T, H, W, C]."""
    n, steps, *rest = acc.shape
    spikes = np.zeros((n, time_steps, *rest), np.uint8)
    pruned = np.ones(rest[-1], bool)
    pruned[list(node.kept)] = False
    current = (acc << node.fraction_bits) + node.bias
    v = np.zeros((n, *rest), np.int64)
    for t in range(time_steps):
        if node.leak_shift:
            v -= v >> node.leak_shift
        v += current[:, t if steps > 1 else 0]
        fired = v >= node.threshold
        if node.reset == "hard":
            v[fired] = 0
        else:
            v -= fired * node.threshold
        spikes[:, t] = fired
    spikes[..., pruned] = 0
    return spikes


def pool(node: Pool, x: np.ndarray) -> np.ndarray:
    n, steps, height, width, channels = x.shape
    size = node.size
    height, width = height // size, width // size
    blocks = x[:, :, : height * size, : width * size].reshape(n, steps, height, size, width, size, channels)
    pooled: np.ndarray = blocks.max((3, 5))
    return pooled


def integrate(node: Readout, x: np.ndarray) -> np.ndarray:
    n, steps = x.shape[:2]
    dtype = _exact_float(node.weight, steps)
    counts = x.sum(1, dtype=dtype).reshape(n, node.weight[0].size)  # spikes of an input over the steps
    rows: np.ndarray = node.weight.transpose(2, 3, 1, 0).reshape(-1, len(node.weight)).astype(dtype)
    sums: np.ndarray = (counts @ rows).astype(np.int64) + steps * node.bias
    return sums


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
                arrays[f"{node.name}.{field.name}"] = value.astype(_smallest(value))
            else:
                entry[field.name] = value
        nodes.append(entry)
    npz, document = _files(stem)
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    record = {
        "format": FORMAT,
        "name": graph.name,
        "input_shape": graph.input_shape,
        "time_steps": graph.time_steps,
        **({} if graph.pixel_bits == PIXEL_BITS else {"pixel_bits": graph.pixel_bits}),
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
        if record["format"] != FORMAT:
            raise ValueError(
                f"{document}: format {record['format']!r}; this is {FORMAT!r}: {REMEDY}"
            )
        if hashlib.sha256(npz.read_bytes()).hexdigest() != record["arrays_sha256"]:
            raise ValueError(f"{npz}: not the arrays {document.name} was written with; {REMEDY}")
        kinds = {kind.__name__: kind for kind in (Conv, Pool, Readout)}
        nodes = []
        with np.load(npz) as arrays:
            for entry in record["nodes"]:
                kind = kinds[entry.pop("kind")]
                for field in fields(kind):
                    if field.type == "np.ndarray":
                        entry[field.name] = arrays[f"{entry['name']}.{field.name}"]
                nodes.append(kind(**entry))
        graph = Graph(
            record["name"],
            tuple(record["input_shape"]),
            record["time_steps"],
            tuple(nodes),
            record.get("pixel_bits", PIXEL_BITS),
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
