"""Runs a stage only when something it depends on has changed; a failed stage leaves nothing finished-looking.

Each finished stage writes a stamp: a digest of what it read (files, settings, sources of the rooms at work)
and the digests of what it wrote. A stage is up to date when both still hold; no clocks are compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scaflow.model.config import NetworkConfig, load_network
from scaflow.model.files import check_place, write_json

Progress = Callable[[str], None]

VARIANTS = ("dense", "skip", "compact")  # of the list scheduler: their cycles do not depend on the data
DESIGNS = (*VARIANTS, "event")
TRAININGS = ("dense", "pruned")
TRAINING_OF = {design: "dense" if design == "dense" else "pruned" for design in DESIGNS}
ROOT = Path(__file__).resolve().parents[1]
SOURCES = (".py", ".sv", ".cpp")


@dataclass(frozen=True)
class Project:
    """One network and where its files are: everything generated is below `folder`."""

    net: str  # as the user named it
    network: NetworkConfig
    build: Path
    data: Path

    @property
    def folder(self) -> Path:
        return self.build / self.network.name

    def __truediv__(self, name: str) -> Path:
        return self.folder / name


@dataclass(frozen=True)
class Stage:
    """One step of the chain: what it reads and writes (files), and the function between them."""

    name: str  # names the stamp; shown to the user
    reads: tuple[Path, ...]
    writes: tuple[Path, ...]
    run: Callable[[], None]
    settings: dict[str, Any] = field(
        default_factory=dict
    )  # whatever else the result depends on, as JSON values
    rooms: tuple[str, ...] = ()  # the folders or files of sources the result depends on
    remedy: str = ""  # the command that makes what it reads
    together: bool = False  # what it writes belongs together: nothing of an earlier run stays beside it


def shipped() -> dict[str, Path]:
    """The networks that come with the package, by name."""
    return {path.stem: path for path in sorted((ROOT / "model" / "configs").glob("*.toml"))}


def open_project(net: str, build: Path, data: Path) -> Project:
    """The project of a network TOML, given by its path or by the name of a shipped network.

    Raises:
        ValueError: no such network, or its TOML breaks a rule, or asks of the hardware what it cannot do.
    """
    path = Path(net)
    if path.suffix != ".toml" and not path.is_file():
        known = shipped()
        if net not in known:
            raise ValueError(
                f"network {net!r}: neither a file nor a shipped network; give the path of a TOML"
                f" or one of {', '.join(known)}"
            )
        path = known[net]
    return _possible(Project(net, load_network(path), build, data), str(path))


def _possible(project: Project, where: str) -> Project:
    from scaflow.hw.ask import problems

    if found := problems(project.network):
        raise ValueError(f"{where}: {len(found)} problem(s)\n" + "\n".join(f"  {line}" for line in found))
    return project


def run_stage(project: Project, stage: Stage, progress: Progress, force: bool = False) -> bool:
    """Run a stage unless it is up to date. Returns whether it ran.

    Raises:
        ValueError: something it reads is missing (all are named, with the command that makes them), or the
            stage's own reasons.
        OSError: what it writes cannot be written there.
    """
    missing = [path for path in stage.reads if not path.is_file()]
    if missing:
        lines = "\n".join(f"  {path}" for path in missing)
        raise ValueError(f"{stage.name}: missing what it reads:\n{lines}\n  run `{stage.remedy}` first")
    stamp = project / f"stamps/{stage.name}.json"
    reads = _inputs(stage)
    if not force and _fresh(stamp, reads, stage):
        progress(f"{stage.name}: up to date")
        return False
    for path in (stamp, *stage.writes):
        check_place(path)
    stamp.unlink(missing_ok=True)  # from here on the outputs are in doubt
    for path in stage.writes if stage.together else ():
        path.unlink(missing_ok=True)
    stage.run()
    lost = [str(path) for path in stage.writes if not path.is_file()]
    if lost:
        raise ValueError(f"{stage.name}: ended without writing {', '.join(lost)}")
    write_json(stamp, {"reads": reads, "writes": [file_digest(path) for path in stage.writes]})
    return True


def with_epochs(project: Project, epochs: int) -> Project:
    """The project with another number of training epochs than its TOML says."""
    network = project.network
    train = network.train.model_copy(update={"epochs": epochs})
    return replace(project, network=network.model_copy(update={"train": train}))


def with_cycles(project: Project, cycles: float) -> Project:
    """The project pruned to a part of the dense cycles, whatever its TOML says.

    Raises:
        ValueError: no part, or one that no pruning reaches.
    """
    if not 0 < cycles <= 1:
        raise ValueError(f"--cycles {cycles}: give a part of the dense design's cycles, above 0 and at most 1")
    network = project.network
    sca = network.sca.model_copy(update={"cycles": cycles, "keep": None})
    return _possible(replace(project, network=network.model_copy(update={"sca": sca.settled()})), f"--cycles {cycles}")


def design_files(project: Project, designs: Sequence[str] = DESIGNS) -> tuple[Path, ...]:
    """What compile wrote of some designs, without their memories."""
    names = ("graph.json", "graph.npz", "rtl/top.sv", "rtl/manifest.json")
    return tuple(project / f"{design}/{name}" for design in designs for name in names)


def design_digests(project: Project, variants: Sequence[str]) -> dict[str, str]:
    """What tells a design from any other: its top names the digest of its memories. Empty for one not there."""
    tops = {variant: project / f"{variant}/rtl/top.sv" for variant in variants}
    return {variant: file_digest(top) if top.is_file() else "" for variant, top in tops.items()}


def source_digest(rooms: Sequence[str]) -> str:
    """Of the sources in folders or files of the program."""
    sources = hashlib.sha256()
    for room in rooms:
        folder = ROOT / room
        inside = [folder] if folder.is_file() else [p for p in folder.rglob("*") if p.suffix in SOURCES]
        for path in sorted(inside):
            sources.update(f"{path.relative_to(ROOT)} {file_digest(path)}\n".encode())
    return sources.hexdigest()


def _inputs(stage: Stage) -> dict[str, Any]:
    return {
        "files": [file_digest(path) for path in stage.reads],
        "settings": json.loads(json.dumps(stage.settings)),
        "sources": source_digest(stage.rooms),
    }


def _fresh(stamp: Path, reads: dict[str, Any], stage: Stage) -> bool:
    try:
        record = json.loads(stamp.read_text())
        return record["reads"] == reads and record["writes"] == [file_digest(path) for path in stage.writes]
    except (OSError, ValueError, KeyError, TypeError):
        return False  # no stamp, a damaged one, or an output is gone: not up to date


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
