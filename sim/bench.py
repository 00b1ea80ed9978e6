"""The stream bench: the cocotb test that every simulation runs. Started by scaflow.sim.rtl, never by hand.

It reads its orders from the JSON file named by $SCAFLOW_ORDERS and writes what the monitors saw to `result`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import First, RisingEdge, Timer
from scaflow.sim.stream import PERIOD, Monitor, Sink, Source, Stream

RESET_CYCLES = 4
QUIET_CYCLES = 16  # after the last expected beat: nothing more may come


class BrokenRun(Exception):
    """What the simulation is to report as its failure."""


class Bench:
    def __init__(self, dut, orders: dict) -> None:
        self.dut, self.orders = dut, orders
        beats = [int(beat, 16) for beat in orders["beats"]]
        stalls, seed = orders["stalls"], orders["seed"]
        in_stream, out_stream = Stream.find(dut, ("in", "s_axis")), Stream.find(dut, ("out", "m_axis"))
        self.source, self.sink = Source(in_stream, beats, stalls, seed), Sink(out_stream, stalls, seed)
        self.taken, self.given = Monitor(in_stream, len(beats)), Monitor(out_stream, orders["expect"])

    async def run(self) -> None:
        """Drive all beats and wait for all expected ones.

        Raises:
            BrokenRun: nothing moved for `patience` cycles, or more came than expected.
        """
        self.dut.rst_n.value = 0
        Clock(self.dut.clk, PERIOD, unit="step").start()
        for _ in range(RESET_CYCLES):
            await RisingEdge(self.dut.clk)
        self.dut.rst_n.value = 1
        for part in (self.taken, self.given, self.sink, self.source):
            cocotb.start_soon(part.run())
        for monitor in (self.taken, self.given):
            await self._finish(monitor)
        await Timer(QUIET_CYCLES * PERIOD, "step")
        extra = len(self.given.beats) - self.given.expect
        if extra:
            raise BrokenRun(f"{extra} beats more than the {self.given.expect} expected")

    async def _finish(self, monitor: Monitor) -> None:
        while not monitor.done.is_set():
            before = len(self.taken.beats) + len(self.given.beats)
            await First(monitor.done.wait(), Timer(self.orders["patience"] * PERIOD, "step"))
            if monitor.done.is_set() or before != len(self.taken.beats) + len(self.given.beats):
                continue
            ends = ", ".join(
                f"{m.stream.role}: {len(m.beats)} of {m.expect} beats, "
                f"valid={m.stream.valid.value} ready={m.stream.ready.value}"
                for m in (self.taken, self.given)
            )
            raise BrokenRun(f"no beat moved for {self.orders['patience']} cycles ({ends})")

    def seen(self) -> dict:
        return {
            "x": [f"{beat:x}" for beat in self.taken.beats],
            "y": [f"{beat:x}" for beat in self.given.beats],
            "in_at": self.taken.at,
            "out_at": self.given.at,
            "probes": {name: int(getattr(self.dut, name).value) for name in self.orders["probes"]},
        }


@cocotb.test()
async def run(dut) -> None:
    orders = json.loads(Path(os.environ["SCAFLOW_ORDERS"]).read_text())
    bench, error = Bench(dut, orders), None
    try:
        await bench.run()
    except BrokenRun as broken:
        error = str(broken)
        raise
    finally:
        Path(orders["result"]).write_text(json.dumps(bench.seen() | {"error": error}))
