"""FINN measured beside us: every convolution of a network as FINN's RTL and as our stage.

FINN stands there at the same lanes, and where spikes come in also at its own best: the fastest of its foldings that
takes no more LUTs than our event stage. FINN (finn-plus) is installed apart from us, by `make finn`; nothing of it is
part of this program.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from scaflow.flow.chain import read_design
from scaflow.flow.finn.circuit import estimates, generate, map_finn, run_finn
from scaflow.flow.finn.search import fastest, frontier
from scaflow.flow.images import test_images
from scaflow.flow.stages import Progress, Project, Stage
from scaflow.hw.activity import law, reads, walked_events
from scaflow.hw.clock import stage_cycles
from scaflow.hw.design import Design, design
from scaflow.hw.emit import TOP
from scaflow.hw.fold import Fold, at_equal_lanes
from scaflow.hw.synth import synthesize
from scaflow.model.files import write_json
from scaflow.quant.graph import Conv, Edge, Graph

IMAGES = 2  # FINN's cycles do not depend on the data: from the end of one image to the end of the next
EVENT_IMAGES = 200  # over which the cycles of an event stage are averaged
OURS = {"dense": "dense", "list": "compact", "event": "event"}  # the design behind each column


@dataclass(frozen=True)
class Measured:
    """A circuit: cycles an image in steady state, and cells of the 7-series flow."""

    cycles: float
    lut: int
    ff: int
    bram: float
    dsp: int


def stage(project: Project, progress: Progress) -> Stage:
    """Reads the designs of `OURS` and the test images. Writes finn.json.

    Raises:
        ValueError: the network is of recordings; or FINN is not installed: says which command does it.
    """
    if project.network.frames:
        raise ValueError(
            f"compare-finn: {project.net} is of recordings; FINN has no neurons that live from frame to frame, and its"
            " circuits are compared on images alone"
        )
    python = installed(project.build)
    files = ("graph.json", "graph.npz", "rtl/manifest.json")
    return Stage(
        name="compare-finn",
        reads=tuple(project / f"{variant}/{name}" for variant in OURS.values() for name in files),
        writes=(project / "finn.json",),
        run=lambda: write_json(project / "finn.json", compare(project, python, progress)),
        rooms=(
            *("quant", "hw", "sim", "flow/images.py", "flow/rungs.py"),
            *(f"flow/finn/{name}.py" for name in ("compare", "circuit", "search", "worker")),
        ),
        remedy=f"scaflow compile {project.net}",
    )


def installed(build: Path) -> Path:
    """The Python of FINN's environment.

    Raises:
        ValueError: there is none, or finn-plus is not in it.
    """
    python = build / "finn/venv/bin/python"
    if not python.is_file() or not any((build / "finn/venv").glob("lib/python3*/site-packages/finn_plus-*")):
        raise ValueError(
            f"{build / 'finn/venv'}: FINN (finn-plus) is not installed there; run `make finn` (600 MB, 1 minute)"
        )
    return python.absolute()


def nearest_fold(pe: int, simd: int, channels_out: int, positions: int) -> Fold:
    """FINN's folding nearest to ours: the same number of lanes where its rules allow, else the nearest number.

    FINN needs PE to divide the output channels and SIMD to divide kernel positions x input channels. Of the shapes
    with that number of lanes the one nearest to ours is taken.

    Args:
        positions: kernel height x kernel width x input channels.
    """

    def distance(choice: tuple[int, int]) -> tuple[float, float]:
        rows, columns = abs(math.log(choice[0] / pe)), abs(math.log(choice[1] / simd))
        return round(abs(math.log(choice[0] * choice[1] / (pe * simd))), 9), rows + columns

    return Fold(*min(product(divisors(channels_out), divisors(positions)), key=distance))


def divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


def layer_of(node: Conv, edge: Edge, fold: Fold, ram_style: str = "auto") -> dict[str, Any]:
    """What the worker is told of a convolution; spikes are typed UINT2, because FINN's RTL takes no single bit.

    Args:
        ram_style: of FINN's weights and of its window generator; "auto": Yosys chooses.
    """
    channels, height, width = edge.shape
    return {
        "channels_in": channels,
        "channels_out": len(node.weight),
        "height": height,
        "width": width,
        "kernel": list(node.kernel),
        "stride": node.stride,
        "padding": node.padding,
        "pe": fold.pe,
        "simd": fold.simd,
        "ram_style": ram_style,
        "input_type": f"UINT{edge.bits}" if edge.bits > 1 else "UINT2",
        "weight_type": f"INT{node.weight_bits}",
        "weights": node.weight.tolist(),
    }


def compare(project: Project, python: Path, progress: Progress) -> dict[str, Any]:
    """`finn`: one row a convolution: lanes, FINN's circuits and ours; over how many images events are counted."""
    chosen = test_images(project, EVENT_IMAGES, progress)
    # cycles are counted between images: one alone comes again
    many = np.resize(chosen, (max(IMAGES, len(chosen)), *chosen.shape[1:]))
    few = many[:IMAGES]
    dense, pruned = (read_design(project, OURS[kind]).graph for kind in ("dense", "event"))
    spikes, events = reads(dense, few), reads(pruned, many)
    designs = our_designs(project, spikes, events)
    folds = {stage.name: (stage.pe, stage.simd) for stage in designs["dense"].stages}
    lanes = {stage.name: stage.pe * stage.simd for stage in designs["event"].stages}
    rows = []
    for node, edge in zip(dense.nodes, dense.edges(), strict=True):
        if not isinstance(node, Conv):
            continue
        channels_out, *window = node.weight.shape
        fold = nearest_fold(*folds[node.name], channels_out, math.prod(window))
        progress(f"FINN: {node.name}, PE {fold.pe} x SIMD {fold.simd}")
        told = layer_of(node, edge, fold)
        finn = {"pe": fold.pe, "simd": fold.simd, "frames": edge.time_steps}
        finn |= measure_finn(python, project.build, told, spikes[node.name], progress)
        ours = {
            kind: measure_ours(laid, node.name, few, events, project.build, progress) for kind, laid in designs.items()
        }
        row = {"layer": node.name, "spiking": edge.kind == "spikes", "lanes": lanes[node.name]}
        row |= {"finn": finn, "ours": ours}
        if row["spiking"]:
            bound = ours["event"]["lut"]
            row["finn_best"] = best_finn(python, project.build, node, edge, spikes[node.name], bound, progress)
        rows.append(row)
    return {"finn": rows, "finn_event_images": len(chosen)}


def our_designs(
    project: Project, dense_edges: dict[str, np.ndarray], pruned_edges: dict[str, np.ndarray]
) -> dict[str, Design]:
    """The event design as compiled, and the dense and the pruned list design divided anew for the event one's lanes."""
    event, dense, pruned = (read_design(project, OURS[kind]) for kind in ("event", "dense", "list"))
    lanes = {stage.name: Fold(stage.pe, stage.simd) for stage in event.stages}

    def listed(graph: Graph, edges: dict[str, np.ndarray]) -> Design:
        return design(graph, at_equal_lanes(graph, lanes, edges, dict.fromkeys(lanes, "list")))

    return {"dense": listed(dense.graph, dense_edges), "list": listed(pruned.graph, pruned_edges), "event": event}


def measure_ours(
    laid: Design, name: str, images: np.ndarray, events: dict[str, np.ndarray], build: Path, progress: Progress
) -> dict[str, Any]:
    """A stage of ours alone; where its cycles depend on the data, the mean over `events` by the law.

    Args:
        images: uint8 [N, C, H, W], simulated; the first of those that `events` was made of.

    Raises:
        ValueError: the stage's output is not the golden model's, or its cycles are not the exact clock's.
    """
    from scaflow.flow import rungs

    place = next(stage for stage in laid.stages if stage.name == name)
    cycles = float(place.law or 0)
    if place.law is None:
        node = next(node for node in laid.graph.nodes if isinstance(node, Conv) and node.name == name)
        windows = walked_events(events[name], node, place.places, place.simd, place.group)
        laws = law(laid.graph, node, windows, place.pe, place.simd, place.rounds, place.group)
        cycles = max(float(laws.mean()), place.arriving)
    with tempfile.TemporaryDirectory(prefix="scaflow-stage-") as scratch:
        directory = Path(scratch) / "rtl"
        run = rungs.run_stage_alone(laid, name, images, directory)
        clock = tuple(stage_cycles(laid, name, images).interval.tolist())
        if run.mismatches or run.cycles != clock:
            raise ValueError(
                f"stage {name!r}, {place.scheduler}: {run.mismatches} of {run.compared} beats are not the golden"
                f" model's; {run.cycles} cycles, by the clock {clock}; see `scaflow cycles`"
            )
        cells = synthesize(directory, TOP, "xc7", progress, build / "cache/synth")
    measured = Measured(cycles, cells.lut, cells.ff, cells.bram, cells.dsp)
    return {"pe": place.pe, "simd": place.simd, "scheduler": place.scheduler} | asdict(measured)


def measure_finn(
    python: Path, build: Path, layer: dict[str, Any], spikes: np.ndarray, progress: Progress
) -> dict[str, Any]:
    """FINN's circuit of a layer, on uint8 [N, T, C, H, W]: T frames an image.

    Raises:
        ValueError: it could not be generated, or its output is not the convolution.
    """
    directory = generate(python, build / "finn", layer)
    cycles = run_finn(directory, layer, spikes)
    progress("FINN: Yosys")
    cells = map_finn(directory)
    return asdict(Measured(cycles, cells.lut, cells.ff, cells.bram, cells.dsp))


def best_finn(
    python: Path, build: Path, node: Conv, edge: Edge, spikes: np.ndarray, bound: int, progress: Progress
) -> dict[str, Any]:
    """FINN's fastest circuit of a layer within a number of LUTs; not `within`: its smallest one, which takes more."""
    channels_out, *window = node.weight.shape
    folds = [Fold(*shape) for shape in product(divisors(channels_out), divisors(math.prod(window)))]
    home = build / "finn"

    def told(fold: Fold) -> dict[str, Any]:
        return layer_of(node, edge, fold, ram_style="block")  # free here, as LUT RAM is not

    def luts(fold: Fold) -> int:
        lut = map_finn(generate(python, home, told(fold))).lut
        progress(f"FINN: {node.name}, PE {fold.pe} x SIMD {fold.simd}: {lut:,} LUTs, of {bound:,}")
        return lut

    expected = estimates(python, home, told(folds[0]), folds)
    best = fastest(frontier(expected), luts, bound)
    found: list[dict[str, Any]] = []
    for fold in best.folds:
        measured = measure_finn(python, build, told(fold), spikes, progress)
        found.append({"pe": fold.pe, "simd": fold.simd, "frames": edge.time_steps, "within": best.within} | measured)
        if measured["cycles"] <= expected[fold] * edge.time_steps:
            break  # none of the others is expected to be faster; a narrow window generator makes some slower
    return min(found, key=lambda row: row["cycles"])
