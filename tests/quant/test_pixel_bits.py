"""Networks that see the highest bits of a pixel: torch, QONNX and golden model agree, a file tells the bits."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from onnx.helper import get_attribute_value
from qonnx.core.modelwrapper import ModelWrapper

from scaflow.quant.compact import compact
from scaflow.quant.export import export
from scaflow.quant.fold import fold
from scaflow.quant.folded import to_graph
from scaflow.quant.graph import execute, load, save, validate
from scaflow.quant.importer import execute_qonnx, import_qonnx, import_with_report
from scaflow.quant.widths import acc_bounds, widths

LEVELS = np.arange(256, dtype=np.uint8).reshape(4, 1, 8, 8)  # each level of a pixel once


@pytest.mark.parametrize("bits", [1, 2, 5, 7])
def test_torch_qonnx_and_golden_model_agree(make_net, digits, tmp_path, bits):
    folded = fold(make_net("padded" if bits % 2 else "unpadded", seed=7, pixel_bits=bits))
    images = np.concatenate([LEVELS, digits[:40]])
    graph, path = export(folded, tmp_path / "model.onnx"), tmp_path / "model.onnx"
    assert (graph.pixel_bits, graph.nodes[0].in_bits, graph.edges()[0].bits) == (bits, bits, bits)
    logits = execute(graph, images)
    assert len(np.unique(logits)) > 20
    np.testing.assert_array_equal(folded.logits_int(torch.from_numpy(images).float() / 255).numpy(), logits)
    imported, report = import_with_report(path, images)
    assert imported == graph == to_graph(folded)
    assert all(layer.exact and not layer.spikes_differ for layer in report.layers)
    np.testing.assert_array_equal(execute_qonnx(path, images), logits)
    small, _ = compact(graph, images)
    assert small.pixel_bits == bits
    np.testing.assert_array_equal(execute(small, images), logits)


def test_only_the_highest_bits_count(make_net, digits):
    folded = fold(make_net(seed=7, pixel_bits=3))
    graph = to_graph(folded)
    trace = execute(graph, digits, trace=True)[1]["conv0"]
    for low in (0, 31):
        other = execute(graph, digits & 0b11100000 | low, trace=True)[1]["conv0"]
        np.testing.assert_array_equal(other, trace)
    assert (execute(graph, digits ^ 32, trace=True)[1]["conv0"] != trace).any()


def test_the_file_has_a_quantiser_of_so_many_bits(make_net, tmp_path):
    for bits, rounding in ((8, "ROUND"), (2, "FLOOR"), (1, "FLOOR")):
        export(fold(make_net(pixel_bits=bits)), tmp_path / "model.onnx")
        model = ModelWrapper(str(tmp_path / "model.onnx"))
        scaled = model.find_consumer(model.graph.input[0].name)
        quantiser = model.find_consumer(scaled.output[0])
        told = {attribute.name: get_attribute_value(attribute) for attribute in quantiser.attribute}
        assert told == {"signed": 0, "narrow": 0, "rounding_mode": rounding.encode()}
        assert [model.get_initializer(name).item() for name in quantiser.input[1:]] == [1, 0, bits]


def test_a_graph_file_tells_its_bits_where_they_are_not_eight(make_net, tmp_path):
    for bits, told in ((8, None), (2, 2)):
        graph = to_graph(fold(make_net(pixel_bits=bits)))
        save(graph, tmp_path / "graph")
        assert json.loads((tmp_path / "graph.json").read_text()).get("pixel_bits") == told
        assert load(tmp_path / "graph") == graph


def test_the_first_node_reads_what_is_seen(make_net):
    graph = to_graph(fold(make_net(pixel_bits=2)))
    assert graph != to_graph(fold(make_net()))
    with pytest.raises(ValueError, match="node 'conv0': in_bits=2, but the edge brings 3 bits a value"):
        validate(replace(graph, pixel_bits=3))
    for bits in (0, 9):
        with pytest.raises(ValueError, match=f"graph: pixel_bits={bits} must be 1 to 8"):
            validate(replace(graph, pixel_bits=bits))


def test_one_bit_of_a_pixel_is_still_an_image(make_net):
    """It enters once and feeds all steps."""
    image, spikes, *_ = to_graph(fold(make_net(pixel_bits=1))).edges()
    assert [(edge.kind, edge.bits, edge.time_steps) for edge in (image, spikes)] == [("pixels", 1, 1), ("spikes", 1, 4)]
    assert (image.repeats(4), spikes.repeats(4)) == (4, 1)


def test_accumulators_shrink(make_net):
    wide, narrow = (to_graph(fold(make_net(pixel_bits=bits))) for bits in (8, 2))
    assert widths(narrow)["conv0"].acc_bits < widths(wide)["conv0"].acc_bits
    weight = narrow.nodes[0].weight.reshape(len(narrow.nodes[0].weight), -1)
    assert acc_bounds(narrow.nodes[0], narrow.edges()[0])[1].tolist() == (3 * weight.clip(0).sum(1)).tolist()


def seen_by(net, bits, scale, **attributes):
    """The builder's network, its image's quantiser another one."""
    net.constants(image_bits=float(bits), pixel=scale)
    net.node("x").input[3] = "image_bits"
    net.set("x", **attributes)
    return net


@pytest.mark.parametrize("mode", ["FLOOR", "DOWN"])
def test_a_foreign_quantiser_that_rounds_down_is_taken(qonnx_files, tmp_path, mode):
    """An image of 8 bits whose level is worth 2^-8, through 2 bits of scale 2^-2."""
    net = seen_by(qonnx_files.Net(), 2, 2.0**-2, rounding_mode=mode)
    net.constants(threshold=0.5)
    path = net.write(tmp_path / "net.onnx")
    graph, report = import_with_report(path)
    images = np.random.default_rng(3).integers(0, 256, (5, *graph.input_shape)).astype(np.uint8)
    assert (graph.pixel_bits, report.input_scale) == (2, 2.0**-8)
    logits = execute(graph, images)
    assert len(np.unique(logits)) > 5
    np.testing.assert_array_equal(execute_qonnx(path, images), logits)
    if mode == "FLOOR":
        fed = [image[None].astype(np.float32) / 256 for image in images]
        theirs = np.concatenate([qonnx_files.evaluate(path, "image", x)[0] for x in fed])
        np.testing.assert_array_equal(logits * report.logit_scale, theirs)


REFUSED = {
    "rounded": (4, {"rounding_mode": "ROUND"}, "rounding_mode=ROUND must be FLOOR for the image of 4 bits"),
    "rounded down, 8 bits": (8, {"rounding_mode": "FLOOR"}, "rounding_mode=FLOOR must be ROUND for the image of 8"),
    "signed": (4, {"signed": 1, "rounding_mode": "FLOOR"}, "the image needs 8 bits, unsigned .* or fewer"),
    "no bit": (0, {"rounding_mode": "FLOOR"}, "bit width 0 must be a whole number from 1 to 8"),
    "one signed bit": (1, {"signed": 1, "rounding_mode": "FLOOR"}, "bit width 1 must be a whole number from 2 to 8"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_the_highest_bits_is_refused(qonnx_files, tmp_path, case):
    bits, attributes, reason = REFUSED[case]
    path = seen_by(qonnx_files.Net(), bits, 2.0**-bits, **attributes).write(tmp_path / "net.onnx")
    with pytest.raises(ValueError, match=reason):
        import_qonnx(path)


def test_a_level_lost_in_floating_point_is_refused(qonnx_files, tmp_path):
    """In half precision k/255 / (1/255) is not always k, and rounding down makes a step of it."""
    net = seen_by(qonnx_files.Net(), 7, 2 / 255, rounding_mode="FLOOR")
    net.behind("image", "Cast", to=10)
    net.behind("image_cast", "Cast", to=1)
    with pytest.raises(ValueError, match=r"of pixel level .* scale the image so that it is its highest bits"):
        import_with_report(net.write(tmp_path / "net.onnx"))
