"""The exact clock's view of chains of stages: their records and rings, made from the instances of one design."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import gcd
from typing import Any

import numpy as np

from scaflow.hw.cycles import array_latency
from scaflow.hw.design import Stage
from scaflow.hw.timing import lanes, records
from scaflow.hw.timing.walks import walk_size
from scaflow.quant.golden.axis_in import AxisIn
from scaflow.quant.golden.beats import ceil_div
from scaflow.quant.golden.lif_pe import LifPe
from scaflow.quant.golden.spike_pool import SpikePool
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
    in_beats: int  # of an image
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


def layout(chain: Sequence[Stage], axis: AxisIn | None, count: int) -> State:
    """The state at reset of `count` chains, behind axis_in (and before axis_out) or between plain streams."""
    kinds, memory = records.kinds(count), _Memory()
    stages, ends = _records(len(chain), kinds.stage), _records(1, kinds.ends)
    ends["reset"], stages["room_at"], stages["until"] = 0, 0, -records.NEVER
    pools: list[np.ndarray] = []
    queue = 0  # depth of the FIFO a stage reads
    for record, stage in zip(stages, chain, strict=True):
        modules = {instance.module: instance.cfg for instance in stage.instances}
        _, height, width = stage.in_edge.shape
        record["first"], record["readout"] = stage is chain[0], stage.out_edge is None
        record["words"] = height * width * stage.in_edge.time_steps
        array = modules.get("direct_pe") or modules["readout" if stage.out_edge is None else "lif_pe"]
        lookup = int(array.in_bits > 1) if stage.out_edge is None else array.lookup
        record["array"] = array_latency(array.simd, array.in_bits, lookup)
        for ring in ("formed", "taken"):  # of the sums on their way
            memory.ring(record, ring, int(record["array"]), records.NEVER)
        if stage.out_edge is None:
            record["classes"], record["event"] = array.classes, stage.scheduler == "event"
            record["walk"] = 1
            record["steps"] = 1 if record["event"] else modules["synapse_list"].steps
            memory.ring(record, "wrote", queue + 1)
        else:
            found = [i.cfg for i in stage.instances if i.module == "spike_pool"]
            record["pool"], record["pools"] = len(pools), len(found)
            pools += [_ends_a_window(cfg) for cfg in found]
            _neurons(record, modules, memory)
            if stage.scheduler == "event":
                _event(record, modules["synapse_event"], memory, queue)
                if rows := modules.get("window_row"):
                    _rows(record, rows, memory, queue)
            else:
                _list(record, modules, memory, queue)
            queue = int(record["fifo"])
    for record, after in pairwise(stages):
        taken = "fed" if after["rowed"] else "wrote"
        record["popped"], record["popped_mask"] = after[taken], after[f"{taken}_mask"]
    last = chain[-1]
    if last.out_edge is None:
        out_beats = 1 if axis is None else stages[-1]["classes"] + 1
    else:
        memory.ring(stages[-1], "popped", queue + 1)
        out_beats = int(np.prod(last.out_edge.shape[1:])) * last.out_edge.time_steps
    words = stages[0]["words"]
    if stages[0]["rowed"]:
        words = stages[0]["height"] * stages[0]["row_takes"] * stages[0]["time_in"]
    in_beats = words if axis is None else _axis(ends[0], axis)
    made = _records(len(pools), kinds.pool)
    made["beats"] = [len(table) for table in pools]
    made["ends"] = np.cumsum(made["beats"]) - made["beats"]
    tables = np.concatenate([np.empty(0, bool), *pools])
    return State(stages, made, ends, memory.joined(count), tables, int(in_beats), int(out_beats))


def _axis(ends: np.void, cfg: AxisIn) -> int:
    """Enters axis_in; returns the beats of a frame."""
    unit = gcd(cfg.axi_bytes, cfg.pixel_bytes)
    frame = cfg.frame_pixels * cfg.pixel_bytes
    beats = ceil_div(frame, cfg.axi_bytes)
    ends["axi"] = 1
    ends["ratio_in"], ends["ratio_out"] = cfg.axi_bytes // unit, cfg.pixel_bytes // unit
    ends["units"], ends["keep"] = beats * cfg.axi_bytes // unit, frame // unit
    return beats


def _neurons(record: np.void, modules: dict[str, Any], memory: _Memory) -> None:
    element = modules.get("direct_pe") or modules["lif_pe"]
    record["time_out"], record["folds"], record["parts"] = element.time_steps, element.folds, 1
    if isinstance(element, LifPe):
        record["direct"], record["rounds"], record["narrow"] = element.direct, element.rounds, element.rounds > 1
    else:
        record["rounds"], record["parts"] = 1, element.time_steps
    record["fifo"] = modules["stream_fifo"].depth
    memory.ring(record, "returned", records.CREDITS, records.NEVER)
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


def _ends_a_window(cfg: SpikePool) -> np.ndarray:
    """For each beat of a map, in order pixel, t: does it complete a pooled pixel?"""
    last = np.arange(cfg.height)[:, None] % cfg.size == cfg.size - 1
    last = last & (np.arange(cfg.width) % cfg.size == cfg.size - 1)
    return np.repeat(last.ravel(), cfg.time_steps)


def standstill(chain: Sequence[Stage], state: State) -> Iterator[str]:
    """What each stage waits for, one a line."""
    offered = None  # words that the stage before has given; the source gives without end
    for k, (stage, record) in enumerate(zip(chain, state.stages, strict=True)):
        written = int(record["fed_words"])
        if offered is not None and written == offered:
            yield f"stage {stage.name!r} waits for word {written}"
        elif stage.out_edge is not None:
            taken = state.stages[k + 1]["fed_words"] if k + 1 < len(chain) else state.ends[0]["drained"]
            if record["pushes"] - taken == record["fifo"]:
                yield f"stage {stage.name!r} waits for room in its FIFO of {record['fifo']} words"
            else:
                image, row = divmod(int(record["rows_done"]), int(record["out_h"]))
                yield (
                    f"stage {stage.name!r} has no room for word {written} in its ring, but needs more for row {row} of"
                    f" the windows of image {image}; give it a deeper ring"
                )
        offered = int(record["pushes"])
