"""The paper's ResNet-18 with an eighth of its channels and random weights: its queues, its area, an image through RTL.

    python bench/residual.py [--part 8] [--pe 4] [--simd 4] [--images 1] [--no-rtl]

Nothing is trained: what is measured is that logits and cycles are those foretold, and what depths the queues need. It
ends with 1 where the RTL differs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from scaflow.flow.rungs import run_images, wrong_frames
from scaflow.hw.area import FAMILIES, area
from scaflow.hw.clock import predict
from scaflow.hw.design import Design, design
from scaflow.hw.emit import emit
from scaflow.hw.fold import Fold, Folding
from scaflow.model.config import load_network
from scaflow.model.network import SpikingNetwork
from scaflow.quant.compact import compact
from scaflow.quant.folded import to_graph
from scaflow.quant.graph import IMAGE, Graph, Readout, execute
from scaflow.quant.layers import brevitas_conv, brevitas_linear
from scaflow.quant.residual import FoldedResidual

CONFIG = Path(__file__).parents[1] / "model/configs/resnet18.toml"
DEEP = 4096  # beats of a queue that never holds anything up here


def network(part: int) -> Graph:
    """One channel in `part` kept, and compacted; statistics and weights at random."""
    torch.manual_seed(0)
    net = SpikingNetwork(load_network(CONFIG), brevitas_conv, brevitas_linear)
    for bn in net.modules():
        if isinstance(bn, nn.BatchNorm2d):
            bn.running_mean.normal_(0, 0.1)
            bn.running_var.uniform_(0.5, 1.5)
            bn.weight.data.uniform_(0.5, 1.5)
            bn.bias.data.normal_(0.2, 0.2)
    for group in net.groups:
        channels = len(net.blocks[group[0]].mask)
        kept = torch.zeros(channels, dtype=torch.bool)
        kept[torch.randperm(channels)[: max(4, channels // part)]] = True
        for i in group:
            net.blocks[i].mask.copy_(kept)
    return compact(to_graph(FoldedResidual(net.eval())))[0]


def folding(graph: Graph, pe: int, simd: int, scheduler: str) -> Folding:
    return {
        node.name: Fold(len(node.weight), 1)
        if isinstance(node, Readout)
        else Fold(pe, min(simd, edge.shape[0]), "list" if graph.sources[node.name][0] == IMAGE else scheduler)
        for node, edge in graph.weighted
    }


def skips(laid: Design) -> dict[str, int]:
    """The queues behind forks, and how deep they must be."""
    forks = [part for part in laid.parts if part.kind == "fork"]
    return {queue.name: least for part in forks for queue, least in zip(part.queues, part.least, strict=True)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", type=int, default=8, help="one channel in so many is kept")
    parser.add_argument("--pe", type=int, default=4)
    parser.add_argument("--simd", type=int, default=4)
    parser.add_argument("--images", type=int, default=1, help="that go through the RTL")
    parser.add_argument("--no-rtl", action="store_true", help="the clock and the areas alone")
    options = parser.parse_args()
    graph = network(options.part)
    images = np.random.default_rng(0).integers(0, 256, (max(4, options.images), *graph.input_shape)).astype(np.uint8)
    table = Table(title=f"resnet18, one channel in {options.part}, PE {options.pe}, SIMD {options.simd}")
    columns = ("scheduler", "interval", "least queues", "deep queues", *(f"LUT {family}" for family in FAMILIES), "RTL")
    for column in columns:
        table.add_column(column, justify="right")
    wrong = 0
    for scheduler in ("list", "event"):
        fold = folding(graph, options.pe, options.simd, scheduler)
        laid = design(graph, fold)
        least = skips(laid)
        depths = (None, least, dict.fromkeys(least, DEEP))
        intervals = [predict(design(graph, fold, fifo_depths=d), images).interval.mean() for d in depths]
        told = "not run"
        if not options.no_rtl:
            some = images[: options.images]
            with tempfile.TemporaryDirectory(prefix="scaflow-residual-") as scratch:
                emit(laid, Path(scratch) / "rtl")
                frames = run_images(Path(scratch) / "rtl", some, len(graph.readout.weight), 0.0)
            differ = wrong_frames(frames, execute(graph, some))
            cycles = frames.out_end == predict(laid, some).out_at[:, -1].tolist()
            wrong += differ + (not cycles)
            equal = "as" if cycles else "NOT as"
            told = f"{differ} of {len(some)} differ; {frames.out_end[-1] + 1:,} cycles, {equal} the clock's"
        luts = [f"{area(laid.instances(), family).lut:,.0f}" for family in FAMILIES]
        table.add_row(scheduler, *(f"{cycles:,.0f}" for cycles in intervals), *luts, told)
    Console(width=160).print(table)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
