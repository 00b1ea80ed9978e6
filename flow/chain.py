"""The chain: what each verb reads, does and writes. The rooms do the work; this file joins them.

Heavy imports stand inside the functions, so that `--help` and an up-to-date stage answer at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from scaflow.flow.images import test_given, test_images
from scaflow.flow.stages import DESIGNS, TRAININGS, VARIANTS, Progress, Project, Stage, design_files
from scaflow.flow.workers import in_processes
from scaflow.model.files import read_json, readable, write_json
from scaflow.model.threads import processors

if TYPE_CHECKING:
    import numpy as np

    from scaflow.hw.design import Design
    from scaflow.hw.recordings import Given

WORKERS = processors()
# of this room, what a result depends on
OWN = ("flow/chain.py", "flow/images.py", "flow/native/counters.py", "flow/activity/events.py", "flow/rungs.py")
DENSE_MODEL = "dense/model.pt"
CYCLE_IMAGES = 3  # two intervals a stage: the second shows that the first was no accident
LATENCY_IMAGES = 4


def fetch_data(project: Project, progress: Progress) -> None:
    """Obtains the images of the network. Writes DATA/<data set>/; does nothing if they are there."""
    from scaflow.model.fetch import provide

    provide(project.network, project.data, progress)


def train_stages(
    project: Project, only: Sequence[str], resume: bool, console: Console, device: str = "auto"
) -> list[Stage]:
    """Reads the data and the network's description. Writes <training>/model.pt, log.csv, events.csv.

    With soft targets the pruned training reads the dense one's model.

    The sources of the program are no input of this stage: it is the dear one, and is repeated for another
    description, not for another version.
    """

    def decisive(training: str) -> dict[str, Any]:
        ignored = {"fold"} if training == "pruned" else {"fold", "sca"}
        return project.network.model_dump(mode="json", exclude=ignored)

    return [
        Stage(
            name=f"train-{training}",
            reads=(project / DENSE_MODEL,) if training == "pruned" and project.network.sca.soft else (),
            writes=(project / f"{training}/model.pt", project / f"{training}/log.csv"),
            run=partial(_train, project, training, resume, console, device),
            settings={"network": decisive(training)},
            remedy=f"scaflow train {project.net} --only dense",
        )
        for training in only
    ]


def export_stages(project: Project) -> list[Stage]:
    """Reads <training>/model.pt. Writes <training>/model.onnx (QONNX); a network of recordings has no such form."""
    if project.network.frames:
        return []
    return [
        Stage(
            name=f"export-{training}",
            reads=(project / f"{training}/model.pt",),
            writes=(project / f"{training}/model.onnx",),
            run=partial(_export, project, training),
            rooms=("model", "quant"),
            remedy=f"scaflow train {project.net}",
        )
        for training in TRAININGS
    ]


def sim_stage(project: Project, images: int, stalls: bool, progress: Progress) -> Stage:
    """Reads the designs and the test images. Writes sim.json (rung 3, interval, latency)."""
    return Stage(
        name="sim",
        reads=design_files(project),
        writes=(project / "sim.json",),
        run=lambda: write_json(
            project / "sim.json", simulate_designs(project, DESIGNS, images, stalls, None, progress)
        ),
        settings={"images": images, "stalls": stalls},
        rooms=("quant", "hw", "sim", *OWN),
        remedy=f"scaflow compile {project.net}",
    )


def cycles_stage(project: Project, progress: Progress) -> Stage:
    """Reads the designs and the test images. Writes cycles.json (each stage alone)."""
    return Stage(
        name="cycles",
        reads=design_files(project),
        writes=(project / "cycles.json",),
        run=lambda: write_json(project / "cycles.json", measure_cycles(project, progress)),
        rooms=("quant", "hw", "sim", *OWN),
        remedy=f"scaflow compile {project.net}",
    )


def simulate_designs(
    project: Project,
    variants: Sequence[str],
    images: int,
    stalls: bool,
    waves: Path | None,
    progress: Progress,
) -> dict[str, Any]:
    """Run the tops on test images against the golden model: equality, and interval and latency in cycles.

    The interval is that between images: None where there is one alone.
    """
    chosen = test_given(project, images, progress)
    jobs = [(project, variant, chosen, stalls, waves) for variant in variants]
    results = _in_processes(_simulate_design, jobs, progress, "sim")
    return {
        "images": len(chosen),
        "equality": [line for result in results for line in result["equality"]],
        "counters": [line for result in results for line in result["counters"]],
        **{
            key: dict(zip(variants, (result[key] for result in results), strict=True))
            for key in ("interval", "latency")
        },
    }


def measure_cycles(project: Project, progress: Progress) -> dict[str, Any]:
    """Each stage of each design alone: cycles an image, measured and by law; its output against golden.

    The cycles of an event stage are those of each image after the first, in a list.
    """
    import numpy as np

    from scaflow.flow import rungs

    images = test_images(project, CYCLE_IMAGES, progress)
    images = images.reshape(-1, *project.network.input_shape)[:CYCLE_IMAGES]  # of recordings their frames, one by one
    # the cycles are counted between images: of fewer than those some come again
    images = np.resize(images, (CYCLE_IMAGES, *images.shape[1:]))
    names = [stage["name"] for stage in _manifest(project, "dense")["stages"]]
    jobs = [(project, variant, name, images) for name in names for variant in DESIGNS]
    results = dict(
        zip([job[1:3] for job in jobs], _in_processes(_measure_stage, jobs, progress, "cycles"), strict=True)
    )
    by_name = {
        variant: {stage["name"]: stage for stage in _manifest(project, variant)["stages"]}
        for variant in DESIGNS
    }
    stages = []
    for name in names:
        dense, skip, event = (by_name[variant][name] for variant in ("dense", "skip", "event"))
        stages.append(
            {
                "name": name,
                "pe": dense["pe"],
                "simd": dense["simd"],
                "kept_in": {"kept": skip["kept_in"], "total": dense["kept_in"]},
                "kept_out": {"kept": skip["kept_out"], "total": dense["kept_out"]},
                "cycles": {variant: results[variant, name]["cycles"][-1] for variant in VARIANTS},
                "law": {variant: by_name[variant][name]["law"] for variant in VARIANTS},
                "event": {key: event[key] for key in ("pe", "simd", "scheduler")}
                | {"cycles": results["event", name]["cycles"], "clock": results["event", name]["clock"]},
            }
        )
    equality = []
    for variant in DESIGNS:
        runs = [results[variant, name] for name in names]
        beats, wrong = (sum(run[key] for run in runs) for key in ("compared", "mismatches"))
        pairs = [pair for run in runs for pair in zip(run["cycles"], run["clock"], strict=True)]
        late = sum(measured != clock for measured, clock in pairs)
        equality += [
            rungs.row("2 each stage alone = golden, beats", variant, beats, wrong),
            rungs.row("2 each stage alone: cycles = exact clock", variant, len(pairs), late),
        ]
    return {"stages": stages, "equality": equality}


def activity_stage(project: Project, images: int, progress: Progress) -> Stage:
    """Reads the dense and the event design and the test images. Writes activity.json (events and their cycles)."""
    return Stage(
        name="activity",
        reads=design_files(project),
        writes=(project / "activity.json",),
        run=lambda: _activity(project, images, progress),
        settings={"images": images},
        rooms=("quant", "hw", *OWN),
        remedy=f"scaflow compile {project.net}",
    )


def _activity(project: Project, images: int, progress: Progress) -> None:
    from scaflow.flow.activity import events
    from scaflow.quant.graph import load

    chosen = test_given(project, images, progress)
    progress(f"activity: spikes of {len(chosen):,} test images")
    rows = events.figures(read_design(project, "event"), load(project / "dense/graph"), chosen)
    write_json(
        project / "activity.json", {"images": len(chosen), "stages": rows, "event": events.summary(rows)}
    )


def _train(project: Project, training: str, resume: bool, console: Console, device: str) -> None:
    from scaflow.flow.training.network import train_network
    from scaflow.model import parallel
    from scaflow.model.data import dataset_of

    left: list[str] = []
    data = dataset_of(project.network, project.data, left.append)
    if parallel.rank() == 0:
        console.print(f"train {training}")
        for line in left:
            console.print(f"  {line}", style="dim", markup=False, highlight=False, soft_wrap=True)
    train_network(
        project.network,
        data,
        project / training,
        prune=training == "pruned",
        resume=resume,
        teacher=project / DENSE_MODEL,
        device=device,
        console=console,
    )


def _manifest(project: Project, variant: str) -> dict[str, Any]:
    path = project / f"{variant}/rtl/manifest.json"
    keys = ("graph", "top", "interval", "axi_bytes", "stages")
    return read_json(path, f"run `scaflow compile {project.net} --force`", keys)


def _in_processes(work: Callable, jobs: Sequence[tuple], progress: Progress, title: str) -> list:
    """Results in the order of the jobs, at most one at work for each processor."""

    def done(job: tuple) -> None:
        progress(f"{title}: {', '.join(part for part in job if isinstance(part, str))} done")

    return in_processes(work, jobs, WORKERS, done)


def _simulate_design(
    project: Project, variant: str, chosen: Given, stalls: bool, waves: Path | None
) -> dict[str, Any]:
    """One design: stalled at random on all images, then flowing on a few: interval and latency.

    Args:
        chosen: uint8 [N, C, H, W], or recordings.
    """
    import numpy as np

    from scaflow.flow import rungs
    from scaflow.flow.native import counters
    from scaflow.hw.clock import predict
    from scaflow.hw.emit import check_emitted
    from scaflow.hw.recordings import as_frames
    from scaflow.quant.graph import execute, load

    # compact is held against the pruned network itself, not against its own graph
    graph, laid = load(project / f"{'dense' if variant == 'dense' else 'skip'}/graph"), read_design(project, variant)
    check_emitted(laid, project / f"{variant}/rtl")
    seen, lengths = as_frames(chosen)
    logits = execute(graph, seen, lengths=lengths)
    rtl = project / f"{variant}/rtl"
    equality = []
    if stalls:
        frames = rungs.run_images(rtl, chosen, logits.shape[1], rungs.STALLS)
        equality.append(
            rungs.row(
                "3 top = golden, random stalls", variant, len(chosen), rungs.wrong_frames(frames, logits)
            )
        )
    few = len(chosen) if not stalls else min(len(chosen), LATENCY_IMAGES)
    frames = rungs.run_images(rtl, chosen[:few], logits.shape[1], 0.0, waves=waves)
    wrong = rungs.wrong_frames(frames, logits[:few])
    equality.append(rungs.row("3 top = golden, flowing", variant, few, wrong))
    gaps = [after - before for before, after in pairwise(frames.out_end)]
    law = _manifest(project, variant)["interval"]
    if law is not None and gaps and laid.events is None:  # the last gap: by then every stage is full
        equality.append(rungs.row("3 top's interval = slowest stage's law", variant, 1, gaps[-1] != law))
    clock = predict(laid, chosen[:few])
    told = clock.out_at[:, -1] - clock.in_at[0, 0]
    seen = np.array(frames.out_end) - frames.in_start[0]
    equality.append(rungs.row("3 top's cycles = exact clock, image by image", variant, few, (told != seen).sum()))
    counted, rows = counters.measure(variant, laid, chosen[:LATENCY_IMAGES], frames)
    interval = None
    if gaps:  # an event design's varies
        interval = gaps[-1] if law is not None else round(sum(gaps) / len(gaps))
    return {
        "equality": equality + rows,
        "counters": counted,
        "interval": interval,
        "latency": frames.out_end[0] - frames.in_start[0] + 1,
    }


def _measure_stage(project: Project, variant: str, name: str, images: np.ndarray) -> dict[str, Any]:
    import tempfile

    from scaflow.flow import rungs
    from scaflow.hw.clock import stage_cycles

    laid = read_design(project, variant)
    with tempfile.TemporaryDirectory(prefix="scaflow-stage-") as scratch:
        run = rungs.run_stage_alone(laid, name, images, Path(scratch) / "rtl")
    clock = stage_cycles(laid, name, images).interval
    return asdict(run) | {"clock": clock.tolist()}


def read_design(project: Project, variant: str) -> Design:
    """The design that compile wrote."""
    from scaflow.hw.design import from_manifest
    from scaflow.quant.graph import load

    graph, manifest = load(project / f"{variant}/graph"), _manifest(project, variant)
    again = f"run `scaflow compile {project.net} --force`"
    with readable(project / f"{variant}/rtl/manifest.json", again, AttributeError, KeyError, TypeError):
        return from_manifest(graph, manifest)


def _export(project: Project, training: str) -> None:
    from scaflow.flow.training.network import folded_network
    from scaflow.quant.export import export

    export(folded_network(project / f"{training}/model.pt"), project / f"{training}/model.onnx")
