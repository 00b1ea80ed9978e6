"""Run RTL: `simulate("module", cfg, beats)` is called like the golden twin `module(cfg, beats)`.

A module of several streams is run by `simulate_streams`; the dataclass of its twin names them in `inputs`, `outputs`.
`simulate_runs` runs it several times in one process: to start one takes longer than most runs.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cocotb_tools.check_results import get_results

from scaflow.hw.emit import COUNTER_BITS
from scaflow.hw.mem import write_memories
from scaflow.model import processes
from scaflow.model.files import check_place, read_json
from scaflow.quant.golden.beats import unpack
from scaflow.sim import cocotb_run
from scaflow.sim.build import COCOTB, MODULE, RTL, Engine, build, sources_of
from scaflow.sim.errors import SimulationError


class Run(NamedTuple):
    """What a simulation saw. Cycles count from the first accepted input beat, which is cycle 0."""

    y: list[int]  # accepted output beats
    cycles: int  # from the first accepted input beat to the last accepted output beat, both included
    in_at: list[int]  # clock cycle of each accepted input beat
    out_at: list[int]  # and of each output beat
    x: list[int]  # accepted input beats, as the monitor saw them
    probes: dict[str, int]  # further outputs asked for, at the end
    since_reset: int  # cycles from reset to the end, when the probes are read


class Seen(NamedTuple):
    """What the monitor of one stream saw."""

    beats: list[int]  # accepted ones
    at: list[int]  # the clock cycle of each, as of a `Run`


class Streams(NamedTuple):
    """What a simulation of several streams saw."""

    inputs: list[Seen]
    outputs: list[Seen]
    cycles: int  # from the first accepted input beat to the last accepted output beat, both included
    probes: dict[str, int]
    since_reset: int


class Frames(NamedTuple):
    """What a design with AXI4-Stream ends gave, frame by frame."""

    words: list[list[int]]  # tdata of each frame
    in_start: list[int]  # cycle of the first accepted beat of each input frame
    out_end: list[int]  # cycle of the last beat of each output frame
    frame_error: bool
    counters: list[list[int]] = []  # noqa: RUF012  busy, starved, stalled of each stage, where asked for
    since_reset: int = 0  # cycles from reset to the end, when the counters are read


def simulate(
    module: str,
    cfg,
    beats: Sequence[int],
    *,
    expect: int,
    stalls: float = 0.0,
    seed: int = 0,
    waves: Path | None = None,
    probes: Sequence[str] = (),
    patience: int = 20_000,
    source: Path | None = None,
) -> Run:
    """Run one module of hw/rtl on packed beats.

    Args:
        cfg: the frozen dataclass of its golden twin; scaflow.hw.mem makes parameters and memory images of it.
        beats: input beats, lowest field in the lowest bits.
        expect: output beats to wait for; more is an error.
        stalls: chance of a pause before a beat, on both ends; 0 runs freely.
        waves: write a VCD there.
        probes: further output ports to read at the end.
        patience: cycles without any beat before the run is given up.
        source: another file to take the module from.

    Raises:
        SimulationError: hang, surplus beat, or a broken stream law.
        BuildError: the module refuses these parameters.
    """
    told: dict[str, Any] = {"seed": seed, "waves": waves, "probes": probes, "patience": patience, "source": source}
    return single(simulate_streams(module, cfg, [beats], expect=[expect], stalls=stalls, **told))


def simulate_streams(
    module: str,
    cfg,
    inputs: Sequence[Sequence[int]],
    *,
    expect: Sequence[int],
    stalls: float = 0.0,
    seed: int = 0,
    waves: Path | None = None,
    probes: Sequence[str] = (),
    patience: int = 20_000,
    source: Path | None = None,
) -> Streams:
    """As `simulate`, with the beats of each stream and how many are expected of each.

    Raises:
        SimulationError, BuildError: as `simulate`.
    """
    told: dict[str, Any] = {"seed": seed, "waves": waves, "probes": probes, "patience": patience, "source": source}
    return simulate_runs(module, cfg, inputs, expect=expect, stalls=[stalls], **told)[0]


def simulate_runs(
    module: str,
    cfg,
    inputs: Sequence[Sequence[int]],
    *,
    expect: Sequence[int],
    stalls: Sequence[float],
    seed: int = 0,
    waves: Path | None = None,
    probes: Sequence[str] = (),
    patience: int = 20_000,
    source: Path | None = None,
) -> list[Streams]:
    """A run of `simulate_streams` for each chance of stalls, each from reset; a later one finds what has no reset as
    the one before left it.

    Raises:
        SimulationError, BuildError: as `simulate`.
    """
    with tempfile.TemporaryDirectory(prefix="scaflow-") as directory:
        parameters = write_memories(cfg, Path(directory))
        files = sources_of(source or RTL / f"{module}.sv")
        executable = build(module, files, parameters, trace=waves is not None, engine=MODULE)
        told = dict(zip(getattr(cfg, "inputs", ("in",)), inputs, strict=True))
        expected = dict(zip(getattr(cfg, "outputs", ("out",)), expect, strict=True))
        return _run(executable, Path(directory), _orders(told, expected, stalls, seed, probes, patience), waves)


def simulate_top(
    directory: Path,
    top: str,
    beats: Sequence[int],
    *,
    expect: int,
    sources: Sequence[Path] | None = None,
    stalls: float = 0.0,
    seed: int = 0,
    waves: Path | None = None,
    probes: Sequence[str] = (),
    patience: int = 1_000_000,
    engine: Engine = COCOTB,
) -> Run:
    """Run a generated design, `directory/top.sv` with its memory images beside it; otherwise as `simulate`.

    `sources`, where given, replaces the search for the files that `top` instantiates. `engine`: MODULE for a run of few
    cycles.
    """
    files = list(sources) if sources else sources_of(directory / f"{top}.sv")
    executable = build(top, files, trace=waves is not None, engine=engine)
    orders = _orders({"in": beats}, {"out": expect}, [stalls], seed, probes, patience)
    return single(_run(executable, directory, orders, waves)[0])


def simulate_axis(
    directory: Path,
    top: str,
    frames: Sequence[bytes],
    *,
    axi_bytes: int,
    expect: int,
    sources: Sequence[Path] | None = None,
    stalls: float = 0.0,
    seed: int = 0,
    waves: Path | None = None,
    patience: int = 1_000_000,
    independent: bool = False,
    counters: int = 0,
    error: str = "frame_error",
) -> Frames:
    """Run a generated design with AXI4-Stream ends on whole frames (images).

    Args:
        frames: bytes of each input frame; the last beat is filled up with zeros and carries tlast.
        axi_bytes: bytes of an input beat.
        expect: words of each output frame; one output frame per input frame.
        independent: drive the ends with cocotbext-axi instead: no cycles are given, and it is slower.
        counters: of so many stages the port `counters` is read at the end.
        error: the output that tells of a faulty frame; not where the ends are independent.

    Raises:
        SimulationError: as `simulate`, or tlast does not stand at the end of each output frame.
    """
    if independent:
        return _simulate_independent(directory, top, frames, expect, sources, stalls, seed, waves, patience)
    beats: list[int] = []
    starts = []
    for frame in frames:
        starts.append(len(beats))
        beats += [int.from_bytes(frame[i : i + axi_bytes], "little") for i in range(0, len(frame), axi_bytes)]
        beats[-1] |= 1 << 8 * axi_bytes
    run = simulate_top(
        directory,
        top,
        beats,
        expect=expect * len(frames),
        sources=sources,
        stalls=stalls,
        seed=seed,
        waves=waves,
        probes=(error, *(["counters"] if counters else [])),
        patience=patience,
    )
    last = [i for i, beat in enumerate(run.y) if beat >> 32]
    if last != list(range(expect - 1, len(run.y), expect)):
        raise SimulationError(f"{top}: tlast at output words {last[:8]}; expected on every {expect}th")
    words = [[beat & 0xFFFF_FFFF for beat in run.y[end - expect + 1 : end + 1]] for end in last]
    in_start, out_end = [run.in_at[i] for i in starts], [run.out_at[i] for i in last]
    counted = unpack(run.probes.get("counters", 0), COUNTER_BITS, 3 * counters)
    stages = [counted[i : i + 3] for i in range(0, len(counted), 3)]
    return Frames(words, in_start, out_end, bool(run.probes[error]), stages, run.since_reset)


def _simulate_independent(
    directory: Path,
    top: str,
    frames: Sequence[bytes],
    expect: int,
    sources: Sequence[Path] | None,
    stalls: float,
    seed: int,
    waves: Path | None,
    patience: int,
) -> Frames:
    executable = build(top, sources or sources_of(directory / f"{top}.sv"), trace=waves is not None)
    orders = {"frames": [f.hex() for f in frames], "stalls": stalls, "seed": seed, "patience": patience}
    seen = _execute("scaflow.sim.axis_bench", executable, directory, orders, waves)
    given = [bytes.fromhex(frame) for frame in seen["frames"]]
    words = [[int.from_bytes(f[i : i + 4], "little") for i in range(0, len(f), 4)] for f in given]
    for i, frame in enumerate(words):
        if len(frame) != expect:
            raise SimulationError(f"{top}: output frame {i} has {len(frame)} words, expected {expect}")
    return Frames(words, [], [], bool(seen["probes"]["frame_error"]))


def _orders(
    inputs: Mapping[str, Sequence[int]],
    outputs: Mapping[str, int],
    stalls: Sequence[float],
    seed: int,
    probes: Sequence[str],
    patience: int,
) -> dict:
    """What the bench is told; see scaflow.sim.bench."""
    return {
        "inputs": {name: [f"{beat:x}" for beat in beats] for name, beats in inputs.items()},
        "outputs": dict(outputs),
        "stalls": list(stalls),
        "seed": seed,
        "probes": list(probes),
        "patience": patience,
    }


def _run(executable: Path, directory: Path, orders: dict, waves: Path | None) -> list[Streams]:
    runs = _execute("scaflow.sim.bench", executable, directory, orders, waves)["runs"]
    return [_streams(executable.name, orders, seen) for seen in runs]


def _streams(top: str, orders: dict, seen: dict) -> Streams:
    if [beats for beats, _ in seen["inputs"]] != list(orders["inputs"].values()):
        raise SimulationError(f"{top}: the input monitor saw other beats than were given")
    start = min((at[0] for _, at in seen["inputs"] if at), default=0)
    inputs, outputs = (
        [Seen([int(beat, 16) for beat in beats], [cycle - start for cycle in at]) for beats, at in seen[end]]
        for end in ("inputs", "outputs")
    )
    cycles = max((stream.at[-1] + 1 for stream in outputs if stream.at), default=0)
    return Streams(inputs, outputs, cycles, seen["probes"], seen["since_reset"])


def single(run: Streams) -> Run:
    """Of a module with one stream in and one out."""
    (x, in_at), (y, out_at) = run.inputs[0], run.outputs[0]
    return Run(y, run.cycles, in_at, out_at, x, run.probes, run.since_reset)


def _execute(bench: str, executable: Path, directory: Path, orders: dict, waves: Path | None) -> dict:
    """Run a bench, in `directory`; returns what it wrote.

    Raises:
        SimulationError: the bench says so, or it did not come to an end.
    """
    top, seed = executable.name, orders["seed"]
    with tempfile.TemporaryDirectory(prefix="scaflow-run-") as scratch:
        told, result, xml, log = (Path(scratch) / name for name in ("orders", "result", "results.xml", "log"))
        told.write_text(json.dumps(orders | {"result": str(result)}))
        command = [str(executable)]
        if waves is not None:
            waves.parent.mkdir(parents=True, exist_ok=True)
            command += ["--trace", "--trace-file", str(waves.absolute())]
        command += ["+verilator+rand+reset+2", f"+verilator+seed+{seed + 1}"]
        here = cocotb_run.lay_out(Path(scratch), directory)
        variables = cocotb_run.environment(Path(scratch), bench, top, seed, xml) | {"SCAFLOW_ORDERS": str(told)}
        with log.open("w") as out:
            died = processes.run(command, cwd=here, env=variables, stdout=out).returncode != 0
        no_room = "there may be no room for temporary files; make some, or choose another folder by $TMPDIR"
        seen = read_json(result, no_room) if result.exists() else {"error": None}
        if seen["error"]:
            raise SimulationError(f"{top}: {seen['error']}")
        if died or not result.exists() or not xml.exists() or get_results(xml) != (1, 0):
            _blame_the_disk(scratch, waves)
            raise SimulationError(f"{top}: the simulation failed; its last words:\n{last_words(log)}")
    return seen


def _blame_the_disk(scratch: str, waves: Path | None) -> None:
    """A simulation ends badly on a full disk, too, where the hardware is not at fault; half a VCD goes.

    Raises:
        OSError: there is no room.
    """
    check_place(Path(scratch) / "room")
    try:
        if waves is not None:
            check_place(waves)
    except OSError:
        if waves is not None:
            waves.unlink(missing_ok=True)
        raise


def last_words(log: Path) -> str:
    """The simulator's own complaint if there is one, else the end of its log."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join([line for line in lines if "%Error" in line or "Error:" in line][:4] or lines[-30:])
