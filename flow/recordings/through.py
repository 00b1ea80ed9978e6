"""Labelled recordings through the hardware: events in, class out, every logit and cycle of a design held to account."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from scaflow.flow import rungs
from scaflow.flow.chain import read_design
from scaflow.flow.images import taken
from scaflow.flow.native.run import predicted, simulate
from scaflow.flow.recordings.figures import figures
from scaflow.flow.stages import Progress, Project, design_files
from scaflow.hw.emit import check_emitted
from scaflow.hw.recordings import as_frames
from scaflow.model.events.dataset import recorded_in
from scaflow.quant.graph import execute, load
from scaflow.sim.native import CHUNK

Row = dict[str, Any]


def run(project: Project, path: Path, variant: str, console: Console, say: Progress) -> Row:
    """Simulate a design on all recordings of a folder or .zip, by the native engine.

    Returns:
        {"recordings": `figures`, "equality": rows}

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
    return {"recordings": figures(design, given, labels, through, wrong, late), "equality": equality}
