"""A QONNX file as an integer graph: of our export, or of any Brevitas script that uses the `LIF` node.

What is understood, from the image to the logits:

    image     Mul/Div by a scalar, one unsigned 8-bit Quant; its integers are the pixels
    layer     Conv, or Flatten and MatMul/Gemm, with a Quant weight of 2 to 8 bits; then, in any order,
              BatchNormalization and Mul, Div, Add, Sub by a constant per channel; then LIF.
              In the first layer a Tile repeats the batch T times, before or after the weights.
    MaxPool   on spikes, windows that do not overlap
    read-out  MatMul/Gemm with a Quant weight of one scale, Add, Reshape to [T, N, classes],
              ReduceSum or ReduceMean over axis 0, Mul/Div by a positive scalar
    anywhere  Identity, Dropout, Cast between float types, Expand by ones

Everything else is refused; all that is refused is listed together.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.fold_constants import FoldConstants
from qonnx.transformation.infer_shapes import InferShapes

from scaflow.quant.graph import Conv, Graph, execute
from scaflow.quant.qonnx_reader import Reading, title
from scaflow.quant.qonnx_run import run


@dataclass(frozen=True)
class LayerReport:
    """How one neuron layer became integer; spikes are compared with those qonnx computes from the file."""

    name: str
    source: str  # the LIF node
    fraction_bits: int
    exact: bool  # the file carries `step`: it is the integer network
    spikes_compared: int
    spikes_differ: int


@dataclass(frozen=True)
class ImportReport:
    layers: tuple[LayerReport, ...]
    input_scale: float  # what one pixel level is worth at the file's input
    logit_scale: float  # what one integer of a logit is worth at the file's output


def import_qonnx(path: Path) -> Graph:
    """Read a QONNX file into the integer graph.

    Raises:
        ValueError: the file is missing, is no ONNX, or holds what the graph cannot represent: every such node
            with its reason and remedy.
    """
    return _read(Path(path))[1].graph


def import_with_report(path: Path, images: np.ndarray | None = None) -> tuple[Graph, ImportReport]:
    """As `import_qonnx`, and how near the integers came to the file.

    Spikes are compared on `images`, uint8 [N, C, H, W]; without images, on eight of noise.
    """
    model, reading = _read(Path(path))
    graph = reading.graph
    if images is None:
        images = np.random.default_rng(0).integers(0, 256, (8, *graph.input_shape)).astype(np.uint8)
    tensors = run(model, images * reading.input_scale, [source.output[0] for source in reading.sources])
    _, spikes = execute(graph, images, trace=True)
    layers = []
    convs = [node for node in graph.nodes if isinstance(node, Conv)]
    for node, source in zip(convs, reading.sources, strict=True):
        chunks = tensors[source.output[0]]
        rows = chunks.reshape(len(chunks), graph.time_steps, -1, *chunks.shape[2:]).swapaxes(1, 2)
        theirs = rows.reshape(-1, *rows.shape[2:])[: len(images)].reshape(spikes[node.name].shape)
        differ = int((theirs != spikes[node.name]).sum())
        exact = len(source.input) > 2
        layers.append(LayerReport(node.name, title(source), node.fraction_bits, exact, theirs.size, differ))
    return graph, ImportReport(tuple(layers), reading.input_scale, reading.logit_scale)


def execute_qonnx(path: Path, images: np.ndarray) -> np.ndarray:
    """Logits of a file as qonnx executes it, in whole units of the read-out's scale: int64 [N, classes].

    Args:
        images: uint8 [N, C, H, W].
    """
    model, reading = _read(Path(path))
    output = model.graph.output[0].name
    logits = run(model, images * reading.input_scale, [output])[output]
    return np.rint(logits.reshape(-1, logits.shape[-1])[: len(images)] / reading.logit_scale).astype(np.int64)


def _read(path: Path) -> tuple[ModelWrapper, Reading]:
    if not path.exists():
        raise ValueError(f"{path}: no such file; export the network first")
    try:
        model = ModelWrapper(str(path))
        model = model.transform(InferShapes()).transform(FoldConstants())
    except Exception as error:  # the readers of ONNX raise whatever their layers raise
        raise ValueError(f"{path}: cannot be read as ONNX: {error}") from error
    reading = Reading(model)
    if reading.problems:
        lines = "\n".join(f"  {problem}" for problem in reading.problems)
        raise ValueError(f"{path}: {len(reading.problems)} problem(s)\n{lines}")
    return model, reading
