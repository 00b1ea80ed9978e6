"""A QONNX file from outside the project as a proved design: import, compact, lay out, simulate on noise."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from scaflow.flow import rungs
from scaflow.flow.stages import Progress
from scaflow.hw.design import design
from scaflow.hw.emit import emit
from scaflow.hw.fold import balanced
from scaflow.model.limits import AXI_BYTES, axi_problem
from scaflow.quant.compact import compact
from scaflow.quant.graph import execute, save
from scaflow.quant.importer import import_with_report


def import_design(
    file: Path, folder: Path, lanes: int, count: int, progress: Progress, axi_bytes: int = AXI_BYTES
) -> dict[str, Any]:
    """Write `folder/graph.{json,npz}` and `folder/rtl/`, and hold the design against the golden model.

    Args:
        count: images of noise to compare on.
        axi_bytes: of a beat in which images come in.

    Returns:
        layers (how near the integers are to the file's floats), stages (lanes and law), equality rows.

    Raises:
        ValueError: the file holds what the integer graph cannot represent, the graph is not what the file computes, or
            it needs more lanes; nothing is written then.
    """
    if not re.fullmatch(r"[A-Za-z][\w-]*", folder.name):
        raise ValueError(f"name {folder.name!r}: use letters, digits, - and _, a letter first")
    if problem := axi_problem(axi_bytes):
        raise ValueError(f"--axi-bytes {axi_bytes}: {problem}")
    progress(f"import: {file}")
    graph, found = import_with_report(file)
    for note in found.notes:
        progress(f"import: {note}")
    images = np.random.default_rng(0).integers(0, 256, (count, *graph.input_shape)).astype(np.uint8)
    small, certificate = compact(graph)
    logits = execute(graph, images)
    wrong = rungs.differing(execute(small, images), logits)
    equality = [rungs.row("certificate: compact = imported, logits", "compact", count, wrong)]
    laid = design(small, balanced(small, lanes, asked="--lanes"), axi_bytes=axi_bytes)
    folder.mkdir(parents=True, exist_ok=True)
    save(small, folder / "graph")
    emit(laid, folder / "rtl")
    progress(f"import: simulation on {count} images of noise")
    frames = rungs.run_images(folder / "rtl", images, logits.shape[1], rungs.STALLS)
    wrong = rungs.wrong_frames(frames, logits)
    equality.append(rungs.row("3 top = golden, random stalls", "compact", count, wrong))
    return {
        "layers": found.layers,
        "removed": len(certificate.removed),
        "stages": laid.stages,
        "interval": laid.interval,
        "equality": equality,
    }
