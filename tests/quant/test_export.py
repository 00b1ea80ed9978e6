"""Export: qonnx executes the file to the golden model's logits, and its import is the graph it came from."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper

from scaflow.quant.export import export
from scaflow.quant.fold import fold
from scaflow.quant.folded import to_graph
from scaflow.quant.graph import execute
from scaflow.quant.importer import execute_qonnx, import_qonnx, import_with_report

POINTS = [
    ("padded", "lif-hard", {}),
    ("padded", "if-soft", {"fraction_bits": 8}),  # the first layer needs more than 24 bits
    ("unpadded", "lif-soft", {"weight_bits": 2, "last_bits": 4}),
    ("linear", "if-hard", {"fraction_bits": 0}),
    ("padded", "decay-back", {}),
    ("linear", "decay-delayed", {"fraction_bits": 6}),
    ("unpadded", "if-back", {"fraction_bits": 8}),
]


@pytest.mark.parametrize(("layers", "neuron", "quant"), POINTS)
def test_qonnx_import_and_golden_model_agree(make_net, digits, tmp_path, layers, neuron, quant):
    net = make_net(layers, neuron, seed=7, **quant)
    net.blocks[0].bn.weight.data[0] = 0  # a constant channel
    folded = fold(net)
    path = tmp_path / "model.onnx"
    export(folded, path)
    graph, report = import_with_report(path, digits[:20])
    assert graph == to_graph(folded)
    assert all(layer.exact and layer.spikes_compared and not layer.spikes_differ for layer in report.layers)
    logits = execute(graph, digits[:100])
    np.testing.assert_array_equal(execute_qonnx(path, digits[:100]), logits)
    assert len(np.unique(logits)) > 20


def test_wide_layers_compute_in_float64(make_net, tmp_path):
    export(fold(make_net("padded", "if-soft", fraction_bits=8)), tmp_path / "wide.onnx")
    assert "Cast" in [node.op_type for node in ModelWrapper(str(tmp_path / "wide.onnx")).graph.node]


def test_the_file_is_clean_qonnx(make_net, tmp_path):
    path = tmp_path / "model.onnx"
    export(fold(make_net()), path)
    model = ModelWrapper(str(path))
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("LIF") == 3
    assert "BipolarQuant" not in kinds
    for node in model.graph.node:
        if node.op_type == "LIF":
            assert node.domain == "scaflow.quant.ops"
            assert {a.name for a in node.attribute} >= {"time_steps", "leak_shift", "reset", "fraction_bits"}
            assert len(node.input) == 3
            assert model.get_tensor_datatype(node.output[0]) == DataType["BINARY"]
        if node.op_type == "MaxPool":
            assert model.get_tensor_datatype(node.output[0]) == DataType["BINARY"]
    assert model.graph.name == "random"


def test_kept_channels_survive(make_net, tmp_path):
    net = make_net(seed=9, prune=0.5)
    export(fold(net), tmp_path / "model.onnx")
    kept = [node.kept for node in import_qonnx(tmp_path / "model.onnx").nodes if hasattr(node, "kept")]
    assert kept == [tuple(np.flatnonzero(block.mask.numpy())) for block in net.blocks]
    assert any(len(k) < len(block.mask) for k, block in zip(kept, net.blocks, strict=True))


def test_the_same_network_gives_the_same_bytes(make_net, tmp_path):
    for name in ("a.onnx", "b.onnx"):
        export(fold(make_net(seed=3)), tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.onnx", "b.onnx"]


def test_execution_would_notice_another_network(make_net, digits, tmp_path):
    """The equality above has teeth: one weight moved by one step changes the logits."""
    net = make_net(seed=7)
    export(fold(net), tmp_path / "model.onnx")
    graph = to_graph(fold(net))
    with torch.no_grad():
        net.readout.bias[3] += 2 * net.readout.quant_weight().scale
    moved = to_graph(fold(net))
    found = execute_qonnx(tmp_path / "model.onnx", digits[:8])
    np.testing.assert_array_equal(found, execute(graph, digits[:8]))
    assert (found != execute(moved, digits[:8])).any()


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'none.onnx'}: no such file")):
        import_qonnx(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no onnx at all")
    with pytest.raises(ValueError, match=r"bad\.onnx: cannot be read as ONNX"):
        import_qonnx(tmp_path / "bad.onnx")
