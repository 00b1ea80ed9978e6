"""The stream bench: the cocotb test that every simulation runs. Started by scaflow.sim.rtl, never by hand.

It reads its orders from the JSON file named by $SCAFLOW_ORDERS and writes what the monitors saw to `result`. It
makes a run for each chance of stalls, one after the other, each from reset.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.simtime import get_sim_time
from cocotb.triggers import Event, First, RisingEdge, Timer

from scaflow.sim.stream import PERIOD, Monitor, Sink, Source, Stream

RESET_CYCLES = 4
QUIET_CYCLES = 16  # after the last expected beat: nothing more may come


class BrokenRun(Exception):
    """What the simulation is to report as its failure."""


class Bench:
    def __init__(self, dut, orders: dict, stalls: float) -> None:
        self.dut, self.orders, seed = dut, orders, orders["seed"]
        self.complete = Event()
        self.released = 0  # the clock edge after which rst_n is high
        self.ends: list[Source | Sink] = []
        self.taken: list[Monitor] = []
        self.given: list[Monitor] = []
        for i, (name, told) in enumerate(orders["inputs"].items()):  # each stream has its own stalls
            stream, beats = Stream(dut, name), [int(beat, 16) for beat in told]
            self.ends.append(Source(stream, beats, stalls, seed + i))
            self.taken.append(Monitor(stream, len(beats), self.complete))
        for i, (name, expect) in enumerate(orders["outputs"].items()):
            stream = Stream(dut, name)
            self.ends.append(Sink(stream, stalls, seed + i))
            self.given.append(Monitor(stream, expect, self.complete))

    async def run(self) -> None:
        """Drive all beats and wait for all expected ones.

        Raises:
            BrokenRun: nothing moved for `patience` cycles, or more came than expected.
        """
        self.dut.rst_n.value = 0
        for _ in range(RESET_CYCLES):
            await RisingEdge(self.dut.clk)
        self.dut.rst_n.value = 1
        self.released = get_sim_time("step") // PERIOD
        tasks = [cocotb.start_soon(part.run()) for part in (*self.taken, *self.given, *self.ends)]
        await self._all_beats()
        await Timer(QUIET_CYCLES * PERIOD + PERIOD // 2, "step")  # off the edge: the probes have settled
        self._no_surplus()
        for task in tasks:
            task.cancel()

    async def _all_beats(self) -> None:
        monitors = (*self.taken, *self.given)
        while any(len(monitor.beats) < monitor.expect for monitor in monitors):
            before = sum(len(monitor.beats) for monitor in monitors)
            self.complete.clear()
            await First(self.complete.wait(), Timer(self.orders["patience"] * PERIOD, "step"))
            self._no_surplus()
            if before == sum(len(monitor.beats) for monitor in monitors):
                raise BrokenRun(f"no beat moved for {self.orders['patience']} cycles ({self._ends()})")

    def _no_surplus(self) -> None:
        if any(len(monitor.beats) > monitor.expect for monitor in self.given):
            raise BrokenRun(f"more output beats than expected ({self._ends()})")

    def _ends(self) -> str:
        return ", ".join(
            f"{m.stream.name}: {len(m.beats)} of {m.expect} beats, valid={m.stream.valid.value} "
            f"ready={m.stream.ready.value}"
            for m in (*self.taken, *self.given)
        )

    def seen(self) -> dict:
        return {
            "inputs": [([f"{beat:x}" for beat in monitor.beats], monitor.at) for monitor in self.taken],
            "outputs": [([f"{beat:x}" for beat in monitor.beats], monitor.at) for monitor in self.given],
            "since_reset": get_sim_time("step") // PERIOD - self.released,
            "probes": {name: int(getattr(self.dut, name).value) for name in self.orders["probes"]},
        }


@cocotb.test()
async def run(dut) -> None:
    orders = json.loads(Path(os.environ["SCAFLOW_ORDERS"]).read_text())
    Clock(dut.clk, PERIOD, unit="step").start()
    runs, error = [], None
    try:
        for stalls in orders["stalls"]:
            bench = Bench(dut, orders, stalls)
            await bench.run()
            runs.append(bench.seen())
    except BrokenRun as broken:
        error = str(broken)
        raise
    finally:
        Path(orders["result"]).write_text(json.dumps({"runs": runs, "error": error}))
