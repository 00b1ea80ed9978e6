"""The native engine: what it gives is what cocotb gives, and it sees the same faults."""

from __future__ import annotations

import _thread
import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from axis_top import READY, VALID, axis_top

from scaflow.hw.clock import predict
from scaflow.hw.design import design
from scaflow.hw.emit import emit
from scaflow.hw.fold import Fold
from scaflow.hw.stalls import OFFERS, TAKES, stall_pattern
from scaflow.quant.graph import Conv, Graph, Pool, Readout, execute, validate
from scaflow.sim import native
from scaflow.sim.build import MOMENT, build, sources_of
from scaflow.sim.native import NativeRun, joined, simulate_native
from scaflow.sim.rtl import SimulationError, simulate_axis

FOLDING = {"first": Fold(4, 1), "second": Fold(2, 2), "readout": Fold(3, 2)}
IMAGES = 7


@pytest.fixture(scope="module")
def graph() -> Graph:
    rng = np.random.default_rng(8)

    def conv(name: str, shape: tuple[int, ...], top: int, bits: int, in_bits: int, kept: tuple[int, ...]) -> Conv:
        return Conv(
            name=name,
            weight=rng.integers(-top, top + 1, size=shape),
            bias=rng.integers(-100, 200, size=shape[0]),
            threshold=rng.integers(50, 400, size=shape[0]) * in_bits,
            stride=1,
            padding=1,
            leak_shift=1,
            reset="hard",
            fraction_bits=3,
            weight_bits=bits,
            in_bits=in_bits,
            kept=kept,
        )

    nodes = (
        conv("first", (6, 1, 3, 3), 120, 8, 8, (0, 2, 3, 5)),
        Pool("pool", 2),
        conv("second", (5, 6, 3, 3), 7, 4, 1, (1, 2, 4)),
        Readout("readout", rng.integers(-100, 100, size=(3, 5, 4, 3)), rng.integers(-20, 20, size=3), 8),
    )
    return validate(Graph("small", (1, 8, 7), 3, nodes))


@pytest.fixture(scope="module")
def images(graph: Graph) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, size=(IMAGES, *graph.input_shape), dtype=np.uint8)


@pytest.fixture(scope="module")
def rtl(graph: Graph, tmp_path_factory) -> Path:
    return emit(design(graph, FOLDING), tmp_path_factory.mktemp("native") / "rtl").parent


def run(rtl: Path, images: np.ndarray, **options) -> NativeRun:
    options = {"axi_bytes": 4, "expect": 4, "workers": 2, "patience": 5000} | options
    return simulate_native(rtl, "top", images.reshape(len(images), -1), **options)


def logits(found: NativeRun) -> list[list[int]]:
    return found.words[:, 1:].astype(np.int32).tolist()


pytestmark = pytest.mark.rtl


def test_words_and_cycles_are_those_of_cocotb(rtl: Path, graph: Graph, images: np.ndarray) -> None:
    found = run(rtl, images)
    cocotb = simulate_axis(rtl, "top", [image.tobytes() for image in images], axi_bytes=4, expect=4)
    assert found.words.tolist() == cocotb.words
    assert found.at[:, 0].tolist() == cocotb.in_start and found.at[:, 3].tolist() == cocotb.out_end
    golden = execute(graph, images)
    assert logits(found) == golden.tolist()
    assert found.words[:, 0].tolist() == golden.argmax(1).tolist()
    assert not found.frame_error and found.rate > 0 and found.core_rate > 0


def test_chunks_start_anew_and_come_in_order(rtl: Path, images: np.ndarray) -> None:
    whole, cut = run(rtl, images), run(rtl, images, chunk=3)
    assert cut.chunks == (range(0, 3), range(3, 6), range(6, 7))
    assert (cut.words == whole.words).all()
    assert (cut.at[3:6] == whole.at[:3]).all() and (cut.at[6] == whole.at[0]).all()
    assert cut.cycles[0] == cut.at[2, 3] + 17  # until nothing more has come for 16 cycles


def test_a_chunk_alone_is_what_it_is_among_others(rtl: Path, images: np.ndarray, monkeypatch) -> None:
    """By its number: pauses, and what registers start with, follow from it."""
    seeds: list[str] = []
    started = native.processes.started
    monkeypatch.setattr(native.processes, "started", lambda c, **more: seeds.append(c[-1]) or started(c, **more))

    def pauses(number: int) -> np.ndarray:
        return stall_pattern(0.4, number, 600)

    whole = run(rtl, images, chunk=3, stalls=pauses, workers=1)
    parts = [images[:3], images[3:6], images[6:]]
    alone = joined([run(rtl, part, chunk=3, first=number, stalls=pauses) for number, part in enumerate(parts)])
    assert (alone.words == whole.words).all() and (alone.at == whole.at).all()
    assert (alone.chunks, alone.cycles) == (whole.chunks, whole.cycles)
    assert alone.counters is None and not alone.frame_error
    assert alone.seconds is None and alone.rate is None and alone.core_rate > 0
    assert seeds[:3] == seeds[3:] == [f"+verilator+seed+{number}" for number in (1, 2, 3)]
    with pytest.raises(SimulationError, match=r"top, chunk 8: Error: no beat moved for 10 cycles"):
        run(rtl, images, first=8, patience=10)


def test_progress_ends_at_all_images(rtl: Path, images: np.ndarray) -> None:
    seen: list[int] = []
    run(rtl, images, chunk=2, progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == IMAGES


def test_a_build_is_in_use_while_chunks_are_to_come(rtl: Path, images: np.ndarray) -> None:
    home = build("top", sources_of(rtl / "top.sv"), engine=MOMENT).parent

    def age(done: int) -> None:
        if done <= 3:  # of seven
            os.utime(home, (0, 0))

    run(rtl, images, chunk=3, workers=1, progress=age)
    assert home.stat().st_mtime > 0


def test_stalls_change_the_cycles_and_not_the_words(rtl: Path, images: np.ndarray) -> None:
    patterns = {seed: stall_pattern(0.4, seed, 600) for seed in (1, 2)}
    runs = [run(rtl, images, stalls=lambda chunk, p=patterns[seed]: p) for seed in (1, 1, 2)]
    flowing = run(rtl, images)
    assert all((stalled.words == flowing.words).all() for stalled in runs)
    assert (runs[0].at == runs[1].at).all() and (runs[0].at != runs[2].at).any()
    assert runs[0].cycles > flowing.cycles
    for seed, found in ((1, runs[0]), (2, runs[2])):
        pattern = patterns[seed]
        at = found.at % len(pattern)
        assert (pattern[at[:, 2:]] & TAKES).all()  # words are taken in open cycles only
        assert pattern[at[0, 0]] & OFFERS


def test_a_pattern_holds_long_and_short_pauses() -> None:
    pattern = stall_pattern(0.3, 5, 1000)
    for bit in (OFFERS, TAKES):
        runs = [len(run) for run in re.findall("0+", "".join("01"[bool(v & bit)] for v in pattern))]
        assert 1 in runs and 100 < max(runs) < 5000
        assert 0.3 < (pattern & bit > 0).mean() < 0.9


@pytest.mark.parametrize("arguments", [(0.0, 1, 100), (1.0, 1, 100), (0.3, 1, 2)])
def test_a_pattern_of_nothing_is_refused(arguments) -> None:
    with pytest.raises(ValueError, match=r"stalls: (chance|longest)="):
        stall_pattern(*arguments)


def test_a_broken_weight_is_seen(rtl: Path, graph: Graph, images: np.ndarray, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(rtl, tmp_path / "rtl"))
    memory = next(broken.glob("readout*weights_00.mem"))
    words = memory.read_text().split()
    memory.write_text("\n".join(f"{int(word, 16) ^ 0x404040:06x}" for word in words) + "\n")
    found = run(broken, images)
    assert any(a != b for a, b in zip(logits(found), execute(graph, images).tolist(), strict=True))


FAULTS = {
    "falls": (READY, "m_axis_tvalid <= s_axis_tvalid && !m_axis_tvalid;", "valid fell before ready came"),
    "changes": ("1'b1", "m_axis_tvalid <= 1;", "payload changed from"),
    "swallows": (READY, VALID.replace("_tvalid;", "_tvalid && s_axis_tdata[3:1] != 2;"), "no beat moved for 300"),
    "repeats": (READY, "m_axis_tvalid <= 1;", r"tlast is \d at word|more output words than expected"),
}


def fault(directory: Path, ready: str, valid: str) -> NativeRun:
    (directory / "top.sv").write_text(axis_top(ready, valid))
    frames = np.arange(40, dtype=np.uint8).repeat(4).reshape(-1, 8) & 0x0F
    frames[:, 1:4] = frames[:, 5:] = 0
    pattern = stall_pattern(0.4, 3, 100)
    return run(directory, frames, expect=2, patience=300, stalls=lambda chunk: pattern)


def test_a_register_passes(tmp_path: Path) -> None:
    found = fault(tmp_path, READY, VALID)
    assert found.words.tolist() == (np.arange(40) & 0x0F).reshape(-1, 2).tolist()


@pytest.mark.parametrize("kind", FAULTS)
def test_a_broken_stream_is_caught(kind: str, tmp_path: Path) -> None:
    ready, valid, message = FAULTS[kind]
    with pytest.raises(SimulationError, match=message):
        fault(tmp_path, ready, valid)


def test_valid_that_waits_for_ready_is_caught(tmp_path: Path) -> None:
    waiting = "assign m_axis_tvalid = s_axis_tvalid && m_axis_tready;"
    text = axis_top("m_axis_tready", more=waiting).replace(f"if (!rst_n) m_axis_tvalid <= 0; else {VALID}", "")
    (tmp_path / "top.sv").write_text(text)
    pattern = stall_pattern(0.4, 3, 100)
    with pytest.raises(SimulationError, match="no beat moved for 300 cycles"):
        run(tmp_path, np.zeros((3, 8), np.uint8), expect=2, patience=300, stalls=lambda chunk: pattern)


def test_a_failure_of_one_chunk_ends_the_run(rtl: Path, images: np.ndarray) -> None:
    with pytest.raises(SimulationError, match=r"top, chunk \d: Error: no beat moved for 10 cycles"):
        run(rtl, images, chunk=2, patience=10)


def test_an_interruption_ends_all_processes(rtl: Path, images: np.ndarray, request: pytest.FixtureRequest) -> None:
    """Ctrl-C: long before the images are through, and nothing is waited for."""
    many, told = np.tile(images, (4000, 1, 1, 1)), []
    # a shell that starts the tests in the background has them ignore Ctrl-C
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))

    def interrupt(done: int) -> None:
        if not told:
            told.append(done)
            _thread.interrupt_main()

    with pytest.raises(KeyboardInterrupt):
        run(rtl, many, chunk=len(many) // 4, progress=interrupt)
    assert told[0] < len(many) // 4


def test_counters_are_read_at_the_end(graph: Graph, images: np.ndarray, tmp_path: Path) -> None:
    laid = design(graph, FOLDING)
    found = run(emit(laid, tmp_path / "rtl", counters=True).parent, images, chunk=4)
    assert found.counters.shape == (2, 3, 3)
    assert (joined([found, found]).counters == np.concatenate([found.counters] * 2)).all()
    assert (found.counters.sum(2) == np.array(found.cycles)[:, None]).all()
    for counted, chunk, cycles in zip(found.counters, found.chunks, found.cycles, strict=True):
        told = predict(laid, images[chunk.start : chunk.stop]).stages
        assert counted.tolist() == [[s.busy, s.starved(cycles), s.stalled] for s in told]


@pytest.mark.parametrize("stalls", [False, True])
def test_every_cycle_is_that_of_the_exact_clock(rtl: Path, graph: Graph, images: np.ndarray, stalls: bool) -> None:
    pattern = stall_pattern(0.4, 7, 2000)
    found = run(rtl, images, stalls=(lambda chunk: pattern) if stalls else None)
    ends = (pattern & OFFERS != 0, pattern & TAKES != 0) if stalls else (None, None)
    clock = predict(design(graph, FOLDING), images, *ends)
    assert (found.at[:, :2] == clock.in_at[:, [0, -1]]).all()
    assert (found.at[:, 2:] == clock.out_at[:, [0, -1]]).all()
