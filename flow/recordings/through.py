"""Labelled recordings through the hardware: events in, class out, every logit and cycle of a design held to account."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from scaflow.flow import rungs
from scaflow.flow.chain import read_design
from scaflow.flow.images import taken
from scaflow.flow.native.run import predicted, simulate
from scaflow.flow.report.section import Section
from scaflow.flow.stages import Progress, Project, design_files
from scaflow.hw.clock import predict
from scaflow.hw.design import Design
from scaflow.hw.emit import check_emitted
from scaflow.hw.recordings import Offered, as_frames, leaving
from scaflow.model.events.dataset import recorded_in
from scaflow.quant.graph import execute, load
from scaflow.sim.native import CHUNK, NativeRun

CLOCK_MHZ = 100.0  # by which cycles are told as milliseconds
DELAYED = 50  # recordings of which the delay is worked out
Row = dict[str, Any]


def run(project: Project, path: Path, variant: str, console: Console, say: Progress) -> Row:
    """Simulate a design on all recordings of a folder or .zip, by the native engine.

    Returns:
        {"recordings": figures (see `figures`), "equality": rows}

    Raises:
        ValueError: the network sees no recordings, there is no design, or no such recordings; or the run breaks off.
    """
    network = project.network
    if not network.frames:
        raise ValueError(
            f"--recordings: {project.net} sees images; give a network whose [input] has kind = \"frames\""
        )
    missing = [str(path) for path in design_files(project, (variant,)) if not path.is_file()]
    if missing:
        raise ValueError(f"--recordings: {', '.join(missing)} missing; run `scaflow compile {project.net}` first")
    sensor = None if network.input.crop else network.input_shape[:0:-1]  # where the files do not say it themselves
    with recorded_in(network, path, say, sensor=sensor) as found:
        labels = found.labels
        given = taken(network, found)
    design, rtl = read_design(project, variant), project / f"{variant}/rtl"
    check_emitted(design, rtl)
    # the pruned designs are held against the pruned network itself, not against their own graphs
    graph = load(project / f"{'dense' if variant == 'dense' else 'skip'}/graph")
    frames, lengths = as_frames(given)
    logits = execute(graph, frames, lengths=lengths)
    with tempfile.TemporaryDirectory(prefix="scaflow-recordings-") as scratch:
        title = f"{variant}, {path.name}"
        through = simulate(rtl, title, given, logits.shape[1], None, console, CHUNK, None, Path(scratch))
    wrong = rungs.wrong_frames(rungs.Frames(through.words.tolist(), [], [], through.frame_error), logits)
    late = int((through.at != predicted(design, given, {}, through.chunks, None)).any(1).sum())
    equality = [
        rungs.row("3 native: top = golden, recordings", variant, len(given), wrong),
        rungs.row("3 native: top's cycles = exact clock, recordings", variant, len(given), late),
    ]
    told = figures(design, given, labels, through)
    return {"recordings": told | {"logit_mismatches": wrong, "cycle_mismatches": late}, "equality": equality}


def figures(design: Design, given: list[Offered], labels: np.ndarray, through: NativeRun) -> Row:
    """What a run says of recordings.

    Keys: count, accuracy; events, frames (means); cycles_mean, ms_mean, ms_max: from a recording's first event to the
    last word of its result, events offered as fast as they are taken, at clock_mhz; delay_us: from its last event, when
    events come in real time, the mean of some of them.
    """
    cycles = through.at[:, 3] - through.at[:, 0] + 1
    delays = [delay(design, recording) for recording in given[:DELAYED]]
    return {
        "count": len(given),
        "accuracy": float((through.words[:, 0] == labels).mean()),
        "events": float(np.mean([len(recording.beats) for recording in given])),
        "frames": float(np.mean([len(recording.frames) for recording in given])),
        "clock_mhz": CLOCK_MHZ,
        "cycles_mean": float(cycles.mean()),
        "ms_mean": float(cycles.mean() / CLOCK_MHZ / 1e3),
        "ms_max": float(cycles.max() / CLOCK_MHZ / 1e3),
        "delay_us": float(np.mean(delays) / CLOCK_MHZ),
    }


def delay(design: Design, recording: Offered) -> int:
    """Cycles from the last event of a recording to the last word of its result, where all that came before has long
    been worked off: the events of a frame come together; those of the next, and the last one, after a pause."""
    cfg = design.events
    assert cfg is not None
    pause = 4 * int(predict(design, [recording]).latency[0])
    waits = np.minimum(leaving(cfg, recording.beats), 1)
    waits[1:][-1:] = 1
    begins = pause * np.cumsum(waits) + np.arange(len(waits)) + cfg.pixels + 1  # the memories are cleared first
    offers = np.zeros(int(begins[-1]) + 1, bool)
    offers[begins] = True
    clock = predict(design, [recording], offers)
    # both counted; but a sink that could stall refuses the first word once
    return int(clock.out_at[0, -1] - clock.in_at[0, -1])


def section(found: Row) -> Section:
    """Of the figures of `run`."""
    return Section(
        title="Recordings through the whole design",
        columns=(
            "recordings", "accuracy", "logit mismatches", "cycle mismatches", "events", "frames", "ms a recording",
            "ms at most", "us from the last event",
        ),
        rows=((
            f"{found['count']:,}", f"{found['accuracy']:.2%}", f"{found['logit_mismatches']:,}",
            f"{found['cycle_mismatches']:,}", f"{found['events']:,.0f}", f"{found['frames']:.1f}",
            f"{found['ms_mean']:.3f}", f"{found['ms_max']:.3f}", f"{found['delay_us']:.1f}",
        ),),
        note=(
            "Every logit and class against the golden model, the cycles of each recording's first and last event and of"
            f" its result against the exact clock. At {found['clock_mhz']:g} MHz, from the first event to the class,"
            " with events offered as fast as they are taken; and from the last event, when they come in real time (mean"
            f" of {min(found['count'], DELAYED)})."
        ),
    )  # fmt: skip
