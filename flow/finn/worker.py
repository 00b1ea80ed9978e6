"""Generates FINN's RTL of one convolution. Runs in FINN's own environment, where nothing of scaflow is installed.

    python worker.py LAYER.json OUT

LAYER.json: channels_in, channels_out, height, width, kernel [h, w], stride, padding, pe, simd, ram_style, input_type,
weight_type (QONNX data types), weights [Co, Ci, Kh, Kw]. OUT gets the sources, top.sv with plain streams, memblock.dat,
finn.json. With foldings [[pe, simd], ...] OUT gets only finn.json, with the cycles a frame that FINN expects of each.
The chain is FINN's own: FMPadding_rtl -> ConvolutionInputGenerator_rtl -> [StreamingDataWidthConverter_rtl] ->
MVAU_rtl with its weights in a memstream; each as its `generate_hdl` writes it.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
from pathlib import Path
from typing import Any
from unittest import mock

# UltraScale+: its DSP48E2 takes four of these products, a 7-series DSP48E1 three. In FINN's favour.
PART, CLOCK_NS = "xczu3eg-sbva484-1-e", 8.0
# What Verilator or Yosys refuse of FINN's sources is replaced, in the generated copy only.
_LEAF_LOADS = re.compile(r"\t\ttypedef int unsigned  leaf_load_t.*?endfunction : init_leaf_loads\n", re.DOTALL)


def portable(name: str, text: str) -> str:
    """A source file of FINN as Verilator and Yosys read it; its behaviour is the same.

    Raises:
        ValueError: what is to be replaced is not there: another version of FINN.
    """
    if name == "add_multi.sv":  # a constant function may not be declared under a generate block
        found = _LEAF_LOADS.search(text)
        if found is None:
            raise ValueError(f"{name}: init_leaf_loads is not where FINN 1.6.1 has it")
        text = text.replace(found[0], "")
        return text.replace(");\n", ");\n" + found[0], 1)
    if name == "mvu.sv":  # a delay in a check of the stimulus at start-up: the simulation is built without time
        return re.sub(r"#100ns;\s*Dirty <= 0;", "Dirty = 0;", text)
    if name == "vpc.sv":  # a directive may not stand inside a module
        return re.sub(r"^`default_nettype .*\n", "", text, flags=re.MULTILINE)
    if name == "memstream.sv":  # Yosys knows this attribute in small letters only
        if "(* RAM_STYLE = RAM_STYLE *)" not in text:
            raise ValueError(f"{name}: RAM_STYLE is not where FINN 1.6.1 has it")
        return text.replace("(* RAM_STYLE = RAM_STYLE *)", "(* ram_style = RAM_STYLE *)")
    if name.endswith("_memstream_wrapper.v"):  # the image lies beside the sources, wherever these are
        return re.sub(r'"[^"]*/memblock\.dat"', '"memblock.dat"', text)
    return text


def main(layer: dict, out: Path) -> None:
    for module in ("torch", "torch.nn", "torch.nn.functional"):
        # imported by FINN's layer normalisation alone, which is not generated here; it would be another 750 MB
        sys.modules[module] = mock.MagicMock(__path__=[])
    import finn.util.settings
    from finn.interface.settings import FINNSettings

    scratch = out / "generated"
    finn.util.settings._SETTINGS = FINNSettings.init(flow_config=out / "none.yaml", finn_build_dir=str(scratch))
    scratch.mkdir(parents=True, exist_ok=True)
    if "foldings" in layer:
        chains = (chain(layer | {"pe": pe, "simd": simd}) for pe, simd in layer["foldings"])
        found = {"estimated_cycles": [max(map(cycles_of, blocks)) for _, blocks in chains]}
    else:
        found = generate(layer, scratch, out)
    shutil.rmtree(scratch)
    (out / "finn.json").write_text(json.dumps(found, indent=1) + "\n")


def cycles_of(block: Any) -> int:
    """Cycles a frame, as FINN expects them."""
    return int(block.get_exp_cycles())


def chain(layer: dict) -> tuple[Any, list]:
    """The model of a layer in FINN's own operators, and their blocks."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper
    from qonnx.core.datatype import DataType
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.custom_op.registry import getCustomOp

    co, ci = layer["channels_out"], layer["channels_in"]
    (kh, kw), stride, pad = layer["kernel"], layer["stride"], layer["padding"]
    height, width = layer["height"] + 2 * pad, layer["width"] + 2 * pad
    rows, columns = (height - kh) // stride + 1, (width - kw) // stride + 1
    pe, simd = layer["pe"], layer["simd"]
    narrow = math.gcd(ci, simd)  # the window generator's parallelism divides the channels
    weights = np.array(layer["weights"], np.float32).transpose(2, 3, 1, 0).reshape(kh * kw * ci, co)
    kind, bits = layer["input_type"], DataType[layer["input_type"]].bitwidth()

    nodes: list[Any] = []
    shape: tuple[int, ...] = (1, layer["height"], layer["width"], ci)

    def add(op: str, shape_out: tuple[int, ...], extra: tuple[str, ...] = (), **attributes) -> None:
        nonlocal shape
        source, sink = f"t{len(nodes)}", f"t{len(nodes) + 1}"
        nodes.append(
            helper.make_node(
                op,
                [source, *extra],
                [sink],
                name=f"finn_{op.lower()}",
                domain="finn.custom_op.fpgadataflow.rtl",
                backend="fpgadataflow",
                **attributes,
            )
        )
        shape = shape_out

    if pad:
        add(
            "FMPadding_rtl",
            (1, height, width, ci),
            ImgDim=[layer["height"], layer["width"]],
            Padding=[pad] * 4,
            NumChannels=ci,
            SIMD=narrow,
            inputDataType=kind,
        )
    if (kh, kw, stride) != (1, 1, 1):
        add(
            "ConvolutionInputGenerator_rtl",
            (1, rows, columns, kh * kw * ci),
            ConvKernelDim=[kh, kw],
            IFMChannels=ci,
            IFMDim=[height, width],
            OFMDim=[rows, columns],
            SIMD=narrow,
            Stride=[stride, stride],
            Dilation=[1, 1],
            inputDataType=kind,
            outputDataType=kind,
            ram_style=layer["ram_style"],
        )
    if simd != narrow:
        add(
            "StreamingDataWidthConverter_rtl",
            shape,
            inShape=list(shape),
            outShape=list(shape),
            inWidth=narrow * bits,
            outWidth=simd * bits,
            dataType=kind,
        )
    add(
        "MVAU_rtl",
        (1, rows, columns, co),
        ("weights",),
        PE=pe,
        SIMD=simd,
        MW=kh * kw * ci,
        MH=co,
        inputDataType=kind,
        weightDataType=layer["weight_type"],
        outputDataType="INT32",
        noActivation=1,
        numInputVectors=[1, rows, columns],
        mem_mode="internal_decoupled",
        ram_style=layer["ram_style"],
        resType="dsp",
    )
    end = f"t{len(nodes)}"
    # a reader behind it, as in a network: without one FINN rounds the accumulator up to whole bytes
    reader = helper.make_node("Identity", [end], ["out"], name="reader")
    graph = helper.make_graph(
        [*nodes, reader],
        "layer",
        [helper.make_tensor_value_info("t0", TensorProto.FLOAT, (1, layer["height"], layer["width"], ci))],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    model = ModelWrapper(helper.make_model(graph))
    model.set_tensor_datatype("t0", DataType[kind])
    model.set_tensor_datatype("weights", DataType[layer["weight_type"]])
    return model, [getCustomOp(node) for node in model.graph.node[:-1]]


def generate(layer: dict, scratch: Path, out: Path) -> dict[str, Any]:
    """Writes the RTL; what finn.json says of it."""
    import finn.util.settings

    model, blocks = chain(layer)
    files: list[Path] = []
    for block in blocks:
        folder = scratch / block.onnx_node.name
        folder.mkdir(exist_ok=True)
        block.set_nodeattr("code_gen_dir_ipgen", str(folder))
        if block.onnx_node.op_type == "MVAU_rtl":
            block.minimize_accumulator_width(model)
        block.generate_hdl(model, PART, CLOCK_NS)
        files += [Path(name) for name in block.get_rtl_file_list(abspath=True)]
        files += sorted(folder.glob("*_memstream_wrapper.v"))
    library = Path(finn.util.settings.get_settings().finn_rtllib)
    files += [library / "memstream/hdl" / name for name in ("memstream_axi.sv", "memstream.sv")]
    files.append(library / "axi/hdl/axilite.sv")
    shutil.copy(scratch / "finn_mvau_rtl/memblock.dat", out)
    names = sorted({path.name: path for path in files}, key=lambda name: "_pkg" not in name)  # packages first
    places = {path.name: path for path in files}
    for name in names:
        (out / name).write_text(portable(name, places[name].read_text()))
    accumulator = blocks[-1].get_output_datatype()
    lanes, bits = blocks[0].get_folded_input_shape()[-1], blocks[0].get_input_datatype().bitwidth()
    (out / "top.sv").write_text(top(blocks, bits * lanes, layer["pe"], accumulator.bitwidth()))
    return {
        "sources": [*names, "top.sv"],
        "accumulator_bits": accumulator.bitwidth(),
        "input_bits": bits,
        "input_lanes": lanes,
        "estimated_cycles": max(map(cycles_of, blocks)),
        "dsp_estimate": blocks[-1].dsp_estimation(PART),
    }


def top(blocks: list, in_bits: int, pe: int, accumulator_bits: int) -> str:
    """The blocks and the weight streamer in a row, between plain streams; AXI-lite is tied off, as FINN leaves it."""
    out_bits = pe * accumulator_bits
    lines = [
        "module top (",
        "  input  logic clk,",
        "  input  logic rst_n,",
        "  input  logic in_valid,",
        "  output logic in_ready,",
        f"  input  logic [{in_bits - 1}:0] in_data,",
        "  output logic out_valid,",
        "  input  logic out_ready,",
        f"  output logic [{out_bits - 1}:0] out_data",
        ");",
    ]
    for i, block in enumerate(blocks):
        wide = -(-int(block.get_outstream_width()) // 8) * 8
        lines += [f"  logic v{i}, r{i};", f"  logic [{wide - 1}:0] d{i};"]
    before = ("in_valid", "in_ready", f"{-(-in_bits // 8) * 8}'(in_data)")
    for i, block in enumerate(blocks):
        name = block.get_verilog_top_module_name()
        ports = {"ap_clk": "clk", "ap_rst_n": "rst_n"}
        ports |= {f"in0_V_T{p}": net for p, net in zip(("VALID", "READY", "DATA"), before, strict=True)}
        ports |= {"out0_V_TVALID": f"v{i}", "out0_V_TREADY": f"r{i}", "out0_V_TDATA": f"d{i}"}
        if "FMPadding" in block.onnx_node.op_type:
            ports |= lite({"AWADDR": 5, "ARADDR": 5}, protected=False)
        if block is blocks[-1]:
            weights = -(-int(block.get_instream_width(1)) // 8) * 8
            lines += ["  logic wv, wr;", f"  logic [{weights - 1}:0] wd;"]
            ports |= {"ap_clk2x": "clk", "in1_V_TVALID": "wv", "in1_V_TREADY": "wr", "in1_V_TDATA": "wd"}
            streamer = {"ap_clk": "clk", "ap_clk2x": "clk", "ap_rst_n": "rst_n"} | lite({}, protected=True)
            streamer |= {"s_axis_0_tready": "", "s_axis_0_tvalid": "1'b0", "s_axis_0_tdata": "'0"}
            streamer |= {"m_axis_0_tvalid": "wv", "m_axis_0_tready": "wr", "m_axis_0_tdata": "wd"}
            lines += instance(f"{name}_memstream_wrapper", "weights", streamer)
        lines += instance(name, f"block{i}", ports)
        before = (f"v{i}", f"r{i}", f"d{i}")
    last = len(blocks) - 1
    lines += [
        f"  assign out_valid = v{last};",
        f"  assign r{last} = out_ready;",
        f"  assign out_data = d{last}[{out_bits - 1}:0];",
    ]
    return "\n".join([*lines, "endmodule", ""])


def lite(addresses: dict[str, int], protected: bool) -> dict[str, str]:
    """An AXI-lite port of which nothing is used."""
    inputs = ("AWVALID", "AWADDR", "WVALID", "WDATA", "WSTRB", "BREADY", "ARVALID", "ARADDR", "RREADY")
    outputs = ("AWREADY", "WREADY", "BVALID", "BRESP", "ARREADY", "RVALID", "RRESP", "RDATA")
    ports = {f"s_axilite_{name}": "'0" for name in (*inputs, *(("AWPROT", "ARPROT") if protected else ()))}
    return ports | {f"s_axilite_{name}": "" for name in outputs}


def instance(module: str, name: str, ports: dict[str, str]) -> list[str]:
    return [f"  {module} {name} (", ",\n".join(f"    .{port}({net})" for port, net in ports.items()), "  );"]


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
