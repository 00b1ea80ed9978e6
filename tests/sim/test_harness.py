"""The simulation harness itself: sees every fault it promises to, never hangs, never repeats old results."""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from scaflow.quant.golden.stream_fork import StreamFork
from scaflow.sim import build as building
from scaflow.sim import rtl, toolchain
from scaflow.sim.build import MODULE, BuildError, build, checks_of, sources_of
from scaflow.sim.rtl import SimulationError, simulate, simulate_axis, simulate_runs, simulate_streams, simulate_top

PORTS = """
  input logic clk, input logic rst_n,
  input logic in_valid, output logic in_ready, input logic [WIDTH-1:0] in_data,
  output logic out_valid, input logic out_ready, output logic [WIDTH-1:0] out_data
"""
REGISTER = """
  assign in_ready = !out_valid || out_ready;
  always_ff @(posedge clk) begin
    if (in_ready) out_data <= in_data;
    if (!rst_n) out_valid <= 0; else if (in_ready) out_valid <= in_valid;
  end
"""


@dataclass(frozen=True)
class Probe:
    width: int = 8


def module(directory: Path, body: str) -> Path:
    """A module `probe` with the stream ports and this body."""
    path = directory / "probe.sv"
    path.write_text(f"module probe #(parameter int unsigned WIDTH) ({PORTS});\n{body}\nendmodule\n")
    return path


def run(directory: Path, body: str, n: int = 200, **options):
    options = {"expect": n, "patience": 300} | options
    return simulate("probe", Probe(), [i % 251 for i in range(n)], source=module(directory, body), **options)


pytestmark = pytest.mark.rtl


def test_a_register_passes_and_its_cycles_are_exact(tmp_path: Path) -> None:
    y, cycles, in_at, out_at, *_ = run(tmp_path, REGISTER)
    assert y == [i % 251 for i in range(200)]
    assert cycles == 201
    assert in_at == list(range(200)) and out_at == list(range(1, 201))


def test_stalls_are_random_and_repeatable(tmp_path: Path) -> None:
    runs = [run(tmp_path, REGISTER, stalls=0.4, seed=seed) for seed in (3, 3, 4)]
    assert runs[0] == runs[1]
    assert runs[0].out_at != runs[2].out_at and runs[0].in_at != runs[2].in_at
    assert runs[0].cycles > 250
    assert all(r.y == runs[0].y for r in runs)


def test_runs_in_one_process_are_those_of_a_process_each(tmp_path: Path) -> None:
    options = {"expect": [200], "seed": 3, "source": module(tmp_path, REGISTER)}
    told = "probe", Probe(), [[i % 251 for i in range(200)]]
    runs = simulate_runs(*told, stalls=(0.0, 0.4), **options)
    assert runs == [simulate_streams(*told, stalls=stalls, **options) for stalls in (0.0, 0.4)]
    assert runs[0].cycles < runs[1].cycles


def test_a_later_run_finds_what_no_reset_cleared(tmp_path: Path) -> None:
    body = REGISTER + "logic seen = 0; always_ff @(posedge clk) if (in_valid) seen <= 1;"
    body = body.replace("out_data <= in_data", "out_data <= in_data + WIDTH'(!in_valid && seen)")
    body = body.replace("if (!rst_n) out_valid <= 0;", "if (!rst_n) out_valid <= seen;")
    with pytest.raises(SimulationError, match="more output beats than expected"):
        simulate_runs("probe", Probe(), [[1, 2]], expect=[2], stalls=(0.0, 0.0), source=module(tmp_path, body))


def test_valid_that_falls_while_waiting_fails(tmp_path: Path) -> None:
    body = """
      logic [1:0] age;
      assign in_ready = !out_valid || out_ready;
      always_ff @(posedge clk) begin
        age <= out_valid && !out_ready ? age + 1 : 0;
        if (in_ready) out_data <= in_data;
        if (!rst_n || (!in_ready && age == 2)) out_valid <= 0;
        else if (in_ready) out_valid <= in_valid;
      end"""
    with pytest.raises(SimulationError, match=r"check_out\.held: valid fell before ready came"):
        run(tmp_path, body, stalls=0.4)


def test_payload_that_changes_while_waiting_fails(tmp_path: Path) -> None:
    body = REGISTER.replace("if (in_ready) out_data", "if (in_valid) out_data")
    with pytest.raises(SimulationError, match=r"check_out\.stable: payload changed from .* while waiting"):
        run(tmp_path, body, stalls=0.4)


def test_valid_that_waits_for_ready_fails(tmp_path: Path) -> None:
    body = "assign out_valid = in_valid && out_ready; assign in_ready = out_ready; assign out_data = in_data;"
    assert run(tmp_path, body).cycles == 200  # nobody can tell while ready is always high
    with pytest.raises(SimulationError, match=r"no beat moved for 300 cycles \(in: 0 of 200 beats"):
        run(tmp_path, body, stalls=0.4)


def test_a_lost_beat_fails(tmp_path: Path) -> None:
    body = REGISTER.replace("out_valid <= in_valid", "out_valid <= in_valid && in_data != 7")
    with pytest.raises(SimulationError, match="out: 199 of 200 beats"):
        run(tmp_path, body)


def test_a_surplus_beat_fails(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="more output beats than expected"):
        run(tmp_path, REGISTER, expect=199)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("~done", "~done & ~(OUTS'(tick) << 1)", r"check_out\.held: valid fell before ready came"),
        ("= in_data", "= in_data ^ WIDTH'(tick)", r"check_out\.stable: payload changed from .* while waiting"),
        ("~done", "~done & ~(OUTS'(in_data == 7) << 1)", r"out\[0\]: 200 of 200 .* out\[1\]: 199 of 200"),
    ],
    ids=["held", "stable", "lost"],
)
def test_a_fault_of_one_of_several_streams_is_seen(tmp_path: Path, old: str, new: str, fault: str) -> None:
    text = (building.RTL / "stream_fork.sv").read_text()
    assert text.count(old) == 1
    tick = "  logic tick;\n  always_ff @(posedge clk) tick <= rst_n && !tick;\nendmodule"
    (tmp_path / "stream_fork.sv").write_text(text.replace(old, new).replace("endmodule", tick))
    options = {"expect": [200, 200], "stalls": 0.4, "patience": 300, "source": tmp_path / "stream_fork.sv"}
    with pytest.raises(SimulationError, match=fault):
        simulate_streams("stream_fork", StreamFork(8, 2), [[i % 251 for i in range(200)]], **options)


def test_a_surplus_beat_of_one_of_several_streams_fails() -> None:
    with pytest.raises(SimulationError, match="more output beats than expected"):
        simulate_streams("stream_fork", StreamFork(8, 2), [list(range(200))], expect=[200, 199])


def test_endless_output_ends(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="more output beats than expected"):
        run(tmp_path, "assign in_ready = 0; assign out_valid = 1; assign out_data = in_data;")


def test_a_register_without_reset_starts_at_random(tmp_path: Path) -> None:
    body = REGISTER.replace("out_data <= in_data", "out_data <= sum; sum <= sum + in_data")
    body = "logic [7:0] sum;" + body
    assert len({run(tmp_path, body, n=8, seed=seed).y[0] for seed in range(4)}) > 1


def test_a_strictly_parameter_says_why(tmp_path: Path) -> None:
    body = REGISTER + 'if (WIDTH > 4) begin : chk $error("WIDTH=%0d must be at most 4", WIDTH); end'
    with pytest.raises(BuildError, match="WIDTH=8 must be at most 4"):
        run(tmp_path, body)


def test_a_failed_run_from_plain_python_does_not_repeat_the_last_result(tmp_path: Path) -> None:
    module(tmp_path, REGISTER)
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, {here!r})\n"
        "from test_harness import Probe, simulate\n"
        "source = Path({source!r})\n"
        "print(simulate('probe', Probe(), [1, 2], expect=2, source=source).y)\n"
        "broken = source.read_text().replace('out_data <= in_data', 'out_data <= in_data; $fatal(1)')\n"
        "source.write_text(broken)\n"
        "print(simulate('probe', Probe(), [1, 2], expect=2, source=source).y)\n"
    ).format(here=str(Path(__file__).parent), source=str(tmp_path / "probe.sv"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "[1, 2]\n" in done.stdout and done.stdout.count("[1, 2]\n") == 1
    assert done.returncode and "SimulationError: probe: the simulation failed" in done.stderr


def test_waves(tmp_path: Path) -> None:
    run(tmp_path, REGISTER, waves=tmp_path / "deep" / "probe.vcd")
    assert "$enddefinitions" in (tmp_path / "deep" / "probe.vcd").read_text()


# --- the build cache --------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCAFLOW_BUILD", str(tmp_path / "cache"))
    return tmp_path / "cache" / "sim"


def test_a_build_is_made_once_and_again_for_each_difference(cache: Path, tmp_path: Path, monkeypatch) -> None:
    calls = []

    def compile_nothing(scratch: Path, *rest) -> Path:
        calls.append(rest)
        (scratch / "made").write_bytes(Path(sys.executable).read_bytes())  # a whole executable
        return scratch / "made"

    monkeypatch.setattr(building, "_compile", compile_nothing)
    source = module(tmp_path, REGISTER)

    def count(**options) -> int:
        build("probe", [source], {"WIDTH": 8} | options.pop("parameters", {}), **options)
        return len(calls)

    assert [count(), count(), count(trace=True), count(parameters={"WIDTH": 9}), count()] == [1, 1, 2, 3, 3]
    source.write_text(source.read_text() + "// a remark\n")
    assert count() == 3
    source.write_text(source.read_text().replace("out_data <= in_data", "out_data <= ~in_data"))
    assert count() == 4


def test_a_full_disk_is_told_and_not_taken_for_bad_hardware(tmp_path: Path, monkeypatch) -> None:
    def full(path: Path) -> None:
        if path == waves:
            raise OSError(28, "No space left on device", str(path))

    waves = tmp_path / "w.vcd"
    waves.write_text("$half")
    (tmp_path / "top").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "top").chmod(0o755)
    with pytest.raises(SimulationError):
        rtl._execute("bench", tmp_path / "top", tmp_path, {"seed": 0}, waves)
    assert waves.exists()  # of a design that hangs they are what is wanted
    monkeypatch.setattr(rtl, "check_place", full)
    with pytest.raises(OSError, match="No space left"):
        rtl._execute("bench", tmp_path / "top", tmp_path, {"seed": 0}, waves)
    assert not waves.exists()


def test_a_damaged_executable_is_built_again(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(building, "cache_root", lambda: tmp_path / "sim")
    source = tmp_path / "one.sv"
    source.write_text("module one (input logic clk); endmodule\n")
    good, runs = Path(sys.executable).read_bytes(), []

    def compiled(scratch: Path, top: str, *_: object) -> Path:
        runs.append(top)
        (scratch / top).write_bytes(good)
        return scratch / top

    monkeypatch.setattr(building, "_compile", compiled)
    path = build("one", [source])
    assert build("one", [source]) == path and runs == ["one"]
    for content in (b"", good[: len(good) // 2], bytes(len(good))):
        path.write_bytes(content)
        assert build("one", [source]).read_bytes() == good
    assert len(runs) == 4


def test_a_build_that_was_looked_up_stays_and_older_ones_go_for_another(cache: Path, monkeypatch) -> None:
    def compiled(scratch: Path, top: str, *_: object) -> Path:
        (scratch / top).write_bytes(Path(sys.executable).read_bytes())
        return scratch / top

    def built(name: str) -> Path:
        (cache.parent / f"{name}.sv").write_text(f"module {name} (input logic clk); endmodule\n")
        return build(name, [cache.parent / f"{name}.sv"])

    monkeypatch.setattr(building, "_compile", compiled)
    monkeypatch.setattr(building.caches, "PAUSE", 0)
    cache.mkdir(parents=True)
    old, looked_up = built("old"), built("looked_up")
    for executable in (old, looked_up):
        os.utime(executable.parent, (0, 0))
    monkeypatch.setattr(building.caches, "LIMIT", 0)
    assert built("looked_up") == looked_up and old.is_file()
    assert built("fresh").is_file() and looked_up.is_file()
    assert not old.parent.exists()
    assert sorted(path.name for path in looked_up.parent.iterdir()) == ["looked_up"]


def test_a_design_large_enough_to_be_split_builds(cache: Path, tmp_path: Path, monkeypatch) -> None:
    shared, shares = [], building._shares

    def listening(texts: list[Path]) -> list[list[Path]]:
        shared.extend([sorted(texts), *shares(texts)])
        return shared[1:]

    monkeypatch.setattr(building, "_shares", listening)
    monkeypatch.setattr(building, "LARGE", 1000)
    monkeypatch.setattr(building, "_FLAGS", (*building._FLAGS, "--output-split", "200"))
    assert run(tmp_path, REGISTER).cycles == 201
    texts, *parts = shared
    assert len(texts) > 8 and len(parts) == building.JOBS  # a call of the compiler each, not one a text
    assert sorted(text for part in parts for text in part) == texts


def test_builds_take_the_header_that_the_compiler_accepts(cache: Path, tmp_path: Path, monkeypatch) -> None:
    """With waves before and after one without, each kind has a precompiled header of its own: no build says so."""
    strictly, call = [], building._call

    def strict(top: str, scratch: Path, command: list[str]) -> None:
        rules = scratch / "whole.mk"
        if rules.exists():
            rules.write_text(rules.read_text().replace("-include", "-Winvalid-pch -Werror -include"))
            strictly.append(command[-1])
        call(top, scratch, command)

    monkeypatch.setattr(building, "_call", strict)
    for width, trace in ((8, False), (8, True), (9, False)):
        build("probe", [module(tmp_path, REGISTER)], {"WIDTH": width}, trace=trace, engine=MODULE)
    assert strictly == ["simulation"] * 3


def test_builders_at_the_same_time_share_one_build(cache: Path, tmp_path: Path) -> None:
    source = module(tmp_path, REGISTER)
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        made = pool.starmap(build, [("probe", [source], {"WIDTH": 8})] * 3)
    assert len(set(made)) == 1 and made[0].is_file()
    kinds = sorted(path.name.split("-")[0] for path in cache.iterdir())
    assert kinds == ["header", "locks", "probe", "runtime"]


def test_sources_follow_instances_and_not_remarks(tmp_path: Path) -> None:
    for name, text in (("a", "b i(); // not c"), ("b", "/* nor\n c */ d i();"), ("c", ""), ("d", "")):
        (tmp_path / f"{name}.sv").write_text(f"module {name}; {text}\nendmodule\n")
    assert [path.stem for path in sources_of(tmp_path / "a.sv", tmp_path)] == ["a", "b", "d"]


def test_every_stream_of_every_module_is_checked() -> None:
    text = checks_of(sources_of(building.RTL / "axis_in.sv"))
    bound = set(re.findall(r"bind (\w+) stream_check .* (check_\w+) ", text))
    assert bound == {
        ("axis_in", "check_s_axis"),
        ("axis_in", "check_out"),
        ("stream_width", "check_in"),
        ("stream_width", "check_out"),
    }


def test_missing_tools_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain.shutil, "which", lambda tool: None)
    with pytest.raises(ValueError, match=r"(?s)`g\+\+` is not on PATH.*`make` is not"):
        toolchain.verilator()


# --- generated tops ---------------------------------------------------------------------------------------

AXIS_TOP = """
module top (
  input logic clk, input logic rst_n,
  input logic s_axis_tvalid, output logic s_axis_tready,
  input logic [15:0] s_axis_tdata, input logic s_axis_tlast,
  output logic m_axis_tvalid, input logic m_axis_tready,
  output logic [31:0] m_axis_tdata, output logic m_axis_tlast,
  output logic frame_error
);
  logic valid, ready;
  logic [23:0] data;
  axis_in #(.AXI_BYTES(2), .PIXEL_BYTES(3), .FRAME_PIXELS(1), .PIXEL_BITS(8)) head (
    .clk, .rst_n, .s_axis_tvalid, .s_axis_tready, .s_axis_tdata, .s_axis_tlast,
    .out_valid(valid), .out_ready(ready), .out_data(data), .frame_error
  );
  axis_out #(.CLASSES(2), .LOGIT_BITS(8), .CLASS_BITS(8)) tail (
    .clk, .rst_n, .in_valid(valid), .in_ready(ready), .in_data(data),
    .m_axis_tvalid, .m_axis_tready, .m_axis_tdata, .m_axis_tlast
  );
endmodule
"""


@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize("stalls", [0.0, 0.4])
def test_axis_frames(tmp_path: Path, stalls: float, independent: bool) -> None:
    (tmp_path / "top.sv").write_text(AXIS_TOP)
    frames = [bytes([i, 255 - i, 3 * i]) for i in range(40)]
    options = {"axi_bytes": 2, "expect": 3, "stalls": stalls, "independent": independent}
    got = simulate_axis(tmp_path, "top", frames, **options)
    signed = [[byte - 256 & 0xFFFF_FFFF if byte > 127 else byte for byte in frame] for frame in frames]
    assert got.words == [[frame[2], *line[:2]] for frame, line in zip(frames, signed, strict=True)]
    assert not got.frame_error
    if not stalls and not independent:
        # two beats of two bytes a frame, the fourth byte dropped; class and two logits out
        assert got.in_start[0] == 0
        assert {b - a for a, b in zip(got.out_end[5:], got.out_end[6:], strict=False)} == {4}


@pytest.mark.parametrize("independent", [False, True])
def test_axis_frames_of_the_wrong_length_are_noticed(tmp_path: Path, independent: bool) -> None:
    (tmp_path / "top.sv").write_text(AXIS_TOP)
    options = {"axi_bytes": 2, "patience": 300, "independent": independent}
    assert not simulate_axis(tmp_path, "top", [bytes(4), bytes(3)], expect=3, **options).frame_error
    assert simulate_axis(tmp_path, "top", [bytes(2), bytes(5)], expect=3, **options).frame_error
    with pytest.raises(SimulationError, match=r"tlast at output words|more output frames|has 3 words"):
        simulate_axis(tmp_path, "top", [bytes(8)], expect=6, **options)
    with pytest.raises(SimulationError, match=r"no beat moved|no frame for 300 cycles"):
        simulate_axis(tmp_path, "top", [bytes(2)], expect=3, **options)


def test_a_top_reads_its_memories_from_its_own_directory(tmp_path: Path) -> None:
    body = """
      logic [7:0] table_of [4]; initial $readmemh("table.mem", table_of);
      assign out_valid = in_valid; assign in_ready = out_ready; assign out_data = table_of[in_data[1:0]];"""
    (tmp_path / "top.sv").write_text(f"module top ({PORTS.replace('WIDTH-1', '7')});{body}\nendmodule\n")
    for values in ("0a 0b 0c 0d", "1a 1b 1c 1d"):  # the second run reuses the build
        (tmp_path / "table.mem").write_text(values.replace(" ", "\n"))
        run = simulate_top(tmp_path, "top", [3, 0, 1], expect=3)
        assert run.y == [int(values.split()[i], 16) for i in (3, 0, 1)]
