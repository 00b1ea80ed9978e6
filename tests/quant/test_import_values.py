"""Foreign files that are taken: the logits of the graph are those of onnx's reference, to the last bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from scaflow.quant.graph import execute
from scaflow.quant.importer import ImportReport, execute_qonnx, import_with_report

HALF = 2.0**-8  # of the image's levels at the file's input


def same_logits(net, files, path: Path, feed=None, opset: int = 17, **write) -> ImportReport:
    """`feed` makes the file's input of uint8 images [1, C, H, W]."""
    net.write(path, opset, **write)
    graph, report = import_with_report(path)
    images = np.random.default_rng(3).integers(0, 256, (5, *graph.input_shape)).astype(np.uint8)
    ours = execute(graph, images)
    feed = feed or (lambda image: (image * HALF).astype(np.float32))
    at = net.outputs.index("logits")
    theirs = np.concatenate([files.evaluate(path, "image", feed(image[None]))[at] for image in images])
    np.testing.assert_array_equal(ours * report.logit_scale, theirs)
    assert len(np.unique(ours)) > 5
    np.testing.assert_array_equal(execute_qonnx(path, images), ours)
    return report


def conv(**attributes):
    return lambda net: net.set("current", **attributes)


def quantised_bias(net):
    net.constants(bias=np.arange(-3, 3) * 0.25, b16=16.0)
    net.quant("bias w_scale zero b16", "biasq", at=0)
    net.node("current").input.append("biasq")


def quantised_addend(net):
    net.constants(bias=np.arange(4) * 0.25)
    net.quant("bias r_scale zero b8", "biasq", at=0)
    net.behind("sums", "Add", "biasq")


def scalar_gemm(net):
    net.constants(bias=2.0)
    net.nodes[net.nodes.index(net.node("sums"))] = helper.make_node(
        "Gemm", ["flat", "rq", "bias"], ["sums"], alpha=-0.5, beta=4.0
    )


def names(kind):
    def change(net):
        for node in net.nodes:
            if node.op_type == "Quant":
                node.op_type = kind

    return change


def bipolar(net):
    i = net.nodes.index(net.node("wq"))
    net.nodes[i] = helper.make_node("BipolarQuant", ["w", "w_scale"], ["wq"], domain="qonnx.custom_op.general")


def constant_nodes(net):
    for name in ("w", "w_scale", "r", "times", "threshold"):
        net.nodes.insert(0, helper.make_node("Constant", [], [name], value=net.initialisers.pop(name)))


def on_weight(*kinds):
    def change(net):
        for kind, attributes in kinds:
            net.behind("wq", kind, **attributes)

    return change


def transposed_weight(net):
    net.constants(r=np.ascontiguousarray(np.random.default_rng(5).integers(-100, 101, (4, 96)) * 0.125))
    net.behind("rq", "Transpose", perm=[1, 0])


def per_channel_scale(net):
    net.constants(w_scale=np.array([0.25, 0.5, 0.125, 0.25, 1, 2]).reshape(6, 1, 1, 1))


def per_channel_threshold(net):
    net.constants(threshold=np.arange(1, 7).reshape(1, 6, 1, 1) * 0.5)


def norm(net):
    net.constants(g=np.array([1, -2, 0.5, 1, 4, 1]), b=np.arange(6) * 0.25, m=np.arange(6) * 0.5, v=[4.0] * 6)
    net.behind("current", "BatchNormalization", "g b m v", epsilon=0.0, momentum=0.5)


def padded(tensor, pads, channels=1):
    def change(net):
        net.integers(pads=pads)
        net.behind(tensor, "Pad", "pads")
        net.constants(w=np.random.default_rng(0).integers(-7, 8, (6, channels, 3, 3)) * 0.25)

    return change


def dropout(net):
    net.constants(ratio=0.3)
    net.constants(bool, mode=False)
    net.behind("spikes", "Dropout", "ratio mode")


def reshape(net):
    net.integers(rows=[3, 96])
    i = net.nodes.index(net.node("flat"))
    net.nodes[i] = helper.make_node("Reshape", ["pooled", "rows"], ["flat"], allowzero=1)


def shape_of(net):
    """The flattening as torch exports it: sizes taken from the tensor itself."""
    net.integers(zero_i=0, minus=[-1])
    i = net.nodes.index(net.node("flat"))
    net.nodes[i : i + 1] = [
        helper.make_node("Shape", ["pooled"], ["sizes"]),
        helper.make_node("Gather", ["sizes", "zero_i"], ["rows"]),
        helper.make_node("Unsqueeze", ["rows", "first"], ["rows1"]),
        helper.make_node("Concat", ["rows1", "minus"], ["target"], axis=0),
        helper.make_node("Reshape", ["pooled", "target"], ["flat"]),
    ]


def spikes_cast(net):
    net.behind("spikes", "Cast", to=TensorProto.INT8)
    net.behind("spikes_cast", "Cast", to=TensorProto.FLOAT)


def pool_that_fits(net):
    net.set("pooled", ceil_mode=1, auto_pad="SAME_UPPER", dilations=[1, 1], storage_order=1)


def nothing_odd(net):
    pass


def negative_axes(net):
    net.integers(first=[-3])
    net.set("flat", axis=-3)


def steps_in_front(net):
    net.node("current").input[0] = net.behind("x", "Tile", "times")
    tile = net.node("tiled")
    net.nodes.remove(tile)
    net.node("spikes").input[0] = "current"


def output_beside(net):
    net.outputs = ["spikes", "logits", "best"]
    net.add("ArgMax", "logits", "best", axis=1)


def unread(net):
    net.integers(unread=40)
    net.inputs = [helper.make_tensor_value_info(k, v.data_type, list(v.dims)) for k, v in net.initialisers.items()]


def open_batch(net):
    net.shape = ["N", 1, 8, 8]


CHANGES = {
    "as it is": nothing_odd,
    "pads on two sides": conv(pads=[0, 0, 2, 2]),
    "pads of four sizes": conv(pads=[2, 1, 0, 1]),
    "pads that no window reaches": conv(pads=[1, 1, 2, 2], strides=[2, 2]),
    "SAME_UPPER": conv(pads=None, auto_pad="SAME_UPPER"),
    "SAME_LOWER": conv(pads=None, auto_pad="SAME_LOWER", strides=[2, 2]),
    "dilated": conv(pads=[2] * 4, dilations=[2, 2]),
    "pads above the kernel": conv(pads=[4, 4, 0, 0]),
    "quantised bias": quantised_bias,
    "quantised addend": quantised_addend,
    "scalar bias": scalar_gemm,
    "IntQuant": names("IntQuant"),
    "BipolarQuant": bipolar,
    "Constant nodes": constant_nodes,
    "Identity on a weight": on_weight(("Identity", {}), ("Dropout", {}), ("Cast", {"to": TensorProto.FLOAT})),
    "Transpose on a weight": transposed_weight,
    "scale per channel": per_channel_scale,
    "threshold per channel": per_channel_threshold,
    "BatchNormalization": norm,
    "Pad on the image": padded("image", [0, 0, 1, 0, 0, 0, 0, 1]),
    "Pad on whole pixels": padded("x", [0, 1, 1, 0, 0, 0, 0, 1], channels=2),
    "Pad behind the pool": padded("pooled", [0, 0, 1, 0, 0, 0, 0, 1]),
    "Dropout": dropout,
    "Reshape": reshape,
    "Shape": shape_of,
    "spikes cast": spikes_cast,
    "a pool without effect of its attributes": pool_that_fits,
    "axes from behind": negative_axes,
    "Tile in front": steps_in_front,
    "further outputs": output_beside,
    "initialisers as inputs": unread,
    "an open batch": open_batch,
}


@pytest.mark.parametrize("name", CHANGES)
def test_it_is_taken_exactly(name, qonnx_files, tmp_path):
    net = qonnx_files.Net()
    CHANGES[name](net)
    if name not in ("Transpose on a weight", "Constant nodes"):  # they bring their own
        net.fit(tmp_path / "part.onnx")
    report = same_logits(net, qonnx_files, tmp_path / "net.onnx", ir=3 if name == "initialisers as inputs" else 10)
    assert report.layers[0].spikes_differ == 0 and report.layers[0].spikes_fired > 0


@pytest.mark.parametrize("opset", range(7, 27))
def test_every_opset(opset, qonnx_files, tmp_path):
    net = qonnx_files.Net()
    if opset < 13:
        net.nodes[-1] = helper.make_node("ReduceSum", ["steps"], ["logits"], axes=[0], keepdims=0)
    same_logits(net, qonnx_files, tmp_path / "net.onnx", opset=opset)


@pytest.mark.parametrize("kind", ["FLOAT16", "DOUBLE", "UINT8", "INT32"])
def test_the_type_of_the_image(kind, qonnx_files, tmp_path):
    net = qonnx_files.Net()
    net.dtype = getattr(TensorProto, kind)
    net.behind("image", "Cast", to=TensorProto.FLOAT)
    dtype, scale = helper.tensor_dtype_to_np_dtype(net.dtype), HALF
    if dtype.kind in "iu":
        net.behind("image_cast", "Mul", "pixel")
        scale = 1
    same_logits(net, qonnx_files, tmp_path / "net.onnx", lambda image: (image * scale).astype(dtype))


def test_channels_last(qonnx_files, tmp_path):
    net = qonnx_files.Net()
    net.shape = [1, 8, 6, 1]
    net.behind("image", "Transpose", perm=[0, 3, 1, 2])
    net.readout(6 * 4 * 3)
    same_logits(
        net, qonnx_files, tmp_path / "net.onnx", lambda image: (image * HALF).astype(np.float32).transpose(0, 2, 3, 1)
    )
    net = qonnx_files.Net()  # the spikes too, before they are flattened
    net.behind("pooled", "Transpose", perm=[0, 2, 3, 1])
    same_logits(net, qonnx_files, tmp_path / "spikes.onnx")


@pytest.mark.parametrize("unflatten", [False, True])
def test_features(unflatten, qonnx_files, tmp_path):
    """A network of linear layers, or a map that comes as a row of pixels."""
    net = qonnx_files.Net()
    net.shape = [1, 64]
    if unflatten:
        net.integers(map=[-1, 1, 8, 8])
        net.behind("image", "Reshape", "map")
    else:
        net.constants(w=np.random.default_rng(0).integers(-7, 8, (64, 6)) * 0.25)
        net.integers(times=[3, 1])
        net.nodes[net.nodes.index(net.node("current"))] = helper.make_node("MatMul", ["x", "wq"], ["current"])
        net.nodes.remove(net.node("pooled"))
        net.nodes.remove(net.node("flat"))
        net.node("sums").input[0] = "spikes"
        net.readout(6)
    same_logits(net, qonnx_files, tmp_path / "net.onnx", lambda image: (image * HALF).astype(np.float32).reshape(1, 64))


@pytest.mark.parametrize("seed", range(12))
def test_random_networks(seed, qonnx_files, tmp_path):
    """Two layers of random shapes, pads, pools and neurons, with `step`: the integer network of the file."""
    rng = np.random.default_rng(seed)
    net = qonnx_files.Net(size=int(rng.integers(7, 11)), steps=int(rng.integers(2, 5)), seed=seed)
    kernel, stride = rng.integers(1, 4, 2), int(rng.integers(1, 3))
    del net.nodes[-7:]
    neuron = {"domain": qonnx_files.OPS, "time_steps": net.steps, "leak_shift": int(rng.integers(0, 4))}
    reset = str(rng.choice(["hard", "soft"]))
    more = rng.spawn(1)[0]
    if more.random() < 0.6:
        neuron |= {"leak_shift": 0, "decay": [int(more.integers(128, 256)), 8]}
    reset = "delayed" if reset == "soft" and more.random() < 0.6 else reset
    back = " back" if reset == "hard" and more.random() < 0.7 else ""
    net.constants(threshold=0.5, back=more.integers(-60, 120, 6) / 256)
    del net.nodes[2:]
    pads = rng.integers(0, 3, 4).tolist()
    net.constants(
        w=rng.integers(-7, 8, (6, 1, *kernel)) * 0.25, step=2.0**-10, fine=0.25, bias=rng.integers(-9, 9, 6) / 64
    )
    net.add("Conv", "x wq bias", "current", kernel_shape=kernel.tolist(), pads=pads, strides=[stride] * 2)
    net.add("Tile", "current times", "tiled")
    net.add("LIF", f"tiled threshold step{back}", "spikes", reset=reset, fraction_bits=2, kept=[0, 1, 3, 4], **neuron)
    shape = [(net.size + pads[i] + pads[i + 2] - kernel[i]) // stride + 1 for i in (0, 1)]
    tensor = "spikes"
    if min(shape) >= 4 and rng.random() < 0.7:
        net.add("MaxPool", "spikes", "pooled", kernel_shape=[2, 2], strides=[2, 2])
        tensor, shape = "pooled", [n // 2 for n in shape]
    net.constants(w2=rng.integers(-7, 8, (5, 6, 2, 2)) * 0.25, bias2=rng.integers(-3, 4, (1, 5, 1, 1)) / 4)
    net.quant("w2 w_scale zero b4", "w2q", kind="IntQuant")
    net.add("Conv", f"{tensor} w2q", "current2", auto_pad="SAME_UPPER", kernel_shape=[2, 2])
    net.add("Add", "bias2 current2", "biased")
    net.add("LIF", "biased threshold fine", "spikes2", reset=reset, fraction_bits=3, **neuron)
    net.add("Flatten", "spikes2", "flat")
    net.readout(5 * shape[0] * shape[1])
    net.quant("r r_scale zero b8", "rq")
    net.add("MatMul", "flat rq", "sums")
    net.add("Reshape", "sums split", "steps")
    net.add("ReduceSum", "steps first", "logits", keepdims=0)
    report = same_logits(net, qonnx_files, tmp_path / "net.onnx")
    assert all(layer.exact and not layer.spikes_differ for layer in report.layers)
