"""The paper's networks, pruned by SCA in a short training: an image through the RTL, and the devices that hold them.

    python bench/paper.py vgg16|resnet18 [--keep 0.3] [--train-images 128] [--epochs 4] [--lanes 256] [--bits 4]
                          [--scheduler list] [--images 1] [--data data] [--out build/paper]

The training is too short to classify anything: it makes masks and integer weights of the network's full shape. What is
measured is that logits and cycles are those foretold, and what such a network takes. It ends with 1 where they are not.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from scaflow.flow.training.network import folded_network, train_network
from scaflow.hw.activity import reads
from scaflow.hw.area import DEVICES, area
from scaflow.hw.clock import predict
from scaflow.hw.design import Design, design
from scaflow.hw.emit import emit
from scaflow.hw.fold import Folding, balanced, dealt
from scaflow.hw.recordings import as_bytes
from scaflow.model.config import NetworkConfig, load_network
from scaflow.model.data import dataset_of
from scaflow.model.network import SpikingNetwork
from scaflow.quant.compact import compact
from scaflow.quant.folded import to_graph
from scaflow.quant.graph import IMAGE, Graph, execute
from scaflow.sim.native import simulate_native

CONFIGS = Path(__file__).parents[1] / "model/configs"
out = Console(width=140)


def description(options: argparse.Namespace) -> NetworkConfig:
    cfg, images = (load_network(CONFIGS / f"{name}.toml") for name in (options.network, "resnet-cifar"))
    train = {"train_images": options.train_images, "validation": 32, "epochs": options.epochs, "finetune_epochs": 1}
    return cfg.model_copy(update={
        "dataset": images.dataset,
        "data": images.data,
        "train": cfg.train.model_copy(update=train),
        "quant": cfg.quant.model_copy(update={"weight_bits": options.bits}),
        "sca": cfg.sca.model_copy(update={"keep": options.keep}),
    })  # fmt: skip


def scheduled(graph: Graph, folding: Folding, scheduler: str) -> Folding:
    """Events from the second layer on; the image and the read-out by the list."""
    kept = {graph.readout.name, *(node.name for node in graph.readers(IMAGE))}
    return {
        name: replace(fold, simd=min(fold.simd, 8), scheduler=scheduler if name not in kept else fold.scheduler)
        for name, fold in folding.items()
    }


def through(laid: Design, images: np.ndarray, folder: Path) -> bool:
    """Do the images' logits and cycles come out of the RTL as foretold?"""
    rtl = emit(laid, folder / "rtl").parent
    classes = len(laid.graph.readout.weight)
    start = time.monotonic()
    options = {"axi_bytes": laid.axi_bytes, "expect": 1 + classes, "workers": 1, "patience": 50_000_000}
    run = simulate_native(rtl, "top", as_bytes(images), **options)
    clock, logits = predict(laid, images), execute(laid.graph, images)
    differ = int((run.words[:, 1:].view(np.int32) != logits).any(1).sum())
    told = run.at[:, 3].tolist() == clock.out_at[:, -1].tolist()
    out.print(
        f"RTL: {len(images)} image(s), {differ} with other logits than the golden model; the last word out in cycle"
        f" {run.at[-1, 3]:,}, {'as' if told else 'NOT as'} the exact clock says; {time.monotonic() - start:.0f} s"
    )
    return differ == 0 and told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=("vgg16", "resnet18"))
    parser.add_argument("--keep", type=float, default=0.3, help="of the channels")
    parser.add_argument("--train-images", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--bits", type=int, default=4, help="of a weight")
    parser.add_argument("--lanes", type=int, default=256)
    parser.add_argument("--scheduler", choices=("list", "event"), default="list")
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("build/paper"))
    options = parser.parse_args()
    cfg, folder = description(options), options.out / options.network
    data = dataset_of(cfg, options.data)
    if not (folder / "model.pt").is_file():
        train_network(cfg, data, folder, prune=True, resume=folder.is_dir(), console=out)
    whole = sum(p.numel() for p in SpikingNetwork(cfg).parameters())
    graph = compact(to_graph(folded_network(folder / "model.pt")))[0]
    weights = [node.weight for node, _ in graph.weighted]
    left = sum(w.size for w in weights)
    out.print(f"{options.network}: {left:,} weights of {whole:,} parameters ({left / whole:.1%}), {options.bits} bits")
    fold = balanced(graph, options.lanes)
    seen = data.test_images[: max(4, options.images)]
    orders = {}
    if options.scheduler == "event":
        fold = scheduled(graph, fold, "event")
        orders = dealt(graph, fold, reads(graph, seen))
    laid = design(graph, fold, orders)
    table = Table(title=f"{options.network}, {options.scheduler}, {options.lanes} lanes")
    for column in ("device", "LUT", "of", "block RAM", "of", "DSP", "of", "held"):
        table.add_column(column, justify="right")
    areas = {family: area(laid.instances(), family) for family in {device.family for device in DEVICES.values()}}
    for name, device in DEVICES.items():
        found, most = areas[device.family], device
        held = found.lut <= most.lut and found.bram <= most.bram and found.dsp <= most.dsp
        figures = (found.lut, most.lut, found.bram, most.bram, found.dsp, most.dsp)
        table.add_row(name, *(f"{figure:,.0f}" for figure in figures), "yes" if held else "no")
    out.print(table)
    interval = predict(laid, seen[:4]).interval.mean() if laid.interval is None else laid.interval
    out.print(f"interval: {interval:,.0f} cycles")
    return 0 if through(laid, seen[: options.images], folder) else 1


if __name__ == "__main__":
    sys.exit(main())
