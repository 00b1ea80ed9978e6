"""The AXI bench: the ends are driven by cocotbext-axi, which knows nothing of this project.

It wakes at every clock cycle while it is held up, so it is the second opinion and not the daily means.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import SimTimeoutError, Timer, with_timeout
from cocotbext.axi import AxiStreamBus, AxiStreamSink, AxiStreamSource

from scaflow.sim.stream import PERIOD, pauses


def _paused(seed: str, stalls: float) -> Iterator[bool]:
    """The same pauses, cycle by cycle."""
    for wait in pauses(seed, stalls):
        yield from [True] * wait
        yield False


@cocotb.test()
async def run(dut) -> None:
    orders = json.loads(Path(os.environ["SCAFLOW_ORDERS"]).read_text())
    logging.getLogger("cocotb").setLevel(logging.WARNING)
    dut.rst_n.value = 0
    Clock(dut.clk, PERIOD, unit="step").start()
    ends = {}
    for role, kind in (("s_axis", AxiStreamSource), ("m_axis", AxiStreamSink)):
        bus = AxiStreamBus.from_prefix(dut, role)
        ends[role] = kind(bus, dut.clk, dut.rst_n, reset_active_level=False)
        if orders["stalls"]:
            ends[role].set_pause_generator(_paused(f"{role} {orders['seed']}", orders["stalls"]))
    await Timer(4 * PERIOD, "step")
    dut.rst_n.value = 1
    for frame in orders["frames"]:
        await ends["s_axis"].send(bytes.fromhex(frame))
    given, error = [], None
    try:
        for _ in orders["frames"]:
            given.append(await with_timeout(ends["m_axis"].recv(), orders["patience"] * PERIOD, "step"))
    except SimTimeoutError:
        error = f"no frame for {orders['patience']} cycles: {len(given)} of {len(orders['frames'])} given"
    await Timer(16 * PERIOD, "step")
    if not ends["m_axis"].empty():
        error = "more output frames than input frames"
    seen = {
        "frames": [bytes(frame.tdata).hex() for frame in given],
        "probes": {"frame_error": int(dut.frame_error.value)},
        "error": error,
    }
    Path(orders["result"]).write_text(json.dumps(seen))
    assert error is None, error
