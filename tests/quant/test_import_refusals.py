"""Foreign files that are refused: each with the node, what is the matter, and nothing written."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, defs, helper
from qonnx.custom_op.general.bipolar_quant import BipolarQuant
from qonnx.custom_op.general.intquant import IntQuant

from scaflow.flow.foreign import import_design
from scaflow.quant.importer import import_with_report
from scaflow.quant.ops import LIF
from scaflow.quant.qonnx_operators import NEWEST, OPERATORS

NAN, INF = float("nan"), float("inf")


def refused(path, *reasons: str) -> None:
    """The file is refused for one of its nodes, in these words; the build folder is not touched."""
    build = path.parent / "build"
    with pytest.raises(ValueError, match=re.escape(str(path))) as error:
        import_design(path, build / "net", 64, 1, lambda line: None)
    for reason in reasons:
        assert re.search(reason, str(error.value)), error.value
    assert not build.exists()


@pytest.mark.parametrize("opset", range(1, NEWEST + 1))
def test_the_table_knows_every_attribute_and_input_of_every_opset(opset):
    for name, operator in OPERATORS.items():
        if operator.domain or not defs.has(name, ""):
            continue
        try:
            schema = defs.get_schema(name, opset, "")
        except defs.SchemaError:
            continue  # of a later opset
        unknown = set(schema.attributes) - operator.attributes
        assert not unknown, f"{name} of opset {opset}: {unknown} are in no column of the table"
        more = len(schema.inputs) - operator.inputs
        assert more <= (name == "Tile" and opset < 6), f"{name} of opset {opset} has {more} inputs more than the table"


def test_the_table_knows_every_attribute_of_the_custom_nodes():
    node = helper.make_node("Quant", [], [])
    for name, kind in (("Quant", IntQuant), ("IntQuant", IntQuant), ("BipolarQuant", BipolarQuant), ("LIF", LIF)):
        assert set(kind(node).get_nodeattr_types()) == OPERATORS[name].attributes


def gemm(**attributes):
    def change(net):
        net.nodes[net.nodes.index(net.node("sums"))] = helper.make_node(
            "Gemm", ["flat", "rq"], ["sums"], "sums_node", **attributes
        )

    return change


def behind(tensor, kind, extra="", **attributes):
    return lambda net: net.behind(tensor, kind, extra, **attributes)


def of(output, **attributes):
    return lambda net: net.set(output, **attributes)


def value(**constants):
    return lambda net: net.constants(**constants)


def norm(**changed):
    def change(net):
        net.constants(**{"g": [1.0] * 6, "b": [0.0] * 6, "m": [0.0] * 6, "v": [1.0] * 6} | changed)
        net.behind("current", "BatchNormalization", "g b m v")

    return change


def both(*changes):
    return lambda net: [change(net) for change in changes]


def bias(number):
    return both(value(bias=[number] * 6), lambda net: net.node("current").input.append("bias"))


def input_of(kind):
    def change(net):
        net.dtype = kind
        net.behind("image", "Cast", to=TensorProto.FLOAT)

    return change


def shape(*sizes):
    return lambda net: setattr(net, "shape", list(sizes))


def second_input(net):
    net.inputs = [helper.make_tensor_value_info("other", TensorProto.FLOAT, [1])]
    net.behind("current", "Add", "other")


REFUSED = {
    "dilated pool": (of("pooled", dilations=[2, 2]), "node 'pooled_node' .MaxPool.: windows must be"),
    "padded pool": (of("pooled", pads=[1, 1, 1, 1]), "node 'pooled_node' .MaxPool.: windows must be"),
    "padded below": (
        both(of("current", pads=[0] * 4), of("pooled", kernel_shape=[4, 4], strides=[4, 4], pads=[0, 0, 2, 2])),
        "windows must be square",
    ),
    "overlapping pool": (of("pooled", strides=[1, 1]), "set strides"),
    "oblong pool": (of("pooled", kernel_shape=[2, 1], strides=[2, 1]), "square"),
    "pool without strides": (of("pooled", strides=None), "set strides"),
    "auto_pad": (of("pooled", auto_pad="SAME_LOWER", kernel_shape=[3, 3], strides=[3, 3]), "MaxPool"),
    "auto_pad and pads": (
        of("current", auto_pad="SAME_UPPER"),
        "node 'current_node' .Conv.: auto_pad=SAME_UPPER and pads",
    ),
    "groups": (of("current", group=2), "node 'current_node' .Conv.: reads 2 channels of a .1, 8, 8. map; its groups"),
    "groups that are none": (
        of("current", group=4),
        "node 'current_node' .Conv.: group=4 must divide its 6 output channels",
    ),
    "uneven strides": (of("current", strides=[1, 2]), "strides=.1, 2. must be the same"),
    "overlapping averages": (
        behind("pooled", "AveragePool", kernel_shape=[2, 2]),
        "node 'pooled_averagepool_node' .AveragePool.: windows must be square, side by side",
    ),
    "flatten elsewhere": (
        of("flat", axis=2),
        "node 'flat_node' .Flatten.: is understood only where a map is flattened",
    ),
    "unknown attribute": (of("wq", other=1), "node 'wq_node' .Quant.: attribute 'other' is not understood"),
    "attribute of the wrong type": (
        of("wq", signed=1.0),
        "node 'wq_node' .Quant.: attribute 'signed' must be of type INT",
    ),
    "unknown attribute of LIF": (of("spikes", refractory=2), "node 'spikes_node' .LIF.: attribute 'refractory'"),
    "attribute of a later opset": (of("flat", round_mode="up"), "attribute 'round_mode' is not understood"),
    "LIF of another domain": (lambda net: setattr(net.node("spikes"), "domain", "snn"), "domain 'snn' must be"),
    "transA": (gemm(transA=1), "transA=1 must be 0"),
    "alpha": (gemm(alpha=NAN), "node 'sums_node' .Gemm.: attribute alpha=nan is not finite"),
    "keepdims": (of("logits", keepdims=1), "keepdims=0"),
    "no axes": (
        both(lambda net: net.node("logits").input.pop(), of("logits", noop_with_empty_axes=1)),
        "noop_with_empty_axes",
    ),
    "training": (
        both(value(ratio=0.5), lambda net: net.constants(bool, mode=True), behind("pooled", "Dropout", "ratio mode")),
        "training_mode 'mode' must be a constant false",
    ),
    "training norm": (both(norm(), of("current_batchnormalization", training_mode=1)), "training_mode=1 must be 0"),
    "cast to integer": (behind("tiled", "Cast", to=TensorProto.INT32), "casts float32 to int32"),
    "cast to half": (behind("current", "Cast", to=TensorProto.FLOAT16), "casts float32 to float16"),
    "cast to bfloat": (behind("x", "Cast", to=TensorProto.BFLOAT16), "casts float32 to bfloat16"),
    "cast of the pixels": (behind("image", "Cast", to=TensorProto.UINT8), "node 'image_cast_node' .Cast."),
    "cast of the logits": (
        lambda net: (net.add("Cast", "logits", "whole", to=7), setattr(net, "outputs", ["whole"])),
        "casts",
    ),
    "expansion": (
        both(lambda net: net.integers(to=[3, 1, 1, 1]), behind("x", "Expand", "to")),
        "only an expansion by ones",
    ),
    "tile of channels": (lambda net: net.integers(times=[3, 2, 1, 1]), "only the batch is repeated"),
    "transposed rows": (behind("spikes", "Transpose", perm=[0, 2, 1, 3]), "MaxPool"),
    "transposed batch": (behind("x", "Transpose", perm=[1, 0, 2, 3]), "perm=.1, 0, 2, 3.: only the axes of an image"),
    "reflected pad": (
        both(lambda net: net.integers(p=[0, 0, 1, 1] * 2), behind("x", "Pad", "p", mode="reflect")),
        "mode=reflect",
    ),
    "pad of ones": (
        both(lambda net: net.integers(p=[0, 0, 1, 1] * 2), value(o=1.0), behind("spikes", "Pad", "p o")),
        "only zeros",
    ),
    "scale by columns": (value(w_scale=[0.25, 0.5, 0.125]), "scale of shape .3,. differs within an output channel"),
    "scale by rows": (value(w_scale=np.array([0.25, 0.5, 0.125]).reshape(3, 1)), "differs within an output channel"),
    "scale by inputs": (value(r_scale=np.linspace(1, 2, 96).reshape(96, 1)), "node 'rq_node' .Quant.: scale"),
    "factor by columns": (
        both(value(f=np.arange(1.0, 9)), behind("current", "Mul", "f")),
        "by broadcasting it is no scalar",
    ),
    "addend by columns, as many as channels": (
        both(shape(1, 1, 8, 6), value(f=np.arange(1.0, 7)), behind("current", "Add", "f"), lambda net: net.readout(72)),
        "constant of shape .6,.",
    ),
    "addend by steps": (
        both(value(f=np.arange(3.0).reshape(3, 1, 1, 1)), behind("tiled", "Add", "f")),
        "constant of shape",
    ),
    "threshold by columns": (value(threshold=np.arange(1.0, 9).reshape(1, 1, 1, 8)), "threshold and step must be"),
    "thresholds too few": (value(threshold=[1.0, 2.0]), "threshold and step must be"),
    "image scale by pixel": (value(pixel=np.linspace(0.1, 0.2, 8)), "node 'x_node' .Quant.: the image needs one scale"),
    "narrow image": (of("x", narrow=1), "node 'x_node' .Quant.: the image needs 8 bits, unsigned"),
    "zero point of one channel": (
        value(zero=np.array([0, 0, 0, 0, 0, 1.0]).reshape(6, 1, 1, 1)),
        "zero point .* must be 0",
    ),
    "bias nan": (bias(NAN), "node 'current_node' .Conv.: 'bias' holds 6 of 6 values that are not finite"),
    "bias inf": (bias(INF), "not finite: inf"),
    "bias beyond": (bias(1e30), "too many accumulator steps"),
    "weight inf": (value(w=np.full((6, 1, 3, 3), INF)), "node 'wq_node' .Quant.: 'w' holds 54 of 54"),
    "scale nan": (value(w_scale=NAN), "node 'wq_node' .Quant.: 'w_scale' holds 1 of 1 values that are not finite"),
    "scale zero": (value(w_scale=0.0), "not finite|scale must be above 0"),
    "bits nan": (value(b4=NAN), "node 'wq_node' .Quant.: .*not finite|finite"),
    "threshold nan": (value(threshold=NAN), "node 'spikes_node' .LIF.: 'threshold' holds"),
    "norm nan": (norm(m=[NAN] * 6), "'m' holds 6 of 6 values that are not finite"),
    "norm negative": (norm(v=[1, 1, -1, 1, 1, 1]), "variance . epsilon of channel 2 is -0.99999: no finite number"),
    "norm epsilon": (both(norm(), of("current_batchnormalization", epsilon=NAN)), "epsilon=nan is not finite"),
    "divisor zero": (
        both(value(d=0.0), behind("current", "Div", "d")),
        "node 'current_div_node' .Div.: 'd' divides by 0",
    ),
    "divisor among others zero": (
        both(value(d=np.eye(6)[0].reshape(6, 1, 1)), behind("current", "Div", "d")),
        "divides by 0",
    ),
    "constants that overflow": (
        both(value(huge=3e38), lambda net: net.add("Add", "huge huge", "more", 0), behind("current", "Mul", "more")),
        "node 'more_node' .Add.: 'more', which it makes of constants, holds",
    ),
    "int8 image": (input_of(TensorProto.INT8), "input 'image' is of type INT8, which cannot hold"),
    "string image": (input_of(TensorProto.STRING), "input 'image' is of type STRING"),
    "bytes of a scaled image": (input_of(TensorProto.UINT8), "a pixel level is worth 0.0039.* there; multiply"),
    "open size": (shape("N", 1, "H", "W"), "input 'image' .N, 1, H, W. leaves the size of the image open"),
    "video": (shape(1, 1, 4, 8, 8), "give one image"),
    "two inputs": (second_input, "the inputs are 2 .'image', 'other'."),
    "no logits": (
        lambda net: setattr(net, "outputs", ["pooled", "spikes"]),
        "2 outputs .'pooled', 'spikes'., none can be read",
    ),
    "random": (behind("current", "RandomNormalLike"), "has no place in the integer graph"),
    "half sums": (both(behind("x", "Cast", to=TensorProto.FLOAT16)), "casts float32 to float16"),
    "unsigned weights": (of("wq", signed=0, narrow=0), "node 'wq_node' .Quant.: weights must be signed"),
    "weights of a product": (both(value(two=2.0), behind("wq", "Mul", "two")), "its weight is not quantised"),
    "unknown domain": (behind("current", "Sign", domain="com.acme"), "node 'current_sign_node' .Sign.: has no place"),
    "an input left out": (
        lambda net: net.node("sums").input.pop(),
        "node 'sums_node' .MatMul.: has the inputs .'flat'.",
    ),
    "a name left out": (lambda net: net.node("flat").input.__setitem__(0, ""), "."),
    "attributes left out": (of("spikes", reset=None), "node 'spikes_node' .LIF.: attributes reset are missing"),
    "an empty constant": (value(w_scale=[]), "'w_scale' is empty; give it values"),
    "a scalar for an image": (
        lambda net: net.node("x").input.__setitem__(0, "w_scale"),
        "node 'current_node' .Conv.: ",
    ),
    "pads beyond all": (of("current", pads=[2**31] * 4), "node 'current_node' .Conv.: pads=.* must be 1024 at most"),
    "a batch repeated beyond all": (
        lambda net: net.integers(times=[2**31, 1, 1, 1]),
        "repeats the batch 2147483648 times",
    ),
    "channels that are not": (of("spikes", kept=[0, 9]), "kept=.0, 9. must be channel numbers below 6"),
    "no such rounding": (of("wq", rounding_mode="SOMEHOW"), "node 'wq_node' .Quant.: cannot be executed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(name, qonnx_files, tmp_path):
    change, reason = REFUSED[name]
    net = qonnx_files.Net()
    change(net)
    refused(net.write(tmp_path / "net.onnx"), reason)


def test_files_that_are_none(qonnx_files, tmp_path):
    path = tmp_path / "net.onnx"
    whole = qonnx_files.Net().write(path).read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"\0" * 2000, b"PK\3\4 no model", whole[10:]):
        path.write_bytes(content)
        refused(path)
    path.unlink()
    refused(path, "no such file")
    path.mkdir()
    refused(path, "is a folder")


def test_versions_that_are_not_known(qonnx_files, tmp_path):
    net = qonnx_files.Net()
    refused(net.write(tmp_path / "a.onnx", opset=99), "opset 99 of ai.onnx is outside 7 to")
    refused(net.write(tmp_path / "b.onnx", opset=5), "opset 5 of ai.onnx is outside 7 to")
    refused(net.write(tmp_path / "c.onnx", ir=99), "IR version 99 is above")


def test_constants_that_cannot_be_read(qonnx_files, tmp_path):
    path = qonnx_files.Net().write(tmp_path / "net.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").unlink()
    refused(path, "weights.bin")
    model = onnx.load(qonnx_files.Net().write(path))
    model.graph.initializer[0].raw_data = b"\0" * 3
    onnx.save(model, path)
    refused(path, f"initialiser '{model.graph.initializer[0].name}': cannot be read")


def test_a_graph_out_of_order(qonnx_files, tmp_path):
    net = qonnx_files.Net()
    net.nodes.reverse()
    refused(
        net.write(tmp_path / "net.onnx"), "node 'logits_node' .ReduceSum.: reads 'steps', which nothing before it makes"
    )


def test_what_a_library_raises_names_the_node(qonnx_files, tmp_path):
    net = qonnx_files.Net()
    net.constants(r=np.zeros((95, 4)))
    refused(net.write(tmp_path / "net.onnx"), "node 'sums_node' .MatMul.: reads 95 values of a .6, 4, 4. map")
    net = qonnx_files.Net()
    net.integers(split=[3, -1, 5])
    refused(net.write(tmp_path / "net.onnx"), "node 'steps_node' .Reshape.: cannot be executed")


def test_the_remedy_is_true(qonnx_files, tmp_path):
    """What the refusals of a few kinds advise is taken."""
    net = qonnx_files.Net()
    net.set("pooled", pads=[0, 0, 0, 0], ceil_mode=0, dilations=[1, 1])
    import_with_report(net.write(tmp_path / "pool.onnx"))
    net = qonnx_files.Net()
    net.constants(w_scale=np.full((6, 1, 1, 1), 0.25))
    import_with_report(net.write(tmp_path / "scale.onnx"))
