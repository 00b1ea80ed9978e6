"""`scaflow synth`: resources and clock of the designs; the clock over several seeds of the placement where asked for.

One seed is one draw of many: the figures are those of the first, whatever the others give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scaflow.flow.chain import read_design
from scaflow.flow.jobs.engines import engine_of
from scaflow.flow.jobs.job import Engine, Job, Opened, work_off
from scaflow.flow.stages import DESIGNS, Progress, Project, Stage, design_files
from scaflow.hw.synth import BOTH, ROUTED, SEED, SynthResult, Target, route, synthesize
from scaflow.model.files import write_json
from scaflow.model.threads import processors

Key = tuple[Target, str]  # and variant
Row = dict[str, Any]


def here() -> AbstractContextManager[Engine]:
    return engine_of(None, None, lambda line: None)


def stage(project: Project, progress: Progress, seeds: int = 1, engine: Opened = here) -> Stage:
    """Reads the designs. Writes synth.json (resources, and the routed clock on the ECP5)."""

    def run() -> None:
        rows = synthesize_designs(project, BOTH, DESIGNS, progress, seeds, engine)
        write_json(project / "synth.json", {"synth": rows})

    return Stage(
        name="synth",
        reads=design_files(project),
        writes=(project / "synth.json",),
        run=run,
        settings={"seeds": seeds} if seeds > 1 else {},
        rooms=("hw",),
        remedy=f"scaflow compile {project.net}",
    )


def synthesize_designs(
    project: Project,
    targets: Sequence[Target],
    variants: Sequence[str],
    progress: Progress,
    seeds: int = 1,
    engine: Opened = here,
) -> list[Row]:
    """Synthesise designs for targets, as many at once as there are processors.

    Args:
        seeds: of the placement, where something is routed.
        engine: opens what routes from those behind the first.
    """
    from scaflow.hw.emit import check_emitted

    for variant in variants:
        if (project / f"{variant}/graph.json").is_file():  # else the synthesis says what is missing
            check_emitted(read_design(project, variant), project / f"{variant}/rtl")

    def one(key: Key) -> SynthResult:
        target, variant = key
        rtl, cache = project / f"{variant}/rtl", project.build / "cache" / "synth"
        return synthesize(rtl, "top", target, lambda line: progress(f"{variant}, {line}"), cache)

    keys = [(target, variant) for target in targets for variant in variants]
    with ThreadPoolExecutor(processors()) as pool:
        results = dict(zip(keys, pool.map(one, keys), strict=True))
    spread = _spread({key: found for key, found in results.items() if found.fmax_mhz}, seeds, engine, progress)
    rows = []
    for (target, variant), found in results.items():
        figures = {key: value for key, value in asdict(found).items() if key not in ("target", "log")}
        rows.append({"target": target, "variant": variant, **figures, **spread.get((target, variant), {})})
    return rows


def _spread(results: Mapping[Key, SynthResult], seeds: int, engine: Opened, progress: Progress) -> dict[Key, Row]:
    """{"fmax_seeds": MHz, seed by seed} of each design; what has been routed before is read.

    Raises:
        ValueError: a placement fails.
    """
    further = range(SEED + 1, SEED + seeds)
    if not further:
        return {}
    jobs = [
        Job(f"{variant}, {target}: seed {seed}", _route, (seed,), found.log, f"seed-{seed}", ("netlist.json",))
        for (target, variant), found in results.items()
        for seed in further
        if not (found.log / f"seed-{seed}" / ROUTED).is_file()
    ]
    if jobs:
        progress(f"nextpnr from {seeds} seeds: {len(jobs)} placements to do")
        with engine() as opened:
            work_off(jobs, opened, lambda job: progress(f"{job.title}: done"))
    return {
        key: {"fmax_seeds": [found.fmax_mhz, *(route(found.log, seed) for seed in further)]}
        for key, found in results.items()
    }


def _route(base: Path, seed: int) -> None:
    route(base, seed)
