"""The nouns of a stream bench: Stream, Source, Sink, Monitor. Nothing here knows what a beat means.

All of them sample and drive at the rising clock edge: what is read there is the value before the edge, what
is written takes effect after it. They sleep while nothing can happen, so idle cycles cost no Python.
"""

from __future__ import annotations

import random
from collections.abc import Coroutine, Iterator
from typing import Any, ClassVar

from cocotb.simtime import get_sim_time
from cocotb.triggers import Event, RisingEdge, Timer, Trigger, ValueChange

PERIOD = 2  # simulator steps of a clock cycle
AXI = {"in": "s_axis", "out": "m_axis"}  # what a design with AXI4-Stream ends calls them


class Bit:
    """One bit of a vector of signals, as if it were a signal of its own."""

    _written: ClassVar[dict[Any, int]] = {}  # of each vector, before the simulator shows it

    def __init__(self, vector, number: int) -> None:
        self._vector, self._mask = vector, 1 << number

    @property
    def value(self) -> int:
        return int(bool(int(self._vector.value) & self._mask))

    @value.setter
    def value(self, level: int) -> None:
        others = self._written.get(self._vector, 0) & ~self._mask
        self._written[self._vector] = others | (self._mask if level else 0)
        self._vector.value = self._written[self._vector]

    async def rises(self) -> None:
        while not self.value:
            await ValueChange(self._vector)


def rising(signal) -> Trigger | Coroutine[Any, Any, None]:
    """To wait until a signal or a bit that is low rises."""
    return signal.rises() if isinstance(signal, Bit) else RisingEdge(signal)


class Stream:
    """The signals of one stream: `<role>_{valid,ready,data}`, or AXI `<role>_{tvalid,tready,tdata,tlast}`.

    `<role>[i]` is the i-th of several streams that share a payload. A beat is one integer; of an AXI stream it is
    tlast above tdata.
    """

    def __init__(self, dut, name: str) -> None:
        role, _, number = name.removesuffix("]").partition("[")
        axi = hasattr(dut, f"{AXI.get(role)}_tvalid")
        role = AXI[role] if axi else role
        self.name = f"{role}[{number}]" if number else role
        self.clk = dut.clk
        self.valid = getattr(dut, f"{role}_tvalid" if axi else f"{role}_valid")
        self.ready = getattr(dut, f"{role}_tready" if axi else f"{role}_ready")
        if number:
            self.valid, self.ready = Bit(self.valid, int(number)), Bit(self.ready, int(number))
        self._data = getattr(dut, f"{role}_tdata" if axi else f"{role}_data")
        self._last = getattr(dut, f"{role}_tlast") if axi else None
        self._bits = len(self._data)

    def read(self) -> int:
        value = int(self._data.value)
        return value if self._last is None else value | int(self._last.value) << self._bits

    def write(self, beat: int) -> None:
        self._data.value = beat & ((1 << self._bits) - 1)
        if self._last is not None:
            self._last.value = beat >> self._bits


def pauses(seed: str, stalls: float) -> Iterator[int]:
    """How many cycles to wait before each beat, without end.

    Phases of free flow, of light and of heavy stalling follow each other, so that queues run both full and
    empty; a beat waits with a probability of about `stalls` on average.
    """
    rng = random.Random(seed)
    while True:
        chance = rng.choice((0.0, stalls, min(2 * stalls, 0.9)))
        longest = rng.choice((1, 3, 20))
        for _ in range(rng.randint(1, 40)):
            yield rng.randint(1, longest) if rng.random() < chance else 0


async def _cycles(edge: RisingEdge, count: int) -> None:
    """Sleep from one clock edge to the `count`-th after it; the timer ends off the edge, so nothing races."""
    await Timer(count * PERIOD - 1, "step")
    await edge


class Source:
    """Offers `beats` in order; with stalls, valid pauses between them."""

    def __init__(self, stream: Stream, beats: list[int], stalls: float, seed: int) -> None:
        self.stream, self.beats = stream, beats
        self.waits = pauses(f"source {seed}", stalls) if stalls else None
        stream.valid.value = 0

    async def run(self) -> None:
        stream, edge = self.stream, RisingEdge(self.stream.clk)
        for beat in self.beats:
            if self.waits and (wait := next(self.waits)):
                stream.valid.value = 0
                await _cycles(edge, wait)
            stream.valid.value = 1
            stream.write(beat)
            await edge
            while not stream.ready.value:
                await rising(stream.ready)
                await edge
        stream.valid.value = 0


class Sink:
    """Takes beats; with stalls, ready pauses, and at the start ready waits for the first valid."""

    def __init__(self, stream: Stream, stalls: float, seed: int) -> None:
        self.stream = stream
        self.waits = pauses(f"sink {seed}", stalls) if stalls else None
        stream.ready.value = 0 if stalls else 1

    async def run(self) -> None:
        if not self.waits:
            return
        stream, edge = self.stream, RisingEdge(self.stream.clk)
        while True:
            if not stream.valid.value:  # ready stays as it is until there is something to refuse or take
                await rising(stream.valid)
            wait = next(self.waits)
            if wait:
                stream.ready.value = 0
                await _cycles(edge, wait)
            stream.ready.value = 1
            await edge


class Monitor:
    """Records every accepted beat and its cycle; sets `complete` at the expected one and any further."""

    def __init__(self, stream: Stream, expect: int, complete: Event) -> None:
        self.stream, self.expect, self.complete = stream, expect, complete
        self.beats: list[int] = []
        self.at: list[int] = []

    async def run(self) -> None:
        stream, edge = self.stream, RisingEdge(self.stream.clk)
        while True:
            await edge
            if not stream.valid.value:
                await rising(stream.valid)
            elif not stream.ready.value:
                await rising(stream.ready)
            else:
                self.beats.append(stream.read())
                self.at.append(get_sim_time("step") // PERIOD)
                if len(self.beats) >= self.expect:
                    self.complete.set()
