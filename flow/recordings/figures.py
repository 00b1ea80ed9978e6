"""What a simulation of labelled recordings says: accuracy, and the time from events to a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scaflow.flow.report.section import Section
from scaflow.hw.clock import predict
from scaflow.hw.design import Design
from scaflow.hw.recordings import Offered, leaving
from scaflow.sim.native import NativeRun

CLOCK_MHZ = 100.0  # by which cycles are told as milliseconds
DELAYED = 50  # recordings of which the delay is worked out
Row = dict[str, Any]


def figures(design: Design, given: Sequence[Offered], labels: np.ndarray, through: NativeRun, told: Row) -> Row:
    """What a run says of recordings; `told`: its row of the native engine.

    Keys: count, accuracy; logit_mismatches, cycle_mismatches; events, frames (means); cycles_mean, ms_mean, ms_max:
    from a recording's first event to the last word of its result, events offered as fast as possible, at clock_mhz;
    delay_us: from its last event, when events come in real time, the mean of some of them.
    """
    cycles = through.at[:, 3] - through.at[:, 0] + 1
    delays = [delay(design, recording) for recording in given[:DELAYED]]
    return {
        "count": len(given),
        "accuracy": float((through.words[:, 0] == labels).mean()),
        "logit_mismatches": told["logit_mismatches"],
        "cycle_mismatches": told["cycle_mismatches"],
        "events": float(np.mean([len(recording.beats) for recording in given])),
        "frames": float(np.mean([len(recording.frames) for recording in given])),
        "clock_mhz": CLOCK_MHZ,
        "cycles_mean": float(cycles.mean()),
        "ms_mean": float(cycles.mean() / CLOCK_MHZ / 1e3),
        "ms_max": float(cycles.max() / CLOCK_MHZ / 1e3),
        "delay_us": float(np.mean(delays) / CLOCK_MHZ),
    }


def delay(design: Design, recording: Offered) -> int:
    """Cycles from the last event of a recording to the last word of its result, where all that came before has long
    been worked off: the events of a frame come together; those of the next, and the last one, after a pause."""
    cfg = design.events
    assert cfg is not None
    pause = 4 * int(predict(design, [recording]).latency[0])
    waits = np.minimum(leaving(cfg, recording.beats), 1)
    waits[1:][-1:] = 1
    begins = pause * np.cumsum(waits) + np.arange(len(waits)) + cfg.pixels + 1  # the memories are cleared first
    offers = np.zeros(int(begins[-1]) + 1, bool)
    offers[begins] = True
    clock = predict(design, [recording], offers)
    # both counted; but a sink that could stall refuses the first word once
    return int(clock.out_at[0, -1] - clock.in_at[0, -1])


def section(found: Row) -> Section:
    """Of `figures`."""
    return Section(
        title="Recordings through the whole design",
        columns=(
            "recordings", "accuracy", "logit mismatches", "cycle mismatches", "events", "frames", "ms a recording",
            "ms at most", "us from the last event",
        ),
        rows=((
            f"{found['count']:,}", f"{found['accuracy']:.2%}", f"{found['logit_mismatches']:,}",
            f"{found['cycle_mismatches']:,}", f"{found['events']:,.0f}", f"{found['frames']:.1f}",
            f"{found['ms_mean']:.3f}", f"{found['ms_max']:.3f}", f"{found['delay_us']:.1f}",
        ),),
        note=(
            "Every logit and class against the golden model, the cycles of each recording's first and last event and of"
            f" its result against the exact clock. At {found['clock_mhz']:g} MHz, from the first event to the class,"
            " with events offered as fast as they are taken; and from the last event, when they come in real time (mean"
            f" of {min(found['count'], DELAYED)})."
        ),
    )  # fmt: skip
