"""The study: every criterion of pruning on one network under equal conditions, seed by seed, run by run resumable.

All runs of a seed share their warm-up, in which nothing is pruned: it is trained once (once more for slimming, whose
penalty acts from the start). Then each criterion prunes to the same budget of cycles, and what comes of it is measured
on the integer network: accuracy on the whole test set, and what the accelerator pays.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from scaflow.flow.jobs.job import Engine, Job
from scaflow.flow.stages import Project
from scaflow.model.config import NetworkConfig
from scaflow.model.files import check_place, kept_json, read_json, readable, write_json

DENSE = "dense"
SPIKE_IMAGES = 1000  # test images whose spikes are counted
PENALISED = "slimming"  # its loss differs from the first epoch on
POLL = 1.0  # seconds between looks at the runs
IN_OUTPUT = "see output.txt"  # what a run failed of stands there


@dataclass(frozen=True)
class Run:
    """One training and its measurement; without a criterion, a warm-up that others start from."""

    criterion: str | None
    cfg: NetworkConfig
    folder: Path
    start: Run | None  # the warm-up
    teacher: Run | None  # the dense network, where its answers are wanted
    prune: bool
    warmup: int  # epochs of the float stage that the warm-up has done, or is to do

    def among(self, base: Path) -> Run:
        """The same in another place: all runs of a study lie side by side."""
        start, teacher = (other and other.among(base) for other in (self.start, self.teacher))
        return replace(self, folder=base / self.folder.name, start=start, teacher=teacher)

    @property
    def result(self) -> Path:
        return self.folder / ("row.json" if self.criterion else "done.json")

    @property
    def row(self) -> Any:
        """What it found; None where it has not ended, or the file is damaged: it is made again."""
        return kept_json(self.result, ("settings",))

    @property
    def finished(self) -> bool:
        return self.row is not None

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    @property
    def model(self) -> Path:
        return self.folder / "model.pt"

    @property
    def settings(self) -> str:
        """A digest of all that decides the result: where nothing is pruned, [sca] does not."""
        decisive = {**self.cfg.model_dump(mode="json"), **({} if self.prune else {"sca": None}), "warmup": self.warmup}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def epochs(self) -> int:
        train = self.cfg.train
        return train.epochs + train.finetune_epochs - self.warmup if self.criterion else self.warmup

    @property
    def title(self) -> str:
        return f"{self.criterion or 'warm-up'}, seed {self.cfg.train.seed}"


def chosen(names: str) -> tuple[str, ...]:
    """The criteria of a list with commas; all if it is empty.

    Raises:
        ValueError: a name is unknown.
    """
    from scaflow.model.criteria import CRITERIA

    wanted = tuple(name.strip() for name in names.split(",") if name.strip())
    if unknown := [name for name in wanted if name not in CRITERIA]:
        raise ValueError(f"--criteria: {', '.join(unknown)} is unknown; use some of {', '.join(CRITERIA)}")
    return wanted or tuple(CRITERIA)


def plan(project: Project, criteria: Sequence[str], seeds: Sequence[int]) -> list[Run]:
    """All runs of a study, seed by seed, each behind what it starts from.

    Raises:
        ValueError: the network is of recordings.
    """
    base, runs = project.network, []
    if base.frames:
        raise ValueError(f"study: {project.net} is of recordings, and criteria are compared on images alone")
    warmup = round(base.sca.warmup * base.train.epochs)
    for seed in seeds:
        train = base.train.model_copy(update={"seed": seed})
        starts: dict[str, Run] = {}
        teacher: Run | None = None  # of those behind the dense network
        for criterion in (DENSE, *criteria):
            sca = base.sca if criterion == DENSE else base.sca.model_copy(update={"criterion": criterion})
            cfg = base.model_copy(update={"train": train, "sca": sca})
            kind = PENALISED if criterion == PENALISED else DENSE
            if warmup and kind not in starts:
                folder = project / f"study/warmup-{kind}-{seed}"
                starts[kind] = Run(None, cfg, folder, None, None, kind == PENALISED, warmup)
                runs.append(starts[kind])
            folder = project / f"study/{criterion}-{seed}"
            prune = criterion != DENSE
            runs.append(Run(criterion, cfg, folder, starts.get(kind), teacher, prune, warmup))
            if base.sca.soft and not prune:
                teacher = runs[-1]
    return runs


def study(
    project: Project, criteria: Sequence[str], seeds: int, engine: Engine, force: bool, console: Console
) -> dict[str, Any]:
    """Run what is not there yet, on one thread each; returns and writes study.json.

    The file is the same wherever and in whatever order the runs were at work; what they took is in their folders.

    Raises:
        ValueError: as `carry_out`.
    """
    runs = plan(project, criteria, range(seeds))
    if force:
        shutil.rmtree(project / "study", ignore_errors=True)
        (project / "study.json").unlink(missing_ok=True)
    for name in ("study.json", "study.png", "study/room"):
        check_place(project / name)
    bring_back(project, runs)
    started = time.monotonic()
    carry_out(project, runs, engine, console)
    result = collect(project, runs)
    console.print(f"study: done in {time.monotonic() - started:.0f} s")
    return result


def bring_back(project: Project, runs: Sequence[Run]) -> None:
    """Results that study.json holds and the runs' folders do not: it may come from another machine."""
    path = project / "study.json"
    remedy = "remove the file: the runs of this machine are kept in study/"
    found = read_json(path, remedy, ("rows",))["rows"] if path.is_file() else []
    with readable(path, remedy, KeyError, TypeError):
        held = {(row["criterion"], row["seed"]): row for row in found}
        settings = {key: row["settings"] for key, row in held.items()}
    for run in runs:
        key = (run.criterion, run.cfg.train.seed)
        row = held.get(key)
        if row and settings[key] == run.settings and not run.finished:
            run.folder.mkdir(parents=True, exist_ok=True)
            write_json(run.result, row)


def collect(project: Project, runs: Sequence[Run]) -> dict[str, Any]:
    """The rows of the runs that are finished, as study.json."""
    cfg = project.network
    kept = [run.row for run in runs if run.criterion and run.finished]
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in kept]
    result = {
        "dataset": cfg.data.path if cfg.data else cfg.dataset,
        "network": cfg.name,
        "time_steps": cfg.time_steps,
        "weight_bits": cfg.quant.weight_bits,
        "epochs": cfg.train.epochs,
        "budget": {"cycles": cfg.sca.cycles, "keep": cfg.sca.keep, "objective": cfg.sca.objective},
        "rows": rows,
    }
    write_json(project / "study.json", result)
    return result


def carry_out(project: Project, runs: Sequence[Run], engine: Engine, console: Console) -> None:
    """Keeps the engine at work on what can start and has no result yet.

    Raises:
        ValueError: a run failed, or its result is of other settings; the message says why and what to do.
    """
    if stale := [run for run in runs if run.row and run.row["settings"] != run.settings]:
        raise ValueError(
            f"{stale[0].folder.parent}: made with other settings: {', '.join(run.folder.name for run in stale)}; "
            f"remove the folder (--force does), or choose another for what is generated"
        )
    waiting = _left(runs)
    active: dict[Job, Run] = {}
    images = partial(_images, project.network, project.data)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("epochs"))
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, *times, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("study", total=sum(run.epochs for run in runs))
        while waiting or active:
            for run in filter(_ready, tuple(waiting)):
                if engine.room:
                    waiting.remove(run)
                    job = _job(run, images)
                    active[job] = run
                    engine.start(job)
            for end in engine.ended(POLL):
                run = active.pop(end.job)
                if end.problem or not run.finished:
                    check_place(run.result)  # where there is no room, its output cannot say so
                    raise ValueError(_failure(run, end.problem))
                console.print(f"[dim]study: {run.title} done[/dim]", highlight=False)
                collect(project, runs)
            progress.update(task, completed=sum(map(_epochs_done, runs)))


def _job(run: Run, images: Callable[[], Any]) -> Job:
    base = run.folder.parent
    read = [other.checkpoint for other in (run.start,) if other] + [other.model for other in (run.teacher,) if other]
    reads = tuple(str(path.relative_to(base)) for path in read)
    return Job(f"study: {run.title}", _process, (run,), base, run.folder.name, reads, images)


def _failure(run: Run, problem: str) -> str:
    if problem and problem != IN_OUTPUT:
        return f"study: {run.title} failed: {problem}"
    return f"study: {run.title} failed; {run.folder}/output.txt ends with\n{_tail(run)}"


def _left(runs: Sequence[Run]) -> list[Run]:
    """What is to be run: that which has no result, and what it needs of others and is gone or not there yet."""
    wanted = {run for run in runs if run.criterion and not run.finished}
    wanted |= {run.teacher for run in wanted if run.teacher and not run.teacher.model.is_file()}
    wanted |= {run.start for run in wanted if run.start and not run.start.finished}
    return [run for run in runs if run in wanted]


def _ready(run: Run) -> bool:
    started = run.start is None or run.start.finished
    return started and (run.teacher is None or run.teacher.model.is_file())


def _epochs_done(run: Run) -> int:
    if run.finished:
        return run.epochs
    try:
        rows = len((run.folder / "log.csv").read_text().splitlines()) - 1
    except OSError:
        return 0
    return max(0, rows - (run.warmup if run.criterion else 0))


def _tail(run: Run) -> str:
    try:
        return "\n".join((run.folder / "output.txt").read_text().splitlines()[-3:])
    except OSError:
        return "nothing"


def _images(cfg: NetworkConfig, data: Path) -> Any:
    from scaflow.model.data import dataset_of

    return dataset_of(cfg, data)


def _process(base: Path, run: Run, data: Any) -> None:
    """One run, in a process of its own; what it has to say stands in its folder."""
    import torch

    torch.set_num_threads(1)
    run = run.among(base)
    with (run.folder / "output.txt").open("a", buffering=1) as file:
        try:
            _train_and_measure(run, data, Console(file=file, width=160))
        except Exception as error:
            file.write(f"{error}\n" if isinstance(error, ValueError | OSError) else traceback.format_exc())
            raise ValueError(IN_OUTPUT) from None


def _train_and_measure(run: Run, data: Any, console: Console) -> None:
    from scaflow.flow.training.network import train_network

    started = time.monotonic()
    path = train_network(
        run.cfg,
        data,
        run.folder,
        prune=run.prune,
        resume=True,
        start=run.start and run.start.checkpoint,
        until=None if run.criterion else run.warmup,
        teacher=run.teacher and run.teacher.model,
        console=console,
    )
    row = measure(run, path, data) if run.criterion else {}
    write_json(run.result, {**row, "seconds": round(time.monotonic() - started), "settings": run.settings})


def measure(run: Run, path: Path, data: Any) -> dict[str, Any]:
    """A row of study.json, from the integer network of a model.pt.

    accuracy: on the whole test set. parameters: weights of the compact network, and two numbers a channel (a class:
    one). synops: spikes times the kept neurons that read them, an image. cycles, interval: the cycle law of the compact
    network's list design at the lanes of the dense one, all stages and the slowest. cycles_event: of its event design
    at equal lanes, from the spikes.
    """
    from scaflow.flow.activity.events import figures, lay_out
    from scaflow.flow.rungs import accuracy
    from scaflow.flow.training.network import folded_network
    from scaflow.hw.cost import folding_of, outline
    from scaflow.model.config import FoldConfig
    from scaflow.model.train import load_trained
    from scaflow.quant.compact import compact
    from scaflow.quant.folded import to_graph
    from scaflow.quant.graph import Conv, Neuron, execute

    trained = load_trained(path)
    graph = to_graph(folded_network(path))
    small = compact(graph)[0] if run.prune else graph
    logits = execute(small, data.test_images)
    whole = outline(run.cfg)
    lanes = list(folding_of(run.cfg, whole).values())
    weighted = [node for node, _ in small.weighted]
    spiking = [node for node in small.nodes if isinstance(node, Conv | Neuron)]
    folding = {node.name: fold for node, fold in zip(weighted, lanes, strict=True)}
    laws, dense = list(_laws(small, lanes)), list(_laws(whole, lanes))
    images = data.test_images[:SPIKE_IMAGES]
    event = figures(lay_out(small, folding, FoldConfig(), data.train_images[:64]), graph, images)
    return {
        "criterion": run.criterion,
        "seed": run.cfg.train.seed,
        "accuracy": accuracy(logits, data.test_labels),
        "validation_accuracy": trained.folded_accuracy,
        "parameters": sum(n.weight.size for n in weighted) + 2 * sum(n.bias.size for n in spiking)
        + small.readout.bias.size,
        "synops": _synops(small, images),
        "cycles": sum(laws),
        "cycles_over_dense": sum(laws) / sum(dense),
        "interval": max(laws),
        "cycles_event": sum(row["cycles"] for row in event) + laws[-1],
        "channels": [len(node.kept) for node in spiking],
    }


def _laws(graph: Any, lanes: Sequence[Any]) -> Iterator[int]:
    from scaflow.hw.cycles import node_law

    for (node, edge), fold in zip(graph.weighted, lanes, strict=True):
        yield node_law(graph, node, edge, fold.pe, fold.simd, len(edge.kept), graph.outputs(node), fold.rounds)


def _synops(graph: Any, images: Any) -> float:
    """Of the spiking layers behind the first and the read-out, an image."""
    from scaflow.flow.activity.events import BATCH
    from scaflow.hw.activity import reads, window_events
    from scaflow.quant.graph import Readout

    total = 0
    for start in range(0, len(images), BATCH):
        edges = reads(graph, images[start : start + BATCH])
        for node, _ in graph.weighted[1:]:
            seen = edges[node.name]
            if isinstance(node, Readout):
                total += int(seen.sum(dtype="int64")) * len(node.weight)
            else:
                total += int(window_events(seen, node, [0] * seen.shape[2]).sum(dtype="int64")) * len(node.kept)
    return total / len(images)
