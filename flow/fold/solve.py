"""`scaflow fold`: the folding of a network for a target or a budget, and what pruning gains under the same budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scaflow.flow.activity.events import CALIBRATION_IMAGES
from scaflow.flow.fold.report import FOLDED, graph_digests
from scaflow.flow.stages import Progress, Project
from scaflow.hw.activity import reads
from scaflow.hw.area import DEVICES, Area, Device, area
from scaflow.hw.clock import predict
from scaflow.hw.design import Design, design
from scaflow.hw.fold import Folding, dealt, narrowed
from scaflow.hw.groups import SYNAPSE
from scaflow.hw.solve import Limits, Plan, Problem, fastest, least_area, problem
from scaflow.model.config import NetworkConfig
from scaflow.model.files import check_place, write_json, write_text
from scaflow.model.limits import AXI_BYTES
from scaflow.quant.graph import Graph, load

SCHEDULERS = {"list": ("list",), "event": ("event",), "auto": ("list", "event")}
CLOCK_IMAGES = 16  # of the calibration images, by which the exact clock judges a plan
ROUNDS = 5  # a plan whose exact interval misses the target is solved again, for a shorter one


@dataclass(frozen=True)
class Request:
    """What is asked for: a rate, or the best rate within a budget."""

    device: Device
    clock_mhz: float
    target_fps: float | None
    max_luts: float | None

    @property
    def interval(self) -> float:
        """The longest interval that meets the rate, cycles."""
        return self.clock_mhz * 1e6 / self.target_fps if self.target_fps else math.inf

    @property
    def limits(self) -> Limits:
        return Limits.of(self.device, self.max_luts)

    def rate(self, interval: float) -> float:
        """Images a second."""
        return self.clock_mhz * 1e6 / interval

    def __str__(self) -> str:
        wanted = f"{self.target_fps:,.0f} images/s" if self.target_fps else f"{self.max_luts:,.0f} LUTs"
        return f"{wanted} on {self.device.name} at {self.clock_mhz:g} MHz"


def ask(device: str, clock_mhz: float, target_fps: Sequence[float], max_luts: Sequence[float]) -> list[Request]:
    """Requests as a user writes them.

    Raises:
        ValueError: no such device, or not either rates or budgets.
    """
    problems = []
    if device not in DEVICES:
        problems.append(f"--device {device!r} is unknown; use one of {', '.join(DEVICES)}")
    if bool(target_fps) == bool(max_luts):
        problems.append("give one of --target-fps (for the least area) and --max-luts (for the best rate)")
    if problems:
        raise ValueError("fold: " + "\n".join(problems))
    rates = [Request(DEVICES[device], clock_mhz, fps, None) for fps in dict.fromkeys(target_fps)]
    return rates + [Request(DEVICES[device], clock_mhz, None, luts) for luts in dict.fromkeys(max_luts)]


@dataclass(frozen=True)
class Solved:
    """A plan with its design and its interval by the exact clock."""

    plan: Plan
    laid: Design
    interval: float


class Impossible(ValueError):
    """No folding is as asked; says the best that is possible."""


def fold_network(project: Project, request: Request, scheduler: str, progress: Progress) -> dict[str, Any]:
    """Fold the pruned network as asked, and the dense one under the same budget.

    Reads compact/graph, dense/graph and some training images. Writes fold.json and fold.toml.

    Raises:
        ValueError: a graph is missing; or the request is impossible: says the best that is possible.
    """
    check_graphs(project)
    for name in ("fold.json", "fold.toml"):
        check_place(project / name)
    images = calibration_images(project.network, project.data)
    result = fold_graphs(project.folder, request, scheduler, images, progress, project.network.fold.axi_bytes)
    result["graphs"] = graph_digests(project)
    write_json(project / "fold.json", result)
    write_text(project / "fold.toml", result["toml"])
    return result


def check_graphs(project: Project) -> None:
    """
    Raises:
        ValueError: a graph is missing; or the network is of recordings, for which none of this is known.
    """
    if project.network.frames:
        raise ValueError(
            f"fold: {project.net} is of recordings, and foldings are solved for images alone; give pe, simd, neurons"
            " and groups under [fold.event] yourself, and see what they cost by `scaflow synth` and `scaflow sim`"
        )
    missing = [f"{name}/graph.json" for name in FOLDED if not (project / f"{name}/graph.json").is_file()]
    if missing:
        raise ValueError(
            f"fold: missing what it reads: {', '.join(missing)}\n  run `scaflow compile {project.net}` first"
        )


def calibration_images(network: NetworkConfig, data: Path) -> np.ndarray:
    from scaflow.model.data import dataset_of

    return dataset_of(network, data, few=CALIBRATION_IMAGES).train_images[:CALIBRATION_IMAGES]


def fold_graphs(
    folder: Path,
    request: Request,
    scheduler: str,
    images: np.ndarray,
    progress: Progress,
    axi_bytes: int = AXI_BYTES,
) -> dict[str, Any]:
    """The folding of folder/compact/graph, and what pruning gains on folder/dense/graph, where images come in by beats
    of so many bytes.

    Raises:
        Impossible: there is none.
    """
    graphs = {name: load(folder / f"{name}/graph") for name in FOLDED}
    family = request.device.family
    few = images[:CLOCK_IMAGES]

    def solver(graph: Graph, schedulers: Sequence[str]) -> tuple[Problem, Callable[[Plan], Solved]]:
        seen = reads(graph, images) if "event" in schedulers else {}
        choices = problem(graph, family, schedulers, seen, axi_bytes)
        return choices, lambda plan: timed(graph, plan, seen, few, axi_bytes)

    progress("fold: the choices of the pruned network's stages")
    pruned, time_pruned = solver(graphs["compact"], SCHEDULERS[scheduler])
    main = solve(pruned, request, time_pruned)
    progress("fold: the dense network under the same budget")
    dense, time_dense = solver(graphs["dense"], ("list",))
    gains = compare(dense, time_dense, graphs["compact"], pruned, time_pruned, request)
    return {
        "request": str(request),
        "device": request.device.name,
        "clock_mhz": request.clock_mhz,
        "target_fps": request.target_fps,
        "max_luts": request.max_luts,
        "scheduler": scheduler,
        "axi_bytes": axi_bytes,
        **row(main, request),
        "stages": stage_rows(main, family),
        "gains": gains,
        "toml": toml(main.plan.folding, axi_bytes),
    }


def solve(found: Problem, request: Request, time: Callable[[Plan], Solved]) -> Solved:
    """The plan that the exact clock agrees with.

    The mean of each stage is what a plan is made of; where images differ, queues between the stages do not level out
    everything, and the whole may be slower than its slowest stage.

    Raises:
        Impossible: says the best that is possible.
    """
    if request.target_fps is None:
        plan = fastest(found, request.limits)
        if plan is None:
            raise Impossible(f"fold: not even the smallest design fits {request}: {_smallest(found, request)}")
        return time(plan)
    goal = request.interval
    for _ in range(ROUNDS):
        plan = least_area(found, request.limits, goal)
        if plan is None:
            break
        solved = time(plan)
        if solved.interval <= request.interval:
            return solved
        goal *= 0.998 * request.interval / solved.interval
    best = fastest(found, request.limits)
    if best is None:
        raise Impossible(f"fold: not even the smallest design fits {request}: {_smallest(found, request)}")
    at = time(best)
    raise Impossible(
        f"fold: {request} cannot be met; the best is {request.rate(at.interval):,.0f} images/s, an interval of"
        f" {at.interval:,.0f} cycles with {best.area.placed:,.0f} LUTs, {best.area.bram:g} block RAMs and"
        f" {best.area.dsp} DSPs: lower the target, raise the clock or take a larger device"
    )


def _smallest(found: Problem, request: Request) -> str:
    least = least_area(found, Limits(), math.inf)
    assert least is not None
    return (
        f"it takes {least.area.placed:,.0f} LUTs, {least.area.bram:g} block RAMs and {least.area.dsp} DSPs, at"
        f" {request.rate(least.interval):,.0f} images/s; raise the budget or take a larger device"
    )


def timed(
    graph: Graph, plan: Plan, seen: Mapping[str, np.ndarray], images: np.ndarray, axi_bytes: int = AXI_BYTES
) -> Solved:
    """Lay a plan out, its banks dealt by what the stages read, and time it with the exact clock."""
    folding = plan.folding
    laid = design(graph, folding, dealt(graph, folding, seen), axi_bytes=axi_bytes)
    if laid.interval is not None:
        return Solved(plan, laid, laid.interval)
    return Solved(plan, laid, float(predict(laid, images).interval.mean()))


def compare(
    dense: Problem,
    time_dense: Callable[[Plan], Solved],
    compact: Graph,
    pruned: Problem,
    time_pruned: Callable[[Plan], Solved],
    request: Request,
) -> dict[str, Any]:
    """The gains of pruning: on the lanes of the dense design, and within its area.

    Where the dense network cannot meet the target, its fastest design on the device is what the others are held to.
    """
    limits = request.limits
    plan = least_area(dense, limits, request.interval) if request.target_fps else None
    plan = plan or fastest(dense, limits)
    if plan is None:
        return {}  # the dense network does not fit at all
    before = time_dense(plan)
    lanes = design(compact, narrowed(compact, plan.folding), axi_bytes=before.laid.axi_bytes)
    spent = sum((area(stage.instances, request.device.family) for stage in lanes.stages), plan.ends)
    within = fastest(pruned, Limits(plan.area.placed, limits.bram, limits.dsp))
    assert lanes.interval is not None
    result = {
        "dense": row(before, request),
        "same_lanes": figures(lanes.interval, spent, request),
    }
    if within is not None:
        result["same_area"] = row(time_pruned(within), request)
    return result


def row(solved: Solved, request: Request) -> dict[str, Any]:
    return figures(solved.interval, solved.plan.area, request)


def figures(interval: float, taken: Area, request: Request) -> dict[str, Any]:
    return {
        "interval": interval,
        "fps": request.rate(interval),
        "lut": round(taken.placed),
        "ff": round(taken.ff),
        "bram": taken.bram,
        "dsp": taken.dsp,
    }


def stage_rows(solved: Solved, family: str) -> list[dict[str, Any]]:
    """A row a stage; the parts of the whole that belong to none are the row `ends`."""
    rows = [
        {
            "name": name,
            "pe": choice.fold.pe,
            "simd": choice.fold.simd,
            "neurons": choice.fold.served,
            "scheduler": choice.fold.scheduler,
            "cycles": choice.cycles,
            "lut": round(choice.area.placed),
            "bram": choice.area.bram,
            "dsp": choice.area.dsp,
        }
        for name, choice in solved.plan.stages.items()
    ]
    ends = solved.plan.ends
    return [*rows, {"name": "ends", "lut": round(ends.placed), "bram": ends.bram, "dsp": ends.dsp}]


def toml(folding: Folding, axi_bytes: int = AXI_BYTES) -> str:
    """The section of a network's TOML that asks for this folding; that of an event design stands beside [fold], which
    says by how many bytes images come in."""
    *spiking, readout = folding.values()
    pe = ", ".join(str(fold.pe) for fold in spiking)
    simd = ", ".join(str(fold.simd) for fold in (*spiking, readout))
    lanes = f"pe = [{pe}]\nsimd = [{simd}]\n"
    if any(fold.rounds > 1 for fold in spiking):
        lanes += f"neurons = [{', '.join(str(fold.served) for fold in spiking)}]\n"
    way_in = f"axi_bytes = {axi_bytes}\n" if axi_bytes != AXI_BYTES else ""
    if all(fold.scheduler == "list" for fold in folding.values()):
        return f"[fold]\n{way_in}{lanes}"
    schedulers = ", ".join(f'"{fold.scheduler}"' for fold in spiking)
    beside = f"# beside this in [fold]: {way_in}" if way_in else ""
    section = f"{beside}[fold.event]\n{lanes}scheduler = [{schedulers}]\n"
    if readout.scheduler == "event":
        section += 'readout = "event"\n'
    grouped = [fold.group for fold in (folding.values() if readout.scheduler == "event" else spiking)]
    if any(group != SYNAPSE for group in grouped):
        section += f"groups = {[list(group) for group in grouped]}\n"
    return section
