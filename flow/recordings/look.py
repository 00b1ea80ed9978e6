"""recordings: what a set of event recordings holds, class by class, and a picture of its frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from scaflow.flow.stages import Progress
from scaflow.model.events.binning import Binning, binned
from scaflow.model.events.folder import opened_set
from scaflow.model.files import whole
from scaflow.model.filetree import shown

DPI, EDGE, SHOWN = 110, 0.9, 12  # of the picture: inches of a frame, and the most frames of a recording


@dataclass(frozen=True)
class Row:
    """Of a class in a part of the set: how many recordings, and the means over those that were read."""

    part: str
    label: str
    recordings: int
    events: float
    milliseconds: float
    brighter: float  # share of the events
    frames: float
    dropped: float  # events of a recording that are in no frame
    first: np.ndarray  # frames of its first recording


def look(path: Path, binning: Binning, each: int, sensor: tuple[int, int] | None, progress: Progress) -> list[Row]:
    """Read `each` recordings of each class and part.

    Raises:
        ValueError: no such set, or a recording that is none.
    """
    rows = []
    with opened_set(path, sensor) as found:
        for note in found.notes:
            progress(note)
        for part in ("train", "test", ""):
            for number, label in enumerate(found.classes):
                entries = [entry for entry in found.of(part) if entry.label == number]
                read = [found.read(entry) for entry in entries[:each]]
                if not read:
                    continue
                frames = [binned(recording, binning) for recording in read]
                rows.append(Row(
                    part=part, label=label, recordings=len(entries),
                    events=float(np.mean([len(recording) for recording in read])),
                    milliseconds=float(np.mean([recording.duration for recording in read])) / 1e3,
                    brighter=float(np.concatenate([r.p for r in read]).mean()) if any(map(len, read)) else 0.0,
                    frames=float(np.mean([len(one.counts) for one in frames])),
                    dropped=float(np.mean([one.dropped for one in frames])),
                    first=frames[0].counts,
                ))  # fmt: skip
    return rows


def table(rows: list[Row], each: int) -> Table:
    found = Table(title=f"means over up to {each:,} recordings of a class")
    for name in ("part", "class", "recordings", "events", "ms", "brighter", "frames", "dropped"):
        found.add_column(name, justify="left" if name in ("part", "class") else "right")
    for row in rows:
        found.add_row(
            row.part or "-", shown(row.label), f"{row.recordings:,}", f"{row.events:,.0f}", f"{row.milliseconds:,.1f}",
            f"{row.brighter:.3f}", f"{row.frames:,.1f}", f"{row.dropped:,.1f}",
        )  # fmt: skip
    return found


def draw(rows: list[Row], path: Path) -> None:
    """The first frames of the first recording of each class: brighter in red, darker, or both joined, in blue."""
    most = min(SHOWN, max(len(row.first) for row in rows))
    figure = Figure(figsize=(EDGE * most + 1, EDGE * len(rows) + 0.3), layout="constrained")
    grid = figure.subplots(len(rows), most, squeeze=False)
    for places, row in zip(grid, rows, strict=True):
        full = max(1, int(row.first.max()))
        for number, place in enumerate(places):
            place.set(xticks=[], yticks=[])
            if number < len(row.first):
                counts = row.first[number] / full
                colour = np.ones((*counts.shape[1:], 3))
                colour[..., :2] -= counts[0][..., None]
                if len(counts) == 2:
                    colour[..., 1:] -= counts[1][..., None]
                place.imshow(colour.clip(0, 1), interpolation="nearest")
            else:
                place.set_axis_off()
        places[0].set_ylabel(shown(" ".join(filter(None, (row.part, row.label)))), fontsize=7)
    with whole(path) as file:
        figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
