"""The native engine of this checkout against that of another revision, on the same designs, in one run.

    python bench/native.py --base 6b224fe [--own event_bank] [--images 500] [--rounds 2]

Either revision lays out its event design of the reference network `fashion`. On each of the two designs both revisions
do in turn what `scaflow sim --engine native` does with a design that flows: the golden model (logits, and the spikes
that the exact clock asks for) and the simulation of every image with the stream checker bound, from reset every 250th
image. The exact clock knows the hardware of its revision alone: each is timed on its own design, runs side by side as
for a whole test set, which stands for it on the other one too. The figures are cycles of the design for a second of
processor time, of the simulation and of all of it; builds are not in it, they are made before.

A design is simulated from the texts of the revision that laid it out. Modules named by --own are each revision's own:
so counts what a text costs a simulation. They must be the same hardware: exit code 1 where a revision's words are not
those of the golden model, or its cycles not those of the exact clock.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from scaflow.model.fetch import fetch

ROOT = Path(__file__).resolve().parents[1]
NET = "fashion"
CHUNK = 250  # images from reset to the next
LIBRARY = "library"  # in the folder of a design: the texts of its modules


def lay_out(checkout: Path, home: Path) -> None:
    """Write the event design of the network, as the checkout draws it, into `home`: graph, rtl, library."""
    from scaflow.flow.activity.events import CALIBRATION_IMAGES
    from scaflow.flow.activity.events import lay_out as lay_out_events
    from scaflow.hw.cost import folding_of
    from scaflow.hw.emit import emit
    from scaflow.hw.fifo import choose_fifos, with_fifos
    from scaflow.model.config import load_network
    from scaflow.model.data import load_dataset
    from scaflow.quant.compact import compact
    from scaflow.quant.graph import load, save

    network = load_network(checkout / f"model/configs/{NET}.toml")
    dense, pruned = (load(checkout / f"flow/designs/graphs/{NET}/{name}") for name in ("dense", "pruned"))
    images = load_dataset(network.dataset, ROOT / "data").train_images[:CALIBRATION_IMAGES]
    small, _ = compact(pruned)
    drawn = lay_out_events(small, folding_of(network, dense), network.fold, images)
    result = with_fifos(drawn, choose_fifos(drawn, images[:32]))
    home.mkdir()
    save(result.graph, home / "graph")
    emit(result, home / "rtl")
    shutil.copytree(checkout / "hw/rtl", home / LIBRARY)


def clock(checkout: Path, home: Path, count: int) -> float:
    """Time the design in `home` by the exact clock of the checkout that laid it out; its cycles go into `told.npy`.

    Returns:
        seconds of processor time.
    """
    from scaflow.flow.native.run import predicted
    from scaflow.hw.clock import LANES
    from scaflow.hw.design import from_manifest
    from scaflow.quant.graph import execute, load

    graph = load(home / "graph")
    design = from_manifest(graph, json.loads((home / "rtl/manifest.json").read_text()))

    images = test_images(checkout)[:count]
    spikes = execute(graph, images, trace=True)[1]

    def told(chunk: int) -> np.ndarray:
        return predicted(design, images, spikes, chunks(count, chunk), None)

    np.save(home / "told.npy", told(CHUNK))
    told(-(-count // LANES))  # compiles
    return timed(lambda: told(-(-count // LANES)))[1]


def run(checkout: Path, home: Path, own: Sequence[str], count: int) -> dict[str, Any]:
    """The design in `home` on test images, by the engine of the checkout.

    Returns:
        cycles, seconds of processor time of golden model and simulation, and the images that are wrong.
    """
    from scaflow.flow import rungs
    from scaflow.hw.design import AXI_BYTES
    from scaflow.hw.emit import TOP
    from scaflow.quant.graph import execute, load
    from scaflow.sim.build import sources_of
    from scaflow.sim.native import simulate_native

    graph = load(home / "graph")
    with tempfile.TemporaryDirectory(prefix="texts-", dir=home) as texts:
        shutil.copytree(home / LIBRARY, texts, dirs_exist_ok=True)
        for name in own:
            shutil.copyfile(checkout / f"hw/rtl/{name}.sv", Path(texts) / f"{name}.sv")
        sources = sources_of(home / f"rtl/{TOP}.sv", Path(texts))

        def simulated(images: np.ndarray) -> Any:
            frames = images.transpose(0, 2, 3, 1).reshape(len(images), -1)
            options = {"axi_bytes": AXI_BYTES, "expect": 1 + classes, "chunk": CHUNK, "workers": 1}
            return simulate_native(home / "rtl", TOP, frames, sources=sources, whole=10_000, **options)

        images, classes = test_images(checkout), len(graph.readout.weight)
        simulated(images[:1])  # builds
        images = images[:count]
        (logits, _), golden = timed(lambda: (execute(graph, images), execute(graph, images, trace=True)))
        found, simulation = timed(lambda: simulated(images))
    wrong = rungs.wrong_frames(rungs.Frames(found.words.tolist(), [], [], found.frame_error), logits)
    wrong += int((found.at != np.load(home / "told.npy")).any(1).sum())
    return {"cycles": sum(found.cycles), "golden": golden, "simulation": simulation, "wrong": wrong}


def test_images(checkout: Path) -> np.ndarray:
    from scaflow.model.config import load_network
    from scaflow.model.data import load_dataset

    return load_dataset(load_network(checkout / f"model/configs/{NET}.toml").dataset, ROOT / "data").test_images


def chunks(count: int, chunk: int) -> tuple[range, ...]:
    return tuple(range(start, min(start + chunk, count)) for start in range(0, count, chunk))


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` returns, and the seconds that it and its child processes computed."""
    before = _spent()
    return work(), _spent() - before


def _spent() -> float:
    """Seconds that this process and its children computed."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def asked_of(checkout: Path, scratch: Path, *arguments: str) -> Any:
    """What this program says when it works with the sources of a checkout."""
    variables = os.environ | {"PYTHONPATH": str(checkout / "src"), "SCAFLOW_BUILD": str(scratch / "build")}
    command = [sys.executable, __file__, "--checkout", str(checkout), *arguments]
    done = subprocess.run(command, env=variables, cwd=scratch, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{checkout}: {' '.join(arguments)} failed")
    return json.loads(done.stdout.splitlines()[-1])


def compare(base: str, own: Sequence[str], count: int, rounds: int) -> int:
    """Print the figures; the exit code."""
    fetch(f"{NET}-mnist", ROOT / "data", print)
    parts = ("golden, s", "simulation, s", "clock, s")
    table = Table("design of", "engine of", "simulation", "all of it", *parts, "wrong")
    table.title = f"thousand cycles a second and core, {count} images, {rounds} rounds in turn"
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="scaflow-bench-") as folder:
        scratch = Path(folder)
        checkouts = {base: scratch / "base", "this": ROOT}
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(checkouts[base]), base], check=True)
        try:
            homes = {name: scratch / f"design-{number}" for number, name in enumerate(checkouts)}
            how = ("--images", str(count), "--own", *own)
            clocks = {}
            for name, home in homes.items():
                asked_of(checkouts[name], scratch, "--lay-out", str(home))
                clocks[name] = asked_of(checkouts[name], scratch, "--clock", str(home), *how)
            for laid_by, home in homes.items():
                found: dict[str, list[dict[str, Any]]] = {name: [] for name in checkouts}
                for _ in range(rounds):
                    for name, checkout in checkouts.items():
                        found[name].append(asked_of(checkout, scratch, "--run", str(home), *how))
                rates = {}
                for name, runs in found.items():
                    cycles, golden, simulation, faults = (sum(run[key] for run in runs) for key in runs[0])
                    rates[name] = cycles / simulation, cycles / (golden + simulation + rounds * clocks[name])
                    seconds = (golden / rounds, simulation / rounds, clocks[name])
                    figures = (f"{rate / 1000:.0f}" for rate in rates[name])
                    table.add_row(laid_by, name, *figures, *(f"{part:.2f}" for part in seconds), str(faults))
                    wrong += faults
                ratios = [this / other for this, other in zip(rates["this"], rates[base], strict=True)]
                table.add_row(laid_by, "ratio", *(f"{ratio:.2f}" for ratio in ratios), end_section=True)
        finally:
            subprocess.run([*git, "remove", "--force", str(checkouts[base])], check=True)
    Console().print(table)
    return int(wrong > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", help="the other revision")
    parser.add_argument("--own", nargs="*", default=[], metavar="MODULE", help="modules that are each revision's own")
    parser.add_argument("--images", type=int, default=2 * CHUNK)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--checkout", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--lay-out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--clock", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if min(asked.images, asked.rounds) < 1:
        parser.error(f"--images {asked.images} --rounds {asked.rounds}: must be at least 1")
    if asked.lay_out:
        lay_out(asked.checkout, asked.lay_out)
        print("null")
    elif asked.clock:
        print(clock(asked.checkout, asked.clock, asked.images))
    elif asked.run:
        print(json.dumps(run(asked.checkout, asked.run, asked.own, asked.images)))
    elif asked.base:
        return compare(asked.base, asked.own, asked.images, asked.rounds)
    else:
        parser.error("--base is missing: the revision to compare with")
    return 0


if __name__ == "__main__":
    sys.exit(main())
