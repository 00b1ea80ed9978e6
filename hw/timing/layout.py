"""The exact clock's view of chains of stages: their records and rings, made from the instances of one design."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np

from scaflow.hw.cycles import array_latency
from scaflow.hw.design import Part, Stage
from scaflow.hw.timing import lanes, records
from scaflow.hw.timing.walks import walk_size
from scaflow.quant.golden.axis_events import AxisEvents
from scaflow.quant.golden.axis_in import AxisIn
from scaflow.quant.golden.beats import ceil_div
from scaflow.quant.golden.current_pe import CurrentPe
from scaflow.quant.golden.lif_pe import LifPe
from scaflow.quant.golden.mac_array import credits
from scaflow.quant.golden.spike_pool import SpikePool
from scaflow.quant.golden.spike_sum import SpikeSum
from scaflow.quant.golden.synapse_event import SynapseEvent
from scaflow.quant.golden.window_buffer import WindowBuffer
from scaflow.quant.golden.window_row import WindowRow


@dataclass(frozen=True)
class State:
    """All that `kernel.advance` reads and writes."""

    stages: np.ndarray  # records.Kinds.stage
    pools: np.ndarray  # records.Kinds.pool
    ends: np.ndarray  # records.Kinds.ends [1]
    memory: np.ndarray  # lanes.array: rings of times, one behind the other
    tables: np.ndarray  # bool, one behind the other: does a pool's beat end a window?
    in_beats: int  # of an image; of events 0
    out_beats: int

    def shift(self, cycles: np.ndarray) -> None:
        """Move the origin of all times on by so many cycles, [lanes]; what lies far back stays before all others."""
        held = (self.stages, self.pools, self.ends)
        fields = (r[field] for r in held for field in records.TIMES & set(r.dtype.names or ()))
        for times in (*fields, self.memory["lanes"]):
            np.maximum(times, records.NEVER + cycles, out=times)
            times -= cycles


class _Memory:
    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._size = 0

    def ring(self, record: np.void, name: str, size: int, value: int = 0) -> None:
        """A ring of at least `size` times."""
        length = 1 << (size - 1).bit_length()
        record[name], record[f"{name}_mask"] = self._size, length - 1
        self._parts.append(np.full(length, value, np.int32))
        self._size += length

    def joined(self, count: int) -> np.ndarray:
        made = lanes.array(self._size, count)
        made["lanes"] = np.concatenate(self._parts)[:, None]
        return made


def _records(count: int, kind: np.dtype[Any]) -> np.ndarray:
    made = lanes.aligned(count, kind)
    for field in records.TIMES & set(kind.names or ()):
        made[field] = records.NEVER
    return made


def layout(parts: Sequence[Part], axis: AxisIn | AxisEvents | None, count: int) -> State:
    """The state at reset of `count` dataflows, behind axis_in or axis_events (and before axis_out) or one stage between
    plain streams."""
    kinds, memory = records.kinds(count), _Memory()
    places = _places(parts)
    stages = _records(sum(1 + len(part.queues) * (part.kind == "fork") for part in parts), kinds.stage)
    ends = _records(1, kinds.ends)
    ends["reset"], stages["room_at"], stages["until"] = 0, 0, -records.NEVER
    stages["below"] = -1
    pools: list[np.ndarray] = []
    depths = {queue.name: queue.cfg.depth for part in parts for queue in part.queues}
    for part in parts:
        record, reads = stages[places[part.name]], [name for name in part.reads if name in places]
        record["kind"], record["first"] = _KINDS[part.kind], not reads
        record["above"], record["other"] = (*(places[name] for name in reads), 0, 0)[:2]
        for name in reads:
            stages[places[name]]["below"] = places[part.name]
        queue = max((depths[name] for name in reads), default=0)  # the deepest that is read
        found = [i.cfg for i in part.instances if i.module in ("spike_pool", "spike_sum")]
        record["pool"], record["pools"] = len(pools), len(found)
        pools += [_ends_a_window(cfg) for cfg in found]
        if part.stage:
            _stage(record, part.stage, memory, queue)
            continue
        memory.ring(record, "wrote", queue + 1)
        if part.kind == "fork":
            record["branch"], record["branches"] = places[part.name] + 1, len(part.queues)
            for name in (queue.name for queue in part.queues):
                branch = stages[places[name]]
                branch["kind"], branch["fifo"] = records.BRANCH, depths[name]
                memory.ring(branch, "pushed", depths[name] + 1)
        else:
            _queue(record, part, memory)
    last = stages[places[parts[-1].name]]
    for record in stages:
        if record["below"] >= 0:
            after = stages[record["below"]]
            taken = "fed" if after["rowed"] else "wrote"
            record["popped"], record["popped_mask"] = after[taken], after[f"{taken}_mask"]
    if last["kind"] == records.READOUT:
        out_beats = 1 if axis is None else last["classes"] + 1
    else:
        memory.ring(last, "popped", int(last["fifo"]) + 1)
        out_beats = parts[-1].beats
    words = stages[0]["words"]
    if stages[0]["rowed"]:
        words = stages[0]["height"] * stages[0]["row_takes"] * stages[0]["time_in"]
    in_beats = words if axis is None else _entry(ends[0], axis)
    made = _records(len(pools), kinds.pool)
    made["beats"] = [len(table) for table in pools]
    made["ends"] = np.cumsum(made["beats"]) - made["beats"]
    tables = np.concatenate([np.empty(0, bool), *pools])
    return State(stages, made, ends, memory.joined(count), tables, int(in_beats), int(out_beats))


_KINDS = {"stage": records.LAYER, "neuron": records.NEURON, "join": records.JOIN, "fork": records.FORK}


def _places(parts: Sequence[Part]) -> dict[str, int]:
    """The record of each part, by its name and by those of the queues at its end."""
    places: dict[str, int] = {}
    count = 0
    for part in parts:
        places[part.name] = count
        for i, queue in enumerate(part.queues):
            places[queue.name] = count + (1 + i) * (part.kind == "fork")
        count += 1 + len(part.queues) * (part.kind == "fork")
    return places


def places(parts: Sequence[Part]) -> list[int]:
    """The records of the parts that are stages."""
    found = _places(parts)
    return [found[part.name] for part in parts if part.stage]


def _stage(record: np.void, stage: Stage, memory: _Memory, queue: int) -> None:
    modules = {instance.module: instance.cfg for instance in stage.instances}
    record["words"] = stage.in_edge.words
    array = next(modules[name] for name in ("direct_pe", "lif_pe", "current_pe", "readout") if name in modules)
    lookup = int(array.in_bits > 1) if stage.out_edge is None else array.lookup
    record["array"] = array_latency(array.simd, array.in_bits, lookup, array.depth)
    for ring in ("formed", "taken"):  # of the sums on their way
        memory.ring(record, ring, int(record["array"]), records.NEVER)
    if stage.out_edge is None:
        record["kind"] = records.READOUT
        record["classes"], record["event"] = array.classes, stage.scheduler == "event"
        record["walk"] = 1
        record["steps"] = 1 if record["event"] else modules["synapse_list"].steps
        memory.ring(record, "wrote", queue + 1)
        return
    _neurons(record, modules, memory)
    if stage.scheduler == "event":
        _event(record, modules["synapse_event"], memory, queue)
        if rows := modules.get("window_row"):
            _rows(record, rows, memory, queue)
    else:
        _list(record, modules, memory, queue)


def _queue(record: np.void, part: Part, memory: _Memory) -> None:
    """Of a neuron or a join: what enters the queue at its end."""
    folds = [i.cfg.folds for i in part.instances if i.module == "lif_neuron"]
    record["folds"] = record["packs"] = folds[0] if folds else 1
    record["rounds"], record["parts"], record["update"] = 1, 1, records.UPDATE
    record["fifo"] = part.queues[0].cfg.depth
    memory.ring(record, "returned", records.CREDITS, records.NEVER)
    memory.ring(record, "pushed", int(record["fifo"]) + 1)


def _entry(ends: np.void, cfg: AxisIn | AxisEvents) -> int:
    """Enters the module by which a design is entered; returns the beats of an image, of events 0."""
    if isinstance(cfg, AxisEvents):
        ends["entry"] = records.EVENTS
        ends["pixels"] = ends["walked"] = cfg.pixels
        ends["counted_at"] = cfg.pixels  # its memories are cleared first
        return 0
    unit = gcd(cfg.axi_bytes, cfg.pixel_bytes)
    frame = cfg.frame_pixels * cfg.pixel_bytes
    beats = ceil_div(frame, cfg.axi_bytes)
    ends["entry"] = records.IMAGES
    ends["ratio_in"], ends["ratio_out"] = cfg.axi_bytes // unit, cfg.pixel_bytes // unit
    ends["units"], ends["keep"] = beats * cfg.axi_bytes // unit, frame // unit
    return beats


def _neurons(record: np.void, modules: dict[str, Any], memory: _Memory) -> None:
    element = next(modules[name] for name in ("direct_pe", "lif_pe", "current_pe") if name in modules)
    record["time_out"], record["folds"], record["parts"] = element.time_steps, element.folds, 1
    record["rounds"], record["packs"], record["update"] = 1, element.folds, records.UPDATE
    if isinstance(element, LifPe):
        record["direct"], record["rounds"], record["narrow"] = element.direct, element.rounds, element.rounds > 1
    elif isinstance(element, CurrentPe):
        record["direct"], record["packs"], record["update"], record["bare"] = element.direct, 1, records.QUEUED, 1
    else:
        record["parts"] = element.time_steps
    record["fifo"] = modules["stream_fifo"].depth
    memory.ring(record, "returned", credits(element.depth), records.NEVER)
    memory.ring(record, "pushed", int(record["fifo"]) + 1)
    memory.ring(record, "accepted", 4 * element.folds)
    memory.ring(record, "freed", 4)


def _windows(record: np.void, cfg: WindowBuffer | SynapseEvent) -> None:
    for field in ("height", "width", "kernel_h", "kernel_w"):
        record[field] = getattr(cfg, field)
    if isinstance(cfg, WindowBuffer):
        stride, padding = (cfg.stride, cfg.stride), (cfg.padding, cfg.padding)
    else:
        stride, padding = (cfg.stride_h, cfg.stride_w), (cfg.padding_h, cfg.padding_w)
    record["stride"], record["stride_w"], record["padding"] = *stride, padding[0]
    record["time_in"] = cfg.time_steps
    record["out_h"] = (cfg.height + 2 * padding[0] - cfg.kernel_h) // stride[0] + 1
    record["out_w"] = (cfg.width + 2 * padding[1] - cfg.kernel_w) // stride[1] + 1
    record["words"] = cfg.height * cfg.width * cfg.time_steps


def _list(record: np.void, modules: dict[str, Any], memory: _Memory, queue: int) -> None:
    buffer = modules["window_buffer"]
    _windows(record, buffer)
    record["steps"], record["depth"] = modules["synapse_list"].steps, buffer.depth
    record["room_at"] = records.WINDOW_VALID
    memory.ring(record, "wrote", max(buffer.depth, queue + 1))
    images = ceil_div(buffer.depth, int(record["words"])) + 2  # that the ring can touch
    memory.ring(record, "rows", images * int(record["out_h"]))


def _event(record: np.void, cfg: SynapseEvent, memory: _Memory, queue: int) -> None:
    _windows(record, cfg)
    record["event"], record["steps"], record["banks"] = 1, 1, cfg.simd
    record["shared"], record["walk"] = cfg.shared_by > 1, walk_size(cfg.simd, cfg.shared_by)
    rows = cfg.windows.rows
    record["depth"], record["room_line"] = rows, -cfg.padding_h
    # as in event_window: the columns that lie ahead of a window, its last step, and those shared with the next row
    lead = cfg.kernel_w - 1 - cfg.padding_w
    last = (int(record["out_w"]) - 1) * cfg.stride_w + lead
    record["lead"], record["last"] = lead, last
    record["merge"] = min(max(0, last + 1 - cfg.width), lead, (last + 1) // 2)
    memory.ring(record, "wrote", max(rows * cfg.width * cfg.time_steps, queue + 1))
    memory.ring(record, "rows", (ceil_div(rows, cfg.height) + 2) * int(record["out_h"]))
    memory.ring(record, "queue", records.AHEAD)
    memory.ring(record, "loads", records.AHEAD, records.NEVER)
    memory.ring(record, "replayed", 4)
    for ring in ("walked", "walked_less") if record["shared"] else ():
        memory.ring(record, ring, records.WINDOWS, records.NEVER)
    for ring in ("ahead", "entered", "moved", "stepped", "ended"):  # one time a bank
        memory.ring(record, ring, cfg.simd, records.NEVER)


def _rows(record: np.void, cfg: WindowRow, memory: _Memory, queue: int) -> None:
    record["rowed"], record["row_steps"], record["row_takes"] = 1, cfg.takes + cfg.over, cfg.takes
    record["row_lead"], record["row_every"], record["row_merge"] = cfg.lead, cfg.every, cfg.merge
    memory.ring(record, "fed", queue + 1)


def _ends_a_window(cfg: SpikePool | SpikeSum) -> np.ndarray:
    """For each beat of a map, in order pixel, t: does it complete a pooled pixel?"""
    last = np.arange(cfg.height)[:, None] % cfg.size == cfg.size - 1
    last = last & (np.arange(cfg.width) % cfg.size == cfg.size - 1)
    return np.repeat(last.ravel(), cfg.time_steps)


def standstill(parts: Sequence[Part], state: State) -> Iterator[str]:
    """What each part waits for, one a line."""
    found = _places(parts)
    for part in parts:
        record = state.stages[found[part.name]]
        taken = int(record["fed_words"])
        empty = [name for name in part.reads if name in found and state.stages[found[name]]["pushes"] == taken]
        full = [
            (queue.name, queue.cfg.depth) for queue in part.queues if _full(state, state.stages[found[queue.name]])
        ]
        title = f"{part.kind} {part.name!r}"
        if part.kind == "join" and empty:
            yield f"{title} waits for beat {taken} of {', '.join(empty)}"
        elif empty:
            yield f"{title} waits for word {taken}"
        elif part.kind == "fork" and full:
            told = " and ".join(f"{name} of {depth} beats" for name, depth in full)
            yield f"{title} waits for room in {told} for beat {taken}; make it deeper"
        elif full:
            yield f"{title} waits for room in its FIFO of {full[0][1]} words"
        elif record["kind"] == records.LAYER:
            image, row = divmod(int(record["rows_done"]), int(record["out_h"]))
            yield (
                f"{title} has no room for word {taken} in its ring, but needs more for row {row} of"
                f" the windows of image {image}; give it a deeper ring"
            )


def _full(state: State, record: np.void) -> bool:
    below = int(record["below"])
    taken = state.ends[0]["drained"] if below < 0 else state.stages[below]["fed_words"]
    return bool(record["pushes"] - taken == record["fifo"])
