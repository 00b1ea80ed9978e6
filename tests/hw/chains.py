"""Networks that spike, what their stages read, and their tops held against the exact clock."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scaflow.hw.clock import predict
from scaflow.hw.design import Design, Stage
from scaflow.hw.stalls import OFFERS, TAKES
from scaflow.quant.golden.beats import pack
from scaflow.quant.graph import Conv, Readout, execute, validate
from scaflow.sim.native import simulate_native


def spiking(name, co, ci, kernel, stride=1, padding=0, in_bits=1):
    """Weights and thresholds that let about a third of the neurons spike."""
    rng = np.random.default_rng(len(name) + co + ci)
    top = 100 if in_bits > 1 else 7
    weight = rng.integers(-top // 2, top + 1, size=(co, ci, *kernel))
    threshold = np.maximum(1, weight.clip(0).sum((1, 2, 3)) * (128 if in_bits > 1 else 1) // 2)
    return Conv(name, weight, np.zeros(co, int), threshold, stride, padding, 1, "hard", 0, 8, in_bits, tuple(range(co)))


def readout(classes, ci, height, width):
    return Readout("readout", np.ones((classes, ci, height, width), int), np.zeros(classes, int), 8)


def seeing(graph, bits):
    """The network that sees the highest `bits` bits of a pixel; thresholds shrink as its sums do."""
    first, *rest = graph.nodes
    first = replace(first, in_bits=bits, threshold=np.maximum(1, first.threshold * ((1 << bits) - 1) // 255))
    return validate(replace(graph, nodes=(first, *rest), pixel_bits=bits))


def images_of(laid, count, seed=0):
    """Half of the pixels are zero."""
    images = np.random.default_rng(seed).integers(-256, 256, size=(count, *laid.graph.input_shape))
    return images.clip(0).astype(np.uint8)


def stage_beats(laid, name, images):
    """What a stage alone reads, as packed beats."""
    position = [stage.name for stage in laid.stages].index(name)
    if position == 0:
        seen, bits = laid.graph.seen(images), laid.graph.pixel_bits
        beats = seen.transpose(0, 2, 3, 1).reshape(-1, laid.way_in.pixel_bytes)
        return [pack(pixels, bits) for pixels in beats.tolist()]
    names = [node.name for node in laid.graph.nodes]
    spikes = execute(laid.graph, images, trace=True)[1][names[names.index(name) - 1]]
    rows = spikes.transpose(0, 3, 4, 1, 2)[..., list(laid.stages[position].in_order)]
    return [pack(row, 1) for row in rows.reshape(-1, rows.shape[-1]).tolist()]


def assert_as_simulated(laid, images, source, sink, directory):
    """Each image's first and last beat at both ends, and what the counters of the stages hold at the end of the run."""
    run = simulate_native(
        directory, "top", images.transpose(0, 2, 3, 1).reshape(len(images), -1), axi_bytes=laid.axi_bytes,
        expect=laid.readout.classes + 1, stalls=None if source is None else lambda _: source * OFFERS | sink * TAKES,
        chunk=len(images), workers=1,
    )  # fmt: skip
    total = run.cycles[0]
    clock = predict(laid, images, source, sink, until=total)
    assert np.array_equal(np.concatenate([clock.in_at[:, [0, -1]], clock.out_at[:, [0, -1]]], 1), run.at)
    assert run.counters[0].tolist() == [[s.busy, s.starved(total), s.stalled] for s in clock.stages]
    return clock, run


def with_stage(laid: Design, stage: Stage) -> Design:
    """The design with another stage in the place of that of its name."""
    other = {"stage": stage, "instances": stage.instances}
    parts = tuple(replace(part, **other) if part.name == stage.name else part for part in laid.parts)
    return replace(laid, parts=parts)
