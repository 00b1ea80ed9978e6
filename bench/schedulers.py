"""What an event stage costs beside the list stage of the same lanes: LUTs by Yosys, ECP5 or 7-series.

    python bench/schedulers.py [--channels 32,32] [--lanes 32x1,8x4,4x8] [--target xc7]

A stage is a 3x3 convolution on 16x16 pixels, T = 4, 4-bit weights: scheduler, array, neurons, queue. Without --channels
and --lanes, the table of docs/architecture.md.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from scaflow.hw.design import design
from scaflow.hw.emit import emit_stage
from scaflow.hw.fold import Fold
from scaflow.hw.synth import synthesize
from scaflow.quant.graph import Conv, Graph, Readout

SIDE, STEPS = 16, 4
CACHE = Path("build/cache/synth")
SHAPES = {  # channels in and out: lanes, PE x SIMD
    (32, 32): ((32, 1), (16, 2), (8, 4), (4, 4), (32, 8), (16, 8), (11, 8), (8, 8), (4, 8), (2, 8), (1, 8)),
    (16, 16): ((8, 4), (8, 8), (6, 8), (4, 8)),
    (64, 64): ((8, 8), (4, 8)),
    (32, 64): ((8, 16), (4, 16)),
    (128, 128): ((8, 8), (4, 8)),
}


def spiking(name: str, out: int, into: int, bits: int, in_bits: int) -> Conv:
    rng = np.random.default_rng(out + into)
    top = (1 << (bits - 1)) - 1
    weight = np.clip(np.rint(rng.normal(0, top / 2.5, (out, into, 3, 3))), -top, top).astype(int)
    scale = weight.std() * np.sqrt(9 * into * 0.15) * (90 if in_bits > 1 else 1) * 16
    bias, threshold = rng.normal(0, scale / 2, out), rng.uniform(0.4, 2, out) * scale
    levels = np.rint(bias).astype(int), np.maximum(1, np.rint(threshold)).astype(int)
    return Conv(name, weight, *levels, 1, 1, 1, "hard", 4, bits, in_bits, tuple(range(out)))


def luts(into: int, out: int, pe: int, simd: int, scheduler: str, target: str) -> int:
    last = Readout("readout", np.ones((10, out, SIDE, SIDE), int), np.zeros(10, int), 8)
    nodes = (spiking("image", into, 1, 8, 8), spiking("stage", out, into, 4, 1), last)
    folding = {"image": Fold(into, 1), "stage": Fold(pe, simd, scheduler), "readout": Fold(10, 1)}
    laid = design(Graph("schedulers", (1, SIDE, SIDE), STEPS, nodes), folding)
    with tempfile.TemporaryDirectory(prefix="scaflow-schedulers-") as scratch:
        emit_stage(laid, "stage", Path(scratch))
        return synthesize(Path(scratch), "top", target, lambda _: None, CACHE, route=False).lut


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", help="in,out")
    parser.add_argument("--lanes", help="PExSIMD, several with commas")
    parser.add_argument("--target", default="ecp5-85", choices=("ecp5-85", "xc7"))
    options = parser.parse_args()
    rows = [(*shape, *lanes) for shape, all_lanes in SHAPES.items() for lanes in all_lanes]
    if options.channels or options.lanes:
        shape = [int(c) for c in (options.channels or "32,32").split(",")]
        rows = [(*shape, *map(int, lanes.split("x"))) for lanes in (options.lanes or "8x8").split(",")]
    table = Table(title=f"LUTs of a stage, {options.target}")
    for column in ("channels", "PE", "SIMD", "list", "event", "event / list"):
        table.add_column(column, justify="right")
    for into, out, pe, simd in track(rows, "synthesis"):
        walk, event = (luts(into, out, pe, simd, scheduler, options.target) for scheduler in ("list", "event"))
        table.add_row(f"{into} -> {out}", str(pe), str(simd), str(walk), str(event), f"{event / walk:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
