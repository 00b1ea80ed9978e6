"""The exact clock: the cycle in which each beat of a design passes its ends, image by image, without simulating.

It agrees with the RTL in every beat, with finite queues, back-pressure and stalls at both ends; how is told in
hw/timing/kernel.py. Cycles count from reset: cycle 0 is the first whose closing edge finds rst_n high.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from scaflow.hw import groups
from scaflow.hw.design import Design
from scaflow.hw.groups import SYNAPSE, Kernel
from scaflow.hw.recordings import Given, Offered, leaving, told
from scaflow.hw.timing import lanes, records
from scaflow.hw.timing.kernel import advance
from scaflow.hw.timing.layout import layout, places, standstill
from scaflow.hw.timing.walks import bank_walks, word_walks
from scaflow.quant.graph import IMAGE, Readout, Weighted, execute

LANES = 16  # runs side by side: as many as a vector of 512 bits has times
BATCH = 64  # images timed between two calls of `progress`
FAR = 1 << 28  # cycles after which the times' origin moves on

Stalls = tuple[np.ndarray | None, np.ndarray | None]  # of source and sink, see `predict`


@dataclass(frozen=True)
class StageCycles:
    """What the counters at a scheduler's output hold."""

    name: str
    busy: int  # a synapse step is taken
    stalled: int  # one waits

    def starved(self, total: int) -> int:
        """Of `total` cycles since reset, those without a step to take."""
        return total - self.busy - self.stalled


@dataclass(frozen=True)
class Clock:
    """Cycles since reset in which beats are accepted."""

    in_at: np.ndarray  # int64 [N, input beats of an image], of recordings [N, 2]: the first event and the last
    out_at: np.ndarray  # int64 [N, output beats of an image or recording]
    stages: tuple[StageCycles, ...]
    interim: np.ndarray | None = None  # int64 [results, output beats]: of recordings all that is told

    @property
    def latency(self) -> np.ndarray:
        """int64 [N]: cycles from the first beat in to the last beat out, both included."""
        cycles: np.ndarray = self.out_at[:, -1] - self.in_at[:, 0] + 1
        return cycles

    @property
    def interval(self) -> np.ndarray:
        """int64 [N - 1]: cycles from the last beat out of an image to that of the next."""
        return np.diff(self.out_at[:, -1])


def predict(
    design: Design,
    images: Given,
    source_stalls: np.ndarray | None = None,
    sink_stalls: np.ndarray | None = None,
    progress: Callable[[int], None] = lambda done: None,
    until: int | None = None,
    spikes: Mapping[str, np.ndarray] | None = None,
) -> Clock:
    """Time a whole design, from AXI4-Stream to AXI4-Stream.

    Args:
        images: uint8 [N, C, H, W], one after the other; or recordings.
        source_stalls, sink_stalls: bool [cycles since reset, repeating]: the source may begin to offer a beat (which
            then stays), the sink takes one. None: always. Where either is given, the sink also refuses until it has
            seen valid once.
        progress: called with the number of images timed so far.
        until: the cycle since reset in which the counters are read; None: when all stages have come to rest, which
            can be after the last beat out (a pool drops rows that are computed all the same).
        spikes: the trace of `quant.graph.execute` on the images, where it is at hand; only event stages need it.

    Raises:
        ValueError: a pattern that never opens; or the design stands still for good: says what waits for what; or frames
            that are not those of the events.
    """
    stalls = _pair(source_stalls, sink_stalls)
    if not isinstance(images, np.ndarray):
        return Timer(design, None, 1, stalls, until).run_recordings(images, progress, spikes)
    spikes = None if spikes is None else {name: trace[None] for name, trace in spikes.items()}
    return Timer(design, None, 1, stalls, until).run(images[None], progress, spikes)[0]


def predict_runs(
    design: Design,
    images: np.ndarray | Sequence[Sequence[Offered]],
    stalls: Sequence[Stalls] | None = None,
    progress: Callable[[int], None] = lambda done: None,
    spikes: Mapping[str, np.ndarray] | None = None,
) -> list[Clock]:
    """Time separate runs of a whole design, each from reset: as many calls of `predict`, but LANES at a time.

    Args:
        images: uint8 [R, N, C, H, W], of each run; or its recordings, which are timed one run after the other.
        stalls: of each run at source and sink; None: no run has any.
        progress, spikes: as in `predict`; spikes [R, N, T, C, H, W].
    """
    told: list[Clock] = []
    if not isinstance(images, np.ndarray):
        for run, recordings in enumerate(images):
            ends = (None, None) if stalls is None else stalls[run]
            told.append(predict(design, recordings, *ends))
            progress(sum(map(len, images[: run + 1])))
        return told
    for start in range(0, len(images), LANES):
        part = slice(start, start + LANES)
        traces = None if spikes is None else {name: trace[part] for name, trace in spikes.items()}
        timer = Timer(design, None, len(images[part]), None if stalls is None else stalls[part])

        def tell(done: int, before: int = start * images.shape[1]) -> None:
            progress(before + done)

        told += timer.run(images[part], tell, traces)
    return told


def stage_cycles(
    design: Design,
    name: str,
    images: np.ndarray,
    source_stalls: np.ndarray | None = None,
    sink_stalls: np.ndarray | None = None,
) -> Clock:
    """Time one stage alone between plain streams, as `hw.emit.emit_stage` writes it; otherwise as `predict`.

    Raises:
        ValueError: as `predict`, or the design has no such stage.
    """
    if name not in [stage.name for stage in design.stages]:
        raise ValueError(f"stage {name!r}: the design has {', '.join(stage.name for stage in design.stages)}")
    return Timer(design, name, 1, _pair(source_stalls, sink_stalls)).run(images[None])[0]


class Timer:
    """Chains of one design that images are fed to, each its own; every call goes on where the last one ended."""

    def __init__(
        self,
        design: Design,
        stage: str | None = None,
        runs: int = 1,
        stalls: Sequence[Stalls] | None = None,
        until: int | None = None,
    ) -> None:
        """The whole design, or one stage between plain streams; at most LANES of it; otherwise as `predict`."""
        self._graph, self._events = design.graph, design.events
        self._tell_every, self._frames = design.readout.tell_every, 0  # frames timed
        self._parts = [part for part in design.parts if stage in (None, part.name)]
        self._chain = [part.stage for part in self._parts if part.stage]
        self._runs, self._lanes = runs, 1 if runs == 1 else LANES
        self._state = layout(self._parts, None if stage else design.instances()[0].cfg, self._lanes)
        self._places = places(self._parts)  # of the stages among the records
        self._state.ends["refuses"] = stalls is not None
        self._until = until
        self._origin = np.zeros(self._lanes, np.int64)  # of the times in the state
        self._counted = np.zeros((2, len(self._chain), self._lanes), np.int64)  # busy, stalled
        stalls = [(None, None)] * 0 if stalls is None else [stalls[run] for run in self._filled()]
        self._source = _gaps([source for source, _ in stalls], self._lanes, "source")
        self._sink = _gaps([sink for _, sink in stalls], self._lanes, "sink")

    def run(
        self,
        images: np.ndarray,
        progress: Callable[[int], None] = lambda done: None,
        spikes: Mapping[str, np.ndarray] | None = None,
    ) -> list[Clock]:
        """Feed images and return their times, run by run.

        Args:
            images: uint8 [runs, N, C, H, W].
            progress: called with the number of images timed.
            spikes: [runs, N, T, C, H, W] by node, as in `predict`.

        Raises:
            ValueError: as `predict`.
        """
        state, count = self._state, images.shape[1]
        in_at = np.empty((self._runs, count, state.in_beats), np.int64)
        out_at = np.empty((self._runs, count, state.out_beats), np.int64)
        size = BATCH // self._lanes
        for start in range(0, count, size):
            part = slice(start, min(start + size, count))
            given = None if spikes is None else {name: trace[:, part] for name, trace in spikes.items()}
            walks = self._walks(images[:, part], given)
            found = self._advance(walks, in_at[0, part].size, out_at[0, part].size)
            for at, cycles in zip((in_at, out_at), found, strict=True):
                at[:, part] = cycles.T.reshape(at[:, part].shape)
            progress(part.stop * self._runs)
        return [Clock(i, o, told) for i, o, told in zip(in_at, out_at, self._stages(), strict=True)]

    def run_recordings(
        self,
        recordings: Sequence[Offered],
        progress: Callable[[int], None] = lambda done: None,
        spikes: Mapping[str, np.ndarray] | None = None,
    ) -> Clock:
        """Feed recordings and return their times.

        Args:
            progress: called with the number of recordings timed.
            spikes: [N, T, C, H, W] by node, as in `predict`.
        """
        cfg, state = self._events, self._state
        assert cfg is not None and self._runs == 1
        in_at, out_at = np.empty((len(recordings), 2), np.int64), []
        results: list[int] = []
        for i, recording in enumerate(recordings):
            frames = recording.frames
            after = told([len(frames)], self._tell_every)[0]
            events = 2 * leaving(cfg, recording.beats)
            events[-1] += 1
            if events.max() > np.iinfo(np.int16).max or events.sum() // 2 + 1 != len(frames):
                raise ValueError(
                    f"recording {i}: its events are binned to {events.sum() // 2 + 1} frames, given are {len(frames)};"
                    " bin them as the design does, to fewer than 16,384 frames"
                )
            if spikes is None and self._needs_spikes:
                found = {name: trace[0] for name, trace in execute(self._graph, frames[None], trace=True)[1].items()}
            else:
                found = {name: trace[i, : len(frames)] for name, trace in (spikes or {}).items()}
            # each frame is an image of a step
            walks = self._walks(frames[None], {name: trace[None, :, None] for name, trace in found.items()})
            notes = lanes.array(len(events) + len(after), 1, np.int16)
            notes["lanes"][:, 0] = np.concatenate([events, after])
            joined = lanes.array(len(walks) + len(notes), 1, np.int16)
            joined["lanes"] = np.concatenate([walks["lanes"], notes["lanes"]])
            state.ends["events"] = len(walks)
            state.ends["told"] = len(walks) + len(events) - self._frames
            self._frames += len(frames)
            taken, given = self._advance(joined, len(events), sum(after) * state.out_beats)
            in_at[i] = taken[[0, -1], 0]
            out_at.append(given.reshape(-1, state.out_beats))
            results.append(sum(after))
            progress(i + 1)
        every = np.concatenate([np.empty((0, state.out_beats), np.int64), *out_at])
        return Clock(in_at, every[np.cumsum(results, dtype=np.int64) - 1], self._stages()[0], every)

    @property
    def _needs_spikes(self) -> bool:
        """Does a stage walk events that are not in what comes in?"""
        sources = [self._graph.sources[stage.name][0] for stage in self._chain if stage.scheduler == "event"]
        return any(source != IMAGE for source in sources)

    def _advance(self, walks: np.ndarray, beats: int, given: int) -> list[np.ndarray]:
        """Take in so many beats, and give as many as they make; the cycles of either, [beats, runs]."""
        state = self._state
        times = [lanes.array(size, self._lanes) for size in (beats, given)]
        self._move_on()
        ends = state.ends[0]
        ends["beats"] = ends["given"] = 0
        held = state.stages, state.pools, state.memory, state.tables
        advance(*held, ends, walks, self._source, self._sink, *times)
        if ends["given"] < given:
            raise ValueError("\n".join(["the design stands still for good:", *standstill(self._parts, state)]))
        for counted, field in zip(self._counted, ("busy", "stalled"), strict=True):
            counted += state.stages[field][self._places]
            state.stages[field] = 0
        return [found["lanes"][:, : self._runs] + self._origin[: self._runs] for found in times]

    def _stages(self) -> list[tuple[StageCycles, ...]]:
        """What the counters hold, of each run."""
        names = [stage.name for stage in self._chain]
        counts = self._counted.transpose(2, 1, 0).tolist()
        return [
            tuple(StageCycles(name, *kinds) for name, kinds in zip(names, found, strict=True))
            for found in counts[: self._runs]
        ]

    def _filled(self) -> list[int]:
        """The run in each lane: the last one also in those left over."""
        return [min(lane, self._runs - 1) for lane in range(self._lanes)]

    def _move_on(self) -> None:
        """The times' origin, where they have come far from it; what they are the distances to."""
        state = self._state
        far = state.ends["given_at"][0].clip(0)
        if far.max() > FAR:
            state.shift(far)
            self._origin += far
        until = np.full(self._lanes, -records.NEVER) if self._until is None else self._until - self._origin
        state.stages["until"] = until.clip(records.NEVER, -records.NEVER)
        for stalls in (self._source, self._sink):
            if stalls.shape[1]:
                stalls[:, 1] = self._origin % stalls[:, 0]

    def _walks(self, images: np.ndarray, spikes: Mapping[str, np.ndarray] | None) -> np.ndarray:
        """The walks of the event stages' banks, one behind the other; the records are told where each has its own."""
        parts = [lanes.array(0, self._lanes, np.int16)]
        place = 0
        for stage, k in zip(self._chain, self._places, strict=True):
            record = self._state.stages[k]
            if stage.scheduler != "event":
                continue
            node = cast(Weighted, self._graph.node(stage.name))
            source = self._graph.sources[node.name][0]
            if source == IMAGE:
                read = self._graph.seen(images)[:, :, None]
            else:
                spikes = spikes or self._execute(images)
                read = spikes[source]
            if len(read) < self._lanes:
                read = read[self._filled()]
            banks = stage.banks
            if stage.group != SYNAPSE:
                read = groups.events(read, node, stage.places, stage.group)
                banks = tuple(group % stage.simd for group in range(read.shape[3]))
            if isinstance(node, Readout):
                parts.append(word_walks(read, banks, stage.simd))
            else:
                event = next(i.cfg for i in stage.instances if i.module == "synapse_event")
                parts.append(bank_walks(read, Kernel.of(node, stage.group), banks, stage.simd, event.shared_by))
            # windows are numbered from reset on
            record["walks"] = place - record["walk"] * record["loaded"]
            place += len(parts[-1])
        if len(parts) == 2:
            return parts[1]
        joined = lanes.array(place, self._lanes, np.int16)
        return np.concatenate(parts, out=joined)

    def _execute(self, images: np.ndarray) -> dict[str, np.ndarray]:
        each = images.reshape(-1, *images.shape[2:])
        spikes = execute(self._graph, each[:, None] if self._graph.frames else each, trace=True)[1]
        return {name: trace.reshape(*images.shape[:2], *trace.shape[1:]) for name, trace in spikes.items()}


def _pair(source: np.ndarray | None, sink: np.ndarray | None) -> list[Stalls] | None:
    return None if source is None and sink is None else [(source, sink)]


def _gaps(patterns: Sequence[np.ndarray | None], count: int, end: str) -> np.ndarray:
    """What `kernel.advance` reads: of each cycle of a pattern, cycles until it is next open."""
    if all(pattern is None for pattern in patterns):
        return np.empty((count, 0), np.int64)
    rows = []
    for pattern in patterns:
        is_open = np.ones(1, bool) if pattern is None else np.asarray(pattern, bool)
        if not is_open.any():
            raise ValueError(f"{end}_stalls: no cycle of {len(is_open)} is open; open one")
        opened = np.flatnonzero(is_open)
        cycles = np.arange(len(is_open))
        following = np.append(opened, opened[0] + len(is_open))[np.searchsorted(opened, cycles)]
        rows.append(np.concatenate([[len(is_open), 0], following - cycles]))
    made = np.zeros((count, max(map(len, rows))), np.int64)
    for lane, row in zip(made, rows, strict=True):
        lane[: len(row)] = row
    return made
