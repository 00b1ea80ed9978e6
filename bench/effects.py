"""What a setting of training does to the pruned network: precision of the convolutions, firing-rate regulariser, F.

    python bench/effects.py [--network demo] [--seeds 3] [--jobs 2]

Each setting differs from the description in one thing; every run prunes to the description's budget and is measured as
a study's (flow/study/runs.py): accuracy of the integer network on the whole test set, spikes, cycles. An interrupted
bench goes on where it stopped. F, the bits behind the point of the membrane, is the grid of thresholds and biases too.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from scaflow.flow.jobs.local import Local
from scaflow.flow.stages import open_project
from scaflow.flow.study.report import spread
from scaflow.flow.study.runs import Run, carry_out
from scaflow.model.config import NetworkConfig
from scaflow.model.files import read_json, write_json

Changes = dict[str, dict[str, Any]]  # by section of the description
SETTINGS: dict[str, Changes] = {
    "convolutions in bfloat16": {"train": {"precision": "bfloat16"}},
    "convolutions in float32": {"train": {"precision": "float32"}},
    "bfloat16, rate=0.25": {"train": {"precision": "bfloat16"}, "sca": {"rate": 0.25}},
    "bfloat16, rate=1": {"train": {"precision": "bfloat16"}, "sca": {"rate": 1.0}},
    "bfloat16, F=2": {"train": {"precision": "bfloat16"}, "quant": {"fraction_bits": 2}},
    "bfloat16, F=6": {"train": {"precision": "bfloat16"}, "quant": {"fraction_bits": 6}},
}


def runs_of(base: NetworkConfig, seeds: int, out: Path) -> dict[str, list[Run]]:
    """By setting, a run a seed."""
    runs: dict[str, list[Run]] = {}
    for number, (title, changes) in enumerate(SETTINGS.items()):
        sections = {key: getattr(base, key).model_copy(update=values) for key, values in changes.items()}
        for seed in range(seeds):
            train = sections["train"].model_copy(update={"seed": seed})
            cfg, folder = base.model_copy(update={**sections, "train": train}), out / f"{number}-{seed}"
            runs.setdefault(title, []).append(Run(cfg.sca.criterion, cfg, folder, None, None, True, 0))
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="demo", help="a network TOML, or the name of a shipped network")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at once, a thread each")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    options = parser.parse_args()
    project, console = open_project(options.network, options.out, options.data), Console()
    base = project.network
    runs = runs_of(base, options.seeds, options.out / f"effects-{base.name}")
    with Local(options.jobs) as engine:
        carry_out(project, [run for group in runs.values() for run in group], engine, console)

    rows = [{"setting": title, **read_json(run.result)} for title, group in runs.items() for run in group]
    table = Table("setting", "accuracy %", "synops", "cycles of dense", "event cycles", "s a run", title=base.name)
    for title in runs:
        mine = [row for row in rows if row["setting"] == title]
        mean, deviation = spread([100 * row["accuracy"] for row in mine])
        costs = ("synops", "cycles_over_dense", "cycles_event", "seconds")
        synops, cycles, event, seconds = (spread([row[key] for row in mine])[0] for key in costs)
        table.add_row(
            title, f"{mean:.2f} ± {deviation:.2f}", f"{synops:,.0f}", f"{cycles:.3f}", f"{event:,.0f}", f"{seconds:.0f}"
        )
    console.print(table)
    write_json(options.out / "effects.json", {"network": base.name, "epochs": base.train.epochs, "rows": rows})


if __name__ == "__main__":
    main()
