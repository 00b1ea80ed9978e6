"""An import is held against its file: a reader that errs anywhere is found out, and where."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from scaflow.quant import qonnx_replay
from scaflow.quant.graph import Conv, Pool, Readout, execute
from scaflow.quant.importer import import_with_report
from scaflow.quant.qonnx_reader import Reading


@pytest.fixture
def deep(qonnx_files, tmp_path):
    """Two layers, in numbers that need rounding."""
    net = qonnx_files.Net(size=9, hidden=6)
    rng = np.random.default_rng(2)
    net.constants(pixel=1 / 255, w_scale=0.21, threshold=1.3, r_scale=0.11)
    net.constants(w=rng.integers(-7, 8, (6, 1, 3, 3)) * 0.21, w2=rng.integers(-7, 8, (6, 6, 3, 3)) * 0.21)
    net.constants(shift=rng.normal(size=(6, 1, 1)), shift2=rng.normal(size=(6, 1, 1)))
    net.behind("current", "Add", "shift")
    net.set("spikes", leak_shift=1)
    at = net.nodes.index(net.node("pooled"))
    net.quant("w2 w_scale zero b4", "w2q", at)
    net.add("Conv", "spikes w2q", "current2", at + 1, kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1])
    net.add("Add", "current2 shift2", "biased2", at + 2)
    attributes = {"domain": qonnx_files.OPS, "time_steps": 3, "leak_shift": 2, "reset": "hard"}
    net.add("LIF", "biased2 threshold", "spikes2", at + 3, **attributes)
    net.node("pooled").input[0] = "spikes2"
    return net.write(tmp_path / "deep.onnx")


def test_a_right_reading_passes(deep):
    _, report = import_with_report(deep)
    assert [layer.source for layer in report.layers] == ["spikes_node", "spikes2_node"]
    for layer in report.layers:
        assert 0 < layer.rounding < 0.01 and layer.spikes_fired > 1000
        assert layer.spikes_differ < 0.01 * layer.spikes_compared


def other(node: Conv, **change) -> Conv:
    return replace(node, **{key: make(node) for key, make in change.items()})


FAULTS = {
    "one weight": {"weight": lambda n: n.weight + (np.arange(n.weight.size) == 40).reshape(n.weight.shape)},
    "weights turned": {"weight": lambda n: n.weight[:, :, ::-1]},
    "a bias": {"bias": lambda n: n.bias + 2 * (np.arange(6) == 3)},
    "thresholds": {"threshold": lambda n: n.threshold + n.threshold // 20},
    "leak": {"leak_shift": lambda n: n.leak_shift + 1},
    "no leak": {"leak_shift": lambda n: 0},
    "reset": {"reset": lambda n: "soft" if n.reset == "hard" else "hard"},
    "fraction": {"fraction_bits": lambda n: n.fraction_bits + 1},
    "padding": {
        "padding": lambda n: 0,
        "weight": lambda n: np.pad(n.weight[:, :, 1:-1, 1:-1], ((0, 0),) * 4)[:, :, :1, :1],
    },
    "kept": {"kept": lambda n: (0, 1, 2, 4, 5)},
}


@pytest.mark.parametrize(
    ("fields", "inputs", "fault"),
    [
        ({"leak_shift": 0, "decay": [200, 8]}, "", {"decay": lambda n: (190, 8)}),
        ({"leak_shift": 1, "reset": "delayed"}, "", {"reset": lambda n: "soft"}),
        ({"leak_shift": 1, "reset": "hard"}, "back", {"v_reset": lambda n: n.v_reset * 0}),
        ({"leak_shift": 0, "reset": "hard", "decay": [9, 4]}, "back", {"v_reset": lambda n: n.v_reset * 3 // 4}),
    ],
)
def test_other_neurons_in_numbers_that_need_rounding(fields, inputs, fault, deep, qonnx_files, monkeypatch):
    """They import, and a misread one is told."""
    model = onnx.load(deep)
    lif = next(node for node in model.graph.node if node.name == "spikes_node")
    kept = [a for a in lif.attribute if a.name not in (*fields, "leak_shift")]
    del lif.attribute[:]
    lif.attribute.extend([*kept, *(onnx.helper.make_attribute(*item) for item in fields.items())])
    if inputs:
        lif.input.extend(["", "back"])
        back = np.float32([-0.9, 0.7, 0.31, -2, 1.1, 0.5])
        model.graph.initializer.append(onnx.numpy_helper.from_array(back, "back"))
    onnx.save(model, deep)
    graph, report = import_with_report(deep)
    assert graph.nodes[0].v_reset.any() == bool(inputs)
    for layer in report.layers:
        assert layer.spikes_fired > 300
        assert layer.spikes_differ < 0.01 * layer.spikes_compared
    finish = Reading._finish

    def misread(self):
        self._nodes[0] = other(self._nodes[0], **fault)
        finish(self)

    monkeypatch.setattr(Reading, "_finish", misread)
    with pytest.raises(ValueError, match=r"node 'spikes_node' \(LIF\)"):
        import_with_report(deep)


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_misread_layer_is_named(fault, layer, deep, monkeypatch):
    finish = Reading._finish

    def misread(self):
        node = self._nodes[layer]
        self._nodes[layer] = other(node, **FAULTS[fault])
        finish(self)

    monkeypatch.setattr(Reading, "_finish", misread)
    with pytest.raises(ValueError, match="the graph is not the file's: 1 problem") as error:
        import_with_report(deep)
    name = ("spikes_node", "spikes2_node")[layer]
    assert f"node '{name}' (LIF)" in str(error.value)


def test_a_misread_pool_readout_and_image_are_named(deep, monkeypatch):
    finish = Reading._finish

    def plant(change):
        monkeypatch.setattr(Reading, "_finish", lambda self: (change(self), finish(self)))

    def pool(self):  # windows of 2 read as windows of 3, and as many outputs
        assert isinstance(self._nodes[2], Pool)
        self._nodes[2] = Pool("pool1", 3)
        self._nodes[3] = replace(self._nodes[3], weight=self._nodes[3].weight[:, :, :3, :3])

    plant(pool)
    with pytest.raises(ValueError, match=r"node 'logits_node' \(ReduceSum\): logit . is "):
        import_with_report(deep)

    def readout(self):
        node = self._nodes[3]
        assert isinstance(node, Readout)
        self._nodes[3] = replace(node, bias=node.bias + (np.arange(4) == 2))

    plant(readout)
    with pytest.raises(ValueError, match="logit 2 is "):
        import_with_report(deep)

    def scale(self):
        self.input_scale *= 1.01

    plant(scale)
    with pytest.raises(ValueError, match=r"node 'x_node' \(Quant\): makes .* of pixel level"):
        import_with_report(deep)

    def logits(self):
        self.logit_scale *= 1.01

    plant(logits)
    with pytest.raises(ValueError, match=r"logit . is "):
        import_with_report(deep)


def test_an_execution_that_errs_is_found(deep, monkeypatch):
    monkeypatch.setattr(qonnx_replay, "execute", lambda graph, images, trace: execute(graph, 255 - images, trace))
    with pytest.raises(ValueError, match="the graph is not the file's"):
        import_with_report(deep)


def test_a_silent_network_is_said_to_be_one_and_is_still_compared(qonnx_files, tmp_path, monkeypatch):
    net = qonnx_files.Net()
    net.constants(threshold=1000.0)
    net.write(tmp_path / "silent.onnx")
    _, report = import_with_report(tmp_path / "silent.onnx")
    assert report.layers[0].spikes_fired == 0
    assert "no neuron fires on the images tried" in report.notes[0]
    finish = Reading._finish

    def misread(self):
        self._nodes[-1] = replace(self._nodes[-1], weight=-self._nodes[-1].weight)
        finish(self)

    monkeypatch.setattr(Reading, "_finish", misread)
    with pytest.raises(ValueError, match=r"logit . is "):
        import_with_report(tmp_path / "silent.onnx")


def test_a_file_that_overflows_is_refused(qonnx_files, tmp_path):
    net = qonnx_files.Net()
    net.constants(huge=1e38, huge2=1e38, tiny=1e-38)
    net.behind("current", "Mul", "huge")
    net.behind("current_mul", "Mul", "huge2")
    net.behind("current_mul_mul", "Mul", "tiny")
    net.behind("current_mul_mul_mul", "Mul", "tiny")
    net.write(tmp_path / "net.onnx")
    with pytest.raises(ValueError, match=r"node 'spikes_node' \(LIF\): .*not finite"):
        import_with_report(tmp_path / "net.onnx")
