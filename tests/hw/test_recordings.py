"""Recordings of events through designs of frames: class and logits = golden, cycles = exact clock, event by event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scaflow.flow.rungs import run_stage_alone
from scaflow.hw.activity import reads
from scaflow.hw.clock import Clock, predict, stage_cycles
from scaflow.hw.design import Design, design, from_manifest
from scaflow.hw.emit import emit
from scaflow.hw.fold import Fold
from scaflow.hw.recordings import Offered, as_bytes, as_frames, intake_of, leaving, offered
from scaflow.hw.stalls import OFFERS, TAKES, stall_pattern
from scaflow.model.events.binning import Binning
from scaflow.model.events.recording import Recording
from scaflow.model.files import read_json
from scaflow.quant.golden.axis_events import WORD, AxisEvents, counted
from scaflow.quant.graph import Conv, Graph, Neuron, Pool, execute, validate
from scaflow.sim.native import simulate_native
from scaflow.sim.rtl import simulate_top
from tests.hw.chains import readout, spiking
from tests.hw.graphs import added, folding, preactivated

BIN = 100  # microseconds


def of_frames(graph: Graph, bits: int) -> Graph:
    """The network fed by frames: thresholds of what follows pixels shrink as its sums do."""
    nodes = []
    for i, node in enumerate(graph.nodes):
        if i == 0:
            node = replace(node, in_bits=bits)
        if isinstance(node, Conv | Neuron) and node.threshold.max() > 500:
            node = replace(node, threshold=node.threshold * (1 << bits) // 256 + 1)
        nodes.append(node)
    return validate(replace(graph, nodes=tuple(nodes), time_steps=1, frames=12, pixel_bits=bits))


def chain() -> Graph:
    """Two spiking layers and a hidden one of a pixel, of counts of two bits."""
    nodes = (
        spiking("one", 6, 2, (3, 3), stride=2, padding=1, in_bits=8),
        Pool("pool", 2),
        spiking("two", 5, 6, (2, 2)),
        readout(3, 5, 1, 1),
    )
    lasting = [
        replace(n, threshold=n.threshold // 3 + 1, leak_shift=3, reset="soft") if isinstance(n, Conv) else n
        for n in nodes
    ]
    return of_frames(Graph("chain", (2, 7, 10), 1, tuple(lasting)), 2)


GRAPHS = {"chain": chain(), "preactivated": of_frames(preactivated(time_steps=1), 1), "added": of_frames(added(), 3)}


def binning_of(graph: Graph) -> Binning:
    channels, height, width = graph.input_shape
    return Binning(
        bin_us=BIN,
        bits=graph.pixel_bits,
        polarity="channels" if channels == 2 else "joined",
        crop=(1, 2, width, height),
    )


def recordings_of(graph: Graph, seed: int = 0) -> list[Offered]:
    """Long and short ones: bursts, bins without an event, a single event, an event beside the window as the last."""
    rng = np.random.default_rng(seed)
    _, height, width = graph.input_shape
    found = []
    for events, duration in ((40 * height, 750), (1, 1), (30, 320), (90 * height, 1190), (60, 90), (25 * height, 560)):
        t = np.sort(rng.integers(0, duration, events)) + int(rng.integers(1 << 40))
        x, y = rng.integers(0, width + 2, events), rng.integers(0, height + 3, events)
        fields = (x.astype(np.uint16), y.astype(np.uint16), rng.integers(0, 2, events).astype(np.uint8))
        found.append(offered(Recording(t, *fields, width + 2, height + 3), binning_of(graph)))
    return found


def golden(graph: Graph, recordings: Sequence[Offered]) -> tuple[np.ndarray, dict[str, float]]:
    """Logits, and how often each node fires."""
    frames, lengths = as_frames(recordings)
    logits, spikes = execute(graph, frames, trace=True, lengths=lengths)
    there = np.arange(lengths.max()) < lengths[:, None]
    return logits, {n.name: spikes[n.name][there].mean() for n in graph.nodes if isinstance(n, Conv | Neuron)}


def laid_out(graph: Graph, scheduler: str, **options) -> Design:
    fold = folding(graph, scheduler)
    return design(graph, fold, events=intake_of(binning_of(graph), graph.input_shape), **options)


def assert_as_simulated(
    laid: Design, recordings: Sequence[Offered], directory: Path, pattern: np.ndarray | None = None
) -> Clock:
    """Class, logits, the first and last event and word of each recording, and the stages' counters."""
    emit(laid, directory, counters=True)
    run = simulate_native(
        directory, "top", as_bytes(recordings), axi_bytes=laid.axi_bytes,
        expect=laid.readout.classes + 1, stalls=None if pattern is None else lambda _: pattern,
        chunk=len(recordings), workers=1, patience=20_000,
    )  # fmt: skip
    logits, _ = golden(laid.graph, recordings)
    assert run.words[:, 1:].view(np.int32).tolist() == logits.tolist()
    assert run.words[:, 0].tolist() == logits.argmax(1).tolist()
    assert not run.frame_error
    source, sink = (None, None) if pattern is None else (pattern & OFFERS != 0, pattern & TAKES != 0)
    clock = predict(laid, recordings, source, sink, until=run.cycles[0])
    told = np.concatenate([clock.in_at, clock.out_at[:, [0, -1]]], 1)
    assert run.at.tolist() == told.tolist()
    assert run.counters[0].tolist() == [[s.busy, s.starved(run.cycles[0]), s.stalled] for s in clock.stages]
    return clock


@pytest.mark.rtl
@pytest.mark.parametrize("scheduler", ["event", "list"])
@pytest.mark.parametrize("name", GRAPHS)
def test_recordings_end_in_the_class_of_the_golden_model(name: str, scheduler: str, tmp_path: Path) -> None:
    graph = GRAPHS[name]
    recordings = recordings_of(graph)
    rates = golden(graph, recordings)[1]
    assert all(0.02 < rate < 0.98 for rate in rates.values()), rates
    laid = laid_out(graph, scheduler)
    assert_as_simulated(laid, recordings, tmp_path / "rtl")
    assert_as_simulated(laid, recordings, tmp_path / "rtl", stall_pattern(0.4, 1, 300))


@pytest.mark.rtl
def test_frames_that_are_not_told_hold_the_read_out_a_cycle_less(tmp_path: Path) -> None:
    """It has so many classes that they turn for longer than a frame takes elsewhere."""
    nodes = (spiking("one", 2, 1, (3, 3), in_bits=8), readout(40, 2, 2, 2))
    graph = of_frames(Graph("wide", (1, 4, 4), 1, nodes), 2)
    laid = design(graph, {"one": Fold(2, 1), "readout": Fold(40, 2)}, events=intake_of(binning_of(graph), (1, 4, 4)))
    clock = assert_as_simulated(laid, recordings_of(graph)[3:4] * 2, tmp_path / "rtl")
    assert clock.interval.tolist() == [11 * 41 + 42]


def test_recordings_of_a_batch_are_told_at_their_ends() -> None:
    """However many frames have passed since reset, and although each recording has fewer events than that."""
    laid = laid_out(GRAPHS["chain"], "list")
    short = offered(Recording(np.array([0, 250]), *np.zeros((3, 2), np.uint8), 12, 10), binning_of(laid.graph))
    clock = predict(laid, [short] * 30)
    assert len(short.frames) == 3
    assert clock.interim.tolist() == clock.out_at.tolist()
    assert (clock.out_at[:, 0] > clock.in_at[:, 1]).all()
    assert set(clock.interval[3:].tolist()) == {3 * max(laid.interval, laid.entry_cycles)}


def test_what_the_stages_read_is_told_frame_by_frame() -> None:
    """Frames that stand behind the end of a recording are none."""
    graph, recordings = GRAPHS["chain"], recordings_of(GRAPHS["chain"])[:3]
    frames, lengths = as_frames(recordings)
    seen = reads(graph, frames, lengths)
    assert lengths.tolist() == [8, 1, 4]
    assert np.array_equal(seen["one"][:, 0], np.concatenate([recording.frames for recording in recordings]))
    spikes = execute(graph, frames[2:, :4], trace=True)[1]
    assert np.array_equal(seen["two"][9:, 0], spikes["pool"][0])


@pytest.mark.rtl
@pytest.mark.parametrize("every", [1, 3])
def test_a_result_is_told_every_so_many_frames(every: int, tmp_path: Path) -> None:
    graph = GRAPHS["chain"]
    recordings = recordings_of(graph, 1)
    laid = laid_out(graph, "event", tell_every=every)
    emit(laid, tmp_path / "rtl")
    clock = predict(laid, recordings)
    told = clock.interim
    beats = [int(b) | (i + 1 == len(r.beats)) << WORD for r in recordings for i, b in enumerate(r.beats)]
    run = simulate_top(tmp_path / "rtl", "top", beats, expect=told.size, probes=("dropped", "time_error"))
    expected = []
    for recording in recordings:
        count = len(recording.frames)
        for end in sorted({*range(every, count + 1, every), count}):
            (logits,) = execute(graph, recording.frames[None], lengths=np.array([end]))
            expected.append([int(logits.argmax()) | (end < count) << 31, *(logits & 0xFFFFFFFF).tolist()])
    words = [[word & 0xFFFFFFFF for word in run.y[i : i + 4]] for i in range(0, len(run.y), 4)]
    assert words == expected
    assert [at + int(clock.in_at[0, 0]) for at in run.out_at] == told.ravel().tolist()
    final = [i for i, word in enumerate(words) if not word[0] >> 31]
    assert told[final].tolist() == clock.out_at.tolist()
    dropped = counted(laid.events, beats).dropped
    assert run.probes == {"dropped": dropped, "time_error": 0} and dropped > 100


@pytest.mark.rtl
@pytest.mark.parametrize(("scheduler", "name"), [("list", "one"), ("event", "two"), ("event", "readout")])
def test_a_stage_alone_takes_frames_of_which_each_is_a_recording(scheduler: str, name: str, tmp_path: Path) -> None:
    graph = GRAPHS["chain"]
    laid = laid_out(graph, scheduler)
    frames = np.random.default_rng(3).integers(0, 4, (4, *graph.input_shape)).astype(np.uint8)
    run = run_stage_alone(laid, name, frames, tmp_path / "alone")
    assert run.mismatches == 0
    assert list(run.cycles) == stage_cycles(laid, name, frames).interval.tolist()


def test_recordings_follow_each_other_without_a_cycle_lost() -> None:
    """Of one recording or of many: the slowest stage has no pause between the frames."""
    graph = GRAPHS["chain"]
    laid = design(graph, folding(graph, "list", pe=1, simd=1), events=intake_of(binning_of(graph), graph.input_shape))
    whole = recordings_of(graph)[3]
    ends = np.flatnonzero(leaving(laid.events, whole.beats))
    parts = [
        Offered(beats, frame[None]) for beats, frame in zip(np.split(whole.beats, ends), whole.frames, strict=True)
    ]
    assert len(parts) == 12 and laid.interval > laid.entry_cycles
    told = predict(replace(laid, events=replace(laid.events, from_first=1)), parts)
    assert set(np.diff(told.out_at[:, -1])[2:].tolist()) == {laid.interval}
    assert told.out_at[-1, -1] == predict(laid, [whole]).out_at[0, -1]


@pytest.mark.parametrize("cfg", [
    AxisEvents(0, 0, 4, 3, 2, 2, 100, 32),
    AxisEvents(1, 1, 4, 3, 1, 1, 37, 10, from_first=0),
    AxisEvents(0, 0, 4, 3, 2, 4, 5, 5),
])  # fmt: skip
def test_frames_leave_as_the_module_says(cfg: AxisEvents) -> None:
    rng = np.random.default_rng(cfg.bin)
    for _ in range(20):
        steps = rng.choice([0, 1, 1, cfg.bin // 2, min(3 * cfg.bin, (1 << cfg.time_bits - 1) - cfg.bin)], 30)
        t = np.cumsum(steps) + (rng.integers(1 << 20) if cfg.from_first else 0)
        fields = (rng.integers(0, 6, 30), rng.integers(0, 5, 30), rng.integers(0, 2, 30))
        beats = (t & 0xFFFFFFFF).astype(np.uint64)
        for field, place in zip(fields, (32, 46, 60), strict=True):
            beats |= field.astype(np.uint64) << np.uint64(place)
        found = leaving(cfg, beats)
        for k in range(1, 30):
            cut = [int(b) for b in beats[:k]] + [int(beats[k]) | 1 << WORD]
            assert len(counted(cfg, cut).beats) == cfg.pixels * (1 + found[: k + 1].sum())


def test_a_pause_longer_than_a_time_stamp_tells_is_refused() -> None:
    binning, columns = Binning(bin_us=BIN, crop=(0, 0, 4, 3)), np.zeros(3, np.uint16)

    def given(pause: int) -> Recording:
        return Recording(np.array([5, 6, 6 + pause]), columns, columns, columns.astype(np.uint8), 4, 3)

    with pytest.raises(ValueError, match=r"a pause of 2,147,483,548 us; 32 bits of time tell less than"):
        offered(given((1 << 31) - BIN), binning)


def test_what_is_denoised_away_moves_time_and_is_in_no_frame() -> None:
    x, y = (np.array(places, np.uint16) for places in ((1, 1, 3), (1, 1, 2)))
    recording = Recording(np.array([0, 10, 250]), x, y, np.array([0, 1, 1], np.uint8), 4, 3)
    binning = Binning(bin_us=BIN, crop=(0, 0, 4, 3), denoise_us=50)
    taken = offered(recording, binning)
    cfg = intake_of(binning, (2, 3, 4))
    beats = [int(b) for b in taken.beats[:-1]] + [int(taken.beats[-1]) | 1 << WORD]
    seen = counted(cfg, beats)
    assert seen.dropped == 2 and taken.frames.sum() == 1 and len(taken.frames) == 3
    pixels = [beat & 3 for beat in seen.beats]
    assert pixels == (taken.frames[:, 0] + 2 * taken.frames[:, 1]).ravel().tolist()


def test_a_recording_without_events_is_a_frame_without_any() -> None:
    nothing = np.zeros(0, np.uint16)
    empty = Recording(nothing.astype(np.int64), nothing, nothing, nothing.astype(np.uint8), 4, 3)
    taken = offered(empty, Binning(bin_us=BIN, crop=(0, 0, 4, 3)))
    assert taken.frames.shape == (1, 2, 3, 4) and not taken.frames.any()
    seen = counted(intake_of(Binning(bin_us=BIN), (2, 3, 4)), [int(taken.beats[0]) | 1 << WORD])
    assert len(seen.beats) == 12 and seen.beats[-1] == 3 << 2 and not any(seen.beats[:-1])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"width": 9}, r"bins hold \(C, H, W\) = \(2, 7, 9\) counts of 2 bits, the graph 'chain' reads \(2, 7, 10\)"),
        ({"bits": 1}, "counts of 1 bits"),
        (None, "events: the graph 'chain' reads frames; say how events are binned to them"),
    ],
)
def test_events_that_are_no_frames_of_the_graph(change, text: str) -> None:
    graph = GRAPHS["chain"]
    events = intake_of(binning_of(graph), graph.input_shape)
    with pytest.raises(ValueError, match=text):
        design(graph, folding(graph, "list"), events=None if change is None else replace(events, **change))


def test_an_image_network_takes_no_events() -> None:
    graph = preactivated()
    with pytest.raises(ValueError, match="events: the graph 'preactivated' reads images, not frames; leave it out"):
        design(graph, folding(graph, "list"), events=AxisEvents(0, 0, 7, 6, 2, 8, 100, 32))


def test_bins_of_a_part_of_a_recording_are_no_hardware() -> None:
    with pytest.raises(ValueError, match="bins=8: hardware cannot know how long a recording will be"):
        intake_of(Binning(bins=8), (2, 4, 4))
    with pytest.raises(ValueError, match=r"frames of \(1, 4, 4\): binning gives \(2, 4, 4\)"):
        intake_of(Binning(bin_us=8), (1, 4, 4))


def test_a_design_of_frames_is_laid_out_again_from_its_manifest(tmp_path: Path) -> None:
    laid = laid_out(GRAPHS["preactivated"], "event", tell_every=4)
    emit(laid, tmp_path / "rtl")
    again = from_manifest(laid.graph, read_json(tmp_path / "rtl/manifest.json", "", ()))
    assert again.events == laid.events
    emit(again, tmp_path / "again")
    assert (tmp_path / "again/top.sv").read_bytes() == (tmp_path / "rtl/top.sv").read_bytes()
