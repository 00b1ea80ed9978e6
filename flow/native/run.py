"""The whole test set through the hardware: every logit, class and cycle of the designs, by the native engine."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from scaflow.flow import rungs
from scaflow.flow.chain import read_design
from scaflow.flow.images import test_given, test_labels
from scaflow.flow.jobs.job import Engine, Opened
from scaflow.flow.native import chunks, counters
from scaflow.flow.recordings.figures import figures
from scaflow.flow.stages import (
    DESIGNS,
    Project,
    Stage,
    design_digests,
    design_files,
    file_digest,
    source_digest,
)
from scaflow.hw.clock import predict_runs
from scaflow.hw.design import Design
from scaflow.hw.emit import check_emitted, emit
from scaflow.hw.recordings import Given, as_bytes, as_frames
from scaflow.hw.stalls import OFFERS, SHORTEST, TAKES
from scaflow.model.files import kept_json, write_json
from scaflow.quant.graph import IMAGE, execute, load
from scaflow.sim.native import CHUNK, NativeRun
from scaflow.sim.rtl import SimulationError

OWN = ("flow/native/run.py", "flow/native/chunks.py", "flow/native/counters.py", "flow/images.py", "flow/rungs.py")
ROOMS = ("quant", "hw", "sim", *OWN)
COUNTED_IMAGES = 50  # through the design with counters
TRACED = 1000  # images whose whole trace is in memory at once
KEPT = "native"  # the folder of what finished designs gave
NATIVE = tuple(variant for variant in DESIGNS if variant != "skip")  # skip is as fast as compact, to the cycle
Row = dict[str, Any]
Simulated = Callable[..., NativeRun]  # `simulate` of one design: its top, how, images, longest standstill, chunk


def stage(project: Project, images: int, stalls: bool, console: Console, engine: Opened | None = None) -> Stage:
    """Reads the designs and the test images. Writes native.json (rung 3 on many images)."""

    def run() -> None:
        write_json(project / "native.json", run_designs(project, NATIVE, images, stalls, console, engine))

    return Stage(
        name="native",
        reads=design_files(project),
        writes=(project / "native.json",),
        run=run,
        settings={"images": images, "stalls": stalls},
        rooms=ROOMS,
        remedy=f"scaflow compile {project.net}",
    )


def forget(project: Project) -> None:
    """Let the next run begin with its first design."""
    shutil.rmtree(project / KEPT, ignore_errors=True)


def run_designs(
    project: Project,
    variants: Sequence[str],
    images: int,
    stalls: bool,
    console: Console,
    engine: Opened | None = None,
) -> dict[str, Any]:
    """Run the tops on the first test images, flowing and, with `stalls`, once more with pauses at both ends.

    Args:
        engine: opens what the chunks are jobs of; None: they run in processes of this one.

    Returns:
        {"images", "designs": their digests, "native": one row a run, "counters": one row a design and stage,
        "equality": rung 3's rows}; of recordings also "recordings": the figures of the event design

    Raises:
        ValueError: a design is missing; or a run breaks off: hang, surplus word, broken stream law.
    """
    missing = [str(path) for path in design_files(project, variants) if not path.is_file()]
    if missing:
        raise ValueError(f"native: {', '.join(missing)} missing; run `scaflow compile {project.net}` first")
    chosen = test_given(
        project, images, lambda line: console.print(f"native: {line}", style="dim", highlight=False, soft_wrap=True)
    )
    found: dict[str, Any] = {"images": len(chosen), "designs": design_digests(project, variants)}
    found |= {"native": [], "counters": [], "equality": []}
    with engine() if engine else nullcontext() as opened:
        for variant in variants:
            part = _design(project, variant, chosen, stalls, console, opened)
            for key in ("native", "counters", "equality"):
                found[key] += part[key]
            if "recordings" in part:
                found["recordings"] = part["recordings"]
    return found


def _design(
    project: Project, variant: str, images: Given, stalls: bool, console: Console, engine: Engine | None
) -> dict[str, Any]:
    """The part of one design; kept in native/<variant>.json, so that an interrupted run goes on at the next design.

    What an engine's jobs gave is in native/<variant>/ until then.
    """
    rtl, kept = project / f"{variant}/rtl", project / f"{KEPT}/{variant}.json"
    # the pruned designs are held against the pruned network itself, not against their own graphs
    source = "dense" if variant == "dense" else "skip"
    files = [*design_files(project, (variant, source)), *sorted(rtl.glob("*.mem"))]
    key = {
        "images": len(images),
        "stalls": stalls,
        "files": [file_digest(path) for path in files if path.is_file()],
        "sources": source_digest(ROOMS),
    }
    part: dict[str, Any] | None = kept_json(kept, ("key", "native", "counters", "equality"))
    if part is not None and part["key"] == key:
        console.print(f"native: {variant} as it ran before", style="dim", highlight=False)
        return part
    console.print(f"native: golden model on {len(images):,} test images, {variant}", style="dim", highlight=False)
    frames, lengths = as_frames(images)
    logits = execute(load(project / f"{source}/graph"), frames, lengths=lengths)
    part = {"key": key, "native": [], "counters": [], "equality": []}
    design = read_design(project, variant)
    check_emitted(design, rtl)
    spikes = _events(design, images)
    chunk_files = project / f"{KEPT}/{variant}"

    def simulated(rtl: Path, how: str, images: Given, longest: int | None = None, chunk: int = CHUNK) -> NativeRun:
        title, place = f"native: {variant}, {how}", chunk_files / how.replace(" ", "-")
        return simulate(rtl, title, images, logits.shape[1], longest, console, chunk, engine, place)

    flowing, clock = run_once(rtl, variant, design, images, spikes, None, logits, simulated, part)
    if stalls:
        gaps = np.diff(clock[:, 3]) if len(images) > 1 else clock[:, 3]  # one image alone: all that it takes
        longest = max(SHORTEST, 2 * int(gaps.max(initial=design.interval or 1)))
        run_once(rtl, variant, design, images, spikes, longest, logits, simulated, part)
    _count(variant, design, images[:COUNTED_IMAGES], flowing, simulated, part)
    if variant == "event" and not isinstance(images, np.ndarray):
        part["recordings"] = figures(design, images, test_labels(project, len(images)), flowing, part["native"][0])
    write_json(kept, part)
    shutil.rmtree(chunk_files, ignore_errors=True)
    return part


def run_once(
    rtl: Path,
    variant: str,
    design: Design,
    images: Given,
    spikes: Mapping[str, np.ndarray],
    longest: int | None,
    logits: np.ndarray,
    simulated: Simulated,
    found: dict[str, Any],
) -> tuple[NativeRun, np.ndarray]:
    """One run of all images, its row and its equalities; returns it and the exact clock's cycles.

    Args:
        spikes: what the exact clock needs of the golden model, from `_events`.
        longest: cycles of the longest standstill at an end; None: flowing.
    """
    how = "flowing" if longest is None else "random stalls"
    run = simulated(rtl, how, images, longest)
    told = predicted(design, images, spikes, run.chunks, chunks.pattern_of(longest))
    wrong = rungs.wrong_frames(rungs.Frames(run.words.tolist(), [], [], run.frame_error), logits)
    late = int((run.at != told).any(1).sum())
    inside = np.concatenate([np.diff(run.at[chunk.start : chunk.stop, 3]) for chunk in run.chunks])
    found["native"].append(
        {
            "variant": variant,
            "images": len(images),
            "stalls": longest is not None,
            "logit_mismatches": wrong,
            "cycle_mismatches": late,
            "cycles_total": sum(run.cycles),
            "seconds": None if run.seconds is None else round(run.seconds, 3),
            "kcycles_per_second": None if run.rate is None else round(run.rate / 1000),
            "kcycles_per_core_second": round(run.core_rate / 1000),
            "interval": _summary(inside),
            "latency": _summary(run.at[:, 3] - run.at[:, 0] + 1),
        }
    )
    found["equality"] += [
        rungs.row(f"3 native: top = golden, {how}", variant, len(images), wrong),
        rungs.row(f"3 native: top's cycles = exact clock, {how}", variant, len(images), late),
    ]
    return run, told


def simulate(
    rtl: Path,
    title: str,
    images: Given,
    classes: int,
    longest: int | None,
    console: Console,
    chunk: int,
    engine: Engine | None,
    place: Path,
) -> NativeRun:
    """Run images uint8 [N, C, H, W], pixels in raster order, channel 0 first, or recordings, under a progress bar.

    Args:
        engine: where each chunk is a job; None: they run in processes of this one.
        place: the folder of what the jobs give.

    Raises:
        ValueError: the simulation breaks off.
    """
    frames = as_bytes(images)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=len(images))

        def progress(done: int) -> None:
            bar.update(task, completed=done)

        def say(line: str) -> None:
            console.print(line, style="dim", highlight=False)

        if engine is not None:
            return chunks.work_through(engine, place, title, rtl, frames, 1 + classes, longest, chunk, progress, say)
        try:
            return chunks.drive(rtl, frames, 1 + classes, longest, chunk, progress=progress)
        except SimulationError as error:
            raise ValueError(f"{rtl}: {error}") from None


def _events(design: Design, images: Given) -> dict[str, np.ndarray]:
    """The spikes that the event stages read, by the node that fires them, once for all runs of the design; of
    recordings the clock asks for them one by one."""
    if not isinstance(images, np.ndarray):
        return {}
    sources = [design.graph.sources[stage.name][0] for stage in design.stages if stage.scheduler == "event"]
    read = sorted(set(sources) - {IMAGE})
    kept: dict[str, np.ndarray] = {}
    for start in range(0, len(images) if read else 0, TRACED):
        part = slice(start, start + TRACED)
        traces = execute(design.graph, images[part], trace=True)[1]
        for name in read:
            if name not in kept:  # the trace's channels lie innermost, and stay so
                _, steps, channels, height, width = traces[name].shape
                whole = np.empty((len(images), steps, height, width, channels), np.uint8)
                kept[name] = whole.transpose(0, 1, 4, 2, 3)
            kept[name][part] = traces[name]
    return kept


def predicted(
    design: Design,
    images: Given,
    spikes: Mapping[str, np.ndarray],
    chunks: Sequence[range],
    stalls: Callable[[int], np.ndarray] | None,
) -> np.ndarray:
    """The exact clock's cycles, int64 [N, 4]: first and last beat in, first and last word out.

    Args:
        spikes: the trace of `quant.graph.execute` on the images; only what event stages read is needed.
        chunks: the runs, of the same number of images each but for the last.
    """
    told = np.empty((len(images), 4), np.int64)
    whole = len(chunks) - (len(chunks[-1]) < len(chunks[0]))
    for first, last in ((0, whole), (whole, len(chunks))):
        if first == last:
            continue
        part = slice(chunks[first].start, chunks[last - 1].stop)
        bits = [stalls(number) for number in range(first, last)] if stalls else None
        ends = None if bits is None else [(b & OFFERS != 0, b & TAKES != 0) for b in bits]

        def runs(array: np.ndarray, part: slice = part, count: int = last - first) -> np.ndarray:
            return array[part].reshape(count, -1, *array.shape[1:])

        if isinstance(images, np.ndarray):
            traces = {name: runs(trace) for name, trace in spikes.items()}
            clocks = predict_runs(design, runs(images), ends, spikes=traces)
        else:
            each = [images[chunks[number].start : chunks[number].stop] for number in range(first, last)]
            clocks = predict_runs(design, each, ends)
        clock_at = [np.concatenate([clock.in_at[:, [0, -1]], clock.out_at[:, [0, -1]]], 1) for clock in clocks]
        told[part] = np.concatenate(clock_at)
    return told


def _count(
    variant: str,
    design: Design,
    images: Given,
    flowing: NativeRun,
    simulated: Simulated,
    found: dict[str, Any],
) -> None:
    """Run the design with counters on some images, one run from reset."""
    with tempfile.TemporaryDirectory(prefix="scaflow-counted-") as scratch:
        rtl = emit(design, Path(scratch) / "rtl", counters=True).parent
        run = simulated(rtl, "counters", images, chunk=len(images))
    assert run.counters is not None
    rows, equality = counters.read(variant, design, images, run.counters[0].tolist(), run.cycles[0])
    disturbed = (run.words != flowing.words[: len(images)]).any(1) | (run.at != flowing.at[: len(images)]).any(1)
    equality.append(rungs.row(counters.UNDISTURBED, variant, len(images), disturbed.sum()))
    found["counters"] += rows
    found["equality"] += equality


def _summary(cycles: np.ndarray) -> dict[str, float] | None:
    """None where there are none: intervals, if every chunk holds one image."""
    if not len(cycles):
        return None
    return {"least": int(cycles.min()), "mean": round(float(cycles.mean()), 2), "most": int(cycles.max())}
