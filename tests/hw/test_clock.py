"""The exact clock against the RTL: every beat at both ends in the same cycle, stage by stage and as a whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chains import assert_as_simulated, images_of, readout, spiking, stage_beats, with_stage

from scaflow.hw.clock import Timer, predict, predict_runs, stage_cycles
from scaflow.hw.design import design
from scaflow.hw.emit import emit, emit_stage
from scaflow.hw.fold import Fold
from scaflow.hw.groups import SYNAPSE
from scaflow.hw.stalls import OFFERS, TAKES, stall_pattern
from scaflow.quant.graph import Graph, Pool, execute, validate
from scaflow.sim.build import MODULE, MOMENT
from scaflow.sim.native import simulate_native
from scaflow.sim.rtl import simulate_top

GRAPHS = {
    # pools, folds that do not divide, a kernel that is the whole map, a dropped row and column
    "pools": (
        Graph("pools", (1, 9, 11), 3, (
            spiking("one", 6, 1, (3, 3), 1, 1, 8), Pool("pool_one", 2),
            spiking("two", 5, 6, (3, 3), 1, 1), spiking("three", 7, 5, (4, 5)), readout(3, 7, 1, 1),
        )),
        {"one": Fold(4, 1), "two": Fold(2, 4), "three": Fold(3, 4), "readout": Fold(3, 2)},
    ),
    # fewer synapse steps than time steps in the first layer; stride; pools one behind the other; even kernels
    "repeats": (
        Graph("repeats", (2, 12, 10), 7, (
            spiking("one", 5, 2, (2, 2), 1, 0, 8), spiking("two", 4, 5, (3, 3), 2, 1),
            Pool("pool_two", 2), Pool("pool_again", 1), spiking("three", 3, 4, (2, 2), 1, 1), readout(2, 3, 4, 3),
        )),
        {"one": Fold(5, 2), "two": Fold(4, 5), "three": Fold(1, 2), "readout": Fold(2, 3)},
    ),
    # a time step only, three colours, 1x1 kernels, a wide first kernel
    "single": (
        Graph("single", (3, 7, 6), 1, (
            spiking("one", 8, 3, (5, 4), 1, 2, 8), spiking("two", 9, 8, (1, 1)),
            Pool("pool_two", 3), spiking("three", 6, 9, (2, 1)), readout(5, 6, 1, 2),
        )),
        {"one": Fold(8, 3), "two": Fold(2, 3), "three": Fold(4, 2), "readout": Fold(5, 1, group=(1, 4))},
    ),
    # so many folds that the banks of an event stage share readers: of all, of five and one, behind stride and pool
    "shared": (
        Graph("shared", (3, 10, 9), 2, (
            spiking("one", 6, 3, (3, 3), 1, 1, 8), Pool("pool_one", 2),
            spiking("two", 9, 6, (3, 3), 1, 1), spiking("three", 4, 9, (2, 2), 2, 1), readout(3, 4, 3, 3),
        )),
        {"one": Fold(1, 3), "two": Fold(2, 6), "three": Fold(1, 4), "readout": Fold(3, 1)},
    ),
    # fewer neurons than sums: rounds that take longer than windows and shorter ones, with and without folds
    "narrow": (
        Graph("narrow", (1, 9, 8), 3, (
            spiking("one", 6, 1, (3, 3), 1, 1, 8), spiking("two", 7, 6, (3, 3), 1, 1), Pool("pool_two", 2),
            spiking("three", 9, 7, (2, 2), 1, 1), readout(3, 9, 5, 5),
        )),
        {
            "one": Fold(3, 1, neurons=2), "two": Fold(7, 6, neurons=1), "three": Fold(5, 4, neurons=2),
            "readout": Fold(3, 3, group=(1, 2)),
        },
    ),
    # look-ups where events are walked: of rows of pixels of two bits, two pixels a beat; of rows of an even kernel, of
    # which more windows hang over on the right; of channels alone, behind a stride
    "groups": (
        Graph("groups", (1, 10, 12), 2, (
            spiking("one", 6, 1, (4, 4), 2, 1, 2), spiking("two", 5, 6, (3, 4), 1, 1),
            spiking("three", 7, 5, (2, 2), 2, 1), readout(3, 7, 3, 3),
        ), 2),
        {
            "one": Fold(3, 1, group=(4, 1)), "two": Fold(5, 2, neurons=2, group=(4, 2)),
            "three": Fold(4, 1, group=(1, 4)), "readout": Fold(3, 1),
        },
    ),
}  # fmt: skip


SCHEDULERS = {"list": ("list",) * 4, "event": ("event",) * 4, "mixed": ("event", "list", "event", "list")}


def laid_out(name, schedulers, **fifo_depths):
    graph, folding = GRAPHS[name]
    for (node, fold), scheduler in zip(folding.items(), SCHEDULERS[schedulers], strict=True):
        group = fold.group if scheduler == "event" else SYNAPSE
        folding = folding | {node: replace(fold, scheduler=scheduler, group=group)}
    return design(validate(graph), folding, fifo_depths=fifo_depths)


ALONE = [(n, s, f) for n in GRAPHS for s in ("list", "event") for f in GRAPHS[n][1]]


@pytest.mark.rtl
@pytest.mark.parametrize(("name", "schedulers", "stage"), ALONE)
def test_a_stage_alone(name, schedulers, stage, tmp_path):
    """Every beat at both ends, in the cycle it is predicted for."""
    laid = laid_out(name, schedulers, one=2)
    images = images_of(laid, 3)
    clock = stage_cycles(laid, stage, images)
    emit_stage(laid, stage, tmp_path / "rtl")
    beats = stage_beats(laid, stage, images)
    run = simulate_top(tmp_path / "rtl", "top", beats, expect=clock.out_at.size, engine=MODULE)
    origin = clock.in_at[0, 0]
    assert run.in_at == (clock.in_at - origin).ravel().tolist()
    assert run.out_at == (clock.out_at - origin).ravel().tolist()


PATTERNS = {"flowing": None, "source": (0.02, 1), "sink": (1, 0.001), "both": (0.04, 0.004)}  # chances to be open


WHOLE = [
    pytest.param(name, schedulers, stalls, marks=pytest.mark.full)
    if name in ("narrow", "groups") and (schedulers == "mixed" or stalls in ("flowing", "source"))
    else (name, schedulers, stalls)
    for name in GRAPHS for schedulers in SCHEDULERS for stalls in PATTERNS
]  # fmt: skip


@pytest.mark.rtl
@pytest.mark.parametrize(("name", "schedulers", "stalls"), WHOLE)
@pytest.mark.parametrize("count", [20, pytest.param(120, marks=pytest.mark.full)])
def test_the_whole_top(count, name, schedulers, stalls, tmp_path):
    laid = laid_out(name, schedulers, one=2, three=3)
    images = images_of(laid, count)
    source = sink = None
    if PATTERNS[stalls]:
        rng = np.random.default_rng(3)
        source, sink = (rng.random(9973) < chance for chance in PATTERNS[stalls])
    emit(laid, tmp_path / "rtl", counters=True)
    clock, run = assert_as_simulated(laid, images, source, sink, tmp_path / "rtl")
    if stalls == "sink":  # back-pressure has reached a scheduler
        flowing = predict(laid, images, until=run.cycles[0])
        assert any(held.stalled > free.stalled for held, free in zip(clock.stages, flowing.stages, strict=True))


@pytest.mark.rtl
@pytest.mark.parametrize(("name", "schedulers"), [("repeats", "list"), ("narrow", "event")])
def test_repeated_currents(name, schedulers, tmp_path):
    """A first layer with soft reset feeds its currents to all time steps."""
    laid = laid_out(name, schedulers)
    first, *rest = laid.graph.nodes
    graph = validate(replace(laid.graph, nodes=(replace(first, reset="soft"), *rest)))
    folds = {
        stage.name: Fold(stage.pe, stage.simd, stage.scheduler, GRAPHS[name][1][stage.name].neurons, stage.group)
        for stage in laid.stages
    }
    laid = design(graph, folds, fifo_depths={"one": 2})
    assert any(i.module == "lif_pe" and i.cfg.direct for i in laid.stages[0].instances)
    source, sink = (np.random.default_rng(3).random(9973) < chance for chance in (0.3, 0.02))
    emit(laid, tmp_path / "rtl", counters=True)
    assert_as_simulated(laid, images_of(laid, 12), source, sink, tmp_path / "rtl")


@pytest.mark.rtl
def test_deep_queues(tmp_path):
    """A queue of more than 64 words keeps its first ones in front of a block RAM: here the read-out sees some late."""
    nodes = (spiking("one", 2, 2, (1, 2), in_bits=8), readout(5, 2, 3, 10))
    graph = validate(Graph("deep", (2, 3, 11), 7, nodes))
    laid = design(graph, {"one": Fold(1, 1), "readout": Fold(5, 2)}, fifo_depths={"one": 70})
    images = images_of(laid, 12, 84)
    sink = np.random.default_rng(84).random(9973) < 0.01
    emit(laid, tmp_path / "rtl", counters=True)
    assert_as_simulated(laid, images, np.ones(9973, bool), sink, tmp_path / "rtl")


def other_neuron(rng, node):
    """Half of them: another decay, and a reset to some level or a soft one, delayed or not."""
    if rng.random() < 0.5:
        return node
    decay = int(rng.integers(1, 256)), 8
    if rng.random() < 0.5:
        back = node.threshold - rng.integers(1, 2 * node.threshold.max(), len(node.threshold))
        return replace(node, leak_shift=0, decay=decay, v_reset=back)
    return replace(node, leak_shift=0, decay=decay, reset=str(rng.choice(("soft", "delayed"))))


def random_design(rng):
    """Up to three spiking layers of any shape that can be laid out."""
    narrow, grouped, neurons = rng.spawn(3)
    while True:
        steps, channels, height, width = rng.integers(1, (7, 4, 13, 13), endpoint=True).tolist()
        edge, nodes, folding = (channels, height, width), [], {}
        for name in ("one", "two", "three")[: rng.integers(1, 4)]:
            co, kernel = int(rng.integers(1, 9)), tuple(rng.integers(1, 5, 2).tolist())
            padding = int(rng.integers(0, min(kernel[0] // 2, kernel[1] - 1), endpoint=True))
            stride = int(rng.choice((1, 1, 2, 3)))
            nodes.append(other_neuron(neurons, spiking(name, co, edge[0], kernel, stride, padding, 1 if nodes else 8)))
            out = [(size + 2 * padding - k) // stride + 1 for size, k in zip(edge[1:], kernel, strict=True)]
            pe, simd = (int(rng.integers(1, lanes + 1)) for lanes in (co, edge[0]))
            scheduler, group = str(rng.choice(("list", "event"))), SYNAPSE
            if scheduler == "event" and grouped.random() < 0.6:
                group = int(grouped.choice((1, kernel[1]))), int(grouped.choice((1, 2, 3)))
            folding[name] = Fold(pe, simd, scheduler, int(narrow.integers(1, pe + 1)), group)
            edge = (co, *out)
            if rng.random() < 0.3:
                nodes.append(Pool(f"pool_{name}", int(rng.integers(1, 4))))
                edge = (co, *(size // nodes[-1].size for size in out))
            if min(edge) < 1:
                break
        if min(edge) < 1:
            continue
        nodes.append(readout(int(rng.integers(1, 6)), *edge))
        walked = str(narrow.choice(("list", "event")))
        group = (1, int(narrow.integers(1, 4)) if walked == "event" else 1)
        folding["readout"] = Fold(len(nodes[-1].weight), int(rng.integers(1, edge[0] + 1)), walked, group=group)
        depths = {name: int(rng.choice((2, 3, 5, 8, 70))) for name in folding}
        try:
            return design(Graph("random", (channels, height, width), steps, tuple(nodes)), folding, fifo_depths=depths)
        except ValueError:  # a kernel beyond its map
            continue


@pytest.mark.rtl
@pytest.mark.parametrize(
    "seed", [seed if seed < 3 else pytest.param(seed, marks=pytest.mark.full) for seed in range(20)]
)
def test_random_tops(seed, tmp_path):
    rng = np.random.default_rng(seed)
    laid = random_design(rng)
    images = images_of(laid, 8, seed)
    chances = rng.choice((1, 0.5, 0.02), 2)
    source, sink = (rng.random(997) < chance for chance in chances)
    emit(laid, tmp_path / "rtl", counters=True)
    _, run = assert_as_simulated(laid, images, source, sink, tmp_path / "rtl")
    assert np.array_equal(run.words[:, 1:].astype(np.int32), execute(laid.graph, images))


@pytest.mark.parametrize("schedulers", SCHEDULERS)
def test_times_go_on_from_batch_to_batch(schedulers):
    laid = laid_out("pools", schedulers)
    images = images_of(laid, 7)
    timer = Timer(laid)
    parts = [timer.run(part[None])[0] for part in (images[:1], images[1:5], images[5:])]
    whole = predict(laid, images)
    assert np.array_equal(np.concatenate([part.out_at for part in parts]), whole.out_at)
    assert parts[-1].stages == whole.stages


def test_batches_are_told(monkeypatch):
    monkeypatch.setattr("scaflow.hw.clock.BATCH", 3)
    laid, told = laid_out("pools", "event"), []
    images = images_of(laid, 7)
    spikes = execute(laid.graph, images, trace=True)[1]
    clock = predict(laid, images, progress=told.append, spikes=spikes)
    assert np.array_equal(clock.out_at, predict(laid, images).out_at)
    assert told == [3, 6, 7]


@pytest.mark.parametrize("schedulers", SCHEDULERS)
@pytest.mark.parametrize("stalled", [False, True])
def test_the_origin_of_times_moves_on(monkeypatch, schedulers, stalled):
    laid = laid_out("repeats", schedulers)
    images = images_of(laid, 9)
    stalls = [np.random.default_rng(end).random(997) < 0.1 for end in (0, 1)] if stalled else []
    until = int(predict(laid, images, *stalls).out_at[6, 0])
    whole = predict(laid, images, *stalls, until=until)
    monkeypatch.setattr("scaflow.hw.clock.FAR", 100)
    monkeypatch.setattr("scaflow.hw.clock.BATCH", 2)
    moved = predict(laid, images, *stalls, until=until)
    assert np.array_equal(moved.in_at, whole.in_at)
    assert np.array_equal(moved.out_at, whole.out_at)
    assert moved.stages == whole.stages
    assert moved.stages != predict(laid, images, *stalls).stages  # they were read before the end


@pytest.mark.parametrize("stalled", [False, True])
@pytest.mark.parametrize("schedulers", SCHEDULERS)
@pytest.mark.parametrize("runs", [3, 18])
def test_runs_side_by_side(runs, schedulers, stalled):
    """Each as it goes alone: also where a vector of lanes is not full, and where its patterns differ in length."""
    laid, told = laid_out("pools", schedulers, two=2), []
    images = images_of(laid, runs * 5).reshape(runs, 5, *laid.graph.input_shape)
    rng = np.random.default_rng(7)
    stalls = [(rng.random(90 + run) < 0.4, None if run % 3 else rng.random(99 - run) < 0.2) for run in range(runs)]
    clocks = predict_runs(laid, images, stalls if stalled else None, told.append)
    assert told[-1] == runs * 5
    for clock, own, ends in zip(clocks, images, stalls, strict=True):
        alone = predict(laid, own, *(ends if stalled else ()))
        assert np.array_equal(clock.in_at, alone.in_at)
        assert np.array_equal(clock.out_at, alone.out_at)
        assert clock.stages == alone.stages


@pytest.mark.rtl
@pytest.mark.parametrize("schedulers", SCHEDULERS)
def test_runs_side_by_side_as_simulated(schedulers, tmp_path):
    """Runs of 7 images, each with pauses of its own at both ends."""
    laid = laid_out("repeats", schedulers, one=2, three=3)
    images = images_of(laid, 17 * 7)
    patterns = [stall_pattern(0.3, run, 3000) for run in range(17)]
    emit(laid, tmp_path / "rtl", counters=True)  # the top of test_the_whole_top, which is built already
    run = simulate_native(
        tmp_path / "rtl", "top", images.transpose(0, 2, 3, 1).reshape(len(images), -1), axi_bytes=laid.axi_bytes,
        expect=laid.readout.classes + 1, stalls=patterns.__getitem__, chunk=7, workers=1,
        engine=MOMENT,
    )  # fmt: skip
    stalls = [(pattern & OFFERS != 0, pattern & TAKES != 0) for pattern in patterns]
    clocks = predict_runs(laid, images.reshape(17, 7, *laid.graph.input_shape), stalls)
    told = [np.concatenate([clock.in_at[:, [0, -1]], clock.out_at[:, [0, -1]]], 1) for clock in clocks]
    assert np.array_equal(np.concatenate(told), run.at)


def test_a_pattern_that_never_opens():
    with pytest.raises(ValueError, match=r"^sink_stalls: no cycle of 5 is open; open one$"):
        predict(laid_out("pools", "list"), np.zeros((1, 1, 9, 11), np.uint8), sink_stalls=np.zeros(5, bool))


def test_an_unknown_stage():
    with pytest.raises(ValueError, match=r"^stage 'four': the design has one, two, three, readout$"):
        stage_cycles(laid_out("pools", "list"), "four", np.zeros((1, 1, 9, 11), np.uint8))


def test_a_standstill_says_who_waits():
    laid = laid_out("pools", "list")
    stage = laid.stages[1]
    buffer = stage.instances[0]
    small = replace(buffer, cfg=replace(buffer.cfg, depth=16))  # of 30 words that the second row of windows needs
    stuck = replace(stage, instances=(small, *stage.instances[1:]))
    laid = with_stage(laid, stuck)
    with pytest.raises(ValueError) as caught:
        predict(laid, np.zeros((1, 1, 9, 11), np.uint8))
    assert str(caught.value).splitlines() == [
        "the design stands still for good:",
        "stage 'one' waits for room in its FIFO of 16 words",
        "stage 'two' has no room for word 16 in its ring, but needs more for row 0 of the windows of image 0;"
        " give it a deeper ring",
        "stage 'three' waits for word 0",
        "stage 'readout' waits for word 0",
    ]
