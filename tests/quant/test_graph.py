"""The golden model against the integer contract written out in loops, and by hand; validation; files."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from scaflow.quant.graph import Conv, Graph, Pool, Readout, execute, load, save, validate
from scaflow.quant.widths import widths


def contract(graph: Graph, image: np.ndarray) -> tuple[list[int], dict[str, np.ndarray]]:
    """One image, or the frames of a recording, through the graph, the contract in plain loops over Python integers."""
    frames = image if graph.frames else image[None]
    steps = len(frames) if graph.frames else graph.time_steps
    x = frames.tolist()  # [t][c][y][x]; the image has one t
    trace = {}
    for node in graph.nodes:
        height, width = len(x[0][0]), len(x[0][0][0])
        if isinstance(node, Conv):
            kh, kw = node.kernel
            ho = (height + 2 * node.padding - kh) // node.stride + 1
            wo = (width + 2 * node.padding - kw) // node.stride + 1
            weight = node.weight.tolist()
            out = [[[[0] * wo for _ in range(ho)] for _ in weight] for _ in range(steps)]
            for c, y, z in itertools.product(range(len(weight)), range(ho), range(wo)):
                left, (factor, shift) = 0, node.decay
                for t in range(steps):
                    acc = 0
                    for i, dy, dx in itertools.product(range(len(weight[0])), range(kh), range(kw)):
                        row, column = y * node.stride + dy - node.padding, z * node.stride + dx - node.padding
                        if 0 <= row < height and 0 <= column < width:
                            acc += weight[c][i][dy][dx] * x[t if len(x) > 1 else 0][i][row][column]
                    u = left + acc * 2**node.fraction_bits + int(node.bias[c])
                    s = u >= int(node.threshold[c])
                    v = u
                    if s and node.reset != "delayed":
                        v = int(node.v_reset[c]) if node.reset == "hard" else u - int(node.threshold[c])
                    left = v - (v >> node.leak_shift) if node.leak_shift else (v * factor) // 2**shift
                    if s and node.reset == "delayed":
                        left -= int(node.threshold[c])
                    out[t][c][y][z] = int(s and c in node.kept)
            x = out
        elif isinstance(node, Pool):
            n = node.size
            x = [
                [
                    [
                        [
                            int(any(plane[y * n + a][z * n + b] for a in range(n) for b in range(n)))
                            for z in range(width // n)
                        ]
                        for y in range(height // n)
                    ]
                    for plane in frame
                ]
                for frame in x
            ]
        else:
            spikes = np.array(x)
            logits = []
            for weight, bias in zip(node.weight, node.bias, strict=True):
                total = steps * int(bias)
                for t, *index in zip(*np.nonzero(spikes), strict=True):
                    del t
                    total += int(weight[tuple(index)])
                logits.append(total)
            return logits, trace
        trace[node.name] = np.array(x)
    raise AssertionError("a graph ends with a read-out")


@pytest.mark.parametrize("seed", range(24))
def test_execution_is_the_contract(make_graph, seed):
    graph = make_graph(seed)
    images = np.random.default_rng(seed).integers(0, 256, (3, *graph.input_shape)).astype(np.uint8)
    logits, spikes = execute(graph, images, trace=True)
    for i, image in enumerate(images):
        expected, trace = contract(graph, image)
        assert logits[i].tolist() == expected
        for name, plane in trace.items():
            np.testing.assert_array_equal(spikes[name][i], plane, err_msg=name)


def of_frames(graph: Graph, frames: int, pixel_bits: int) -> Graph:
    """The same nodes, fed by frames of so many bits."""
    nodes = [replace(graph.nodes[0], in_bits=pixel_bits), *graph.nodes[1:]]
    return validate(replace(graph, nodes=tuple(nodes), time_steps=1, frames=frames, pixel_bits=pixel_bits))


@pytest.mark.parametrize("seed", range(12))
def test_recordings_are_the_contract_frame_by_frame(make_graph, seed):
    bits = 1 + seed % 3
    graph = of_frames(make_graph(seed), 5, bits)
    rng = np.random.default_rng(seed)
    recordings = rng.integers(0, 1 << bits, (4, 4, *graph.input_shape)).astype(np.uint8)
    lengths = np.array([4, 1, 2, 3])
    logits, spikes = execute(graph, recordings, trace=True, lengths=lengths)
    for i, (recording, length) in enumerate(zip(recordings, lengths, strict=True)):
        expected, trace = contract(graph, recording[:length])
        assert logits[i].tolist() == expected
        for name, plane in trace.items():
            np.testing.assert_array_equal(spikes[name][i, :length], plane, err_msg=name)
    assert execute(graph, recordings[:1]).tolist() == logits[:1].tolist()


def test_widths_hold_over_the_longest_recording(make_graph):
    """A membrane without leak grows as long as frames come."""
    graph = of_frames(make_graph(0), 2, 1)
    nodes = tuple(replace(node, leak_shift=0, decay=(1, 0)) if isinstance(node, Conv) else node for node in graph.nodes)
    bits = [widths(replace(graph, nodes=nodes, frames=frames)) for frames in (1, 1000)]
    for name, short in bits[0].items():
        assert getattr(short, "v_bits", 0) < getattr(bits[1][name], "v_bits", 1)
        assert getattr(short, "logit_bits", 0) < getattr(bits[1][name], "logit_bits", 1)


@pytest.mark.parametrize(
    ("values", "lengths", "text"),
    [
        (4, None, "a frame has the value 4; its 2 bits hold 3"),
        (3, [2, 4], "recording 1 has 4 of 3 frames; it is built for 1 to 2"),
        (3, [0, 1], "recording 0 has 0 of 3 frames"),
    ],
)
def test_recordings_that_do_not_fit_are_refused(make_graph, values, lengths, text):
    graph = of_frames(make_graph(0), 2, 2)
    frames = 2 if lengths is None else 3
    recordings = np.full((2, frames, *graph.input_shape), values, np.uint8)
    with pytest.raises(ValueError, match=text):
        execute(graph, recordings, lengths=None if lengths is None else np.array(lengths))
    with pytest.raises(ValueError, match=r"recordings are uint8 .*; give uint8 \(N, T, "):
        execute(graph, recordings[0])


def test_frames_are_a_step_each(make_graph, tmp_path):
    graph = of_frames(make_graph(1), 7, 3)
    save(graph, tmp_path / "graph")
    assert '"scaflow graph 3"' in (tmp_path / "graph.json").read_text()
    assert load(tmp_path / "graph") == graph != replace(graph, frames=6)
    with pytest.raises(ValueError, match="a frame is one step"):
        validate(replace(graph, time_steps=2))


def test_random_graphs_are_no_trivial_cases(make_graph):
    """The comparison above would prove little on silent or saturated networks."""
    graphs = [make_graph(seed) for seed in range(24)]
    rates = []
    for graph in graphs:
        images = np.random.default_rng(0).integers(0, 256, (3, *graph.input_shape)).astype(np.uint8)
        rates += [s.mean() for s in execute(graph, images, trace=True)[1].values()]
    assert sum(0.05 < rate < 0.95 for rate in rates) > len(rates) / 2
    convs = [node for graph in graphs for node in graph.nodes if isinstance(node, Conv)]
    assert {node.reset for node in convs} == {"hard", "soft", "delayed"}
    assert any(node.v_reset.min() < 0 for node in convs) and any(node.v_reset.max() > 0 for node in convs)
    assert len({node.decay for node in convs}) > 10
    assert {0, 1, 2} <= {node.leak_shift for node in convs}
    assert {1, 2} <= {node.stride for node in convs}
    assert any(node.padding for node in convs)
    assert any(len(node.kept) < len(node.weight) for node in convs)


def neuron(steps: int, threshold: int, bias: int = 0, **fields) -> Graph:
    """One pixel, one synapse of weight 1, one neuron; the logit is its number of spikes."""
    conv = Conv("conv0", [[[[1]]]], [bias], [threshold], 1, 0, 0, "hard", 0, 8, 8, (0,))
    readout = Readout("readout", [[[[1]]]], [0], 8)
    return validate(Graph("one", (1, 1, 1), steps, (replace(conv, **fields), readout)))


@pytest.mark.parametrize(
    ("pixel", "fields", "spikes"),
    [
        # u = 4 8 12*: the threshold is inclusive; a hard reset drops what is above it
        (4, {"threshold": 12}, [0, 0, 1, 0, 0, 1]),
        (5, {"threshold": 12}, [0, 0, 1, 0, 0, 1]),
        # a soft reset keeps it: u = 5 10 15* 8 13* 6
        (5, {"threshold": 12, "reset": "soft"}, [0, 0, 1, 0, 1, 0]),
        # the leak takes v >> 1: u = 5 8 9 10* 5 8
        (5, {"threshold": 10, "leak_shift": 1}, [0, 0, 0, 1, 0, 0]),
        # the accumulator is shifted, the bias is not: u = 3*4 + 1 = 13 26* 13 26*
        (3, {"threshold": 26, "bias": 1, "fraction_bits": 2}, [0, 1, 0, 1, 0, 1]),
        # three quarters are left, rounded down: u = 5 8 11* 5
        (5, {"threshold": 11, "decay": (3, 2)}, [0, 0, 1, 0, 0, 1]),
        # a reset below zero: u = 5 10 15*, then 3/4 of -7 is -6: -1 4 8
        (5, {"threshold": 12, "v_reset": [-7]}, [0, 0, 1, 0, 0, 0]),
        (5, {"threshold": 10, "v_reset": [-7], "decay": (3, 2)}, [0, 0, 1, 0, 0, 0]),
        # soft: u = 5 8 11* 5 (3/4 of 1 is 0); delayed: 5 8 11* 5 + 8 - 10 = 3, 7, 10*
        (5, {"threshold": 10, "reset": "soft", "decay": (3, 2)}, [0, 0, 1, 0, 0, 1]),
        (5, {"threshold": 10, "reset": "delayed", "decay": (3, 2)}, [0, 0, 1, 0, 0, 1]),
        # soft: u = 12* 13* 13*; delayed: 12*, 12 + 9 - 10 = 11*, 12 + 8 - 10 = 10*, 12 + 7 - 10 = 9, 18*, 15*
        (12, {"threshold": 10, "reset": "soft", "decay": (3, 2)}, [1, 1, 1, 1, 1, 1]),
        (12, {"threshold": 10, "reset": "delayed", "decay": (3, 2)}, [1, 1, 1, 0, 1, 1]),
        # nothing is left
        (5, {"threshold": 6, "decay": (0, 3)}, [0, 0, 0, 0, 0, 0]),
        # far above the threshold: fires always
        (255, {"threshold": 1, "reset": "soft"}, [1, 1, 1, 1, 1, 1]),
    ],
)
def test_neuron_by_hand(pixel, fields, spikes):
    graph = neuron(6, **fields)
    logits, trace = execute(graph, np.full((1, 1, 1, 1), pixel, np.uint8), trace=True)
    assert trace["conv0"].ravel().tolist() == spikes
    assert logits.tolist() == [[sum(spikes)]]


@pytest.mark.parametrize(("weight", "fires"), [(8, 1), (7, 0)])
def test_leak_of_a_negative_membrane_is_an_arithmetic_shift(weight, fires):
    """u[0] = -5, -5 >>> 1 is -3, so -2 is left and u[1] = -2 + weight - 5; rounding to zero leaves -3."""
    second_step = Conv("conv0", [[[[1]]]], [0], [2], 1, 0, 0, "hard", 0, 8, 8, (0,))
    conv = Conv("conv1", [[[[weight]]]], [-5], [1], 1, 0, 1, "hard", 0, 8, 1, (0,))
    graph = Graph("leak", (1, 1, 1), 2, (second_step, conv, Readout("readout", [[[[1]]]], [0], 8)))
    assert execute(validate(graph), np.ones((1, 1, 1, 1), np.uint8)).tolist() == [[fires]]


def test_pool_drops_the_remainder():
    conv = Conv("conv0", [[[[1]]]], [0], [100], 1, 0, 0, "hard", 0, 8, 8, (0,))
    graph = Graph(
        "pool", (1, 5, 5), 1, (conv, Pool("pool0", 2), Readout("readout", np.ones((1, 1, 2, 2), int), [7], 8))
    )
    image = np.zeros((1, 1, 5, 5), np.uint8)
    image[0, 0, 4, :] = image[0, 0, :, 4] = 255  # row and column that fill no window
    image[0, 0, 1, 2] = 255
    logits, trace = execute(validate(graph), image, trace=True)
    assert trace["pool0"].tolist() == [[[[[0, 1], [0, 0]]]]]
    assert logits.tolist() == [[8]]


def test_large_weights_use_wider_floats():
    """Sums past 2^24 stay exact: 8-bit weights and pixels over a 40x40 kernel."""
    rng = np.random.default_rng(0)
    weight = rng.integers(100, 128, (1, 1, 40, 40))
    conv = Conv("conv0", weight, [0], [1], 1, 0, 0, "hard", 0, 8, 8, (0,))
    image = rng.integers(250, 256, (1, 1, 40, 40)).astype(np.uint8)
    exact = int((weight[0].astype(object) * image[0].astype(object)).sum())
    assert exact > 2**24
    for threshold, spike in ((exact, 1), (exact + 1, 0)):
        nodes = (replace(conv, threshold=[threshold]), Readout("readout", [[[[1]]]], [0], 8))
        assert execute(Graph("wide", (1, 40, 40), 1, nodes), image).tolist() == [[spike]]


def test_no_images(make_graph):
    graph = make_graph(0)
    logits, trace = execute(graph, np.zeros((0, *graph.input_shape), np.uint8), trace=True)
    assert logits.shape == (0, 5)
    assert trace["conv0"].shape[:2] == (0, graph.time_steps)


def test_images_of_another_kind_are_refused(make_graph):
    graph = make_graph(0)
    with pytest.raises(ValueError, match=r"^graph 'random': images are float64 .*; give uint8 \(N, "):
        execute(graph, np.zeros((1, *graph.input_shape)))


def test_edges_carry_kept_channels_through_pools():
    conv = Conv("conv0", np.zeros((3, 1, 3, 3), int), [0] * 3, [1] * 3, 1, 1, 1, "hard", 4, 8, 8, (0, 2))
    nodes = (conv, Pool("pool0", 2), Readout("readout", np.zeros((10, 3, 4, 4), int), [0] * 10, 8))
    image, spikes, pooled = validate(Graph("edges", (1, 9, 9), 4, nodes)).edges()
    assert (image.shape, image.time_steps, image.bits, image.kept) == ((1, 9, 9), 1, 8, (0,))
    assert (spikes.shape, spikes.time_steps, spikes.bits, spikes.kept) == ((3, 9, 9), 4, 1, (0, 2))
    assert (pooled.shape, pooled.time_steps, pooled.bits, pooled.kept) == ((3, 4, 4), 4, 1, (0, 2))


def test_all_problems_of_a_node_are_reported_together():
    conv = Conv("conv0", np.full((2, 1, 3, 3), 8), [0], [0, 1], 0, 3, 9, "none", -1, 4, 1, (1, 0))
    graph = Graph("bad", (1, 8, 8), 0, (conv, Readout("conv0", np.zeros((1, 2, 8, 8), int), [0], 8)))
    with pytest.raises(ValueError, match="2 problem") as error:
        validate(graph)
    assert "graph: time_steps=0 must be at least 1" in str(error.value)
    assert "node 'conv0': the name is used 2 times; names must differ" in str(error.value)
    graph = replace(graph, time_steps=1, nodes=(conv, replace(graph.nodes[1], name="readout")))
    with pytest.raises(ValueError, match="10 problem") as error:
        validate(graph)
    for text in (
        r"bias has shape \(1,\); give one value for each of the 2 output channels",
        r"weights: 8 to 8; 4 bits hold -8..7: raise weight_bits",
        "stride=0 must be at least 1",
        r"padding=3 must be 0 to 2",
        "in_bits=1, but the edge brings 8 bits a value",
        r"leak_shift=9 must be 0 \(no leak\) to 8",
        "fraction_bits=-1 must be 0 to 16",
        "reset='none' must be 'hard' or 'soft'",
        "threshold of channel 0 is 0; it must be at least 1",
        r"kept=\(1, 0\) must be rising channel numbers below 2",
    ):
        error.match(rf"node 'conv0': {text}")


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ((), "nodes are nothing; start with a Conv"),
        ((Pool("pool0", 9),), "nodes are Pool; start with a Conv"),
        ((Readout("readout", np.zeros((1, 1, 8, 8), int), [0], 8),), "nodes are Readout"),
    ],
)
def test_chains_that_are_none(nodes, text):
    with pytest.raises(ValueError, match=text):
        validate(Graph("bad", (1, 8, 8), 1, nodes))


def test_shapes_that_do_not_meet():
    conv = Conv("conv0", np.zeros((2, 1, 3, 3), int), [0, 0], [1, 1], 1, 1, 1, "hard", 4, 8, 8, (0, 1))
    readout = Readout("readout", np.zeros((1, 2, 8, 8), int), [0], 8)
    with pytest.raises(ValueError, match=r"node 'pool0': size=9 leaves no pixel of a 8x8 map"):
        validate(Graph("bad", (1, 8, 8), 1, (conv, Pool("pool0", 9), readout)))
    with pytest.raises(ValueError, match=r"node 'readout': weight covers \(8, 8\), the map is \(4, 4\)"):
        validate(Graph("bad", (1, 8, 8), 1, (conv, Pool("pool0", 2), readout)))
    with pytest.raises(ValueError, match=r"node 'conv0': weight reads 1 channels, but the edge brings 3"):
        validate(Graph("bad", (3, 8, 8), 1, (conv, readout)))


def test_reals_are_refused():
    with pytest.raises(
        ValueError, match=r"node 'readout': bias has type float64; the graph holds integers only"
    ):
        Readout("readout", np.zeros((1, 1, 1, 1), int), [0.5], 8)


@pytest.mark.parametrize("seed", range(4))
def test_files_round_trip_with_the_same_bytes(make_graph, tmp_path, seed):
    graph = make_graph(seed)
    save(graph, tmp_path / "a" / "graph")
    loaded = load(tmp_path / "a" / "graph")
    assert loaded == graph
    save(loaded, tmp_path / "b" / "graph")
    for name in ("graph.json", "graph.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["graph.json", "graph.npz"]


def test_what_a_neuron_has_not_is_not_in_its_file(tmp_path):
    plain, other = neuron(2, 9), neuron(2, 9, decay=(7, 3), v_reset=[-4])
    for graph in (plain, other):
        save(graph, tmp_path / "graph")
        assert load(tmp_path / "graph") == graph
        text, arrays = (tmp_path / "graph.json").read_text(), np.load(tmp_path / "graph.npz").files
        assert ("decay" in text, "conv0.v_reset" in arrays) == ((graph is other),) * 2
        assert "conv0.threshold" in arrays


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"decay": (9, 3)}, r"decay=\[9, 3\] must be \[D, K\], for D / 2\^K of a membrane"),
        ({"decay": (256, 8)}, "at most 255"),
        ({"decay": (1, 16)}, "K of 0 to 15"),
        ({"decay": (3,)}, r"decay=\[3\] must be"),
        ({"decay": (3, 2), "leak_shift": 1}, r"leak_shift=1 and decay=\[3, 2\]: two leaks"),
        ({"v_reset": [9]}, "v_reset of channel 0 is 9; it must be below the threshold, 9"),
        ({"v_reset": [3, 3]}, r"v_reset has shape \(2,\); give one value for each of the 1 output channels"),
        ({"v_reset": [3], "reset": "soft"}, "v_reset is where a hard reset puts a membrane, and reset='soft'"),
    ],
)
def test_neurons_that_are_none(fields, text):
    with pytest.raises(ValueError, match=f"node 'conv0': .*{text}"):
        neuron(2, 9, **fields)


def test_equality_sees_every_field(make_graph):
    graph = make_graph(0)
    conv = graph.nodes[0]
    for change in (
        {"weight": -conv.weight},
        {"bias": conv.bias + 1},
        {"kept": ()},
        {"leak_shift": 7},
        {"decay": (7, 3)},
        {"v_reset": conv.v_reset - 1},
        {"name": "other"},
    ):
        assert replace(graph, nodes=(replace(conv, **change), *graph.nodes[1:])) != graph
    assert replace(graph, time_steps=9) != graph


def test_damaged_files_are_refused(make_graph, tmp_path):
    stem = tmp_path / "graph"
    with pytest.raises(ValueError, match=r"graph\.json: no such file"):
        load(stem)
    save(make_graph(0), stem)
    save(make_graph(1), tmp_path / "other")
    (tmp_path / "other.npz").replace(tmp_path / "graph.npz")
    with pytest.raises(ValueError, match=r"graph\.npz: not the arrays graph\.json was written with"):
        load(stem)
    (tmp_path / "graph.json").write_text("{}")
    with pytest.raises(ValueError, match=r"graph\.json: damaged, or of another program: holds no format"):
        load(stem)


def test_files_of_chains_are_still_read(make_graph, tmp_path):
    """Format 1 is format 2 without what chains do not have."""
    graph = make_graph(0)
    save(graph, tmp_path / "graph")
    file = tmp_path / "graph.json"
    text = file.read_text()
    assert '"scaflow graph 2"' in text and '"reads"' not in text
    file.write_text(text.replace("scaflow graph 2", "scaflow graph 1"))
    assert load(tmp_path / "graph") == graph
    file.write_text(text.replace("scaflow graph 2", "scaflow graph 4"))
    with pytest.raises(ValueError, match="format 'scaflow graph 4'; this is 'scaflow graph 2'"):
        load(tmp_path / "graph")
