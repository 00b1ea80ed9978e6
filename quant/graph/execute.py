"""Runs a graph exactly: the golden model."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, overload

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from threadpoolctl import threadpool_limits

from scaflow.model.threads import processors
from scaflow.quant.graph.network import Graph
from scaflow.quant.graph.nodes import IMAGE, Conv, Current, Join, Neuron, Pool, Readout, SumPool
from scaflow.quant.neuron import remains

_BATCH = 32  # images executed at once: the unfolded windows of one layer then stay at some tens of megabytes

Traced = tuple[np.ndarray, dict[str, np.ndarray]]  # logits, and spikes and currents by node name


@overload
def execute(
    graph: Graph, images: np.ndarray, trace: Literal[False] = False, lengths: np.ndarray | None = None
) -> np.ndarray: ...


@overload
def execute(
    graph: Graph, images: np.ndarray, trace: Literal[True], lengths: np.ndarray | None = None
) -> Traced: ...


def execute(
    graph: Graph, images: np.ndarray, trace: bool = False, lengths: np.ndarray | None = None
) -> np.ndarray | Traced:
    """Run the network exactly.

    Args:
        images: uint8 [N, C, H, W]; of a graph of frames recordings, [N, T, C, H, W].
        trace: return also what each node writes, by its name: spikes, uint8 [N, T, C, H, W], and currents, int64.
        lengths: frames of each recording, [N]; those behind them, which may hold anything, add nothing to its logits.
            None: all.

    Returns:
        logits, int64 [N, classes]; the class is `logits.argmax(1)`. With `trace`, (logits, what nodes write).

    Raises:
        ValueError: images of another type or shape.
    """
    images = np.asarray(images)
    lengths = _checked(graph, images, lengths)
    chunks = [slice(start, start + _BATCH) for start in range(0, max(1, len(images)), _BATCH)]
    # Chunks in parallel, each product on one thread: threads that share a product wait for each other.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(processors()) as threads:
        results = list(threads.map(lambda chunk: _run(graph, images[chunk], lengths[chunk], trace), chunks))
    logits = np.concatenate([result for result, _ in results])
    if not trace:
        return logits
    return logits, {name: np.concatenate([spikes[name] for _, spikes in results]) for name in results[0][1]}


def _checked(graph: Graph, images: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """The lengths of recordings; of an image the steps."""
    before = images.shape[: 1 + (graph.order == "time")]  # N, of recordings N, T
    if images.dtype != np.uint8 or images.shape != (*before, *graph.input_shape):
        wanted = [*"NT"[: len(before)], *map(str, graph.input_shape)]
        what = "recordings" if graph.frames else "images"
        raise ValueError(
            f"graph {graph.name!r}: {what} are {images.dtype} {images.shape}; give uint8 ({', '.join(wanted)})"
        )
    if not graph.frames:
        return np.full(len(images), graph.time_steps)
    there = before[1]
    lengths = np.full(len(images), there) if lengths is None else np.asarray(lengths)
    if wrong := np.flatnonzero((lengths < 1) | (lengths > min(there, graph.frames))).tolist():
        raise ValueError(
            f"graph {graph.name!r}: recording {wrong[0]} has {lengths[wrong[0]]} of {there} frames; it is built for"
            f" 1 to {graph.frames}: give no more, or build it for more"
        )
    if images.max(initial=0) >> graph.pixel_bits:
        raise ValueError(
            f"graph {graph.name!r}: a frame has the value {images.max()}; its {graph.pixel_bits} bits hold"
            f" {(1 << graph.pixel_bits) - 1}: cut counts off there"
        )
    return lengths


def _run(graph: Graph, images: np.ndarray, lengths: np.ndarray, trace: bool) -> Traced:
    recordings = images if graph.frames else images[:, None]
    values = {IMAGE: graph.seen(recordings).transpose(0, 1, 3, 4, 2)}  # [N, T or 1, H, W, C]
    steps = images.shape[1] if graph.frames else graph.time_steps
    left = {name: len(graph.readers(name)) for name in [IMAGE, *graph.sources]}
    told = {}
    for node in graph.nodes[:-1]:
        sources = graph.sources[node.name]
        x = values[sources[0]]
        if isinstance(node, Conv):
            made = fire(node, accumulate(node, x), steps)
        elif isinstance(node, Current):
            made = _currents(node, x, steps)
        elif isinstance(node, Neuron):
            made = fire(node, x, steps)
        elif isinstance(node, Join):
            made = join(node, x, values[sources[1]])
        elif isinstance(node, Pool):
            made = pool(node, x)
        else:
            assert isinstance(node, SumPool)
            made = sum_pool(node, x)
        values[node.name] = made
        if trace:
            told[node.name] = made.transpose(0, 1, 4, 2, 3)
        for source in sources:
            left[source] -= 1
            if not left[source]:
                del values[source]
    return integrate(graph.readout, values[graph.sources[graph.readout.name][0]], lengths), told


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


def accumulate(node: Conv | Current, x: np.ndarray) -> np.ndarray:
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


def _currents(node: Current, x: np.ndarray, time_steps: int) -> np.ndarray:
    """What a node reads, [N, T or 1, H, W, Ci] -> its sums, int64 [N, T, H, W, Co]."""
    acc = accumulate(node, x)
    acc[..., _others(acc, node.kept)] = 0
    return np.broadcast_to(acc, (len(acc), time_steps, *acc.shape[2:]))


def _others(x: np.ndarray, kept: tuple[int, ...]) -> np.ndarray:
    """bool [C]: the channels that are not kept."""
    pruned = np.ones(x.shape[-1], bool)
    pruned[list(kept)] = False
    return pruned


def fire(node: Conv | Neuron, acc: np.ndarray, time_steps: int) -> np.ndarray:
    """int64 accumulators or currents [N, T or 1, H, W, C] -> uint8 spikes [N, T, H, W, C]."""
    n, steps, *rest = acc.shape
    spikes = np.zeros((n, time_steps, *rest), np.uint8)
    current = (acc << node.fraction_bits) + node.bias
    left: np.ndarray | int = 0
    for t in range(time_steps):
        u = left + current[:, t if steps > 1 else 0]
        fired = u >= node.threshold
        left = remains(node, u, fired)
        spikes[:, t] = fired
    spikes[..., _others(spikes, node.kept)] = 0
    return spikes


def join(node: Join, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The sum of two edges [N, T, H, W, C]."""
    made: np.ndarray = (a << node.shifts[0]) + (b << node.shifts[1])
    return made


def pool(node: Pool, x: np.ndarray) -> np.ndarray:
    return _pooled(x, node.size, lambda blocks: blocks.max((3, 5)))


def sum_pool(node: SumPool, x: np.ndarray) -> np.ndarray:
    return _pooled(x, node.size, lambda blocks: blocks.sum((3, 5), dtype=np.uint8))


def _pooled(x: np.ndarray, size: int, of_blocks: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    n, steps, height, width, channels = x.shape
    height, width = height // size, width // size
    blocks = x[:, :, : height * size, : width * size].reshape(n, steps, height, size, width, size, channels)
    return of_blocks(blocks)


def integrate(node: Readout, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
    """Spikes [N, T, H, W, C], of which so many steps count, or all -> logits, int64 [N, classes]."""
    n, steps = x.shape[:2]
    lengths = np.full(n, steps) if lengths is None else lengths
    if (lengths < steps).any():
        x = x * (np.arange(steps) < lengths[:, None])[:, :, None, None, None].astype(x.dtype)
    dtype = _exact_float(node.weight, steps * int(x.max(initial=1)))
    counts = x.sum(1, dtype=dtype).reshape(n, node.weight[0].size)  # spikes of an input over the steps
    rows: np.ndarray = node.weight.transpose(2, 3, 1, 0).reshape(-1, len(node.weight)).astype(dtype)
    sums: np.ndarray = (counts @ rows).astype(np.int64) + lengths[:, None] * node.bias
    return sums
