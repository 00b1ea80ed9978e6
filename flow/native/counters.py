"""The counters of the stages: read at the end of a run, held against the cycles and the exact clock."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scaflow.flow import rungs
from scaflow.flow.native.report import KINDS
from scaflow.hw.clock import predict
from scaflow.hw.design import Design
from scaflow.hw.emit import emit
from scaflow.hw.recordings import Given
from scaflow.sim.rtl import Frames

Row = dict[str, Any]
UNDISTURBED = "3 counters change no word and no cycle"


def measure(variant: str, design: Design, images: Given, plain: Frames) -> tuple[list[Row], list[Row]]:
    """Run the design with counters, flowing, under cocotb; it must give what the design without them gave.

    Args:
        images: uint8 [N, C, H, W], or recordings.
        plain: of the design without counters, on these images or more.

    Returns:
        the counters as rows, and the equalities.
    """
    with tempfile.TemporaryDirectory(prefix="scaflow-counted-") as scratch:
        rtl = emit(design, Path(scratch) / "rtl", counters=True).parent
        run = rungs.run_images(rtl, images, len(plain.words[0]) - 1, 0.0, counters=len(design.stages))
    rows, equality = read(variant, design, images, run.counters, run.since_reset)
    pairs = zip(run.words, run.out_end, plain.words, plain.out_end, strict=False)
    disturbed = sum((words, end) != (plain_words, plain_end) for words, end, plain_words, plain_end in pairs)
    return rows, [*equality, rungs.row(UNDISTURBED, variant, len(run.words), disturbed)]


def read(
    variant: str, design: Design, images: Given, counted: Sequence[Sequence[int]], cycles: int
) -> tuple[list[Row], list[Row]]:
    """The counters as rows, and the equalities that they must meet.

    Args:
        images: uint8 [N, C, H, W], or recordings, that have passed since reset, flowing.
        counted: busy, starved and stalled of each stage.
        cycles: since reset.
    """
    clock = predict(design, images, until=cycles).stages
    rows = [
        {"variant": variant, "stage": stage.name, **dict(zip(KINDS, counts, strict=True))}
        for stage, counts in zip(design.stages, counted, strict=True)
    ]
    open_sums = sum(sum(counts) != cycles for counts in counted)
    other = sum(
        tuple(counts) != (told.busy, told.starved(cycles), told.stalled)
        for told, counts in zip(clock, counted, strict=True)
    )
    return rows, [
        rungs.row("3 counters: busy + starved + stalled = cycles, per stage", variant, len(rows), open_sums),
        rungs.row("3 counters = exact clock, per stage", variant, len(rows), other),
    ]
