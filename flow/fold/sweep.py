"""`scaflow fold` for many rates or budgets: the curve of area against speed, each point a job of its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from scaflow.flow.fold import solve
from scaflow.flow.fold.report import FOLDED, graph_digests
from scaflow.flow.jobs.job import Engine, Job, work_off
from scaflow.flow.report.section import Section
from scaflow.flow.stages import Progress, Project, source_digest
from scaflow.model.files import check_place, kept_json, read_json, write_json

FOLDER = "fold-sweep"  # a folder a point
POINT = "fold.json"
ROOMS = ("quant", "hw", "flow/fold/solve.py", "flow/activity/events.py")


def sweep(
    project: Project, requests: Sequence[solve.Request], scheduler: str, engine: Engine, progress: Progress
) -> dict[str, Any]:
    """Fold the network for each request; what was solved before, by the same sources, is read.

    Reads compact/graph, dense/graph and some training images. Writes fold-sweep.json, of the order of the requests:
    the result of each as fold.json has it, or `impossible`: the best that is possible, in words.

    Raises:
        ValueError: a graph is missing.
    """
    solve.check_graphs(project)
    check_place(project / "fold-sweep.json")
    graphs, sources = graph_digests(project), source_digest(ROOMS)
    width = project.network.fold.axi_bytes
    images = partial(solve.calibration_images, project.network, project.data)
    reads = tuple(f"{name}/graph.{kind}" for name in FOLDED for kind in ("json", "npz"))
    places, jobs = [], []
    for request in requests:
        key = {"request": repr(request), "scheduler": scheduler, "graphs": graphs, "sources": sources, "axi": width}
        wanted = f"{request.target_fps:g}-fps" if request.target_fps else f"{request.max_luts:g}-luts"
        place = f"{FOLDER}/{request.device.name}-{request.clock_mhz:g}-MHz-{scheduler}-{wanted}"
        places.append(place)
        found = kept_json(project / f"{place}/{POINT}", ("key",))
        if found is None or found["key"] != key:
            arguments = (place, request, scheduler, width, key)
            jobs.append(Job(f"fold: {request}", _solve, arguments, project.folder, place, reads, images))
    work_off(jobs, engine, lambda job: progress(f"{job.title}: done"))
    points = [read_json(project / f"{place}/{POINT}", keys=("key",)) for place in places]
    rows = [{name: value for name, value in point.items() if name != "key"} for point in points]
    result = {"graphs": graphs, "points": rows}
    write_json(project / "fold-sweep.json", result)
    return result


def _solve(
    base: Path, place: str, request: solve.Request, scheduler: str, width: int, key: dict[str, Any], images: np.ndarray
) -> None:
    try:
        found = solve.fold_graphs(base, request, scheduler, images, lambda line: None, width)
    except solve.Impossible as error:
        found = {"request": str(request), "impossible": str(error)}
    write_json(base / place / POINT, {"key": key, **found})


def section(found: dict[str, Any]) -> Section:
    rows = []
    for point in found["points"]:
        if "impossible" in point:
            rows.append((point["request"], "impossible", *[""] * 5))
            continue
        figures = (f"{point[name]:,.0f}" for name in ("fps", "interval", "lut"))
        same = point["gains"].get("same_area")
        more = f"{point['gains']['dense']['interval'] / same['interval']:.2f}" if same else ""
        rows.append((point["request"], *figures, f"{point['bram']:g}", f"{point['dsp']}", more))
    refused = [point["impossible"] for point in found["points"] if "impossible" in point]
    return Section(
        title="Foldings over rates and budgets",
        columns=("asked", "images/s", "interval, cycles", "LUT", "BRAM", "DSP", "pruned over dense, same area"),
        rows=tuple(rows),
        note="\n".join(("The pruned network, as `scaflow fold` finds it for each alone.", *refused)),
    )
