"""FINN's circuit of a layer: generated in its own environment, simulated, and mapped to cells.

The RTL is written below the build folder and kept there, with its mapping, under a digest of all that it is made of. It
is simulated under the same Verilator as ours against a convolution in numpy, and mapped by the same Yosys flow.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scaflow.hw import yosys
from scaflow.hw.emit import TOP
from scaflow.hw.fold import Fold
from scaflow.hw.synth import Resources, count
from scaflow.model import processes
from scaflow.model.files import kept_json, read_json
from scaflow.quant.golden.beats import pack

WORKER = Path(__file__).with_name("worker.py")
FOUND = ("sources", "input_lanes", "input_bits", "accumulator_bits")  # what is read of the worker's finn.json


def generate(python: Path, home: Path, layer: dict[str, Any]) -> Path:
    """The folder of FINN's RTL for a layer.

    Raises:
        ValueError: FINN refuses it.
    """
    return worked(python, home, layer, FOUND)


def estimates(python: Path, home: Path, layer: dict[str, Any], folds: Sequence[Fold]) -> dict[Fold, int]:
    """Cycles a frame, as FINN expects them, of a layer in each folding: those of the slowest of its blocks."""
    asked = layer | {"foldings": [[fold.pe, fold.simd] for fold in folds]}
    found = read_json(worked(python, home, asked, ("estimated_cycles",)) / "finn.json")
    return dict(zip(folds, found["estimated_cycles"], strict=True))


def worked(python: Path, home: Path, layer: dict[str, Any], keys: Sequence[str]) -> Path:
    """The folder that the worker wrote; kept under a digest of what it was told and of its source."""
    text = json.dumps(layer)
    directory = home / hashlib.sha256((text + WORKER.read_text()).encode()).hexdigest()[:16]
    if kept_json(directory / "finn.json", keys) is not None:
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
