"""Import of files that are not ours: a script outside the project, files by hand, refusals."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from scaflow.quant.graph import Conv, Pool, Readout, execute
from scaflow.quant.importer import execute_qonnx, import_qonnx, import_with_report

OPS = "scaflow.quant.ops"


@pytest.fixture(scope="module", params=["hard", "soft"])
def foreign(request, tmp_path_factory) -> tuple[Path, dict[str, np.ndarray], str]:
    """The file of foreign_script.py and the integer weights Brevitas had in it."""
    folder = tmp_path_factory.mktemp("foreign")
    command = [
        sys.executable,
        Path(__file__).with_name("foreign_script.py"),
        "net.onnx",
        "ints.npz",
        request.param,
    ]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    with np.load(folder / "ints.npz") as arrays:
        return folder / "net.onnx", dict(arrays), request.param


def test_a_foreign_file_imports(foreign, digits):
    path, integers, reset = foreign
    graph, report = import_with_report(path, digits[:30])
    conv1, pool, conv2, hidden, out = graph.nodes
    assert [type(n) for n in graph.nodes] == [Conv, Pool, Conv, Conv, Readout]
    assert (graph.input_shape, graph.time_steps, pool.size) == ((1, 8, 8), 3, 2)
    assert (conv1.stride, conv1.padding, conv2.stride, conv2.padding) == (1, 1, 2, 1)
    assert [n.weight_bits for n in (conv1, conv2, hidden, out)] == [8, 4, 4, 8]
    assert {(n.reset, n.leak_shift) for n in (conv1, conv2, hidden)} == {(reset, 1)}
    assert hidden.kernel == (2, 2)
    for node, name in ((conv1, "conv1"), (conv2, "conv2"), (hidden, "hidden"), (out, "out")):
        ours = node.weight.reshape(integers[name].shape)
        np.testing.assert_array_equal(
            abs(ours), abs(integers[name])
        )  # a negative gamma turns a channel's sign
    np.testing.assert_array_equal(out.weight.reshape(10, 12), integers["out"])
    # real membrane and the one on the chosen grid: nearly all spikes agree; logits up to the bias's rounding
    for layer in report.layers:
        assert not layer.exact
        assert layer.spikes_compared > 1000
        assert layer.spikes_differ <= 0.001 * layer.spikes_compared
    theirs, ours = execute_qonnx(path, digits[:30]), execute(graph, digits[:30])
    assert len(np.unique(ours)) > 50
    if not any(layer.spikes_differ for layer in report.layers):
        assert abs(theirs - ours).max() <= 3


def constant(name: str, value) -> TensorProto:
    return numpy_helper.from_array(np.asarray(value, np.float32), name)


def integers(name: str, value) -> TensorProto:
    return numpy_helper.from_array(np.asarray(value, np.int64), name)


class File:
    """A QONNX file written node by node: image, one layer, read-out; `nodes` and `constants` may change."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.weight = rng.integers(-7, 8, (4, 1, 3, 3))
        self.readout = rng.integers(-7, 8, (3, 4 * 2 * 2))
        self.constants = {
            t.name: t
            for t in (
                constant("pixel", 1 / 255),
                constant("zero", 0),
                constant("bits8", 8),
                constant("bits4", 4),
                constant("w", self.weight * 0.25),
                constant("w_scale", 0.25),
                constant("factor", np.array([1.0, -2.0, 0.5, 1.0]).reshape(4, 1, 1)),
                constant("shift", np.array([0.5, 0.0, -0.5, 1.0]).reshape(4, 1, 1)),
                constant("threshold", 2.0),
                constant("r", self.readout * 0.125),
                constant("r_scale", 0.125),
                constant("r_bias", [1.0, -0.25, 0.0]),
                integers("times", [5, 1, 1, 1]),
                integers("steps", [5, -1, 3]),
                integers("first", [0]),
            )
        }
        quant = {"domain": "qonnx.custom_op.general", "rounding_mode": "ROUND"}
        self.nodes = {
            n.name: n
            for n in (
                self.node("Quant", "image pixel zero bits8", "x", "image_quant", signed=0, narrow=0, **quant),
                self.node("Quant", "w w_scale zero bits4", "wq", "w_quant", signed=1, narrow=1, **quant),
                self.node("Conv", "x wq", "c", "conv", kernel_shape=[3, 3], pads=[0] * 4, strides=[1, 1]),
                self.node("Mul", "c factor", "m", "mul"),
                self.node("Add", "m shift", "a", "add"),
                self.node("Tile", "a times", "t", "tile"),
                self.node(
                    "LIF", "t threshold", "s", "lif", domain=OPS, time_steps=5, leak_shift=2, reset="soft"
                ),
                self.node("MaxPool", "s", "p", "pool", kernel_shape=[2, 2], strides=[2, 2]),
                self.node("Flatten", "p", "f", "flatten", axis=1),
                self.node("Quant", "r r_scale zero bits4", "rq", "r_quant", signed=1, narrow=1, **quant),
                self.node("Gemm", "f rq r_bias", "g", "gemm", transB=1),
                self.node("Reshape", "g steps", "h", "reshape"),
                self.node("ReduceSum", "h first", "logits", "sum", keepdims=0),
            )
        }

    @staticmethod
    def node(kind: str, inputs: str, output: str, name: str, **attributes):
        return helper.make_node(kind, inputs.split(), [output], name=name, **attributes)

    def replace(self, kind: str, inputs: str, output: str, name: str, **attributes) -> None:
        self.nodes[name] = self.node(kind, inputs, output, name, **attributes)

    def insert(self, before: str, kind: str, name: str, extra: str = "", **attributes) -> None:
        """Put a node into the path in front of the node `before`."""
        behind = self.nodes[before]
        node = self.node(kind, f"{behind.input[0]} {extra}", f"{name}_out", name, **attributes)
        behind.input[0] = f"{name}_out"
        order = list(self.nodes)
        order.insert(order.index(before), name)
        self.nodes[name] = node
        self.nodes = {key: self.nodes[key] for key in order}

    def write(self, path: Path) -> Path:
        graph = helper.make_graph(
            list(self.nodes.values()),
            "by_hand",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 6, 6])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
            list(self.constants.values()),
        )
        opsets = [helper.make_opsetid(d, v) for d, v in (("", 17), ("qonnx.custom_op.general", 1), (OPS, 1))]
        save(helper.make_model(graph, opset_imports=opsets), path)
        return path


def test_a_file_by_hand(tmp_path):
    """Integers worked out here: the accumulator step is |factor|/4/255: fine enough without fraction."""
    file = File()
    path = file.write(tmp_path / "hand.onnx")
    graph = import_qonnx(path)
    conv, pool, readout = graph.nodes
    sign = np.array([1, -1, 1, 1])
    np.testing.assert_array_equal(conv.weight, file.weight * sign[:, None, None, None])
    step = np.array([1, 2, 0.5, 1]) / 4 / 255
    assert conv.fraction_bits == 0
    np.testing.assert_array_equal(conv.bias, np.rint(np.array([0.5, 0, -0.5, 1]) / step))
    np.testing.assert_array_equal(conv.threshold, np.rint(2 / step))
    assert (conv.leak_shift, conv.reset, conv.kept, pool.size) == (2, "soft", (0, 1, 2, 3), 2)
    np.testing.assert_array_equal(readout.weight.reshape(3, 16), file.readout)
    assert readout.bias.tolist() == [8, -2, 0]
    images = np.random.default_rng(1).integers(0, 256, (10, 1, 6, 6)).astype(np.uint8)
    _, report = import_with_report(path, images)
    assert report.layers[0].source == "lif"
    assert report.layers[0].spikes_differ <= 0.01 * report.layers[0].spikes_compared
    assert report.logit_scale == 0.125


def test_other_ways_to_write_the_same(tmp_path):
    """Sub and Div for Add and Mul, BatchNormalization, MatMul for Gemm, Tile before the weights, Identity."""
    expected = import_qonnx(File().write(tmp_path / "a.onnx"))
    file = File()
    file.constants["factor"] = constant("factor", 1 / np.array([1.0, -2.0, 0.5, 1.0]).reshape(1, 4, 1, 1))
    file.constants["shift"] = constant("shift", -np.array([0.5, 0.0, -0.5, 1.0]).reshape(4, 1, 1))
    file.replace("Div", "c factor", "m", "mul")
    file.replace("Sub", "m shift", "a", "add")
    file.insert("tile", "Identity", "nothing")
    file.insert("gemm", "Cast", "cast", to=TensorProto.FLOAT)
    assert import_qonnx(file.write(tmp_path / "b.onnx")) == expected

    file = File()
    gamma, mean = np.array([1.0, -2.0, 0.5, 1.0]), np.array([1.0, 2.0, -1.0, 0.5])
    file.constants["gamma"], file.constants["mean"] = constant("gamma", 2 * gamma), constant("mean", mean)
    file.constants["beta"] = constant("beta", np.array([0.5, 0.0, -0.5, 1.0]) + gamma * mean)
    file.constants["var"] = constant("var", [4.0] * 4)
    del file.nodes["mul"]
    file.replace("BatchNormalization", "c gamma beta mean var", "a", "add", epsilon=0.0)
    assert import_qonnx(file.write(tmp_path / "c.onnx")) == expected

    file = File()
    file.constants["r"] = constant("r", file.readout.T * 0.125)
    file.constants["times"] = integers("times", [5, 1, 1, 1])
    file.replace("MatMul", "f rq", "g1", "gemm")
    file.nodes.pop("tile")
    file.nodes["lif"].input[0] = "a"
    file.insert("conv", "Tile", "tile_image", "times")
    file.insert("reshape", "Add", "bias", "r_bias")
    file.nodes["bias"].input[0] = "g1"
    assert import_qonnx(file.write(tmp_path / "d.onnx")) == expected


def test_step_and_fraction_bits_are_taken_as_written(tmp_path):
    file = File()
    step = np.array([1, 2, 0.5, 1]) / 4 / 255
    file.constants["step"] = constant("step", step)
    file.replace(
        "LIF",
        "t threshold step",
        "s",
        "lif",
        domain=OPS,
        time_steps=5,
        leak_shift=2,
        reset="soft",
        fraction_bits=3,
    )
    graph, report = import_with_report(file.write(tmp_path / "step.onnx"))
    np.testing.assert_array_equal(
        graph.nodes[0].threshold, np.rint(2 / step.astype(np.float32).astype(float) * 8)
    )
    assert graph.nodes[0].fraction_bits == 3
    assert report.layers[0].exact
    file.constants["step"] = constant("step", step * 2)
    refuse(file, tmp_path, r"node 'lif' \(LIF\): step\[0\]=.*, but an accumulator step is worth ")


def refuse(file: File, folder: Path, *reasons: str) -> None:
    """The file is refused for these reasons, all of them and no others."""
    with pytest.raises(ValueError, match=r"bad\.onnx: \d+ problem") as error:
        import_qonnx(file.write(folder / "bad.onnx"))
    lines = str(error.value).splitlines()[1:]
    assert len(lines) == len(reasons), lines
    for reason in reasons:
        assert sum(bool(re.search(rf"^  {reason}", line)) for line in lines) == 1, (reason, lines)


def test_every_refused_node_is_listed(tmp_path):
    file = File()
    file.insert("tile", "Relu", "relu")
    file.insert("flatten", "GlobalMaxPool", "largest")
    file.replace("Conv", "x wq", "c", "conv", group=2, other=1)
    file.constants["bits4"] = constant("bits4", 1)
    refuse(
        file,
        tmp_path,
        r"node 'w_quant' \(Quant\): bit width 1 must be a whole number from 2 to 8",
        r"node 'conv' \(Conv\): attribute 'other' is not understood; leave it out",
        r"node 'relu' \(Relu\): has no place in the integer graph; replace it, or leave it out",
        r"node 'largest' \(GlobalMaxPool\): has no place in the integer graph; replace it",
        r"node 'r_quant' \(Quant\): bit width 1 must be",
    )


def test_refusals_of_single_nodes(tmp_path):
    file = File()
    file.replace("Conv", "x w", "c", "conv", kernel_shape=[3, 3])
    refuse(file, tmp_path, r"node 'conv' \(Conv\): its weight is not quantised; use a Brevitas layer")

    file = File()
    file.replace("LIF", "t threshold", "s", "lif", domain=OPS, time_steps=5, leak_shift=9, reset="slow")
    refuse(
        file,
        tmp_path,
        r"node 'lif' \(LIF\): leak_shift=9 must be 0 \(no leak\) to 8",
        r"node 'lif' \(LIF\): reset='slow' must be 'hard' or 'soft'",
    )

    file = File()
    file.constants["threshold"] = constant("threshold", [1.0, 0.0, 1.0, 1.0])
    refuse(file, tmp_path, r"node 'lif' \(LIF\): 'threshold' must be a constant above 0")

    file = File()
    file.replace("MaxPool", "s", "p", "pool", kernel_shape=[2, 2], strides=[1, 1])
    refuse(file, tmp_path, r"node 'pool' \(MaxPool\): windows must be square, side by side")

    file = File()
    file.constants["zero"] = constant("zero", 3)
    refuse(
        file, tmp_path, *[rf"node '{n}_quant' \(Quant\): zero point 3 must be 0" for n in ("image", "w", "r")]
    )


def test_refusals_along_the_path(tmp_path):
    file = File()
    file.constants["times"] = integers("times", [4, 1, 1, 1])
    refuse(file, tmp_path, r"node 'lif' \(LIF\): time_steps=5, but the batch is repeated 4 times")

    file = File()
    file.replace("Add", "p p", "twice", "twice")
    file.nodes["flatten"].input[0] = "twice"
    order = list(file.nodes)
    order.insert(order.index("flatten"), order.pop())
    file.nodes = {key: file.nodes[key] for key in order}
    refuse(file, tmp_path, r"node 'twice' \(Add\): adds 'p' to itself; multiply it by 2")

    file = File()
    file.constants["r_scale"] = constant("r_scale", [[0.125], [0.25], [0.125]])
    refuse(file, tmp_path, r"node 'gemm' \(Gemm\): the classes of the read-out need one scale")

    file = File()
    file.constants["factor"] = constant("factor", np.arange(1, 5).reshape(1, 1, 4))
    refuse(
        file,
        tmp_path,
        r"node 'mul' \(Mul\): constant of shape \(1, 1, 4\) on data of shape .*; give a scalar or one value per",
    )

    file = File()
    del file.nodes["sum"], file.nodes["reshape"]
    file.nodes["gemm"].output[0] = "logits"
    refuse(file, tmp_path, r"output 'logits' is no read-out; end with MatMul, Reshape to \[T, N, classes\]")

    file = File()
    file.nodes["conv"].input[0] = "image"
    del file.nodes["image_quant"]
    refuse(file, tmp_path, r"node 'conv' \(Conv\): the image enters through an unsigned 8-bit Quant")
