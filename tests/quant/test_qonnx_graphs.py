"""Graphs whose paths part and meet, as QONNX: written and read back, foreign ones, and what cannot be read."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import onnx
import pytest
import torch

from scaflow.quant.export import export, export_graph
from scaflow.quant.fold import fold
from scaflow.quant.folded import to_graph
from scaflow.quant.graph import (
    Current,
    Graph,
    Join,
    Neuron,
    Pool,
    Readout,
    SumPool,
    arranged,
    execute,
    validate,
)
from scaflow.quant.importer import execute_qonnx, import_qonnx, import_with_report
from scaflow.quant.qonnx_reader import Reading
from tests.hw.graphs import added, preactivated
from tests.quant.test_residual import IMAGES, _net


@pytest.mark.parametrize("prune", [False, True])
@pytest.mark.parametrize("neuron", [{"leak_shift": 2, "reset": "hard"}, {"decay": 0.7, "v_reset": -0.25}])
def test_a_trained_network_with_shortcuts_goes_both_ways(prune, neuron, tmp_path) -> None:
    folded = fold(_net(5, prune, neuron=neuron))
    written = export(folded, tmp_path / "model.onnx")
    assert written == to_graph(folded)
    read, report = import_with_report(tmp_path / "model.onnx", IMAGES)
    assert read == written
    assert all(layer.exact and layer.spikes_differ == 0 for layer in report.layers)
    with torch.no_grad():
        logits = folded.logits_int(torch.from_numpy(IMAGES) / 255).numpy()
    np.testing.assert_array_equal(execute(read, IMAGES), logits)
    np.testing.assert_array_equal(execute_qonnx(tmp_path / "model.onnx", IMAGES), logits)
    kinds = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert kinds.count("Add") == len(report.layers) + 1 + sum(isinstance(node, Join) for node in read.nodes)
    assert "Mul" not in kinds[kinds.index("Conv") :], "the grids of a trunk are powers of two in its scales"


def test_grids_that_need_more_than_float32(tmp_path) -> None:
    wide = {"weight_bits": 8, "first_bits": 8, "fraction_bits": 8}
    folded = fold(_net(1, quant=wide, neuron={"decay": 0.9}))
    export(folded, tmp_path / "model.onnx")
    np.testing.assert_array_equal(execute_qonnx(tmp_path / "model.onnx", IMAGES), execute(to_graph(folded), IMAGES))
    model = onnx.load(tmp_path / "model.onnx")
    assert any(node.op_type == "Cast" for node in model.graph.node)


def thirds() -> Graph:
    """Sums over windows of nine pixels, whose average no float holds; a join whose second current is the coarser."""
    graph = preactivated(seed=3, height=12, width=13)
    nodes: list = [replace(n, size=3, reads=n.reads) if isinstance(n, SumPool) else n for n in graph.nodes]
    nodes = [replace(n, in_bits=4) if n.name == "last" else n for n in nodes]
    nodes = [replace(n, weight=n.weight[:, :, :2, :2]) if isinstance(n, Readout) else n for n in nodes]
    return validate(replace(graph, nodes=tuple(nodes)))


@pytest.mark.parametrize("make", [preactivated, added, thirds])
def test_a_graph_by_hand_goes_both_ways(make, tmp_path) -> None:
    graph = make()
    images = np.random.default_rng(0).integers(0, 256, (6, *graph.input_shape)).astype(np.uint8)
    export_graph(graph, tmp_path / "model.onnx")
    read, report = import_with_report(tmp_path / "model.onnx", images)
    assert read == replace(graph, nodes=arranged(graph.nodes))
    logits = execute(graph, images)
    assert len(np.unique(logits)) > 10
    np.testing.assert_array_equal(execute(read, images), logits)
    np.testing.assert_array_equal(execute_qonnx(tmp_path / "model.onnx", images), logits)
    assert all(layer.exact and layer.spikes_differ == 0 and layer.spikes_fired for layer in report.layers)


def test_nodes_have_one_order_and_one_naming() -> None:
    graph = preactivated()
    names = [node.name for node in arranged(graph.nodes)]
    assert names == [
        "conv0", "fire0", "conv1", "conv2", "join2", "fire2", "conv3", "conv4", "shortcut4", "join4", "fire4",
        "sums4", "conv5", "readout",
    ]  # fmt: skip
    placed = dict(zip(names, arranged(graph.nodes), strict=True))
    np.testing.assert_array_equal(placed["conv4"].weight, graph.node("outer2").weight)  # it sees the latest spikes
    np.testing.assert_array_equal(placed["shortcut4"].weight, graph.node("across2").weight)
    given = {node.name: replace(node, reads=graph.sources[node.name]) for node in graph.nodes}
    order = ["stem", "fire0", "inner1", "outer1", "join1", "fire1", "across2", "inner2", "outer2", "join2"]
    other = [given[name] for name in [*order, *(name for name in given if name not in order)]]
    assert [n.name for n in other] != [n.name for n in graph.nodes]
    assert arranged(other) == arranged(graph.nodes) == arranged(arranged(graph.nodes))


@pytest.fixture(scope="module", params=["residual", "pooled", "grouped"])
def foreign(request, tmp_path_factory) -> tuple[str, Path, dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("foreign")
    script = Path(__file__).with_name("foreign_paths.py")
    command = [sys.executable, script, "net.onnx", "ints.npz", request.param]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    with np.load(folder / "ints.npz") as arrays:
        return request.param, folder / "net.onnx", dict(arrays)


def test_a_foreign_file_imports(foreign, digits) -> None:
    kind, path, integers = foreign
    graph, report = import_with_report(path, digits[:30])
    nodes = {node.name: node for node in graph.nodes}
    if kind == "residual":
        own = {"conv0": "stem", "conv1": "inner", "conv2": "outer", "conv4": "beside", "conv5": "mixed"}
        assert [type(n) for n in graph.nodes].count(Join) == 3
        assert {graph.edge(n.name).kind for n in graph.nodes if isinstance(n, Join)} == {"currents", "spikes"}
        assert nodes["join2"].shifts == (0, 9)  # 2^-14 of a pixel level, 2^-5
        assert {nodes[name].weight.shape[2:] for name in ("conv3", "shortcut3")} == {(1, 1), (3, 3)}
        assert nodes["conv5"].in_bits == 2
    elif kind == "grouped":
        own = {"conv2": "pointwise"}
        row, depthwise, groups = nodes["conv0"].weight, nodes["conv1"].weight, nodes["conv3"].weight
        np.testing.assert_array_equal(row[:, :, 2], integers["row"][:, :, 0])
        assert not row[:, :, [0, 1, 3, 4]].any()
        np.testing.assert_array_equal(depthwise[np.arange(6), np.arange(6)], integers["depthwise"][:, 0])
        assert not depthwise[~np.eye(6, dtype=bool)].any() and nodes["conv1"].stride == 2
        for part, other in ((slice(0, 3), slice(4, 8)), (slice(3, 6), slice(0, 4))):
            kept = slice(4 - other.start, 8 - other.start)
            np.testing.assert_array_equal(groups[part, kept, :, 1], integers["groups"][part, :, :, 0])
            assert not groups[part, other].any()
        assert sum("groups become one" in note for note in report.notes) == 2
    else:
        own = {"conv0": "first", "conv1": "second", "conv2": "third"}
        assert [n.size for n in graph.nodes if isinstance(n, SumPool)] == [2, 2]
        assert (nodes["conv1"].in_bits, nodes["readout"].weight.shape) == (3, (4, 6, 2, 2))
        assert (nodes["readout"].weight == nodes["readout"].weight[:, :, :1, :1]).all()
    for name, layer in own.items():
        np.testing.assert_array_equal(nodes[name].weight, integers[layer])
    for layer in report.layers:
        assert layer.spikes_fired > 50
        assert layer.spikes_differ <= 0.01 * layer.spikes_compared
    theirs, ours = execute_qonnx(path, digits[:30]), execute(graph, digits[:30])
    if not any(layer.spikes_differ for layer in report.layers):
        assert abs(theirs - ours).max() <= 2


def joined(net: SimpleNamespace, kind: str = "Add", scale: float = 0.5) -> None:
    """The current of the image, and one of the spikes it makes, joined behind it."""
    rng = np.random.default_rng(4)
    at = net.nodes.index(net.node("pooled"))
    net.constants(w2_scale=scale, w2=rng.integers(-7, 8, (6, 6, 3, 3)) * np.asarray(scale))
    net.quant("w2 w2_scale zero b4", "w2q", at)
    net.add("Conv", "spikes w2q", "second", at + 1, kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1])
    net.add(kind, "tiled second", "joined", at + 2)
    lif = {"domain": "scaflow.quant.ops", "time_steps": 3, "leak_shift": 0, "reset": "soft"}
    net.add("LIF", "joined threshold", "fired", at + 3, **lif)
    net.node("pooled").input[0] = "fired"


@pytest.mark.parametrize("kind", ["Add", "Sub"])
@pytest.mark.parametrize("scale", [0.5, 2.0**-12, np.array([0.25, 0.25, 0.25, 0.25, 0.25, 0.25]).reshape(6, 1, 1, 1)])
def test_sums_of_currents_by_hand(kind, scale, qonnx_files, tmp_path) -> None:
    net = qonnx_files.Net()
    joined(net, kind, scale)
    path = net.write(tmp_path / "net.onnx")
    graph, report = import_with_report(path)
    assert [type(node) for node in graph.nodes] == [Current, Neuron, Current, Join, Neuron, Pool, Readout]
    sign = -1 if kind == "Sub" else 1
    second = next(node for node in graph.nodes if node.name == "conv1")
    np.testing.assert_array_equal(second.weight * scale * sign, net_value(net, "w2"))
    unit = 2.0**-8 * 0.25  # of the image's current
    exponent = int(np.log2(np.ravel(scale)[0] / unit))
    assert graph.nodes[3].shifts == (max(-exponent, 0), max(exponent, 0))
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 8, 8)).astype(np.uint8)
    theirs = np.stack([
        qonnx_files.evaluate(path, "image", (image[None] * 2.0**-8).astype(np.float32))[0][0] for image in images
    ])
    np.testing.assert_array_equal(execute(graph, images), theirs / report.logit_scale)


def net_value(net: SimpleNamespace, name: str) -> np.ndarray:
    return onnx.numpy_helper.to_array(net.initialisers[name])


@pytest.mark.parametrize(
    ("kind", "attributes", "shape", "worth"),
    [
        ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}, (6, 4, 4), 0.25),
        ("AveragePool", {"kernel_shape": [3, 3], "strides": [3, 3], "count_include_pad": 1}, (6, 2, 2), 1 / 9),
        ("LpPool", {"kernel_shape": [2, 2], "strides": [2, 2], "p": 1}, (6, 4, 4), 1.0),
        ("GlobalAveragePool", {}, (6, 1, 1), 1 / 64),
        ("ReduceMean", {"axes": [2, 3]}, (6, 1, 1), 1 / 64),
    ],
)
@pytest.mark.parametrize("behind", ["read-out", "convolution"])
def test_sums_over_windows(kind, attributes, shape, worth, behind, qonnx_files, tmp_path) -> None:
    """In front of a read-out they are in its weights; elsewhere a node by themselves."""
    net = qonnx_files.Net()
    place = net.nodes.index(net.node("pooled"))
    net.nodes[place] = onnx.helper.make_node(kind, ["spikes"], ["pooled"], "pooled_node", **attributes)
    if behind == "convolution":
        w2 = np.random.default_rng(4).integers(-7, 8, (6, 6, 1, 1)) * 0.5
        net.constants(w2_scale=0.5, w2=w2)
        net.quant("w2 w2_scale zero b4", "w2q", place + 1)
        net.add("Conv", "pooled w2q", "second", place + 2, kernel_shape=[1, 1])
        lif = {"domain": "scaflow.quant.ops", "time_steps": 3, "leak_shift": 0, "reset": "soft"}
        net.add("LIF", "second threshold", "fired", place + 3, **lif)
        net.node("flat").input[0] = "fired"
    net.readout(int(np.prod(shape)))
    path = net.write(tmp_path / "net.onnx")
    graph, report = import_with_report(path)
    sums = [node for node in graph.nodes if isinstance(node, SumPool)]
    if behind == "read-out":
        assert not sums and graph.readout.weight.shape == (4, 6, 8, 8)
        assert report.logit_scale == pytest.approx(0.125 * worth)
    else:
        assert graph.edge(sums[0].name).shape == shape and len(sums) == 1
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 8, 8)).astype(np.uint8)
    theirs = np.stack([
        qonnx_files.evaluate(path, "image", (image[None] * 2.0**-8).astype(np.float32))[0][0] for image in images
    ])
    np.testing.assert_allclose(execute(graph, images), theirs / report.logit_scale, atol=1e-3)


def beside(kind: str, inputs: str, **attributes) -> object:
    """Two paths from the spikes that meet in `kind`, in front of the read-out's Flatten."""

    def change(net) -> None:
        net.add(kind, inputs, "met", net.nodes.index(net.node("flat")), **attributes)
        net.node("flat").input[0] = "met"

    return change


def after(change, *changes) -> object:
    def both(net) -> None:
        change(net)
        for more in changes:
            more(net)

    return both


def half(net) -> None:
    net.constants(half=0.5)
    net.behind("pooled", "Mul", "half")


REFUSED = {
    "two grids": (
        lambda net: joined(net, "Add", 0.3),
        "node 'joined_node' .Add.: adds currents of two grids: in channel 0 a step of 'current_node' is worth 0.00097",
    ),
    "a grid for each channel": (
        lambda net: joined(net, "Add", np.array([1, 1, 2, 1, 1, 1]).reshape(6, 1, 1, 1) / 4),
        "adds currents of two grids: in channel 2 .*, one of 'second_node' 0.5, and the ratio is not the same",
    ),
    "a factor below 0 of what others read": (
        after(
            lambda net: net.constants(minus=-1.0),
            joined,
            lambda net: net.add("Mul", "tiled minus", "turned", net.nodes.index(net.node("joined"))),
            lambda net: net.node("joined").input.__setitem__(0, "turned"),
        ),
        "node 'joined_node' .Add.: adds the sums of 'current_node' with the factor -0.00097.* above 0",
    ),
    "neurons below 0 of what others read": (
        after(
            lambda net: net.constants(minus=-1.0),
            joined,
            lambda net: net.add("Mul", "tiled minus", "turned", net.nodes.index(net.node("spikes"))),
            lambda net: net.node("spikes").input.__setitem__(0, "turned"),
        ),
        "node 'spikes_node' .LIF.: reads the sums of 'current_node' with the factor -0.00097.* in channel 0",
    ),
    "the image's current once": (
        after(joined, lambda net: net.node("joined").input.__setitem__(0, "current")),
        "node 'joined_node' .Add.: joins the shapes .1, 6, 8, 8. and .3, 6, 8, 8.; .* Tile",
    ),
    "spikes and currents": (
        after(joined, lambda net: net.node("joined").input.__setitem__(0, "spikes")),
        "node 'joined_node' .Add.: joins neither two currents nor two maps of spikes; put a LIF",
    ),
    "products of paths": (beside("Mul", "pooled pooled"), "node 'met_node' .Mul.: one operand must be a constant"),
    "paths side by side": (
        beside("Concat", "pooled pooled", axis=1),
        "node 'met_node' .Concat.: has no place in the integer graph; let paths meet in an Add",
    ),
    "differences of spikes": (
        after(beside("Sub", "pooled pooled_identity"), lambda net: net.add("Identity", "pooled", "pooled_identity", 6)),
        "node 'met_node' .Sub.: subtracts spikes",
    ),
    "spikes of two worths": (
        after(
            lambda net: net.constants(half=0.5),
            lambda net: net.add("Mul", "pooled half", "less", net.nodes.index(net.node("flat"))),
            beside("Add", "pooled less"),
        ),
        "node 'met_node' .Add.: adds spikes that are worth 1 to some worth 0.5",
    ),
    "a pool of sums": (
        after(
            lambda net: net.add("AveragePool", "spikes", "mean", 5, kernel_shape=[2, 2], strides=[2, 2]),
            lambda net: net.node("pooled").input.__setitem__(0, "mean"),
            lambda net: net.readout(24),
        ),
        "node 'pooled_node' .MaxPool.: pools numbers of spikes",
    ),
    "a norm that is no sum": (
        lambda net: net.nodes.__setitem__(
            net.nodes.index(net.node("pooled")),
            onnx.helper.make_node("LpPool", ["spikes"], ["pooled"], "pooled_node", kernel_shape=[2, 2], strides=[2, 2]),
        ),
        "node 'pooled_node' .LpPool.: p=2 must be 1",
    ),
    "a whole that is none": (
        after(half, lambda net: net.behind("pooled_mul", "Round")),
        "node 'pooled_mul_round_node' .Round.: rounds what is no whole number",
    ),
    "a read-out that others read": (
        after(
            lambda net: net.add("Identity", "sums", "again", net.nodes.index(net.node("steps"))),
            lambda net: net.add("Add", "sums again", "twice", net.nodes.index(net.node("steps"))),
            lambda net: net.node("steps").input.__setitem__(0, "twice"),
        ),
        "node 'steps_node' .Reshape.: the sums of a read-out are joined with none",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(name, qonnx_files: ModuleType, tmp_path) -> None:
    change, reason = REFUSED[name]
    net = qonnx_files.Net()
    change(net)
    path = net.write(tmp_path / "net.onnx")
    with pytest.raises(ValueError, match=re.escape(str(path))) as error:
        import_qonnx(path)
    assert re.search(reason, str(error.value)), error.value


def changed(node, **change):
    if isinstance(node, SumPool):
        return Pool(node.name, node.size, node.reads)
    return replace(node, **{key: make(node) for key, make in change.items()})


FAULTS = {
    "a weight of the image": ("conv0", "fire0", {"weight": lambda n: n.weight + (n.weight == n.weight.max())}),
    "a weight of a trunk": ("conv2", "fire2", {"weight": lambda n: n.weight[:, :, ::-1]}),
    "a stride": ("shortcut4", "fire4", {"weight": lambda n: np.roll(n.weight, 1, 1)}),
    "shifts": ("join2", "fire2", {"shifts": lambda n: (n.shifts[0], n.shifts[1] - 1)}),
    "a bias": ("fire4", "fire4", {"bias": lambda n: n.bias + (np.arange(8) == 3)}),
    "a threshold": ("fire2", "fire2", {"threshold": lambda n: n.threshold + n.threshold // 3}),
    "sums": ("sums4", "conv5", {}),
}


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """A file, and the LIF of each of its neurons."""
    path = tmp_path_factory.mktemp("hand") / "model.onnx"
    export_graph(preactivated(), path)
    return path, {layer.name: layer.source for layer in import_with_report(path)[1].layers}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_misread_node_is_found_where_neurons_see_it(fault, by_hand, monkeypatch) -> None:
    name, seen_by, change = FAULTS[fault]
    path, sources = by_hand
    finish = Reading._finish

    def misread(self) -> None:
        finish(self)
        nodes = (changed(n, **change) if n.name == name else n for n in self.graph.nodes)
        self.graph = replace(self.graph, nodes=tuple(nodes))

    monkeypatch.setattr(Reading, "_finish", misread)
    with pytest.raises(ValueError, match="the graph is not the file's") as error:
        import_with_report(path)
    assert f"node {sources[seen_by]!r} (LIF)" in str(error.value)
    # what a trunk carries on is seen by all neurons there
    assert f"{2 if name == 'conv0' else 1} problem(s)" in str(error.value)


def test_a_graph_of_frames_has_no_file(tmp_path) -> None:
    graph = replace(preactivated(time_steps=1), frames=4)
    with pytest.raises(ValueError, match="graph 'preactivated': is of frames, and a QONNX file of images"):
        export_graph(graph, tmp_path / "model.onnx")
