"""The SCA paper's VGG16 at a part of its parameters: what each step takes, and which devices hold its weights.

    python bench/large.py [--parameters 0.1] [--bits 2 3 4] [--lanes 64] [--devices ecp5-85 xc7a200t ...]
    python bench/large.py --parameters 1 --bits 4 --steps-only    # the whole network

Weights are random: memories, cycles of list schedulers and areas depend on shapes alone, or nearly.
Prints two tables; the second is that of docs/networks.md.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scaflow.flow.stages import shipped
from scaflow.hw.area import DEVICES, Device, area
from scaflow.hw.cost import outline
from scaflow.hw.design import design
from scaflow.hw.emit import emit
from scaflow.hw.fold import balanced
from scaflow.hw.solve import Limits, Problem, fastest, least_area, problem
from scaflow.model.config import NetworkConfig, load_network
from scaflow.quant.compact import compact
from scaflow.quant.graph import Conv, Graph, Pool, execute, load, save, validate


def network(parameters: float, bits: int) -> NetworkConfig:
    """The paper's VGG16 with so much of its parameters left, the same part of the channels everywhere."""
    cfg = load_network(shipped()["vgg16"])
    part = parameters**0.5
    layers = [layer.model_copy(update={"channels": max(1, round(layer.channels * part))}) for layer in cfg.layers]
    quant = cfg.quant.model_copy(update={"weight_bits": bits})
    return cfg.model_copy(update={"layers": layers, "quant": quant})


def random_graph(cfg: NetworkConfig) -> Graph:
    """Weights of all values, thresholds that about a third of the neurons reach."""
    rng = np.random.default_rng(0)
    nodes: list[Any] = []
    for node in outline(cfg).nodes:
        if isinstance(node, Pool):
            nodes.append(node)
            continue
        top = (1 << node.weight_bits - 1) - 1
        weight = rng.integers(-top, top + 1, node.weight.shape)
        more: dict[str, Any] = {}
        if isinstance(node, Conv):
            largest = (1 << node.in_bits) - 1
            reach = np.sqrt((weight**2).sum((1, 2, 3)) * 0.2) * largest * (1 << node.fraction_bits)
            more = {"bias": np.zeros(len(weight), np.int64), "threshold": np.maximum(1, reach.astype(np.int64))}
        nodes.append(type(node)(**(vars(node) | {"weight": weight} | more)))
    return validate(Graph(cfg.name, cfg.input_shape, cfg.time_steps, tuple(nodes), cfg.quant.pixel_bits))


def steps(cfg: NetworkConfig, lanes: int) -> Graph:
    """Print what each step takes, in seconds; returns the graph."""

    def timed(title: str, step: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        made = step()
        print(f"| {title} | {time.perf_counter() - start:.1f} |", flush=True)
        return made

    print(f"| step, {cfg.name} of {cfg.quant.weight_bits} bits | seconds |\n|---|---|")
    graph: Graph = timed("graph", lambda: random_graph(cfg))
    image = np.random.default_rng(1).integers(0, 256, (1, *graph.input_shape), dtype=np.uint8)
    timed("golden model, an image", lambda: execute(graph, image))
    small = timed("compact, with certificate", lambda: compact(graph)[0])
    folding = timed(f"fold for {lanes} lanes", lambda: balanced(small, lanes))
    laid = timed("design", lambda: design(small, folding))
    for family in ("ecp5", "xcup"):
        timed(f"area, {family}", lambda family=family: area(laid.instances(), family))
    with tempfile.TemporaryDirectory() as folder:
        timed("emit", lambda: emit(laid, Path(folder) / "rtl"))
        timed("save and load", lambda: (save(graph, Path(folder) / "graph"), load(Path(folder) / "graph")))
    found: Problem = timed("solver: choices", lambda: problem(small, "xcup"))
    timed("solver: fastest on xcvu9p", lambda: fastest(found, Limits.of(DEVICES["xcvu9p"])))
    return graph


def held(networks: dict[int, Graph], devices: list[str]) -> None:
    """Print the fastest design of each network on each device, list schedulers only: cycles and what it takes."""
    titles = " | ".join(f"{bits} bits: cycles: LUT, block RAM, DSP" for bits in networks)
    print(f"\n| device | {titles} |\n|---|" + "---|" * len(networks))
    found = {
        (bits, family): problem(graph, family)
        for bits, graph in networks.items()
        for family in dict.fromkeys(DEVICES[name].family for name in devices)
    }
    for name in devices:
        device, row = DEVICES[name], []
        for bits in networks:
            plan = fastest(found[bits, device.family], Limits.of(device))
            if plan is None:
                row.append(refused(found[bits, device.family], device))
            else:
                row.append(f"{plan.interval:,.0f}: {plan.area.placed:,.0f}, {plan.area.bram:g}, {plan.area.dsp}")
        print(f"| {name} | " + " | ".join(row) + " |", flush=True)


def refused(found: Problem, device: Device) -> str:
    """What the smallest design within its block RAMs and DSPs takes."""
    plan = least_area(found, Limits(bram=device.bram, dsp=device.dsp), math.inf)
    return "no" if plan is None else f"no: {plan.area.placed:,.0f} of {device.lut:,} LUT"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=float, default=0.1, help="part of them that is left")
    parser.add_argument("--bits", type=int, nargs="+", default=[2, 3, 4], help="of the weights")
    parser.add_argument("--lanes", type=int, default=64, help="of the design that the steps lay out")
    parser.add_argument("--devices", nargs="+", default=list(DEVICES), choices=list(DEVICES), help="of the table")
    parser.add_argument("--steps-only", action="store_true", help="no table of devices")
    options = parser.parse_args()
    networks = {bits: network(options.parameters, bits) for bits in options.bits}
    last = steps(networks[options.bits[-1]], options.lanes)
    if not options.steps_only:
        held({b: last if b == options.bits[-1] else random_graph(cfg) for b, cfg in networks.items()}, options.devices)


if __name__ == "__main__":
    main()
