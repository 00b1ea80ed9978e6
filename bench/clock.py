"""The exact clock against the simulation it replaces: the same images through both, in one run.

    python bench/clock.py [--images 5] [--clocked 200]

For the dense list design and the pruned event design of docs/reference/fashion, folded as model/configs/fashion.toml
says: the processor time that an image of Fashion-MNIST costs under cocotb (a started and built simulation) and by the
clock, and the ratio of the two. An event design's cycles depend on its spikes: the time of the golden model that tells
them, which every simulation is held against anyway, stands apart. A cycle that differs gives exit code 1.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from scaflow.hw.clock import Timer, predict
from scaflow.hw.design import AXI_BYTES, Design, design
from scaflow.hw.emit import TOP, emit
from scaflow.hw.fold import Fold, balanced
from scaflow.model.config import load_network
from scaflow.model.data import load_dataset
from scaflow.model.fetch import fetch
from scaflow.quant.graph import execute, load
from scaflow.sim.rtl import simulate_axis

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference" / "fashion"


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


def measure(laid: Design, images: Any, simulated: int) -> tuple[float, float, float, int]:
    """Seconds an image under cocotb, by the clock, of the golden model; and the cycles that differ."""
    frames = [image.transpose(1, 2, 0).tobytes() for image in images[:simulated]]
    with tempfile.TemporaryDirectory(prefix="scaflow-bench-") as scratch:
        rtl = emit(laid, Path(scratch) / "rtl").parent

        def simulate(count: int) -> Any:
            return simulate_axis(rtl, TOP, frames[:count], axi_bytes=AXI_BYTES, expect=laid.readout.classes + 1)

        simulate(1)  # builds
        _, started = timed(lambda: simulate(1))
        run, seconds = timed(lambda: simulate(simulated))
    told = predict(laid, images[:simulated])  # compiles
    differing = int((told.in_at[:, 0] != run.in_start).sum() + (told.out_at[:, -1] != run.out_end).sum())
    (_, spikes), golden = timed(lambda: execute(laid.graph, images, trace=True))
    _, clock = timed(lambda: Timer(laid).run(images, spikes=spikes))
    return (seconds - started) / (simulated - 1), clock / len(images), golden / len(images), differing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5, help="simulated, and compared cycle by cycle; at least 2")
    parser.add_argument("--clocked", type=int, default=200, help="timed by the clock")
    asked = parser.parse_args()
    fetch("fashion-mnist", ROOT / "data", print)
    images = load_dataset("fashion-mnist", ROOT / "data").test_images[: max(asked.images, asked.clocked)]
    table = Table("design", "cocotb, ms/image", "clock, ms/image", "ratio", "golden model", "cycles differing")
    wrong = 0
    for name, laid in designs().items():
        cocotb, clock, golden, differing = measure(laid, images, asked.images)
        figures = (f"{1000 * cocotb:.0f}", f"{1000 * clock:.3f}", f"{cocotb / clock:.0f}", f"{1000 * golden:.2f}")
        table.add_row(name, *figures, str(differing))
        wrong += differing
    Console().print(table)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
