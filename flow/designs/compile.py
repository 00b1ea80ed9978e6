"""`scaflow compile`: the designs of a trained network, from its QONNX files, held against torch and QONNX.

A network of recordings has no QONNX form: its graph is that of the folded network, held against torch.
"""

from __future__ import annotations

from scaflow.flow.designs import laying
from scaflow.flow.stages import TRAININGS, Progress, Project, Stage
from scaflow.model.files import write_json

QONNX_IMAGES = 100


def stage(project: Project, progress: Progress) -> Stage:
    """Reads <training>/model.onnx, model.pt and the test images.

    Writes <design>/graph.{json,npz}, <design>/rtl/{top.sv,*.mem,manifest.json}, compile.json (rungs 0 and
    1, the certificate of compact, accuracy) and raster.npz (the spikes of one test image).
    """
    names = ("model.pt",) if project.network.frames else ("model.onnx", "model.pt")
    return Stage(
        name="compile",
        reads=tuple(project / f"{training}/{name}" for training in TRAININGS for name in names),
        writes=laying.written(project),
        run=lambda: _compile(project, lambda line: progress(f"compile: {line}")),
        settings=laying.settings(project),
        rooms=laying.ROOMS,
        together=True,
        remedy=f"scaflow export {project.net}",
    )


def _compile(project: Project, progress: Progress) -> None:
    from scaflow.flow import rungs
    from scaflow.flow.activity.events import CALIBRATION_IMAGES
    from scaflow.flow.training.network import folded_network
    from scaflow.model.data import dataset_of
    from scaflow.quant.folded import to_graph
    from scaflow.quant.importer import execute_qonnx, import_qonnx

    data = dataset_of(project.network, project.data, few=CALIBRATION_IMAGES)
    images, few = data.test_images, data.test_images[:QONNX_IMAGES]
    graphs, equality, logits = {}, [], {}
    for training in TRAININGS:
        qonnx = None if project.network.frames else project / f"{training}/model.onnx"
        imported = qonnx and import_qonnx(qonnx)
        folded = folded_network(project / f"{training}/model.pt")
        graphs[training] = graph = imported or to_graph(folded)
        progress(f"{training}, torch and golden model on {len(images):,} test images")
        logits[training], wrong = rungs.torch_against_golden(folded, graph, images, data.test_lengths)
        equality.append(rungs.row("0 torch = golden, spikes and logits", training, len(images), wrong))
        if qonnx:
            wrong = rungs.differing(execute_qonnx(qonnx, few), logits[training][: len(few)])
            equality.append(rungs.row("1 QONNX = golden, logits", training, len(few), wrong))
    laid = laying.lay_out_designs(project, graphs, logits, data, progress)
    equality += laid.pop("equality")
    write_json(
        project / "compile.json",
        {"equality": equality, **laid, "provenance": laying.provenance("torch", "brevitas", "qonnx")},
    )
