"""From a recording to frames: its events counted in bins of time, as hw/rtl/axis_events.sv counts them.

An event at time t lies in bin (t - start) // bin_us: bins are half-open, and there are as many as the last event needs,
so it is kept. What is dropped (outside the crop, isolated) moves time all the same: when bins begin and how many there
are does not depend on it. A recording without events is one frame of zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from scaflow.model.events.recording import Recording


@dataclass(frozen=True)
class Binning:
    """
    bin_us: the length of a bin in microseconds; or
    bins: how many equal bins a recording has, whatever its length; exactly one of the two.
    bits: of a count, which saturates; with 1 a count is 0 or 1.
    polarity: channels: darker (0) and brighter (1) are channels of their own; joined: both count in one.
    crop: (x, y, columns, rows) of the part of the sensor that is seen; None: all of it.
    denoise_us: drop an event that has had no neighbour in so many microseconds, see `isolated`; None: none.
    start: when the first bin begins: with the first event, or at time 0.
    """

    bin_us: int | None = None
    bins: int | None = None
    bits: int = 1
    polarity: Literal["channels", "joined"] = "channels"
    crop: tuple[int, int, int, int] | None = None
    denoise_us: int | None = None
    start: Literal["first", "zero"] = "first"

    def __post_init__(self) -> None:
        problems = []
        if (self.bin_us is None) == (self.bins is None):
            problems.append(f"bin_us={self.bin_us} and bins={self.bins}: give exactly one of them")
        for name in ("bin_us", "bins", "denoise_us"):
            value = getattr(self, name)
            if value is not None and value < 1:
                problems.append(f"{name}={value} must be at least 1")
        if not 1 <= self.bits <= 8:
            problems.append(f"bits={self.bits} must be 1 to 8")
        if self.polarity not in ("channels", "joined"):
            problems.append(f"polarity={self.polarity!r} must be channels or joined")
        if self.start not in ("first", "zero"):
            problems.append(f"start={self.start!r} must be first or zero")
        if self.crop is not None and (min(self.crop[:2]) < 0 or min(self.crop[2:]) < 1):
            problems.append(f"crop={self.crop} must be (x, y, columns, rows) of at least a pixel")
        if problems:
            raise ValueError("binning: " + "; ".join(problems))

    @property
    def channels(self) -> int:
        return 2 if self.polarity == "channels" else 1


@dataclass(frozen=True, eq=False)
class Frames:
    """counts: uint8 [T, C, H, W]; dropped: events outside the crop, or isolated, that are in none of them."""

    counts: np.ndarray
    dropped: int


def binned(recording: Recording, binning: Binning) -> Frames:
    """The frames of a recording.

    Raises:
        ValueError: the crop reaches beyond the sensor, or an event lies before time 0 and bins begin there.
    """
    x0, y0, width, height = binning.crop or (0, 0, recording.width, recording.height)
    if x0 + width > recording.width or y0 + height > recording.height:
        raise ValueError(
            f"binning: crop={binning.crop} reaches beyond the sensor of {recording.width} x {recording.height}; "
            "make it smaller"
        )
    t = recording.t
    if binning.start == "first":
        t = t - t[:1]
    elif len(t) and t[0] < 0:
        raise ValueError(f"binning: start='zero', but the first event is at {t[0]:,} us; start with the first event")
    steps, which = _bins(t, binning)
    x, y = recording.x.astype(np.int64) - x0, recording.y.astype(np.int64) - y0
    kept = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    if binning.denoise_us is not None:
        kept &= ~isolated(recording, binning.denoise_us)
    channel = recording.p.astype(np.int64) if binning.channels == 2 else np.zeros(len(t), np.int64)
    shape = (steps, binning.channels, height, width)
    places = np.ravel_multi_index((which[kept], channel[kept], y[kept], x[kept]), shape)
    counts = np.bincount(places, minlength=int(np.prod(shape)))
    saturated = np.minimum(counts, (1 << binning.bits) - 1).astype(np.uint8).reshape(shape)
    return Frames(saturated, int(len(t) - kept.sum()))


def _bins(t: np.ndarray, binning: Binning) -> tuple[int, np.ndarray]:
    """How many bins there are, and that of each event."""
    if binning.bins is not None:
        length = int(t[-1]) + 1 if len(t) else 1
        return binning.bins, t * binning.bins // length
    assert binning.bin_us is not None
    which = t // binning.bin_us
    return int(which[-1]) + 1 if len(t) else 1, which


def isolated(recording: Recording, within: int) -> np.ndarray:
    """Which events had no other one at a pixel at most one away, their own included, in the last `within` microseconds.

    An event before it in the recording counts, one of the same time too, whether it is itself isolated or not; so does
    one exactly `within` ago. The first event is isolated.
    """
    count, line = len(recording), recording.width + 2  # a pixel more on each side, without events
    pixel = (recording.y.astype(np.int64) + 1) * line + recording.x + 1
    number = np.arange(count)
    keys = np.sort(pixel * count + number)  # by pixel, then in the order of the recording
    alone = np.ones(count, bool)
    for step in (dy * line + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
        near = pixel + step
        before = keys[np.searchsorted(keys, near * count + number) - 1]  # the latest at that pixel, if it is of it
        there = (before // max(count, 1) == near) & (before % max(count, 1) < number)
        alone &= ~(there & (recording.t[before % max(count, 1)] >= recording.t - within))
    return alone
