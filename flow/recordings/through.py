"""Labelled recordings through the hardware: events in, class out, every logit and cycle of a design held to account."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from scaflow.flow.chain import read_design
from scaflow.flow.images import taken
from scaflow.flow.native.run import run_once, simulate
from scaflow.flow.recordings.figures import figures
from scaflow.flow.stages import Progress, Project, design_files
from scaflow.hw.emit import check_emitted
from scaflow.hw.recordings import Given, as_frames
from scaflow.model.events.dataset import recorded_in
from scaflow.quant.graph import execute, load
from scaflow.sim.native import CHUNK, NativeRun

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
    part: Row = {"native": [], "equality": []}

    def simulated(rtl: Path, how: str, images: Given, longest: int | None = None, chunk: int = CHUNK) -> NativeRun:
        title = f"{variant}, {path.name}"
        return simulate(rtl, title, images, logits.shape[1], longest, console, chunk, None, path)  # no engine's jobs

    through, _ = run_once(rtl, variant, design, given, {}, None, logits, simulated, part)
    return {"recordings": figures(design, given, labels, through, part["native"][0]), "equality": part["equality"]}
