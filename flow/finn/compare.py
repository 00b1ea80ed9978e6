"""FINN measured beside us: every convolution of a network as FINN's RTL and as our stage, at the same lanes.

FINN (finn-plus) is installed apart from us, by `make finn`; nothing of it is part of this program. Its RTL is
generated below the build folder, simulated under the same Verilator on the same spikes against a convolution in
numpy, and mapped by the same Yosys flow.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from scaflow.flow.chain import read_design
from scaflow.flow.images import test_images
from scaflow.flow.stages import Progress, Project, Stage
from scaflow.hw import yosys
from scaflow.hw.activity import law, reads, walked_events
from scaflow.hw.clock import stage_cycles
from scaflow.hw.design import Design, design
from scaflow.hw.emit import TOP
from scaflow.hw.fold import Fold, at_equal_lanes
from scaflow.hw.synth import Resources, count, synthesize
from scaflow.model import processes
from scaflow.model.files import kept_json, read_json, write_json
from scaflow.quant.golden.beats import pack
from scaflow.quant.graph import Conv, Edge, Graph

WORKER = Path(__file__).with_name("worker.py")
FOUND = ("sources", "input_lanes", "input_bits", "accumulator_bits")  # what is read of the worker's finn.json
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
        ValueError: FINN is not installed; says which command does it.
    """
    python = installed(project.build)
    files = ("graph.json", "graph.npz", "rtl/manifest.json")
    return Stage(
        name="compare-finn",
        reads=tuple(project / f"{variant}/{name}" for variant in OURS.values() for name in files),
        writes=(project / "finn.json",),
        run=lambda: write_json(project / "finn.json", compare(project, python, progress)),
        rooms=("quant", "hw", "sim", "flow/finn/compare.py", "flow/finn/worker.py", "flow/images.py", "flow/rungs.py"),
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


def layer_of(node: Conv, edge: Edge, fold: Fold) -> dict[str, Any]:
    """What the worker is told of a convolution; spikes are typed UINT2, because FINN's RTL takes no single bit."""
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
        "input_type": f"UINT{edge.bits}" if edge.bits > 1 else "UINT2",
        "weight_type": f"INT{node.weight_bits}",
        "weights": node.weight.tolist(),
    }


def compare(project: Project, python: Path, progress: Progress) -> dict[str, Any]:
    """`finn`: one row a convolution: lanes, FINN's circuit and ours; over how many images events are counted."""
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
        found = measure_finn(python, project.build, layer_of(node, edge, fold), spikes[node.name], progress)
        rows.append(
            {
                "layer": node.name,
                "spiking": edge.kind == "spikes",
                "lanes": lanes[node.name],
                "finn": {"pe": fold.pe, "simd": fold.simd, "frames": edge.time_steps} | found,
                "ours": {
                    kind: measure_ours(laid, node.name, few, events, project.build, progress)
                    for kind, laid in designs.items()
                },
            }
        )
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


def generate(python: Path, home: Path, layer: dict[str, Any]) -> Path:
    """The folder of FINN's RTL for a layer; kept under a digest of the layer and the worker."""
    text = json.dumps(layer)
    directory = home / hashlib.sha256((text + WORKER.read_text()).encode()).hexdigest()[:16]
    if kept_json(directory / "finn.json", FOUND) is not None:
        return directory
    shutil.rmtree(directory, ignore_errors=True)  # damaged
    home.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="layer-", dir=home))
    try:
        (scratch / "layer.json").write_text(text)
        command = [str(python), "-I", str(WORKER), str((scratch / "layer.json").absolute()), str(scratch.absolute())]
        done = processes.run(command)
        if done.returncode:
            raise ValueError(f"FINN could not generate the layer:\n{done.stdout[-3000:]}")
        os.replace(scratch, directory)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return directory


def run_finn(directory: Path, layer: dict[str, Any], spikes: np.ndarray) -> int:
    """Simulate; cycles from the last output of one image to the last output of the next.

    Args:
        spikes: uint8 [N, T, C, H, W], at least two images.

    Raises:
        ValueError: the output is not the convolution, or the simulation breaks off.
    """
    from scaflow.sim.rtl import SimulationError, simulate_top

    found = read_json(directory / "finn.json")
    frames = spikes.reshape(-1, *spikes.shape[2:])
    lanes, bits = found["input_lanes"], found["input_bits"]
    beats = [pack(part, bits) for part in frames.transpose(0, 2, 3, 1).reshape(-1, lanes).tolist()]
    sums = convolution(frames, np.array(layer["weights"]), layer["stride"], layer["padding"])
    accumulator = found["accumulator_bits"]
    expected = [pack(part, accumulator) for part in sums.reshape(-1, layer["pe"]).tolist()]
    define = directory / "simulation.sv"  # without it the multipliers are Xilinx primitives
    define.write_text("`define FINN_SIMULATION\n")
    try:
        sources = [define, *(directory / name for name in found["sources"])]
        run = simulate_top(directory, TOP, beats, expect=len(expected), sources=sources)
    except SimulationError as error:
        raise ValueError(f"FINN's circuit in {directory}: {error}") from None
    wrong = sum(a != b for a, b in zip(run.y, expected, strict=True))
    if wrong:
        raise ValueError(f"FINN's circuit in {directory}: {wrong} of {len(expected)} output beats are wrong")
    each = len(expected) // len(spikes)
    return run.out_at[-1] - run.out_at[-1 - each]


def convolution(frames: np.ndarray, weights: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """int64 [N, OH, OW, Co] of frames [N, Ci, H, W] and weights [Co, Ci, Kh, Kw]."""
    padded = np.pad(frames.astype(np.int64), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weights.shape[2:], (2, 3))[:, :, ::stride, ::stride]
    return np.einsum("nchwij,ocij->nhwo", windows, weights.astype(np.int64), optimize=True)


def map_finn(directory: Path) -> Resources:
    """Cells of FINN's circuit by the flow that ours go through; DSP48E2 and LUT6_2 are its own instances."""
    script = "\n".join(
        [
            # FINN's sources name signals ahead of their declaration
            "read_slang --allow-use-before-declare "
            + " ".join(f"--blackboxed-module {name}" for name in PRIMITIVES)
            + f" --top {TOP} cells.v queue.sv " + " ".join(read_json(directory / "finn.json")["sources"]),
            "chformal -remove",  # its checks are no hardware
            f"synth_xilinx -family xc7 -flatten -noiopad -top {TOP}",
            "tee -q -o stat.json stat -json",
            "",
        ]
    )
    work = directory / f"yosys-{hashlib.sha256((script + QUEUE).encode()).hexdigest()[:12]}"
    if kept_json(work / "stat.json", ("modules",)) is None:
        work.mkdir(exist_ok=True)
        for name in read_json(directory / "finn.json")["sources"]:
            (work / name).write_text(with_shift_registers((directory / name).read_text()))
        shutil.copy(directory / "memblock.dat", work)
        (work / "queue.sv").write_text(QUEUE)
        (work / "cells.v").write_text(primitives(PRIMITIVES))
        (work / "synth.ys").write_text(script)
        command, variables = yosys.call(work, "synth.ys")
        with (work / "yosys.log").open("w") as log:
            done = processes.run(command, cwd=work, env=variables, stdout=log)
        if done.returncode:
            (work / "stat.json").unlink(missing_ok=True)
            raise ValueError(f"Yosys refuses FINN's circuit; see {work / 'yosys.log'}")
    return finn_cells(read_json(work / "stat.json"))


def finn_cells(stat: dict[str, Any]) -> Resources:
    """The sum of a `stat -json` of FINN's circuit."""
    cells = next(part["num_cells_by_type"] for name, part in stat["modules"].items() if name.removeprefix("\\") == TOP)
    own = Resources(lut=cells.get("LUT6_2", 0), dsp=cells.get("DSP48E2", 0))
    rest = {kind: number for kind, number in cells.items() if kind not in ("LUT6_2", "DSP48E2")}
    return sum(count({"modules": {TOP: {"num_cells_by_type": rest}}}, TOP, "xc7", {}).values(), own)


PRIMITIVES = ("DSP48E2", "LUT6_2", "SRLC32E")  # Xilinx cells that the sources instantiate
# FINN writes its output queues for Vivado, which makes one SRL of each bit; Yosys would take eight registers and a
# multiplexer. In FINN's favour they are mapped as Vivado maps them, for counting only.
QUEUE = """module srl_queue #(parameter int unsigned WIDTH = 1, parameter int unsigned DEPTH = 1) (
  input  logic clk,
  input  logic en,
  input  logic [WIDTH-1:0] d,
  input  logic [4:0] tap,
  output logic [WIDTH-1:0] q
);
  if (DEPTH > 32) begin : chk_depth $error("a queue of %0d is deeper than an SRL", DEPTH); end
  for (genvar i = 0; i < WIDTH; i++) begin : bits
    SRLC32E srl (.CLK(clk), .CE(en), .D(d[i]), .A(tap), .Q(q[i]), .Q31());
  end
endmodule
"""
_QUEUE = re.compile(
    r'\(\* SHREG_EXTRACT = "yes" \*\)\s*(?P<type>\w+)\s+(?P<name>\w+)\[(?:0:)?(?P<size>[^\]]+)\];', re.IGNORECASE
)


def with_shift_registers(text: str) -> str:
    """A source of FINN with its addressed shift registers as instances of `srl_queue`; other texts unchanged.

    Raises:
        ValueError: a queue is declared but not written in the way FINN 1.6.1 writes it.
    """
    for found in _QUEUE.finditer(text):
        name = found["name"]
        push = rf"if\((\w+)\)\s*{name} <= {{ (\w+), {name}\[[^;]*;"
        shift = re.search(rf"always_ff @\(posedge (\w+)\) begin\s*{push}\s*end", text)
        taps = re.findall(rf"\b{name}\[(.+)\];", text.replace(shift[0] if shift else "", "").replace(found[0], ""))
        if shift is None or len(set(taps)) != 1:
            raise ValueError(f"FINN's shift register {name} is not written as in version 1.6.1")
        size = found["size"] + (" + 1" if "[0:" in found[0] else "")
        queue = (
            f"{found['type']} {name}_tap;\n"
            f"srl_queue #(.WIDTH($bits({found['type']})), .DEPTH({size})) {name}_srl"
            f" (.clk({shift[1]}), .en({shift[2]}), .d({shift[3]}), .tap(5'({taps[0]})), .q({name}_tap));\n"
        )
        text = text.replace(shift[0], "").replace(found[0], queue).replace(f"{name}[{taps[0]}]", f"{name}_tap")
    return text


def primitives(names: Sequence[str]) -> str:
    """The declarations of Xilinx cells, out of Yosys's own library."""
    import pyosys

    library = Path(pyosys.__file__).parent / "share/xilinx"
    text = "".join((library / name).read_text() for name in ("cells_xtra.v", "cells_sim.v"))
    found = [re.search(rf"^module {name}\b.*?^endmodule$", text, re.DOTALL | re.MULTILINE) for name in names]
    bodies = "\n".join(match[0] for match in found if match) + "\n"
    return re.sub(r"\bspecify\b.*?\bendspecify\b", "", bodies, flags=re.DOTALL)  # slang refuses their conditions
