"""Order time: what brings frames of recordings in, and how all that lives over frames learns where a recording ends.

A token a frame, "does its recording end?", leaves the way in with the frame's last pixel, into a queue beside each part
that has membranes or sums; the last beat of the frame takes it from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from scaflow.hw.layers import Instance, queue
from scaflow.quant.golden.axis_events import WORD, AxisEvents
from scaflow.quant.golden.frame_close import FrameClose
from scaflow.quant.golden.frame_split import FrameSplit
from scaflow.quant.golden.stream_fork import StreamFork
from scaflow.quant.graph import Graph

LASTING = ("lif_pe", "lif_neuron", "readout")  # modules that hold something from frame to frame
SPLIT = "frame_split"


def closed(name: str, instances: Sequence[Instance]) -> tuple[Instance, ...]:
    """The instances of a node, with frame_close before what lasts, if anything does."""
    found: list[Instance] = []
    for instance in instances:
        if instance.module in LASTING:
            cfg, width = instance.cfg, instance.in_bits
            before = instance.reads or (found[-1].name,)
            beats = 1 if instance.module == "readout" else cfg.map_pixels * cfg.folds
            close = FrameClose(width, beats, int(instance.module != "lif_neuron"))
            found.append(Instance("frame_close", f"{name}_frame_close", close, width, width + 1, (*before, ends(name))))
            instance = replace(instance, in_bits=width + 1, reads=())
        found.append(instance)
    return tuple(found)


def ends(name: str) -> str:
    """The queue of tokens of a node."""
    return f"{name}_ends"


def divided(width: int, depths: Mapping[str, int]) -> tuple[Instance, ...]:
    """From frames with their ends, pixels of so many bits, to pixels from `SPLIT`, and a queue of tokens a node.

    Args:
        depths: of the queues, by node.
    """
    split = Instance(SPLIT, SPLIT, FrameSplit(width), width + 2, width)
    source = f"{SPLIT}.ends"
    if len(depths) == 1:
        return (split, *(queue(ends(name), 1, depth, (source,)) for name, depth in depths.items()))
    fork = Instance("stream_fork", "ends_fork", StreamFork(1, len(depths)), 1, 1, (source,))
    queues = (queue(ends(name), 1, depth, (f"{fork.name}[{i}]",)) for i, (name, depth) in enumerate(depths.items()))
    return (split, fork, *queues)


def entry(events: AxisEvents, depths: Mapping[str, int]) -> tuple[Instance, ...]:
    """From address events to pixels and tokens."""
    width = events.channels * events.bits
    return (Instance("axis_events", "axis_events", events, WORD, width + 2), *divided(width, depths))


def problems(graph: Graph, events: AxisEvents | None, tell_every: int) -> list[str]:
    """What keeps events from being the frames of a graph."""
    if not graph.frames:
        asked = [what for what, given in (("events", events), ("tell_every", tell_every)) if given]
        return [f"{what}: the graph {graph.name!r} reads images, not frames; leave it out" for what in asked]
    found = [f"tell_every={tell_every} must be at least 0"] if tell_every < 0 else []
    if len(graph.readout.weight) < 2:
        found.append(f"node {graph.readout.name!r}: of frames it needs two classes or more")
    if events is None:
        return [*found, f"events: the graph {graph.name!r} reads frames; say how events are binned to them"]
    given = (events.channels, events.height, events.width), events.bits
    if given != (graph.input_shape, graph.pixel_bits):
        found.append(
            f"events: bins hold (C, H, W) = {given[0]} counts of {given[1]} bits, the graph {graph.name!r} reads"
            f" {graph.input_shape} of {graph.pixel_bits}; give the same"
        )
    return found
