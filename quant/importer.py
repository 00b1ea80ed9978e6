"""A QONNX file as an integer graph: of our export, or of any Brevitas script that uses the `LIF` node.

What is understood, from the image to the logits:

    image     [N, C, H, W], [N, H, W, C] with a Transpose, or [N, features]; floats, or unsigned bytes and wider
              integers; Mul/Div by a scalar, one unsigned Quant: of 8 bits, whose integers are the pixels, or of fewer
              and rounding down, whose integers are the pixels' highest bits
    layer     Conv, or Flatten and MatMul/Gemm, with a weight of 2 to 8 bits by Quant, IntQuant or BipolarQuant; bias
              any constant; then, in any order, BatchNormalization and Mul, Div, Add, Sub by a constant per channel;
              then LIF. In the first layer a Tile repeats the batch T times, before or after the weights.
    fork      a tensor that several nodes read; the image only one. Sums that others read as well (or that are joined)
              go to LIFs by factors above 0
    join      Add or Sub of two currents of one shape, in front of LIF: the scales of one are those of the other,
              channel by channel, times one power of two; or Add of spikes of one worth, numbers then, below 256
    MaxPool   on spikes, windows that do not overlap
    sums      AveragePool and LpPool (p=1) on spikes, windows that do not overlap, GlobalAveragePool, ReduceMean and
              ReduceSum over rows and columns; Mul or Div by a positive scalar, Round where that makes whole numbers.
              In front of a linear layer they are in its weights, else a node, square and below 256
    groups    of a Conv, depthwise ones too: a Conv of all channels in the graph, zeros between the groups
    Pad       with zeros, of the image or of spikes; like uneven pads and dilations, a larger kernel in the graph
    read-out  MatMul/Gemm with a Quant weight of one scale, Add, Reshape to [T, N, classes],
              ReduceSum or ReduceMean over axis 0, Mul/Div by a positive scalar
    anywhere  Identity, Dropout, Expand by ones, Cast that keeps every value
    beside    what no logit depends on: further outputs, initialisers and inputs that nothing reads

Everything else is refused; all that is refused is listed together. qonnx_operators.py has each attribute. An import
with report holds the graph against an execution of the file (qonnx_replay.py); what rounding does not explain is
refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scaflow.quant.graph import Graph
from scaflow.quant.qonnx_file import listed, open_file
from scaflow.quant.qonnx_reader import Reading
from scaflow.quant.qonnx_replay import LayerReport, images_to_try, replay, run_file
from scaflow.quant.qonnx_run import Runner

__all__ = ["ImportReport", "LayerReport", "execute_qonnx", "import_qonnx", "import_with_report"]


@dataclass(frozen=True)
class ImportReport:
    layers: tuple[LayerReport, ...]
    input_scale: float  # what one pixel level is worth at the file's input
    logit_scale: float  # what one integer of a logit is worth at the file's output
    notes: tuple[str, ...] = ()  # what one should know of the design


def import_qonnx(path: Path) -> Graph:
    """Read a QONNX file into the integer graph.

    Raises:
        ValueError: the file is missing, is no ONNX, or holds what the graph cannot represent: every such node
            with its reason and remedy.
    """
    return _read(Path(path)).graph


def import_with_report(path: Path, images: np.ndarray | None = None) -> tuple[Graph, ImportReport]:
    """As `import_qonnx`, held against the file layer by layer, and how near the integers came to it.

    Spikes are compared on `images`, uint8 [N, C, H, W]; without images, on nothing, full scale, and noise.

    Raises:
        ValueError: also where the graph differs from the file by more than the rounding it announces.
    """
    path = Path(path)
    reading = _read(path)
    if images is None:
        images = images_to_try(reading.graph.input_shape)
    try:
        layers, problems, notes = replay(reading, images)
    except ValueError as error:
        raise listed(path, [str(error)]) from error
    if problems:
        raise listed(path, problems, "the graph is not the file's: ")
    report = ImportReport(tuple(layers), reading.input_scale, reading.logit_scale, (*reading.notes, *notes))
    return reading.graph, report


def execute_qonnx(path: Path, images: np.ndarray) -> np.ndarray:
    """Logits of a file as qonnx executes it, in whole units of the read-out's scale: int64 [N, classes].

    Args:
        images: uint8 [N, C, H, W].
    """
    path = Path(path)
    reading = _read(path)
    try:
        logits = run_file(reading, images, [reading.runner.file.outputs[0]])[0]
    except ValueError as error:
        raise listed(path, [str(error)]) from error
    return np.rint(logits.reshape(-1, logits.shape[-1])[: len(images)] / reading.logit_scale).astype(np.int64)


def _read(path: Path) -> Reading:
    """The part of the file that makes logits, read; of several outputs the first that are logits."""
    file = open_file(path)
    readings: list[Reading] = []
    for output in file.outputs:
        readings.append(Reading(Runner(file.up_to(output))))
        if not readings[-1].problems:
            break
    reading, outputs = readings[-1], ", ".join(map(repr, file.outputs))
    if reading.problems:
        few = min(readings, key=lambda other: len(other.problems))
        head = "" if len(readings) == 1 else f"{len(readings)} outputs ({outputs}), none can be read as logits: "
        raise listed(path, few.problems, head)
    if len(file.outputs) > 1:
        reading.notes.append(f"of the outputs {outputs}, {reading.runner.file.outputs[0]!r} is taken for the logits")
    return reading
