"""`scaflow reference`: the designs of a shipped network from its kept integer graphs, without training or torch.

graphs/<net>/ keeps {dense,pruned}.{json,npz} and figures.json, the test images that each classifies rightly (of real
recordings under the digest of their frames); every folder there is a reference network. docs/reference/README.md says
how they were made.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaflow.flow.designs import laying
from scaflow.flow.stages import TRAININGS, Progress, Project, Stage, shipped
from scaflow.model.config import NetworkConfig, load_network
from scaflow.model.files import read_json, write_json

if TYPE_CHECKING:
    import numpy as np

KEPT = Path(__file__).with_name("graphs")
TRAINED = ("*.pt*", "*.onnx*")  # what a training leaves in its folder, whole or not


def kept() -> tuple[str, ...]:
    """The networks whose graphs come with the program."""
    return tuple(sorted(path.parent.name for path in KEPT.glob("*/figures.json")))


def stage(project: Project, progress: Progress) -> Stage:
    """Reads the kept graphs, the training and the test images. Writes what compile writes, with neither rung 0 nor 1.

    Raises:
        ValueError: no graphs are kept of this network, or of another description of it; or the folder holds a
            training, whose designs these would replace.
    """
    _check(project)
    folder = KEPT / project.network.name
    return Stage(
        name="reference",
        reads=(
            *(folder / f"{training}.{kind}" for training in TRAININGS for kind in ("json", "npz")),
            folder / "figures.json",
        ),
        writes=laying.written(project),
        run=lambda: _lay_out(project, folder, lambda line: progress(f"reference: {line}")),
        settings=laying.settings(project),
        rooms=laying.ROOMS,
        together=True,
    )


def _check(project: Project) -> None:
    name = project.network.name
    if name not in kept():
        raise ValueError(
            f"reference: no graphs of {name!r} are kept; there are those of {', '.join(kept())}."
            f" Train it: `scaflow train {project.net}`"
        )
    other = _differing(project.network, load_network(shipped()[name]))
    if other:
        raise ValueError(
            f"reference: {project.net} is not the network of the kept graphs: {', '.join(other)} differ from"
            f" {shipped()[name]}; change [fold] alone, or train it: `scaflow train {project.net}`"
        )
    held = [path for training in TRAININGS for form in TRAINED for path in sorted((project / training).glob(form))]
    held += [path for path in (project / "stamps/compile.json",) if path.is_file()]
    if held:
        raise ValueError(
            f"reference: {project.folder} holds a training of {name} ({held[0]}), whose designs would be replaced;"
            f" give another folder by --build, or go on with the training: `scaflow compile {project.net}`"
        )


def _differing(mine: NetworkConfig, its: NetworkConfig) -> list[str]:
    """The keys in which two descriptions differ; [fold] is free, it changes the designs and not the graphs."""
    ours, theirs = (network.model_dump(mode="json", exclude={"fold"}) for network in (mine, its))
    return [key for key in ours if ours[key] != theirs.get(key)]


def _lay_out(project: Project, folder: Path, progress: Progress) -> None:
    from scaflow.flow import rungs
    from scaflow.flow.activity.events import CALIBRATION_IMAGES
    from scaflow.model.data import dataset_of
    from scaflow.quant.graph import execute, load, validate

    data = dataset_of(project.network, project.data, few=CALIBRATION_IMAGES)
    correct = expected(project.network, project.data, read_json(folder / "figures.json"), data.test_images)
    if correct is None:
        progress("of these test recordings no count is kept")
    graphs, logits = {}, {}
    equality: list[dict[str, Any]] = []
    for training in TRAININGS:
        graphs[training] = validate(load(folder / training))
        progress(f"{training}, golden model on {len(data.test_images):,} test images")
        logits[training] = execute(graphs[training], data.test_images, lengths=data.test_lengths)
        if correct is not None:
            right = int((logits[training].argmax(1) == data.test_labels).sum())
            other = abs(right - correct[training])
            equality.append(rungs.row("kept: test images classified rightly", training, len(data.test_images), other))
    laid = laying.lay_out_designs(project, graphs, logits, data, progress)
    equality += laid.pop("equality")
    write_json(project / "compile.json", {"equality": equality, **laid, "provenance": laying.provenance()})


def expected(
    network: NetworkConfig, root: Path, figures: dict[str, Any], images: np.ndarray
) -> dict[str, int] | None:
    """The test images that each training classifies rightly, as it is kept; None: of other recordings nothing is."""
    from scaflow.model.events.dataset import real_nmnist

    if network.dataset != "nmnist" or real_nmnist(root) is None:
        return figures["correct"]
    return figures.get("recorded", {}).get(frames_digest(images))


def frames_digest(frames: np.ndarray) -> str:
    """What tells the frames of some recordings from those of others."""
    return hashlib.sha256(frames.tobytes()).hexdigest()[:16]
