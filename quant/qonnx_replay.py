"""An import held against its file, layer by layer: what the reader believes counts for nothing here.

Each layer of the integer graph is given the spikes that the file's layers before it made, and spikes at random, put
into the file at the same places. Its current must be that of the file, up to the rounding of the bias and of floating
point. Membranes then follow the file's own spikes, so that no difference outlives its cause; a spike may differ only
where the membrane is nearer to the threshold than the rounding of both can account for. Last, the read-out on the
file's own spikes must give the file's logits, up to the rounding of its bias. With `step` only ties may differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scaflow.quant.graph import (
    IMAGE,
    PIXEL_BITS,
    Conv,
    Current,
    Graph,
    Join,
    Neuron,
    Pool,
    Readout,
    SumPool,
    accumulate,
    execute,
    integrate,
    join,
    pool,
    sum_pool,
)
from scaflow.quant.neuron import remains
from scaflow.quant.qonnx_layer import Rounding
from scaflow.quant.qonnx_operators import refusal, title
from scaflow.quant.qonnx_reader import Reading

_EPS = 2.0**-24  # of float32: half a unit in the last place
_OPERATIONS = 16  # roundings of a value beside those of its sum: scales, BatchNormalization, affine nodes
_DENSITIES = (0.0, 0.02, 0.1, 0.3, 0.5, 0.8, 1.0)  # of spikes at random
_REMEDY = "the import misread a node before it, or the file computes with less than float32; nothing is written"


@dataclass(frozen=True)
class LayerReport:
    """How one neuron layer became integer; spikes are compared with those the file computes from the same images."""

    name: str
    source: str  # the LIF node
    fraction_bits: int
    exact: bool  # the file carries `step`: it is the integer network
    spikes_compared: int
    spikes_differ: int  # each layer on the spikes of our own layer before it
    spikes_fired: int  # by the file
    rounding: float  # of bias and threshold, the largest, as a part of the threshold


def images_to_try(shape: tuple[int, ...]) -> np.ndarray:
    """uint8 [8, C, H, W]: nothing, full scale, and noise of six densities and strengths."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (6, *shape))
    shown = rng.random(noise.shape) < np.array([1, 1, 0.5, 0.2, 0.05, 1]).reshape(6, *[1] * len(shape))
    noise[5] //= 8
    return np.concatenate([np.zeros((1, *shape)), np.full((1, *shape), 255), noise * shown]).astype(np.uint8)


def run_file(reading: Reading, images: np.ndarray, tensors: list[str]) -> list[np.ndarray]:
    """Tensors of the file for uint8 images [N, C, H, W], batch by batch; each [batches, rows, ...].

    The last batch is filled up with empty images.
    """
    batch = reading.input.batch
    x = reading.feed(_filled(images, batch))
    found = [reading.runner.run({reading.input.name: x[i : i + batch]}, tensors) for i in range(0, len(x), batch)]
    return [np.stack(chunks) for chunks in zip(*found, strict=True)]


def replay(reading: Reading, images: np.ndarray) -> tuple[list[LayerReport], list[str], list[str]]:
    """The layers' reports, what is wrong, and what is worth a note.

    Raises:
        ValueError: a node of the file cannot be executed.
    """
    graph, output = reading.graph, reading.runner.file.outputs[0]
    spiking = [node for node in graph.nodes if isinstance(node, Conv | Neuron)]
    neurons, readout = dict(zip([node.name for node in spiking], reading.roundings, strict=False)), graph.readout
    tensors = [name for rounding in neurons.values() for name in _tensors(rounding)]
    *own, logits = run_file(reading, images, [*tensors, output])
    found = [_by_image(chunks, graph.time_steps)[: len(images)] for chunks in own]
    currents = {node.name: current for node, current in zip(spiking, found[::2], strict=True)}
    fired = {node.name: spikes for node, spikes in zip(spiking, found[1::2], strict=True)}
    ours, ours_spikes = execute(graph, images, trace=True)
    rng = np.random.default_rng(1)
    struck = {node.name: _struck(rng, node.kept, fired[node.name]) for node in spiking}
    pixels = np.concatenate([images, np.zeros((len(_DENSITIES), *graph.input_shape), np.uint8)])
    seen = _seen(graph, pixels, {name: np.concatenate([spikes, struck[name]]) for name, spikes in fired.items()})
    reports: list[LayerReport] = []
    problems = list(_levels(reading))
    alike = np.ones(len(images), bool)  # images of which no layer's spike differs
    same = np.ones(len(images), bool)  # images of which no spike differs, each layer reading our own
    for node in spiking:
        rounding, spikes = neurons[node.name], fired[node.name]
        if _heard(graph, node.name):
            others = {neurons[name].source.output[0]: rows for name, rows in struck.items() if name != node.name}
            theirs = _run_from(reading, others, _tensors(rounding))
            more = [_by_image(chunks, graph.time_steps)[: len(_DENSITIES)] for chunks in theirs]
        else:
            more = [currents[node.name][:0], spikes[:0]]
        current, all_spikes = (np.concatenate(pair) for pair in ((currents[node.name], more[0]), (spikes, more[1])))
        wrong, differing = _layer_problem(graph, node, rounding, seen, current, all_spikes)
        problems += wrong
        alike &= differing[: len(images)] == 0
        other = spikes.reshape(ours_spikes[node.name].shape) != ours_spikes[node.name]
        same &= ~other.reshape(len(images), -1).any(1)
        kept = list(node.kept)
        reports.append(
            LayerReport(
                name=node.name,
                source=title(rounding.source),
                fraction_bits=node.fraction_bits,
                exact=rounding.exact,
                spikes_compared=other.size,
                spikes_differ=int(other.sum()),
                spikes_fired=int(spikes.sum()),
                rounding=float(((rounding.bias + rounding.threshold)[kept] / node.threshold[kept]).max()),
            )
        )
    x = seen[graph.sources[readout.name][0]]
    others = {neurons[name].source.output[0]: rows for name, rows in struck.items()}
    (told,) = _run_from(reading, others, [output])
    rows = [chunks.reshape(-1, chunks.shape[-1]) for chunks in (logits, told)]
    units = np.concatenate([rows[0][: len(images)], rows[1][: len(_DENSITIES)]]) / reading.logit_scale
    problems += _readout_problem(readout, reading.roundings[-1], x, units)
    same &= (ours == integrate(readout, x[: len(images)])).all(1)
    if not problems and (alike & ~same).any():
        n = int((alike & ~same).argmax())
        problems.append(f"graph {graph.name!r}: image {n} differs, though no layer by itself does; {_REMEDY}")
    notes = [
        f"layer {report.name}: no neuron fires on the images tried; what lies behind was compared on spikes at random"
        for report in reports
        if not report.spikes_fired
    ]
    return reports, problems, notes


def _filled(x: np.ndarray, batch: int) -> np.ndarray:
    return np.concatenate([x, np.zeros((-len(x) % batch, *x.shape[1:]), x.dtype)])


def _tensors(rounding: Rounding) -> list[str]:
    return [rounding.source.input[0], rounding.source.output[0]]


def _by_image(chunks: np.ndarray, steps: int) -> np.ndarray:
    """[batches, T*N, C, ...] -> [images, T, C, ...]."""
    rows = chunks.reshape(len(chunks), steps, -1, *chunks.shape[2:]).swapaxes(1, 2)
    return rows.reshape(-1, *rows.shape[2:])


def _struck(rng: np.random.Generator, kept: tuple[int, ...], like: np.ndarray) -> np.ndarray:
    """Spikes at random in the shape of the layer's own [N, T, C, ...], on the channels that may spike."""
    shape = (len(_DENSITIES), *like.shape[1:])
    density = np.array(_DENSITIES).reshape(-1, *[1] * (like.ndim - 1))
    struck = (rng.random(shape) < density).astype(like.dtype)
    silent = np.ones(like.shape[2], bool)
    silent[list(kept)] = False
    struck[:, :, silent] = 0
    return struck


def _run_from(reading: Reading, given: Mapping[str, np.ndarray], tensors: list[str]) -> list[np.ndarray]:
    """Tensors of the file, [batches, rows, ...], for empty images where other tensors are `given`, [N, T, C, ...]."""
    batch, steps = reading.input.batch, reading.graph.time_steps
    empty = reading.feed(np.zeros((batch, *reading.graph.input_shape), np.uint8))
    filled = {name: _filled(spikes, batch) for name, spikes in given.items()}
    found = []
    for start in range(0, len(_filled(np.empty(len(_DENSITIES)), batch)), batch):
        feeds = {reading.input.name: empty}
        for name, spikes in filled.items():
            rows = spikes[start : start + batch].swapaxes(0, 1)
            feeds[name] = rows.reshape(steps * batch, *spikes.shape[2:])
        found.append(reading.runner.run(feeds, tensors))
    return [np.stack(chunks) for chunks in zip(*found, strict=True)]


def _heard(graph: Graph, name: str) -> bool:
    """Does a node read what neurons wrote, and not the image alone?"""
    nodes = {node.name: node for node in graph.nodes}
    sources = [source for source in graph.sources[name] if source in nodes]
    return any(not isinstance(nodes[source], Current | Join) or _heard(graph, source) for source in sources)


def _seen(graph: Graph, images: np.ndarray, spikes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What nodes write that is no current, by their names, where the neurons write `spikes`, [N, T, C, ...] each."""
    seen = {IMAGE: graph.seen(images).transpose(0, 2, 3, 1)[:, None]}
    for node in graph.nodes[:-1]:
        sources = graph.sources[node.name]
        if isinstance(node, Conv | Neuron):
            given = spikes[node.name]
            full = given.reshape(*given.shape[:3], *(given.shape[3:] or (1, 1)))
            seen[node.name] = full.astype(np.uint8).transpose(0, 1, 3, 4, 2)
        elif isinstance(node, Pool):
            seen[node.name] = pool(node, seen[sources[0]])
        elif isinstance(node, SumPool):
            seen[node.name] = sum_pool(node, seen[sources[0]])
        elif isinstance(node, Join) and sources[0] in seen:
            seen[node.name] = join(node, *(seen[source] for source in sources))
    return seen


Sums = tuple[np.ndarray, np.ndarray, np.ndarray]  # the integer sums, those of what was added without signs, its terms


def _sums(graph: Graph, name: str, seen: Mapping[str, np.ndarray], n: int) -> Sums:
    """What neurons read of image n, [1, T or 1, H, W, C] each."""
    node = graph.node(name)
    sources = graph.sources[name]
    if isinstance(node, Conv | Current):
        x = seen[sources[0]][n : n + 1]
        weigh = replace(node, weight=abs(node.weight))
        count = replace(node, weight=(node.weight != 0).astype(np.int64))
        return accumulate(node, x), accumulate(weigh, x), accumulate(count, (x != 0).astype(np.uint8))
    if isinstance(node, Neuron):
        return _sums(graph, sources[0], seen, n)
    assert isinstance(node, Join)
    (a, a_size, a_terms), (b, b_size, b_terms) = (_sums(graph, source, seen, n) for source in sources)
    return join(node, a, b), join(node, a_size, b_size), a_terms + b_terms + 1


def _levels(reading: Reading) -> Iterator[str]:
    """Every level of a pixel must come out of the image's quantiser as itself, or as its highest bits."""
    tensor, worth = reading.levels
    shape = reading.graph.input_shape
    pixels = int(np.prod(shape))
    images = np.resize(np.arange(256), (max(-(-256 // pixels), 1), *shape)).astype(np.uint8)
    found = run_file(reading, images, [tensor])[0]
    flat = reading.feed(images).astype(np.float64) / reading.input_scale
    theirs = np.sort((found.astype(np.float64) / worth).ravel())
    if found.size == len(found) * reading.input.batch * pixels:  # not padded on the way
        levels = np.sort(_filled(np.rint(flat).reshape(len(flat), -1), reading.input.batch).ravel())
        bits = reading.pixel_bits
        expected = levels // (1 << PIXEL_BITS - bits)
        wrong = ~np.isclose(theirs, expected, rtol=1e-4, atol=1e-3)
        if wrong.any():
            i = int(wrong.argmax())
            maker = reading.runner.maker(tensor)
            assert maker is not None
            aim = "itself" if bits == PIXEL_BITS else f"its highest bits, {expected[i]:g}"
            yield refusal(
                maker, f"makes {theirs[i]:g} of pixel level {levels[i]:g}; scale the image so that it is {aim}"
            )


def _layer_problem(
    graph: Graph,
    node: Conv | Neuron,
    rounding: Rounding,
    seen: Mapping[str, np.ndarray],
    current: np.ndarray,
    spikes: np.ndarray,
) -> tuple[list[str], np.ndarray]:
    """What is wrong, and of each image how many spikes differ within the rounding.

    Args:
        seen: what the layer and the currents before it read, by the node that writes it.
        current, spikes: of the file's LIF, [N, T, Co, ...].
    """
    kept = list(node.kept)
    channels = len(node.bias)
    differing = np.zeros(len(current), np.int64)
    for n in range(len(current)):
        acc, size, terms = (part[0].transpose(0, 3, 1, 2)[:, kept] for part in _sums(graph, node.name, seen, n))
        shape = (len(current[n]), len(kept), *acc.shape[2:])
        theirs = current[n].reshape(len(current[n]), channels, *acc.shape[2:])[:, kept].astype(np.float64)
        fired = spikes[n].reshape(len(spikes[n]), channels, *acc.shape[2:]) != 0
        if np.delete(fired, kept, axis=1).any():
            return [refusal(rounding.source, f"a channel outside {node.kept} spikes in the file; {_REMEDY}")], differing
        if not np.isfinite(theirs).all():
            return [
                refusal(rounding.source, "its current in the file is not finite; look at the layer before it")
            ], differing
        column = (slice(None), None, None)
        units = theirs / rounding.grid[kept][column]
        ours = np.broadcast_to((acc << node.fraction_bits) + node.bias[kept][column], shape)
        floating = _EPS * (
            (terms + _OPERATIONS) * size * 2.0**node.fraction_bits + _OPERATIONS * rounding.span[kept][column]
        )
        error = abs(units - ours)
        allowed = np.broadcast_to(rounding.bias[kept][column] + floating, shape)
        if (error > allowed).any():
            at = np.unravel_index(int((error - allowed).argmax()), shape)
            place = f"image {n}, step {at[0]}, channel {kept[at[1]]}, row {at[2]}, column {at[3]}"
            return [
                refusal(
                    rounding.source,
                    f"its current is {theirs[at]:g} in the file, {(ours * rounding.grid[kept][column])[at]:g} in the"
                    f" integers ({place}); rounding explains {(allowed * rounding.grid[kept][column])[at]:.2g}:"
                    f" {_REMEDY}",
                )
            ], differing
        if rounding.exact:  # the file rounds to the grid itself
            error = abs(np.rint(units) - ours)
        wrong, differ = _membranes(node, rounding, kept, ours, error, fired[:, kept])
        differing[n] = differ
        if wrong:
            return [
                refusal(rounding.source, f"{wrong} (image {n}); rounding does not explain it: {_REMEDY}")
            ], differing
    return [], differing


def _membranes(
    node: Conv | Neuron, rounding: Rounding, kept: list[int], current: np.ndarray, error: np.ndarray, fired: np.ndarray
) -> tuple[str, int]:
    """Integer membranes that follow the file's spikes; `slack` bounds how far the file's own are from them."""
    threshold = node.threshold[kept][:, None, None]
    levels: dict[str, Any] = {"bias": node.bias[kept], "threshold": node.threshold[kept], "v_reset": node.v_reset[kept]}
    columns: Conv | Neuron = (
        replace(node, weight=node.weight[kept], **levels) if isinstance(node, Conv) else replace(node, **levels)
    )
    keep = node.decay[0] * 2.0 ** -node.decay[1] * (1 - 2.0**-node.leak_shift if node.leak_shift else 1.0)
    off = 0.0 if rounding.exact else rounding.threshold[kept][:, None, None]
    of_reset = 0.0 if rounding.exact else rounding.v_reset[kept][:, None, None]
    left = np.zeros(current.shape[1:], np.int64)
    slack = np.zeros(left.shape)
    differing = 0
    for t, i in enumerate(current):
        u = left + i
        slack = slack + error[t] + (0 if rounding.exact else 8 * _EPS * (abs(u) + threshold))
        other = (u >= threshold) != fired[t]
        beyond = other & (abs(u - threshold) > slack + off)
        if beyond.any():
            at = np.unravel_index(int(beyond.argmax()), beyond.shape)
            does = "spikes" if fired[t][at] else "does not spike"
            return (
                f"it {does} in the file where the integer membrane is {u[at]} of {threshold[at[0], 0, 0]}"
                f" (step {t}, channel {kept[at[0]]}, row {at[1]}, column {at[2]})"
            ), 0
        differing += int(other.sum())
        left = remains(columns, u.T, fired[t].T).T
        if node.reset == "hard":
            slack = np.where(fired[t], of_reset, slack)
        elif node.reset == "soft":
            slack = slack + fired[t] * off
        if keep < 1:
            slack = slack * keep + (slack > 0 if rounding.exact else 1)
        if node.reset == "delayed":
            slack = slack + fired[t] * off
    return "", differing


def _readout_problem(node: Readout, rounding: Rounding, x: np.ndarray, theirs: np.ndarray) -> list[str]:
    ours = integrate(node, x)
    zero = np.zeros_like(node.bias)
    size = integrate(replace(node, weight=abs(node.weight), bias=zero), x)
    steps = x.shape[1]
    terms = x.reshape(len(x), -1).sum(1, dtype=np.int64)[:, None] + _OPERATIONS + steps
    allowed = steps * rounding.bias + _EPS * (terms * size + (_OPERATIONS + steps) * steps * rounding.span)
    if theirs.shape != ours.shape or not np.isfinite(theirs).all():
        return [refusal(rounding.source, "the file's logits are not finite, or not [N, classes]; look at the read-out")]
    beyond = abs(theirs - ours) - allowed
    if (beyond <= 0).all():
        return []
    n, c = np.unravel_index(int(beyond.argmax()), beyond.shape)
    return [
        refusal(
            rounding.source,
            f"logit {c} is {theirs[n, c]:g} in the file, {ours[n, c]} in the integers, on the same spikes (image {n}),"
            f" in units of the weights' scale; rounding explains {allowed[n, c]:.2g}: {_REMEDY}",
        )
    ]
