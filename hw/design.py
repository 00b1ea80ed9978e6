"""The dataflow of a graph: for each node its chain of module instances, with their parameters and memory images.

A pruned channel keeps its wire but is neither computed nor walked. Channels travel with the kept ones first, so that
these fill whole synapse groups and whole folds, and for an event scheduler dealt to its banks by activity; the order is
folded into weights, biases and thresholds here and costs no hardware. What is joined travels in one order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from scaflow.hw import frames, layers, links, skip
from scaflow.hw.cycles import node_law
from scaflow.hw.fold import Fold, Folding
from scaflow.hw.groups import SYNAPSE, Group, Kernel, arriving
from scaflow.hw.layers import Instance
from scaflow.hw.links import Pools, orders_of
from scaflow.model.limits import (
    AXI_BYTES,
    LOGIT_BITS,
    MOST_READOUT_SIMD,
    MOST_SIMD,
    axi_problem,
    event_problems,
    group_problem,
    neurons_problem,
)
from scaflow.quant.direct import at_once
from scaflow.quant.golden.axis_events import WORD, AxisEvents
from scaflow.quant.golden.axis_in import AxisIn
from scaflow.quant.golden.axis_out import AxisOut
from scaflow.quant.golden.beats import address_bits, ceil_div
from scaflow.quant.golden.mac_array import credits
from scaflow.quant.golden.readout import Readout as ReadoutModule
from scaflow.quant.golden.stream_fifo import StreamFifo
from scaflow.quant.graph import IMAGE, Conv, Current, Edge, Graph, Join, Neuron, Node, Readout, Weighted, validate
from scaflow.quant.widths import ConvWidths, CurrentWidths, ReadoutWidths, Widths, widths

FIFO_DEPTH = 16  # one LUT-RAM cell deep: lets a stage run ahead over its neighbour's short stalls. A queue to a join is
# as much deeper than it must be, or each of its words would wait for the whole of the other way


HELD = 32  # beats before the sums of a part, at most: windows and registers; behind them half as many, and the credits


@dataclass(frozen=True)
class Stage:
    """A weighted node and the pools behind it: the hardware that runs side by side with the other stages."""

    name: str
    pe: int
    simd: int
    scheduler: str  # "list" | "event"
    neurons: int  # of the PE sums of a fold, served a cycle; the read-out and `at_once` layers have none and serve all
    group: Group  # kernel positions and channels that share a look-up
    kept_in: int
    kept_out: int
    law: int | None  # cycles an image; None: they depend on the data (see hw/activity.py)
    in_edge: Edge
    in_order: tuple[int, ...]  # channel in each place of the input word, the kept ones first
    out_order: tuple[int, ...] | None  # channel in each bit of the output word; None: the read-out
    out_edge: Edge | None
    instances: tuple[Instance, ...]

    @property
    def folds(self) -> int:
        return ceil_div(self.kept_out, self.pe)

    @property
    def rounds(self) -> int:
        """Cycles in which the sums of a fold are served."""
        return ceil_div(self.pe, self.neurons)

    @property
    def fifo_depth(self) -> int | None:
        """Of the queue behind the stage; the read-out has none."""
        last = self.instances[-1].cfg
        return last.depth if isinstance(last, StreamFifo) else None

    @property
    def places(self) -> tuple[int, ...]:
        """Of each input channel among those that are walked, -1 for one that is not."""
        place = {channel: i for i, channel in enumerate(self.in_order[: self.kept_in])}
        return tuple(place.get(c, -1) for c in range(len(self.in_order)))

    @property
    def banks(self) -> tuple[int, ...]:
        """The weight bank of each input channel, -1 for a channel that is not walked."""
        return tuple(-1 if p < 0 else p // self.group[1] % self.simd for p in self.places)

    @property
    def arriving(self) -> int:
        """Cycles in which an image's words come in."""
        rows = [i.cfg for i in self.instances if i.module == "window_row"]
        return arriving(self.in_edge, *rows)


@dataclass(frozen=True)
class Part:
    """A piece of the dataflow with a queue at its end, a fork with one for each reader; the read-out has none."""

    name: str
    kind: Literal["stage", "neuron", "join", "fork"]
    reads: tuple[str, ...]  # names of the queues in front of it; none: the image's way in
    instances: tuple[Instance, ...]
    beats: int  # of an image that leave it, from a fork by each queue
    stage: Stage | None = None
    least: tuple[int, ...] = ()  # of a fork: depths of its queues without which the design can stand still (hw/skip.py)
    takes: int = 1  # beats of an image that enter it

    @property
    def queues(self) -> tuple[Instance, ...]:
        """At its end."""
        found = [i for i in self.instances if i.module == "stream_fifo"]
        return tuple(found if self.kind == "fork" else found[-1:])

    @property
    def frames(self) -> int:
        """The most images that can be in it at once, in part."""
        rings = [i.cfg.depth for i in self.instances if i.module == "window_buffer"]
        rings += [i.cfg.windows.rows * i.cfg.width for i in self.instances if i.module == "synapse_event"]
        queued = max((queue.cfg.depth for queue in self.queues), default=0)
        results = max((credits(i.cfg.depth) for i in self.instances if i.module == "lif_pe"), default=HELD // 2)
        return 1 + ceil_div(sum(rings) + HELD, self.takes) + ceil_div(queued + results + HELD // 2, self.beats)


@dataclass(frozen=True)
class Design:
    graph: Graph
    parts: tuple[Part, ...]
    axi_bytes: int  # of a beat in which images or events come in
    events: AxisEvents | None = None  # what bins address events to the frames of the graph; None: of images

    @property
    def stages(self) -> tuple[Stage, ...]:
        return tuple(part.stage for part in self.parts if part.stage)

    @property
    def interval(self) -> int | None:
        """Cycles between images, or frames: the slowest stage, or the way in. None: data-dependent."""
        laws = [stage.law for stage in self.stages if stage.law is not None]
        return max(self.entry_cycles, *laws) if len(laws) == len(self.stages) else None

    @property
    def entry_cycles(self) -> int:
        """Of the way in of an image, or of a frame whose events are there."""
        return self.events.pixels + 3 if self.events else self.way_in.frame_cycles

    @property
    def way_in(self) -> AxisIn:
        """Of the images."""
        rows = [i.cfg for i in self.stages[0].instances if i.module == "window_row"]
        return way_in(self.graph, self.axi_bytes, rows[0].columns if rows else 1)

    @property
    def readout(self) -> ReadoutModule:
        module: ReadoutModule = self.stages[-1].instances[-1].cfg
        return module

    def instances(self) -> tuple[Instance, ...]:
        """All of them, from AXI4-Stream to AXI4-Stream."""
        module = self.readout
        class_bits = address_bits(module.classes)
        inner = [instance for part in self.parts for instance in part.instances]
        if self.events is None:
            entry = self.way_in
            bits = 8 * entry.axi_bytes, entry.pixel_bits * entry.pixel_bytes
            ends = [Instance("axis_in", "axis_in", entry, *bits)]
        else:
            ends = [*frames.entry(self.events, self._tokens())]
            inner[0] = replace(inner[0], reads=(frames.SPLIT,))
        out = AxisOut(module.classes, module.logit_bits, class_bits, module.frames)
        last = Instance("axis_out", "axis_out", out, inner[-1].out_bits, 32)
        return (*ends, *inner, last)

    def alone(self, name: str) -> tuple[Instance, ...]:
        """The instances of one stage between plain streams; of frames with last and end above their words."""
        stage = next(s for s in self.stages if s.name == name)
        inner = list(stage.instances)
        if not self.graph.frames:
            return tuple(inner)
        tokens = [name] if any(instance.module == "frame_close" for instance in inner) else []
        before = frames.divided(inner[0].in_bits, dict.fromkeys(tokens, FIFO_DEPTH))
        inner[0] = replace(inner[0], reads=(frames.SPLIT,))
        return (*before, *inner)

    def _tokens(self) -> dict[str, int]:
        """Of each node that something lasts in: room for the tokens of all frames that can be on their way to it."""
        found: dict[str, int] = {}
        held = 0  # in the parts so far, one behind the other as the longest way may have them
        for part in self.parts:
            held += part.frames
            if any(instance.module == "frame_close" for instance in part.instances):
                found[part.name] = max(FIFO_DEPTH, held)
        return found


def way_in(graph: Graph, axi_bytes: int, columns: int = 1) -> AxisIn:
    """Of the images of a graph, by beats of so many bytes, where the first stage takes so many neighbouring pixels at
    once."""
    channels, height, width = graph.input_shape
    return AxisIn(axi_bytes, columns * channels, height * width // columns, graph.pixel_bits)


def design(
    graph: Graph,
    folding: Folding,
    orders: Mapping[str, Sequence[int]] | None = None,
    fifo_depths: Mapping[str, int] | None = None,
    axi_bytes: int = AXI_BYTES,
    events: AxisEvents | None = None,
    tell_every: int = 0,
) -> Design:
    """Lay out a graph.

    Args:
        folding: PE, SIMD, scheduler and neurons of each weighted node.
        orders: of the channels that travel of what a node writes, by its name; ascending where it is not given (see
            `hw.banks.orders`).
        fifo_depths: of the queue behind a spiking stage, by its name; FIFO_DEPTH where it is not given.
        axi_bytes: of a beat in which images come in.
        events: how address events are binned to the frames of a graph of frames.
        tell_every: frames from one result of a recording to the next; 0: it is told at its end alone.

    Raises:
        ValueError: the graph breaks a rule, or a module cannot be built so; all problems are listed.
    """
    validate(graph)
    bits = widths(graph)
    problems = [f"axi_bytes={axi_bytes}: {problem}"] if (problem := axi_problem(axi_bytes)) else []
    problems += frames.problems(graph, events, tell_every)
    if problems := problems + _problems(graph, folding, bits):
        raise ValueError("\n".join(problems))
    parts = Layout(graph, folding, bits, orders or {}, fifo_depths or {}, tell_every).parts()
    return Design(graph, parts, WORD // 8 if events else axi_bytes, events)


class Layout:
    """The parts of a design, node by node."""

    def __init__(
        self,
        graph: Graph,
        folding: Folding,
        bits: Mapping[str, Widths],
        orders: Mapping[str, Sequence[int]],
        depths: Mapping[str, int],
        tell_every: int,
    ) -> None:
        self._graph, self._folding, self._bits, self._depths = graph, folding, bits, depths
        self._tell_every = tell_every
        self._orders = orders_of(graph, orders)  # of what each node writes
        self._walked = {node.name: edge for node, edge in graph.weighted}
        self._folds = links.folds_of(graph, folding)  # of currents
        self._least = skip.depths(graph, folding, self._folds)
        self._queues: dict[tuple[str, str], str] = {}  # the queue between a node and its reader
        self._lanes: dict[str, tuple[int, int]] = {}  # of currents: PE, and the bits of one

    def parts(self) -> tuple[Part, ...]:
        found: list[Part] = []
        behind: set[str] = set()  # pools that are part of what they follow
        for node in self._graph.nodes:
            if node.name in behind:
                continue
            pools = self._graph.pools_behind(node)
            behind |= {pool.name for pool, _ in pools}
            part = self._part(node, pools)
            found.append(part)
            last = pools[-1][0].name if pools else node.name
            if not isinstance(node, Readout):
                found += self._divided(last, part)
        return tuple(found)

    def _reads(self, node: Node) -> tuple[str, ...]:
        sources = self._graph.sources[node.name]
        return tuple(self._queues[source, node.name] for source in sources if source != IMAGE)

    def _divided(self, writer: str, part: Part) -> list[Part]:
        """A fork, where what a node writes has several readers."""
        queue, readers = part.queues[0], self._graph.readers(writer)
        if len(readers) == 1:
            self._queues[writer, readers[0].name] = queue.name
            return []
        names = [f"{writer}_to_{reader.name}" for reader in readers]
        least = [self._least[writer, reader.name] for reader in readers]
        ahead = [FIFO_DEPTH * self._folds.get(writer, 1) * isinstance(reader, Join) for reader in readers]
        depths = [self._depths.get(name, n + more) for name, n, more in zip(names, least, ahead, strict=True)]
        self._queues |= {(writer, reader.name): name for name, reader in zip(names, readers, strict=True)}
        made = links.fork(f"{writer}_fork", queue, names, depths)
        return [Part(made[0].name, "fork", (queue.name,), made, part.beats, least=tuple(least), takes=part.beats)]

    def _part(self, node: Node, pools: Pools) -> Part:
        graph, reads = self._graph, self._reads(node)
        beats, takes = self._beats(node, pools), self._takes(node)
        if isinstance(node, Conv | Current | Readout):
            stage = self.stage(node, pools, self._folding[node.name])
            stage = replace(stage, instances=self._closed(node, _tied(stage.instances, reads)))
            return Part(node.name, "stage", reads, stage.instances, beats, stage, takes=takes)
        if isinstance(node, Neuron):
            pe, acc_bits = self._lanes[graph.sources[node.name][0]]
            order, kept = self._orders[node.name], len(graph.travelling[node.name])
            widths_of = replace(cast(ConvWidths, self._bits[node.name]), acc_bits=acc_bits)
            made = links.neuron(graph, node, widths_of, pools, order, kept, pe, self._depths.get(node.name, FIFO_DEPTH))
            return Part(node.name, "neuron", reads, self._closed(node, _tied(made, reads)), beats, takes=takes)
        assert isinstance(node, Join)  # pools belong to what they follow
        a, b = graph.read(node)
        lanes, in_bits = len(self._orders[node.name]), (a.bits, b.bits)
        if a.kind == "currents":
            (lanes, a_bits), (_, b_bits) = (self._lanes[source] for source in graph.sources[node.name])
            in_bits = (a_bits, b_bits)
        made = links.join(graph, node, pools, lanes, in_bits, self._depths.get(node.name, FIFO_DEPTH))
        if a.kind == "currents":
            self._lanes[node.name] = lanes, made[0].cfg.out_bits
        return Part(node.name, "join", reads, _tied(made, reads), beats, takes=takes)

    def _closed(self, node: Node, instances: tuple[Instance, ...]) -> tuple[Instance, ...]:
        return frames.closed(node.name, instances) if self._graph.frames else instances

    def _takes(self, node: Node) -> int:
        """Beats of an image, that enter a part from each way."""
        source = self._graph.sources[node.name][0]
        edge = self._graph.edge(source)
        return edge.words * (self._folds[source] if edge.kind == "currents" else 1)

    def _beats(self, node: Node, pools: Pools) -> int:
        """Of an image, that leave a part."""
        if isinstance(node, Readout):
            return 1
        edge = self._graph.edge(pools[-1][0].name if pools else node.name)
        return edge.words * (self._folds[node.name] if edge.kind == "currents" else 1)

    def stage(self, node: Weighted, pools: Pools, fold: Fold, images: bool = True) -> Stage:
        """Of a weighted node.

        Args:
            images: False: memories of weights, biases and thresholds of what walks synapses are zeros of their shapes.
        """
        graph = self._graph
        source, edge = graph.sources[node.name][0], self._walked[node.name]
        in_order = tuple(range(graph.input_shape[0])) if source == IMAGE else self._orders[source]
        kept_in, kept_out = len(edge.kept), graph.outputs(node)
        at_once_here = isinstance(node, Conv) and at_once(node, edge, graph.time_steps)
        out_order, out_edge = None, None
        if isinstance(node, Readout):
            logits = cast(ReadoutWidths, self._bits[node.name])
            instances = layers.readout(graph, node, edge, logits, in_order, kept_in, fold, self._tell_every)
        else:
            out_order = self._orders[node.name]
            out_edge = graph.edge(pools[-1][0].name if pools else node.name)
            walk = layers.scheduler(graph, node, edge, in_order, kept_in, kept_out, fold)
            depth, sides = self._depths.get(node.name, FIFO_DEPTH), (in_order, out_order, kept_in, kept_out, fold)
            if isinstance(node, Current):
                acc_bits = cast(CurrentWidths, self._bits[node.name]).acc_bits
                instances = (*walk, *layers.currents(graph, node, edge, acc_bits, *sides, depth, images))
                self._lanes[node.name] = fold.pe, acc_bits
            else:
                bits = cast(ConvWidths, self._bits[node.name])
                instances = (*walk, *layers.neurons(graph, node, edge, bits, pools, *sides, depth, images))
        law = None
        if fold.scheduler == "list":
            law = node_law(graph, node, edge, fold.pe, fold.simd, kept_in, kept_out, fold.rounds)
        return Stage(
            name=node.name,
            pe=fold.pe,
            simd=fold.simd,
            scheduler=fold.scheduler,
            neurons=fold.pe if at_once_here or isinstance(node, Current) else fold.served,
            group=fold.group,
            kept_in=kept_in,
            kept_out=kept_out,
            law=law,
            in_edge=edge,
            in_order=in_order,
            out_order=out_order,
            out_edge=out_edge,
            instances=instances,
        )


def _tied(instances: Sequence[Instance], reads: tuple[str, ...]) -> tuple[Instance, ...]:
    """The first one to the queues it reads; each other one reads the one before it."""
    return (replace(instances[0], reads=reads), *instances[1:])


def _problems(graph: Graph, folding: Folding, bits: Mapping[str, Widths]) -> list[str]:
    """What the modules cannot be built with, a line each."""
    problems = []
    for node, edge in graph.weighted:
        fold, found = folding[node.name], []
        most = MOST_READOUT_SIMD if isinstance(node, Readout) else MOST_SIMD
        if fold.pe < 1 or not 1 <= fold.simd <= most:
            found.append(f"pe={fold.pe} must be at least 1, and simd={fold.simd} 1 to {most}")
        elif not isinstance(node, Conv) and fold.neurons not in (None, fold.pe):
            what = "the read-out" if isinstance(node, Readout) else "a stage of currents"
            found.append(f"neurons={fold.neurons}: {what} has none; give none")
        elif fold.neurons is not None and (problem := neurons_problem(fold.neurons, fold.pe)):
            found.append(problem)
        elif fold.scheduler == "event":
            kernel = Kernel.of(node)
            found += [
                f"{problem}; use the scheduler auto or list"
                for problem in event_problems(kernel.size, kernel.padding[0], len(edge.kept), fold.simd, fold.group)
            ]
        if fold.group != SYNAPSE:
            found += [problem] if (problem := _group_problem(node, edge, fold)) else []
        if isinstance(node, Readout) and edge.bits > 1:
            found.append(f"reads numbers of {edge.bits} bits, its hardware spikes; put neurons in front of it")
        width = bits[node.name]
        if isinstance(width, ReadoutWidths) and width.logit_bits > LOGIT_BITS:
            found.append(f"its logits have {width.logit_bits} bits, a word of the output {LOGIT_BITS}; use fewer bits")
        problems += [f"node {node.name!r}: {problem}" for problem in found]
    return problems + links.problems(graph, folding)


def _group_problem(node: Weighted, edge: Edge, fold: Fold) -> str | None:
    if fold.scheduler != "event":
        return f"group={fold.group}: only event schedulers look sums up; leave it out"
    return group_problem(fold.group, Kernel.of(node).size[1], edge.bits, fold.simd)


def from_manifest(graph: Graph, manifest: Mapping[str, Any]) -> Design:
    """The design that `emit` wrote, from its graph and its manifest.json."""
    stages = manifest["stages"]
    return design(
        graph,
        {s["name"]: Fold(s["pe"], s["simd"], s["scheduler"], s["neurons"], tuple(s["group"])) for s in stages},
        {s["name"]: s["order"] for s in stages if s["order"]},
        {s["name"]: s["fifo_depth"] for s in stages if s["fifo_depth"]} | manifest.get("queues", {}),
        manifest["axi_bytes"],
        AxisEvents(**manifest["events"]) if "events" in manifest else None,
        manifest.get("tell_every", 0),
    )
