"""The exact clock's view of a chain of stages: the records and rings of hw/clock_kernel.py, made from its instances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np

from scaflow.hw import clock_kernel as kernel
from scaflow.hw.design import Stage
from scaflow.quant.golden.axis_in import AxisIn
from scaflow.quant.golden.beats import ceil_div
from scaflow.quant.golden.spike_pool import SpikePool


@dataclass(frozen=True)
class State:
    """All that `clock_kernel.advance` reads and writes."""

    stages: np.ndarray  # kernel.STAGE
    pools: np.ndarray  # kernel.POOL
    ends: np.ndarray  # kernel.ENDS [1]
    memory: np.ndarray  # int64: rings and tables, one behind the other
    in_beats: int  # of an image
    out_beats: int


class _Memory:
    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._size = 0

    def table(self, values: np.ndarray) -> int:
        """Keeps the values; returns their place."""
        self._parts.append(values.astype(np.int64))
        self._size += values.size
        return self._size - values.size

    def ring(self, record: np.void, name: str, size: int) -> None:
        """A ring of at least `size` times."""
        length = 1 << max(0, size - 1).bit_length()
        record[name], record[f"{name}_mask"] = self.table(np.zeros(length)), length - 1

    def joined(self) -> np.ndarray:
        return np.concatenate(self._parts)


def _records(count: int, kind: np.dtype) -> np.ndarray:
    made = np.zeros(count, kind)
    for field in kernel.TIMES & set(kind.names):
        made[field] = kernel.NEVER
    return made


def layout(chain: Sequence[Stage], axis: AxisIn | None) -> State:
    """The state at reset of a chain of stages, behind axis_in (and before axis_out) or between plain streams."""
    stages, ends, memory = _records(len(chain), kernel.STAGE), _records(1, kernel.ENDS), _Memory()
    pools: list[tuple[int, int]] = []
    queue = 0  # depth of the FIFO a stage reads
    for record, stage in zip(stages, chain, strict=True):
        modules = {instance.module: instance.cfg for instance in stage.instances}
        _, height, width = stage.in_edge.shape
        record["first"], record["readout"] = stage is chain[0], stage.out_edge is None
        record["words"], record["steps"] = height * width * stage.in_edge.time_steps, modules["synapse_list"].steps
        array = modules["readout" if stage.out_edge is None else "lif_pe"]
        record["array"] = 3 + (array.simd - 1).bit_length() + (stage.in_edge.bits > 1)
        memory.ring(record, "stall_from", kernel.STALLS)
        memory.ring(record, "stall_to", kernel.STALLS)
        if stage.out_edge is None:
            record["classes"] = array.classes
            memory.ring(record, "wrote", queue + 1)
        else:
            found = [i.cfg for i in stage.instances if i.module == "spike_pool"]
            record["pool"], record["pools"] = len(pools), len(found)
            pools += [(memory.table(_ends_a_window(cfg)), cfg.height * cfg.width * cfg.time_steps) for cfg in found]
            memory.ring(record, "wrote", max(modules["window_buffer"].depth, queue + 1))
            _spiking(record, modules, memory)
            queue = int(record["fifo"])
    for record, after in zip(stages[:-1], stages[1:], strict=True):
        record["popped"], record["popped_mask"] = after["wrote"], after["wrote_mask"]
    last = chain[-1]
    if last.out_edge is None:
        out_beats = 1 if axis is None else stages[-1]["classes"] + 1
    else:
        memory.ring(stages[-1], "popped", queue + 1)
        out_beats = int(np.prod(last.out_edge.shape[1:])) * last.out_edge.time_steps
    in_beats = stages[0]["words"] if axis is None else _axis(ends[0], axis)
    made = _records(len(pools), kernel.POOL)
    made["ends"], made["beats"] = np.array(pools, np.int64).reshape(-1, 2).T
    return State(stages, made, ends, memory.joined(), int(in_beats), int(out_beats))


def _axis(ends: np.void, cfg: AxisIn) -> int:
    """Enters axis_in; returns the beats of a frame."""
    unit = gcd(cfg.axi_bytes, cfg.pixel_bytes)
    frame = cfg.frame_pixels * cfg.pixel_bytes
    beats = ceil_div(frame, cfg.axi_bytes)
    ends["axi"] = 1
    ends["ratio_in"], ends["ratio_out"] = cfg.axi_bytes // unit, cfg.pixel_bytes // unit
    ends["units"], ends["keep"] = beats * cfg.axi_bytes // unit, frame // unit
    return beats


def _spiking(record: np.void, modules: dict[str, Any], memory: _Memory) -> None:
    buffer, element = modules["window_buffer"], modules["lif_pe"]
    for field in ("height", "width", "stride", "padding", "kernel_h", "kernel_w", "depth", "folds"):
        record[field] = getattr(buffer, field)
    record["out_h"], record["out_w"] = buffer.out_height, buffer.out_width
    record["time_in"], record["time_out"] = buffer.time_steps, element.time_steps
    record["direct"], record["fifo"] = element.direct, modules["stream_fifo"].depth
    record["room_at"] = kernel.WINDOW_VALID
    images = ceil_div(buffer.depth, int(record["words"])) + 2  # that the ring can touch
    memory.ring(record, "rows", images * buffer.out_height)
    memory.ring(record, "ready", 2 * kernel.CREDITS)
    memory.ring(record, "left", 2 * kernel.CREDITS)
    memory.ring(record, "pushed", int(record["fifo"]) + 1)
    memory.ring(record, "accepted", 4 * buffer.folds)
    memory.ring(record, "freed", 4)


def _ends_a_window(cfg: SpikePool) -> np.ndarray:
    """For each beat of a map, in order pixel, t: does it complete a pooled pixel?"""
    last = np.arange(cfg.height)[:, None] % cfg.size == cfg.size - 1
    last = last & (np.arange(cfg.width) % cfg.size == cfg.size - 1)
    return np.repeat(last.ravel(), cfg.time_steps)


def standstill(chain: Sequence[Stage], state: State) -> Iterator[str]:
    """What each stage waits for, one a line."""
    for k, (stage, record) in enumerate(zip(chain, state.stages, strict=True)):
        if stage.out_edge is None:
            yield f"stage {stage.name!r}: waits for word {record['written']}"
            continue
        image, row = divmod(int(record["rows_done"]), int(record["out_h"]))
        taken = state.stages[k + 1]["written"] if k + 1 < len(chain) else state.ends[0]["drained"]
        queued = record["pushes"] - taken
        yield (
            f"stage {stage.name!r}: {record['written']} words in, at window ({row}, {record['column']}) of image {image},"
            f" {record['issued'] - record['results']} of {kernel.CREDITS} results and {queued} of {record['fifo']}"
            " words queued"
        )
