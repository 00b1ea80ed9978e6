"""What a revision gains over another one: cycles, LUTs, density, clock and simulation speed, by the commands.

    python bench/progress.py --base 6b224fe [--images 1000] [--seeds 5] [--luts 10681] [--native] [--finn]

Either revision runs, in a checkout of its own, `scaflow reference`, `activity`, `fold` and `sim --engine native` of
`fashion` and `swift`, and synthesises and routes their event designs. The rows are those figures beside each other and
their ratio; what a revision's commands do not give is left out. `--native` adds `bench/native.py`, both engines on the
same designs; `--finn` FINN measured anew by `scaflow compare-finn` (after `make finn`; half an hour). The images are
those of data/ in this checkout; routing is most of the time (`--seeds 0` leaves it out).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
FINN_CYCLES, FINN_LUT = 1_053_696, 3_128  # of fashion's conv1 to conv4 at equal lanes, by `make compare-finn`
STAGES = ("conv1", "conv2", "conv3", "conv4")
COMMAND = "import sys; from scaflow.flow.start import main; sys.exit(main())"
SYNTHESIS = """
import json, sys
from pathlib import Path
from scaflow.hw.synth import synthesize, route
rtl, target, seeds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
found = synthesize(rtl, "top", target, lambda line: None, Path("build/cache/synth"), seeds > 0)
clocks = [found.fmax_mhz, *(route(found.log, seed) for seed in range(2, seeds + 1))]
print(json.dumps({"lut": found.lut, "stages": {n: p.lut for n, p in found.per_stage.items()}, "clocks": clocks}))
"""

Figures = dict[str, float]


def scaflow(checkout: Path, home: Path, *arguments: str) -> bool:
    """One command of a checkout, in `home`; False where it does not know it or fails."""
    call = [sys.executable, "-c", COMMAND, *arguments]
    with (home / "log.txt").open("a") as log:
        return not subprocess.run(call, cwd=home, env=environment(checkout, home), stdout=log, stderr=log).returncode


def environment(checkout: Path, home: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(checkout / "src"), "HOME": str(home)}


def figures(checkout: Path, home: Path, images: int, seeds: int, luts: int, finn: bool) -> Figures:
    """All that a revision's commands tell, by the row's name."""
    (home / "data").symlink_to(ROOT / "data")
    found: Figures = {}
    for net in ("fashion", "swift"):
        scaflow(checkout, home, "reference", net)
        scaflow(checkout, home, "sim", net, "--engine", "native", "--variant", "event", "--images", str(images))
    scaflow(checkout, home, "activity", "fashion")
    for row in read(home / "build/fashion/activity.json").get("stages", []):
        if row["name"] in STAGES:
            found["fashion, conv1 to conv4: cycles"] = found.get("fashion, conv1 to conv4: cycles", 0) + row["cycles"]
    for net in ("fashion", "swift"):
        found |= dict(of_network(checkout, home, net, seeds))
    cycles, cells = (found.get(f"fashion, conv1 to conv4: {kind}") for kind in ("cycles", "LUT, 7-series"))
    if cycles and cells:
        found["FINN's cycles / ours"] = FINN_CYCLES / cycles
        found["FINN's LUT x cycles / ours"] = FINN_CYCLES * FINN_LUT / (cycles * cells)
    if finn:
        found |= dict(beside_finn(checkout, home))
    scaflow(checkout, home, "fold", "fashion", "--device", "xc7a200t", "--max-luts", str(luts))
    pruned = read(home / "build/fashion/fold.json").get("interval")
    if pruned:
        found[f"fashion, folded within {luts:,} LUTs: interval"] = pruned
    return found


def beside_finn(checkout: Path, home: Path) -> Iterator[tuple[str, float]]:
    """FINN's cycles over ours, conv1 to conv4, at equal lanes and at its best within our LUTs."""
    (home / "build/finn").mkdir(parents=True, exist_ok=True)
    (home / "build/finn/venv").symlink_to(ROOT / "build/finn/venv")
    scaflow(checkout, home, "compare-finn", "fashion")
    rows = [row for row in read(home / "build/fashion/finn.json").get("finn", []) if row["spiking"]]
    ours = sum(row["ours"]["event"]["cycles"] for row in rows)
    for key, name in (("finn", "at equal lanes"), ("finn_best", "at its best within our LUTs")):
        if rows and all(key in row for row in rows):
            yield f"FINN's cycles / ours, measured, {name}", sum(row[key]["cycles"] for row in rows) / ours


def of_network(checkout: Path, home: Path, net: str, seeds: int) -> Iterator[tuple[str, float]]:
    """Interval, LUTs, density and clock of an event design."""
    runs = [r for r in read(home / f"build/{net}/native/event.json").get("native", []) if not r["stalls"]]
    for run in runs:
        yield f"{net}, event: interval, cycles", run["interval"]["mean"]
    if cells := synthesised(checkout, home, net, "xc7", 0):
        yield f"{net}, event: LUT, 7-series", cells["lut"]
        if net == "fashion":
            yield f"{net}, conv1 to conv4: LUT, 7-series", sum(cells["stages"][name] for name in STAGES)
        for run in runs:
            yield f"{net}, event: images/s for 1,000 LUTs", 1e11 / run["interval"]["mean"] / cells["lut"]
    if seeds and (cells := synthesised(checkout, home, net, "ecp5-85", seeds)):
        yield f"{net}, event: LUT, ECP5-85F", cells["lut"]
        yield f"{net}, event: MHz, median of {seeds}", statistics.median(cells["clocks"])
        yield f"{net}, event: MHz, best of {seeds}", max(cells["clocks"])


def synthesised(checkout: Path, home: Path, net: str, target: str, seeds: int) -> dict[str, Any]:
    """LUTs, those of each stage, and the clock from each seed of the placement; nothing where it fails."""
    call = [sys.executable, "-c", SYNTHESIS, f"build/{net}/event/rtl", target, str(seeds)]
    done = subprocess.run(call, cwd=home, env=environment(checkout, home), capture_output=True, text=True)
    found: dict[str, Any] = {} if done.returncode else json.loads(done.stdout.splitlines()[-1])
    return found


def read(path: Path) -> dict[str, Any]:
    """A stage's file, or nothing."""
    return json.loads(path.read_text()) if path.is_file() else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="the revision to compare with")
    parser.add_argument("--images", type=int, default=1000, help="test images through the RTL")
    parser.add_argument("--seeds", type=int, default=5, help="of the placement; 0: nothing is routed")
    parser.add_argument("--luts", type=int, default=10_681, help="budget of the folding solver")
    parser.add_argument("--native", action="store_true", help="also both native engines on the same designs")
    parser.add_argument("--finn", action="store_true", help="also FINN beside either revision's stages")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scaflow-progress-") as scratch:
        other = Path(scratch) / "checkout"
        subprocess.run(["git", "-C", ROOT, "worktree", "add", "--detach", other, options.base], check=True)
        try:
            both = []
            for checkout, name in ((other, "base"), (ROOT, "here")):
                home = Path(scratch) / name
                home.mkdir()
                both.append(figures(checkout, home, options.images, options.seeds, options.luts, options.finn))
        finally:
            subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", other], check=False)
    table = Table(title=f"{options.base} and this checkout, {options.images:,} test images")
    for column in ("figure", options.base, "here", "here / base"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for name in dict.fromkeys(name for found in both for name in found):
        base, here = (found.get(name) for found in both)
        ratio = f"{here / base:.3f}" if base and here else ""
        table.add_row(name, *(f"{value:,.1f}" if value else "" for value in (base, here)), ratio)
    Console().print(table)
    if options.native:
        subprocess.run([sys.executable, ROOT / "bench/native.py", "--base", options.base], check=True)


if __name__ == "__main__":
    main()
