"""The equalities of the chain, counted: torch = golden, QONNX = golden, compact = pruned, hardware = golden.

Every function compares whole integers (spikes, logits, classes, cycles) and returns counts; none raises for a
mismatch, so that the report can show all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from scaflow.hw.design import Design
from scaflow.hw.emit import TOP, beat_bytes, emit_stage, error_port
from scaflow.hw.recordings import Given, as_bytes
from scaflow.quant.golden.beats import address_bits, pack
from scaflow.quant.graph import IMAGE, Conv, Current, Graph, Neuron, execute
from scaflow.sim.rtl import Frames, SimulationError, simulate_axis, simulate_top

BATCH = 250  # images compared at once: the spikes of all layers are held
STALLS = 0.3  # chance of a pause before each beat, at both ends


@dataclass(frozen=True)
class StageRun:
    """One stage alone, fed without gaps and drained without stalls."""

    cycles: tuple[int, ...]  # between the last output beats of successive images
    compared: int  # output beats
    mismatches: int


def row(rung: str, variant: str, compared: int, mismatches: int) -> dict[str, Any]:
    """One line of the equality table."""
    return {"rung": rung, "variant": variant, "compared": int(compared), "mismatches": int(mismatches)}


def differing(a: np.ndarray, b: np.ndarray) -> int:
    """Images (first axis) in which two arrays are not equal everywhere; all of them if the shapes differ."""
    if a.shape != b.shape:
        return max(len(a), len(b))
    return int((a != b).reshape(len(a), -1).any(1).sum())


def torch_against_golden(
    folded: Any, graph: Graph, images: np.ndarray, lengths: np.ndarray | None = None
) -> tuple[np.ndarray, int]:
    """Golden logits int64 [N, classes], and the images where torch's spikes or logits are other.

    Args:
        folded: the torch module of the integer form (`spikes`, `logits_int`).
        images: uint8 [N, C, H, W]; of a graph of frames recordings, [N, T, C, H, W].
        lengths: of recordings, in frames.
    """
    import torch

    from scaflow.model.network import full_scale

    spiking = [node for node in graph.nodes if isinstance(node, Conv | Neuron)]
    ends = [[node, *(pool for pool, _ in graph.pools_behind(node))][-1].name for node in spiking]
    logits, wrong = [], 0
    for start in range(0, len(images), BATCH):
        part = images[start : start + BATCH]
        held = None if lengths is None else lengths[start : start + BATCH]
        golden, spikes = execute(graph, part, trace=True, lengths=held)
        with torch.no_grad():
            x = torch.from_numpy(part).float() / full_scale(folded.cfg)
            told = folded.logits_int(x) if held is None else folded.logits_int(x, torch.from_numpy(held))
            bad = (told.numpy() != golden).any(1)
            for name, tensor in zip(ends, folded.spikes(x), strict=True):
                # rows are time-major: t*N + n
                seen = tensor.numpy().reshape(-1, len(part), *tensor.shape[1:]).swapaxes(0, 1)
                bad |= (seen != spikes[name]).reshape(len(part), -1).any(1)
        wrong += int(bad.sum())
        logits.append(golden)
    return np.concatenate(logits), wrong


def run_images(
    directory: Path,
    images: Given,
    classes: int,
    stalls: float,
    seed: int = 0,
    waves: Path | None = None,
    counters: int = 0,
) -> Frames:
    """Run a generated design on images uint8 [N, C, H, W], pixels in raster order, channel 0 first; or on recordings.

    `counters`: stages of a design that was emitted with counters.
    """
    frames = [frame.tobytes() for frame in as_bytes(images)]
    try:
        return simulate_axis(
            directory,
            TOP,
            frames,
            axi_bytes=beat_bytes(directory),
            expect=1 + classes,
            stalls=stalls,
            seed=seed,
            waves=waves,
            counters=counters,
            error=error_port(directory),
        )
    except SimulationError as error:
        raise ValueError(f"{directory}: {error}") from None


def wrong_frames(frames: Frames, logits: np.ndarray) -> int:
    """Images whose logits or class differ from golden int64 [N, classes]; all if a frame was faulty."""
    if frames.frame_error or len(frames.words) != len(logits):
        return len(logits)
    words = np.array(frames.words, np.int64)
    seen = np.where(words[:, 1:] >> 31, words[:, 1:] - (1 << 32), words[:, 1:])
    expected = np.concatenate([logits.argmax(1)[:, None], logits], 1)
    return differing(np.concatenate([words[:, :1], seen], 1), expected)


def run_stage_alone(design: Design, name: str, images: np.ndarray, directory: Path) -> StageRun:
    """Simulate one stage between plain streams, on what the golden model says reaches it.

    Args:
        images: uint8 [N, C, H, W], at least 2: the cycles are counted between images, past the filling.
        directory: where the stage's design is written.

    Raises:
        ValueError: the simulation breaks off.
    """
    emit_stage(design, name, directory)
    beats, expected = _stage_beats(design, name, images)
    try:
        run = simulate_top(directory, TOP, beats, expect=len(expected))
    except SimulationError as error:
        raise ValueError(f"stage {name!r} alone: {error}") from None
    each = len(expected) // len(images)
    cycles = tuple(after - before for before, after in pairwise(run.out_at[each - 1 :: each]))
    wrong = sum(a != b for a, b in zip(run.y, expected, strict=True))
    return StageRun(cycles, len(expected), wrong)


def _stage_beats(design: Design, name: str, images: np.ndarray) -> tuple[list[int], list[int]]:
    """What a stage reads and must write, as packed beats. A frame is a recording, whose end its last word tells."""
    graph = design.graph
    logits, spikes = execute(graph, images[:, None] if graph.frames else images, trace=True)
    stage = next(stage for stage in design.stages if stage.name == name)
    node, source = graph.node(name), graph.sources[name][0]
    read = graph.seen(images)[:, None] if source == IMAGE else spikes[source]
    beats = _words(read, stage.in_order, stage.in_edge.bits)
    if graph.frames:
        words = len(beats) // len(images)
        above = stage.in_edge.bits * len(stage.in_order)
        beats = [beat | (3 << above) * (i % words == words - 1) for i, beat in enumerate(beats)]
    if stage.out_order is None:
        module = design.readout
        shift = module.classes * module.logit_bits
        ends = module.frames << shift + address_bits(module.classes)
        expected = [pack(v, module.logit_bits) | int(np.argmax(v)) << shift | ends for v in logits.tolist()]
        return beats, expected
    if isinstance(node, Current):
        element = next(i.cfg for i in stage.instances if i.module == "current_pe")
        travel = (*stage.out_order[: stage.kept_out], *[-1] * (-stage.kept_out % stage.pe))
        sums = np.pad(spikes[name], ((0, 0), (0, 0), (0, 1), (0, 0), (0, 0)))  # lanes that stand for no channel: 0
        lanes = sums[:, :, list(travel)].transpose(0, 3, 4, 1, 2).reshape(-1, stage.pe)
        return beats, [pack(sums, element.acc_bits) for sums in lanes.tolist()]
    behind = graph.pools_behind(node)
    last = behind[-1][0].name if behind else name
    return beats, _words(spikes[last], stage.out_order, graph.edge(last).bits)


def _words(values: np.ndarray, order: tuple[int, ...], bits: int) -> list[int]:
    """uint8 [N, T, C, H, W] -> one word a (pixel, t), the channels in the given order, so many bits each."""
    words = values[:, :, list(order)].transpose(0, 3, 4, 1, 2).reshape(-1, len(order))
    if bits > 1:
        return [pack(word, bits) for word in words.tolist()]
    packed = np.packbits(words, axis=1, bitorder="little")
    return [int.from_bytes(line.tobytes(), "little") for line in packed]


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    return float((logits.argmax(1) == labels).mean())


def channels(graph: Graph) -> dict[str, Any]:
    """Channels of the spiking layers, in all and kept, and layer by layer."""
    layers = [
        {"name": node.name, "total": len(node.bias), "kept": len(node.kept)}
        for node in graph.nodes
        if isinstance(node, Conv | Neuron)
    ]
    return {
        "total": sum(layer["total"] for layer in layers),
        "kept": sum(layer["kept"] for layer in layers),
        "layers": layers,
    }
