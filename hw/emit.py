"""Writes a design as SystemVerilog: instances only, one parameter or port a line, and the memory images beside it.

The bytes depend on the design alone. A whole design has AXI4-Stream ends; one stage has the plain streams in_*, out_*.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scaflow.hw.design import Design
from scaflow.hw.layers import Instance
from scaflow.hw.mem import images, parameters
from scaflow.model.files import read_json, whole_folder
from scaflow.quant.golden.stream_fork import StreamFork

TOP = "top"
COUNTER_BITS = 32  # of each of a stage's three counters
ERRORS = {  # bits of further outputs of the module that images or events enter by
    "axis_in": {"frame_error": 1},
    "axis_events": {"dropped": 32, "time_error": 1},
}
SCHEDULERS = ("synapse_list", "synapse_event", "synapse_word")  # a stage has one; what leaves it is counted


def emit(design: Design, directory: Path, counters: bool = False) -> Path:
    """Write the whole design into `directory` (replaced as one): top.sv, *.mem and manifest.json.

    Args:
        counters: also a port `counters`, {stalled, starved, busy} of each stage since reset, stage 0 lowest.

    Returns:
        the path of top.sv.
    """
    chain = design.instances()
    given = "address events" if design.events else "pixels"
    title = f"{design.graph.name}: AXI4-Stream {given} in, class and logits out"
    manifest = {
        "graph": design.graph.name,
        "top": TOP,
        "interval": design.interval,
        "axi_bytes": design.axi_bytes,
        "way_in": design.entry_cycles,
        **_recordings(design),
        "stages": [
            {
                "name": s.name,
                "pe": s.pe,
                "simd": s.simd,
                "scheduler": s.scheduler,
                "neurons": s.neurons,
                "group": s.group,
                "kept_in": s.kept_in,
                "kept_out": s.kept_out,
                "law": s.law,
                "order": s.out_order and s.out_order[: s.kept_out],
                "fifo_depth": s.fifo_depth,
                "instances": [i.name for i in s.instances],
            }
            for s in design.stages
        ],
        **_between(design),
    }
    schedulers = [i.name for i in chain if i.module in SCHEDULERS]
    return _write(directory, chain, title, axi=True, manifest=manifest, taps=schedulers if counters else ())


def _recordings(design: Design) -> dict[str, Any]:
    """Of a design of frames: how events are binned to them, and how often a result is told."""
    if design.events is None:
        return {}
    return {"events": asdict(design.events), "tell_every": design.readout.tell_every}


def _between(design: Design) -> dict[str, Any]:
    """Of a graph with forks all its parts and what they read, and the depths of the queues between the stages."""
    parts = [part for part in design.parts if part.stage is None]
    if not parts:
        return {}
    queues = {
        queue.name if part.kind == "fork" else part.name: queue.cfg.depth for part in parts for queue in part.queues
    }
    told = [
        {"name": p.name, "kind": p.kind, "reads": p.reads, "instances": [i.name for i in p.instances]}
        for p in design.parts
    ]
    return {"parts": told, "queues": queues}


def emit_stage(design: Design, name: str, directory: Path) -> Path:
    """Write one stage alone, between plain streams; returns the path of top.sv."""
    title = f"{design.graph.name}, stage {name} alone"
    return _write(directory, design.alone(name), title, axi=False, manifest={"graph": design.graph.name, "top": TOP})


def beat_bytes(directory: Path) -> int:
    """Bytes of an input beat of the design that `emit` wrote.

    Raises:
        ValueError: its manifest is damaged.
    """
    manifest = read_json(directory / "manifest.json", "emit the design again", ("axi_bytes",))
    return int(manifest["axi_bytes"])


def error_port(directory: Path) -> str:
    """The output of the design that `emit` wrote which tells that what came in was no image, or no recording.

    Raises:
        ValueError: its manifest is damaged.
    """
    manifest = read_json(directory / "manifest.json", "emit the design again", ("axi_bytes",))
    return "time_error" if "events" in manifest else "frame_error"


def check_emitted(design: Design, directory: Path) -> None:
    """See that what `emit` wrote for the design is there and whole; what stands in a memory is the simulation's matter.

    Raises:
        ValueError: files are missing, cut off, or hold no hexadecimal words of their memory's size: all are listed.
    """
    wanted = {
        name: text for i in design.instances() for name, text in images(i.cfg, f"{i.name}_").items()
    }
    faults = {name: _fault(directory / name, text) for name, text in wanted.items()}
    problems = [f"{directory / name}: {reason}" for name, reason in faults.items() if reason]
    top = directory / f"{TOP}.sv"
    if not top.is_file() or not top.read_bytes().endswith(b"endmodule\n"):
        problems.append(f"{top}: missing or cut off")
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise ValueError(f"{len(problems)} file(s) of a design are damaged; compile again:\n{lines}")


def _fault(memory: Path, text: str) -> str:
    if not memory.is_file():
        return "no such file"
    there = memory.read_bytes()
    if set(there) - set(b"0123456789abcdefABCDEF\n"):
        return "holds other things than hexadecimal words"
    if list(map(len, there.split())) != list(map(len, text.split())):
        return f"{len(there.split())} words where the memory has {len(text.split())}, or of another width"
    return ""


def top_text(chain: Sequence[Instance], title: str, axi: bool, taps: Sequence[str] = ()) -> str:
    """The text of the top module that wires a chain of instances, with a counter behind each of `taps`."""
    memories = sorted(
        item for i in chain for item in images(i.cfg, f"{i.name}_").items()
    )
    digest = hashlib.sha256("".join(name + text for name, text in memories).encode()).hexdigest()[:16]
    first, last = chain[0], chain[-1]
    lines = [
        f"// {title}",
        f"// generated by scaflow from the integer graph; memory images sha256 {digest}",
        f"module {TOP} (",
        "  input  logic clk,",
        "  input  logic rst_n,",
    ]
    if axi:
        lines += [
            "  input  logic s_axis_tvalid,",
            "  output logic s_axis_tready,",
            f"  input  logic [{first.in_bits - 1}:0] s_axis_tdata,",
            "  input  logic s_axis_tlast,",
            "  output logic m_axis_tvalid,",
            "  input  logic m_axis_tready,",
            f"  output logic [{last.out_bits - 1}:0] m_axis_tdata,",
            "  output logic m_axis_tlast,",
        ]
        errors = [f"  output logic {_range(bits)}{port}," for port, bits in ERRORS[first.module].items()]
        lines += [*errors[:-1], errors[-1][:-1]]
    else:
        lines += [
            "  input  logic in_valid,",
            "  output logic in_ready,",
            f"  input  logic [{first.in_bits - 1}:0] in_data,",
            "  output logic out_valid,",
            "  input  logic out_ready,",
            f"  output logic [{last.out_bits - 1}:0] out_data",
        ]
    if taps:
        lines[-1] += ","
        lines.append(f"  output logic [{3 * COUNTER_BITS * len(taps) - 1}:0] counters")
    lines.append(");")
    for instance in chain[:-1]:
        several = _range(instance.cfg.outs) if isinstance(instance.cfg, StreamFork) else ""
        lines += [
            f"  logic {several}{instance.name}_valid;",
            f"  logic {several}{instance.name}_ready;",
            f"  logic [{instance.out_bits - 1}:0] {instance.name}_data;",
        ]
        lines += [f"  logic {net};" for port in _beside(instance) for net in _nets(f"{instance.name}.{port}").values()]
    for i, instance in enumerate(chain):
        before = (instance.reads or (chain[i - 1].name,)) if i else ()
        after = instance.name if i + 1 < len(chain) else None
        lines += _instance(instance, before, after, axi)
    for i, tap in enumerate(taps):
        lines += _counter(i, tap)
    return "\n".join([*lines, "endmodule", ""])


def _instance(instance: Instance, before: Sequence[str], after: str | None, axi: bool) -> list[str]:
    """The text of one; before: what its inputs are tied to, none: those of the top."""
    values = parameters(instance.cfg, f"{instance.name}_")
    texts = [f'"{value}"' if isinstance(value, str) else str(int(value)) for value in values.values()]
    ports = {"clk": "clk", "rst_n": "rst_n"}
    if not before and axi:
        ports |= {f"s_axis_{p}": f"s_axis_{p}" for p in ("tvalid", "tready", "tdata", "tlast")}
        ports |= {port: port for port in ERRORS[instance.module]}
    else:
        for port, source in zip(getattr(instance.cfg, "inputs", ("in",)), before or ("in",), strict=True):
            ports |= {f"{port}_{p}": net for p, net in _nets(source).items()}
    if after is None and axi:
        ports |= {f"m_axis_{p}": f"m_axis_{p}" for p in ("tvalid", "tready", "tdata", "tlast")}
    else:
        sink = f"{after}_" if after else "out_"
        ports |= {f"out_{p}": f"{sink}{p}" for p in ("valid", "ready", "data")}
    for port in _beside(instance):
        ports |= {f"{port}_{p}": net for p, net in _nets(f"{instance.name}.{port}").items()}
    return [
        f"  {instance.module} #(",
        ",\n".join(f"    .{key}({text})" for key, text in zip(values, texts, strict=True)),
        f"  ) {instance.name} (",
        ",\n".join(f"    .{port}({net})" for port, net in ports.items()),
        "  );",
    ]


def _range(bits: int) -> str:
    return f"[{bits - 1}:0] " if bits > 1 else ""


def _beside(instance: Instance) -> tuple[str, ...]:
    """The streams of one bit that leave an instance beside `out`."""
    return () if isinstance(instance.cfg, StreamFork) else getattr(instance.cfg, "outputs", ("out",))[1:]


def _nets(source: str) -> dict[str, str]:
    """Of a stream: what leaves an instance, by a further output `name.port`, or a branch of a fork, `name[branch]`,
    which share their data."""
    if "." in source:
        return {p: f"{source.replace('.', '_')}_{p}" for p in ("valid", "ready", "data")}
    name, _, branch = source.partition("[")
    place = f"[{branch}" if branch else ""
    return {"valid": f"{name}_valid{place}", "ready": f"{name}_ready{place}", "data": f"{name}_data"}


def _counter(place: int, tap: str) -> list[str]:
    return [
        "  stage_counter #(",
        f"    .COUNTER_BITS({COUNTER_BITS})",
        f"  ) {tap}_counter (",
        "    .clk(clk),",
        "    .rst_n(rst_n),",
        f"    .valid({tap}_valid),",
        f"    .ready({tap}_ready),",
        f"    .counters(counters[{3 * COUNTER_BITS * place}+:{3 * COUNTER_BITS}])",
        "  );",
    ]


def _write(
    directory: Path,
    chain: Sequence[Instance],
    title: str,
    axi: bool,
    manifest: dict[str, Any],
    taps: Sequence[str] = (),
) -> Path:
    """Write everything beside `directory`, then put it in place."""
    durable = axi and not taps  # the others live for one simulation
    with whole_folder(directory, durable) as scratch:
        (scratch / f"{TOP}.sv").write_text(top_text(chain, title, axi, taps))
        for instance in chain:
            for name, text in images(instance.cfg, f"{instance.name}_").items():
                (scratch / name).write_text(text)
        (scratch / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    return directory / f"{TOP}.sv"
