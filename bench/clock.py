"""The exact clock against the simulation it replaces: the same images through both, in one run.

    python bench/clock.py [--images 6] [--clocked 512]

For the dense list design and the pruned event design of the reference network, folded as model/configs/fashion.toml
says: the processor time that an image of Fashion-MNIST costs under cocotb (a started and built simulation) and by the
clock, and the ratio of the two. The clock times LANES separate runs side by side, as it does for the native engine,
which cuts a test set into runs; the first images of the first run are those that are simulated, and compared cycle by
cycle. What one run alone costs, which uses a lane of the processor's vectors only, stands beside it. An event design's
cycles depend on its spikes: the time of the golden model that tells them, which every simulation is held against
anyway, stands apart; what the clock makes of them counts. A cycle that differs gives exit code 1.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from scaflow.hw.clock import LANES, predict, predict_runs
from scaflow.hw.design import Design, design
from scaflow.hw.emit import TOP, emit
from scaflow.hw.fold import Fold, balanced
from scaflow.model.config import load_network
from scaflow.model.data import load_dataset
from scaflow.model.fetch import fetch
from scaflow.quant.graph import execute, load
from scaflow.sim.rtl import simulate_axis

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "flow" / "designs" / "graphs" / "fashion"


def designs() -> dict[str, Design]:
    cfg = load_network(ROOT / "model/configs/fashion.toml")
    dense, pruned = load(REFERENCE / "dense"), load(REFERENCE / "pruned")
    names = [node.name for node in pruned.nodes if hasattr(node, "weight")]
    lanes = zip(names, (*cfg.fold.event.pe, len(pruned.nodes[-1].weight)), cfg.fold.event.simd, strict=True)
    events = {name: Fold(pe, simd, "list" if name == names[-1] else "event") for name, pe, simd in lanes}
    return {
        "dense, list": design(dense, balanced(dense, cfg.fold.lanes, cfg.sca.granularity)),
        "pruned, event": design(pruned, events),
    }


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` returns, and the seconds that it and its child processes computed."""

    def spent() -> float:
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(usage.ru_utime + usage.ru_stime for usage in usages)

    start = spent()
    return work(), spent() - start


class Figures(NamedTuple):
    """Seconds an image, and the cycles that differ."""

    cocotb: float
    side_by_side: float  # the clock
    alone: float
    golden: float
    differing: int


def measure(laid: Design, images: Any, simulated: int) -> Figures:
    """Time and compare; `images` fill the lanes, at least `simulated` each."""
    frames = [image.transpose(1, 2, 0).tobytes() for image in images[:simulated]]
    with tempfile.TemporaryDirectory(prefix="scaflow-bench-") as scratch:
        rtl = emit(laid, Path(scratch) / "rtl").parent

        def simulate(count: int) -> Any:
            return simulate_axis(rtl, TOP, frames[:count], axi_bytes=laid.axi_bytes, expect=laid.readout.classes + 1)

        simulate(1)  # builds
        _, started = timed(lambda: simulate(1))
        run, seconds = timed(lambda: simulate(simulated))
    (_, spikes), golden = timed(lambda: execute(laid.graph, images, trace=True))

    def runs(array: Any) -> Any:
        return array.reshape(LANES, -1, *array.shape[1:])

    def side_by_side() -> Any:
        return predict_runs(laid, runs(images), spikes={name: runs(trace) for name, trace in spikes.items()})

    def alone() -> Any:
        return predict(laid, images, spikes=spikes)

    side_by_side(), alone()  # compile
    told, clock = timed(side_by_side)
    whole, single = timed(alone)
    differing = 0
    for by in (told[0], whole):
        differing += int((by.in_at[:simulated, 0] != run.in_start).sum())
        differing += int((by.out_at[:simulated, -1] != run.out_end).sum())
    count = len(images)
    return Figures((seconds - started) / (simulated - 1), clock / count, single / count, golden / count, differing)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=6, help="simulated, and compared cycle by cycle; at least 2")
    parser.add_argument("--clocked", type=int, default=512, help=f"timed by the clock, a multiple of {LANES}")
    asked = parser.parse_args()
    fetch("fashion-mnist", ROOT / "data", print)
    count = LANES * max(asked.images, asked.clocked // LANES)
    images = load_dataset("fashion-mnist", ROOT / "data").test_images[:count]
    clocks = f"clock, {LANES} runs", "ratio", "clock, one run", "ratio"
    table = Table("design", "cocotb", *clocks, "golden model", "cycles differing", title="processor time, ms an image")
    wrong = 0
    for name, laid in designs().items():
        found = measure(laid, images, asked.images)
        clocks = []
        for seconds in (found.side_by_side, found.alone):
            clocks += [f"{1000 * seconds:.4f}", f"{found.cocotb / seconds:.0f}"]
        table.add_row(name, f"{1000 * found.cocotb:.1f}", *clocks, f"{1000 * found.golden:.2f}", str(found.differing))
        wrong += found.differing
    Console().print(table)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
