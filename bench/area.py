"""Fits hw/area.json, the area model, to syntheses of random networks; measures its error on networks it has not seen.

    python bench/area.py [--list 8] [--linear 12] [--event 16] [--entries 32] [--intakes 24] [--parts 8]
                         [--held-out 4] [--jobs 2] [--cache build/cache/area]
    python bench/area.py --entries-only    # axis_in alone, in minutes; all else in area.json stays as it is
    python bench/area.py --intakes-only    # axis_events alone
    python bench/area.py --deep-only       # what banks in segments and many folds take, the same
    python bench/area.py --parts-only      # the same of the modules that only graphs have (bench/area_parts.py)

Each network is laid out and mapped as `scaflow synth` does, for both families; every instance of a top is one sample.
Interrupted, it goes on where it stopped: a network that is unchanged is not synthesised again.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product, repeat
from pathlib import Path

import numpy as np
from area_parts import PARTS, random_parts, write_parts
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from scaflow.hw.area import COEFFICIENTS, FAMILIES, Model, area
from scaflow.hw.area_fit import Sample, errors, extended, fit, netlist_feeds, write
from scaflow.hw.design import Design, design
from scaflow.hw.emit import emit
from scaflow.hw.fold import Fold
from scaflow.hw.groups import SYNAPSE, word_bits
from scaflow.hw.layers import Instance
from scaflow.hw.mem import parameters
from scaflow.hw.synth import synthesize
from scaflow.model.limits import MOST_KERNEL, group_problem
from scaflow.quant.golden.axis_events import AxisEvents
from scaflow.quant.graph import Conv, Graph, Pool, Readout

FIRST_HELD_OUT = 1000  # seeds from here on are never fitted
# seeds from here on, modulo FIRST_HELD_OUT, give
LINEAR = 250  # networks of linear layers: few words in a weight bank
EVENT = 500  # designs with event schedulers
ENTRY = 750  # tiny designs whose images come in by beats of all widths: of them only axis_in is looked at
INTAKE = 850  # axis_events by itself
PART = 900  # single modules, side by side
DEEP = 950  # designs with weight banks in segments, and many folds
OF_DEEP = ("choosing_luts", "choosing_registers", "many", "many_constants", "many_held")  # features
ALONE = ("axis_in", "axis_events", *PARTS)  # fitted for themselves
TARGETS = {"ecp5": "ecp5-85", "xc7": "xc7"}
FIRST_BITS = (2, 3, 4, 4, 6, 8, 8, 8)  # of the weights of pixels: a DSP each, or up to 4 bits a pick
PIXEL_BITS = (8, 8, 8, 8, 1, 2, 2, 3, 4)
QUEUES = (2, 16, 16, 16, 16, 16, 64, 512)  # depths


def random_design(seed: int) -> Design:
    """A small network like those people compile, folded at random."""
    rng = np.random.default_rng(seed)
    if seed % FIRST_HELD_OUT >= DEEP:
        return random_deep(rng, f"area{seed}")
    if seed % FIRST_HELD_OUT >= ENTRY:
        return random_entry(rng, f"area{seed}")
    scheduler = "event" if seed % FIRST_HELD_OUT >= EVENT else "list"
    linear = LINEAR <= seed % FIRST_HELD_OUT < EVENT
    while True:
        try:
            graph = (random_linear if linear else random_graph)(rng, f"area{seed}")
            folding = random_folding(rng, graph, scheduler, generous=linear)
            depths = {name: int(rng.choice(QUEUES)) for name in folding}
            return design(graph, folding, fifo_depths=depths)
        except ValueError:  # a map that is used up, or a folding that outruns its input: draw again
            continue


def random_entry(rng: np.random.Generator, name: str) -> Design:
    channels, side = int(rng.choice([1, 1, 2, 3, 3, 4, 6, 8])), int(rng.integers(6, 29))
    bits, axi_bytes = int(rng.choice([8, 8, 8, 4, 2, 1])), int(rng.choice([1, 2, 3, 4, 4, 6, 8, 8, 12, 16, 16]))
    one = replace(spiking(rng, "layer0", 2, channels, 1, 1, 0, 2, True, 3, False), in_bits=bits)
    readout = Readout("readout", rng.integers(-2, 3, (2, 2, side, side)), rng.integers(-2, 3, 2), 8)
    graph = Graph(name, (channels, side, side), 1, (one, readout), bits)
    return design(graph, {"layer0": Fold(1, 1), "readout": Fold(2, 1)}, axi_bytes=axi_bytes)


def random_deep(rng: np.random.Generator, name: str) -> Design:
    """A layer of many channels in few lanes between two small ones."""
    bits, fraction, side = int(rng.integers(2, 6)), int(rng.integers(2, 6)), 4
    while True:
        channels, out = (int(n) for n in rng.integers(40, 145, 2))
        pe, simd = int(rng.choice([1, 1, 2, 3])), int(rng.choice([1, 1, 2, 4]))
        if -(-out // pe) * -(-channels // simd) * 9 > 16384:
            break
    scheduler = str(rng.choice(["list", "event"]))
    first = spiking(rng, "layer0", channels, 1, 1, 1, 0, 2, True, fraction, False)
    deep = spiking(rng, "layer1", out, channels, 3, 1, 1, bits, False, fraction, False)
    readout = Readout("readout", rng.integers(-8, 9, (2, out, side, side)), rng.integers(-9, 9, 2), 5)
    graph = Graph(name, (1, side, side), int(rng.choice([1, 2, 4])), (first, deep, readout))
    return design(graph, {"layer0": Fold(1, 1), "layer1": Fold(pe, simd, scheduler), "readout": Fold(2, 1)})


def random_graph(rng: np.random.Generator, name: str) -> Graph:
    side, steps = int(rng.choice([8, 12, 16, 20, 28])), int(rng.choice([1, 1, 1, 2, 3, 4, 6, 8]))
    channels = int(rng.choice([1, 1, 3]))
    shape = (channels, side, side)
    fraction, nodes, bits = int(rng.integers(2, 6)), [], int(rng.integers(2, 9))
    prune, first_bits = rng.random() < 0.4, int(rng.choice(FIRST_BITS))
    pixel_bits = int(rng.spawn(1)[0].choice(PIXEL_BITS))
    for i in range(int(rng.integers(2, 5))):
        linear = i > 0 and rng.random() < 0.25
        kernel = side if linear else int(rng.choice([1, 3, 3, 3, 5])) if i else int(rng.choice([3, 3, 5]))
        padding = 0 if linear or rng.random() < 0.3 else kernel // 2
        stride = 2 if not linear and rng.random() < 0.15 else 1
        out = int(rng.integers(4, 24 if i == 0 else 65))
        node = spiking(rng, f"layer{i}", out, channels, kernel, stride, padding, bits if i else first_bits, i == 0,
                       fraction, prune)  # fmt: skip
        if not i:  # of fewer bits: sums and what they are held against are smaller
            less = 255 // (2**pixel_bits - 1)
            node = replace(node, in_bits=pixel_bits, bias=node.bias // less,
                           threshold=np.maximum(1, node.threshold // less))  # fmt: skip
        nodes.append(node)
        channels, side = out, (side + 2 * padding - kernel) // stride + 1
        if side >= 4 and rng.random() < 0.5:
            nodes.append(Pool(f"pool{i}", 2))
            side //= 2
        if side < 2:
            break
    classes = int(rng.choice([2, 4, 10, 10, 10, 16]))
    weight = np.clip(np.rint(rng.normal(0, 40, (classes, channels, side, side))), -128, 127).astype(int)
    nodes.append(Readout("readout", weight, rng.integers(-50, 50, classes), 8))
    return Graph(name, shape, steps, tuple(nodes), pixel_bits)


def random_linear(rng: np.random.Generator, name: str) -> Graph:
    """A convolution that leaves few pixels, and linear layers behind it."""
    steps, bits, fraction = int(rng.choice([1, 1, 2, 4])), int(rng.integers(2, 7)), int(rng.integers(2, 6))
    first, first_bits = int(rng.integers(6, 13)), int(rng.choice(FIRST_BITS))
    nodes = [spiking(rng, "layer0", first, 1, 3, 2, 1, first_bits, True, fraction, False), Pool("pool0", 2)]
    channels, kernel = first, 2
    for i in range(1, int(rng.integers(3, 5))):
        out = int(rng.integers(6, 25))
        nodes.append(spiking(rng, f"layer{i}", out, channels, kernel, 1, 0, bits, False, fraction, False))
        channels, kernel = out, 1
    classes = int(rng.choice([2, 4, 10, 10, 16]))
    weight = np.clip(np.rint(rng.normal(0, 40, (classes, channels, 1, 1))), -128, 127).astype(int)
    nodes.append(Readout("readout", weight, rng.integers(-50, 50, classes), 8))
    return Graph(name, (1, 8, 8), steps, tuple(nodes))


def spiking(rng, name, out, into, kernel, stride, padding, bits, first, fraction, prune) -> Conv:
    top = (1 << (bits - 1)) - 1
    weight = np.clip(np.rint(rng.normal(0, max(0.6, top / 2.5), (out, into, kernel, kernel))), -top, top).astype(int)
    scale = weight.std() * np.sqrt(into * kernel * kernel * 0.15) * (90 if first else 1) * 2**fraction
    kept = np.sort(rng.permutation(out)[: max(1, int(out * rng.uniform(0.4, 0.9)))]) if prune else range(out)
    node = Conv(
        name=name,
        weight=weight,
        bias=np.rint(rng.normal(0, scale / 2, out)).astype(int),
        threshold=np.maximum(1, np.rint(rng.uniform(0.4, 2, out) * scale)).astype(int),
        stride=stride,
        padding=padding,
        leak_shift=int(rng.choice([0, 1, 1, 1, 2, 3])),
        reset=str(rng.choice(["hard", "hard", "soft"])),
        fraction_bits=fraction,
        weight_bits=bits,
        in_bits=8 if first else 1,
        kept=tuple(int(c) for c in kept),
    )
    more = rng.spawn(1)[0]
    if more.random() < 0.7:
        return node
    node = replace(node, leak_shift=0, decay=(int(more.integers(1, 256)), 8))
    if node.reset == "soft":
        return replace(node, reset=str(more.choice(["soft", "delayed"])))
    return replace(node, v_reset=node.threshold - more.integers(1, 2 * node.threshold)) if more.random() < 0.5 else node


def random_group(rng: np.random.Generator, node: Conv, pe: int, simd: int) -> tuple[int, int]:
    """What shares a look-up in an event stage: a third of them walk synapses, none makes a memory of many words."""
    positions = int(rng.choice([1, node.kernel[1], node.kernel[1]]))
    words = node.weight[0].size / positions / simd * -(-len(node.weight) // pe)
    fit = [
        (positions, channels)
        for channels in (1, 2, 4)
        if group_problem((positions, channels), node.kernel[1], node.in_bits) is None
        and words / channels * 2 ** word_bits((positions, channels), node.in_bits) <= 8192
    ]
    chosen: tuple[int, int] = fit[rng.integers(len(fit))] if fit and rng.random() < 0.7 else SYNAPSE
    return chosen


def random_folding(rng: np.random.Generator, graph: Graph, scheduler: str, generous: bool) -> dict[str, Fold]:
    def upto(limit: int) -> int:
        return int(np.floor(np.exp(rng.uniform(np.log(limit) / 2 if generous else 0, np.log(limit + 1)))))

    folding = {}
    narrow = rng.spawn(1)[0]
    for node in graph.nodes:
        if isinstance(node, Readout):
            simd = upto(min(24 if generous else 8, node.weight.shape[1]))
            group = (1, int(narrow.choice([1, 1, 2, 4])) if scheduler == "event" else 1)
            folding[node.name] = Fold(len(node.weight), simd, scheduler, group=group)
        elif isinstance(node, Conv):
            pe = upto(min(24, len(node.weight)))
            if rng.random() < 0.3 and len(node.kept) <= 32:  # all channels at once: no folds
                pe = len(node.kept)
            simd = upto(max(1, min(node.weight.shape[1], 128 // pe, 24 if generous else 12)))
            searched = node.kernel[0] * node.kernel[1] <= MOST_KERNEL and 2 * node.padding <= node.kernel[0]
            neurons = pe if narrow.random() < 0.5 else int(np.floor(np.exp(narrow.uniform(0, np.log(pe + 1)))))
            group = SYNAPSE
            if searched and scheduler == "event":
                group = random_group(narrow, node, pe, simd)
            folding[node.name] = Fold(pe, min(simd, -(-node.weight.shape[1] // group[1])),
                                      scheduler if searched else "list", neurons, group)  # fmt: skip
    return folding


def random_intake(seed: int) -> AxisEvents:
    rng = np.random.default_rng(seed)
    width, height = (int(rng.choice([8, 16, 28, 32, 34, 48, 64, 100, 128])) for _ in range(2))
    time_bits, x0, y0 = int(rng.integers(12, 33)), *(int(n) for n in rng.choice([0, 0, 5, 30], 2))
    return AxisEvents(
        x0, y0, width, height, int(rng.integers(1, 3)), int(rng.choice([1, 1, 2, 3, 4, 8])),
        int(rng.integers(1, 1 << time_bits - 2)), time_bits, int(rng.integers(2)),
    )  # fmt: skip


def measure(seed: int, family: str, cache: Path) -> list[Sample]:
    """Map a design and give every instance with its cells: of a tiny one its axis_in alone, of the others the rest."""
    if INTAKE <= seed % FIRST_HELD_OUT < PART:
        return [measure_intake(seed, family, cache)]
    with tempfile.TemporaryDirectory(prefix="scaflow-area-") as scratch:
        directory = Path(scratch) / "rtl"
        if DEEP > seed % FIRST_HELD_OUT >= PART:
            instances, stages = random_parts(seed), {}
            write_parts(instances, directory)
        else:
            laid, entry = random_design(seed), DEEP > seed % FIRST_HELD_OUT >= ENTRY
            deep = seed % FIRST_HELD_OUT >= DEEP
            emit(laid, directory)
            (directory / "manifest.json").unlink()  # each instance is then counted for itself
            wanted = [i for i in laid.instances() if (i.module == "axis_in") == entry]
            instances = [i for i in wanted if i.module == "lif_pe" or not deep]
            stages = {i.name: stage.name for stage in laid.stages for i in stage.instances}
        result = synthesize(directory, "top", TARGETS[family], lambda _: None, cache, route=False)
    extra = fed(result.log) if family == "ecp5" else {}
    return [
        Sample(
            family=family,
            stage=f"area{seed}.{stages.get(i.name, i.name)}",
            module=i.module,
            cfg=i.cfg,
            cells=result.per_stage[i.name],
            feed=extra.get(i.name, 0),
        )
        for i in instances
    ]


def fed(log: Path) -> dict[str, int]:
    """LUT positions that the ECP5's placer adds, of each instance of the top; its netlist is not kept."""
    feeds = log / "feeds.json"
    if not feeds.is_file():
        feeds.write_text(json.dumps(netlist_feeds(json.loads((log / "netlist.json").read_text()), "top")))
        (log / "netlist.json").unlink()
    found: dict[str, int] = json.loads(feeds.read_text())
    return found


def measure_intake(seed: int, family: str, cache: Path) -> Sample:
    """Map an axis_events of whose size and settings no design has to be made."""
    cfg = random_intake(seed)
    given = ", ".join(f".{name}({value})" for name, value in parameters(cfg).items())
    text = (
        "module top (input logic clk, rst_n, s_axis_tvalid, s_axis_tlast, out_ready, input logic [63:0] s_axis_tdata,\n"
        "  output logic s_axis_tready, out_valid, time_error, output logic [31:0] dropped,\n"
        f"  output logic [{cfg.channels * cfg.bits + 1}:0] out_data);\n"
        f"  axis_events #({given}) intake (.*);\nendmodule\n"
    )
    with tempfile.TemporaryDirectory(prefix="scaflow-area-") as scratch:
        (Path(scratch) / "top.sv").write_text(text)
        result = synthesize(Path(scratch), "top", TARGETS[family], lambda _: None, cache, route=False)
    extra = fed(result.log) if family == "ecp5" else {}
    return Sample(family, f"intake{seed}", "axis_events", cfg, result.per_stage["intake"], extra.get("intake", 0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", type=int, default=8, help="networks with list schedulers to fit")
    parser.add_argument("--linear", type=int, default=12, help="networks of linear layers to fit")
    parser.add_argument("--event", type=int, default=16, help="networks with event schedulers to fit")
    parser.add_argument("--entries", type=int, default=32, help="tiny designs to fit axis_in")
    parser.add_argument("--parts", type=int, default=8, help="designs of single modules to fit those of graphs")
    parser.add_argument("--entries-only", action="store_true", help="fit axis_in alone and keep the rest")
    parser.add_argument("--parts-only", action="store_true", help="fit the modules of graphs alone and keep the rest")
    parser.add_argument("--intakes", type=int, default=24, help="sizes of axis_events to fit")
    parser.add_argument("--intakes-only", action="store_true", help="fit axis_events alone and keep the rest")
    parser.add_argument("--deep", type=int, default=8, help="designs with banks in segments to fit")
    parser.add_argument("--deep-only", action="store_true", help="fit what these take and keep the rest")
    parser.add_argument("--held-out", type=int, default=4, help="networks of each kind not to fit")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="syntheses at a time")
    parser.add_argument("--cache", type=Path, default=Path("build/cache/area"), help="results that are kept")
    options = parser.parse_args()
    kinds = {0: options.list, LINEAR: options.linear, EVENT: options.event, ENTRY: options.entries}
    kinds |= {INTAKE: options.intakes, PART: options.parts, DEEP: options.deep}
    only = {ENTRY: options.entries_only, INTAKE: options.intakes_only, PART: options.parts_only}
    only[DEEP] = options.deep_only
    kinds = {kind: kinds[kind] for kind in kinds if not any(only.values()) or only.get(kind)}
    seeds = [kind + i for kind, count in kinds.items() for i in range(count)]
    seeds += [FIRST_HELD_OUT + kind + i for kind in kinds for i in range(options.held_out)]
    samples: dict[int, list[Sample]] = {seed: [] for seed in seeds}
    wanted = [(seed, family) for seed in seeds for family in FAMILIES]
    with Progress() as progress, ProcessPoolExecutor(options.jobs) as pool:
        task = progress.add_task("synthesis", total=len(wanted))
        found = pool.map(measure, *zip(*wanted, strict=True), repeat(options.cache))
        for (seed, _), measured in zip(wanted, found, strict=True):
            samples[seed].extend(measured)
            progress.advance(task)
    fitted = [s for seed in seeds if seed < FIRST_HELD_OUT for s in samples[seed]]
    unseen = [s for seed in seeds if seed >= FIRST_HELD_OUT for s in samples[seed]]
    if options.deep_only:
        kept = json.loads(COEFFICIENTS.read_text())
        model = extended(kept["model"], fitted, OF_DEEP)
        write(model, kept["error"], COEFFICIENTS)
        for name, part in (("fitted", fitted), ("held out", unseen)):
            print(f"lif_pe with banks in segments, {name}:", deep_errors(model, part))
        return
    model = fit(fitted)
    told = alone_errors(model, unseen)
    if any(only.values()):
        kept = json.loads(COEFFICIENTS.read_text())
        model = {family: kept["model"][family] | {m: model[family][m] for m in ALONE if m in model[family]}
                 for family in FAMILIES}  # fmt: skip
        write(model, kept["error"], COEFFICIENTS)
        Console().print(told)
        return
    parts = [[s for s in part if s.module not in ALONE] for part in (fitted, unseen)]
    rated = {name: errors(model, part) for name, part in zip(("fitted", "held out"), parts, strict=True)}
    write(model, rated["held out"], COEFFICIENTS)
    console = Console()
    for name, rows in rated.items():
        table = Table(title=f"relative error of LUTs, a stage, {name}")
        for column in ("family", "stages", "median", "90 %", "worst"):
            table.add_column(column, justify="right")
        for family, row in rows.items():
            figures = (f"{row[key]:.1%}" for key in ("median", "most", "worst"))
            table.add_row(family, str(row["stages"]), *figures)
        console.print(table)
    console.print(told)


def deep_errors(model: Model, samples: list[Sample]) -> str:
    """Of a processing element alone: there is little else in these stages."""
    told = []
    for family in FAMILIES:
        rows = [(s.cells, area([Instance(s.module, "", s.cfg, 0, 0)], family, model)) for s in samples
                if s.family == family and s.cfg.depth > 16384]  # fmt: skip
        off = [abs(p.lut - c.lut) / c.lut for c, p in rows]
        wrong = sum(p.bram != c.bram for c, p in rows)
        told.append(
            f"{family}: LUTs {np.median(off):.1%} in the median of {len(off)}, {max(off):.1%} worst; block RAMs of"
            f" {wrong} miscounted"
        )
    return "; ".join(told)


def alone_errors(model: Model, samples: list[Sample]) -> str:
    """Of modules that are fitted for themselves: some are too small for a part of themselves to say much."""
    lines = []
    for family, module in product(FAMILIES, ALONE):
        part = [s for s in samples if s.family == family and s.module == module]
        found = [area([Instance(s.module, "", s.cfg, 0, 0)], family, model) for s in part]
        if not part:
            continue
        off = np.array([abs(one.lut - s.cells.lut) for one, s in zip(found, part, strict=True)])
        share = np.median(off / [max(1, s.cells.lut) for s in part])
        wrong = sum((one.bram, one.dsp) != (s.cells.bram, s.cells.dsp) for one, s in zip(found, part, strict=True))
        lines.append(f"{module} on {family}, held out: {off.mean():.1f} LUTs off in the mean of {len(part)}, "
                     f"{share:.1%} in the median; block RAMs or DSPs miscounted in {wrong}")  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    main()
