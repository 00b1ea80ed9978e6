"""What a design is given: images, or recordings as events that go in and the frames that axis_events makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from scaflow.model.events.binning import Binning, binned, isolated
from scaflow.model.events.recording import LARGEST, Recording
from scaflow.quant.golden.axis_events import AxisEvents, P, T, X, Y

TIME_BITS = 32  # of an event's time stamp, all that its beat has


@dataclass(frozen=True, eq=False)
class Offered:
    """beats: uint64, an event each, the last one with tlast; frames: uint8 [T, C, H, W], what they are binned to."""

    beats: np.ndarray
    frames: np.ndarray


Given = np.ndarray | Sequence[Offered]  # images, uint8 [N, C, H, W], or recordings


def as_frames(given: Given) -> tuple[np.ndarray, np.ndarray | None]:
    """What `quant.graph.execute` takes: images; or recordings, [N, T, C, H, W], and their lengths."""
    if isinstance(given, np.ndarray):
        return given, None
    lengths = np.array([len(recording.frames) for recording in given], np.int64)
    shape = given[0].frames.shape[1:] if len(given) else ()
    frames = np.zeros((len(given), lengths.max(initial=1), *shape), np.uint8)
    for row, recording in zip(frames, given, strict=True):
        row[: len(recording.frames)] = recording.frames
    return frames, lengths


def as_bytes(given: Given) -> np.ndarray | list[np.ndarray]:
    """What goes in, the bytes of each, uint8: pixels in raster order, channel 0 first; events."""
    if isinstance(given, np.ndarray):
        return given.transpose(0, 2, 3, 1).reshape(len(given), -1)
    return [recording.beats.view(np.uint8) for recording in given]


def intake_of(binning: Binning, shape: tuple[int, int, int]) -> AxisEvents:
    """The hardware that bins as `binning` says, to frames (C, H, W).

    Raises:
        ValueError: it cannot be told event by event.
    """
    if binning.bin_us is None:
        raise ValueError(
            f"bins={binning.bins}: hardware cannot know how long a recording will be; give the length of a bin, bin_us"
        )
    channels, height, width = shape
    x0, y0, *size = binning.crop or (0, 0, width, height)
    if (channels, *size) != (binning.channels, width, height):
        raise ValueError(f"frames of {shape}: binning gives {(binning.channels, *size[::-1])}; make them alike")
    return AxisEvents(
        x0=x0, y0=y0, width=width, height=height, channels=channels, bits=binning.bits, bin=binning.bin_us,
        time_bits=TIME_BITS, from_first=int(binning.start == "first"),
    )  # fmt: skip


def offered(recording: Recording, binning: Binning) -> Offered:
    """A recording as it goes in. Events that are denoised away keep their time, but get an address beyond any sensor;
    a recording without events is one such event.

    Raises:
        ValueError: as `binned`; or events lie so far apart that their time stamps cannot tell it.
    """
    assert binning.bin_us is not None
    pause = int(np.diff(recording.t, prepend=recording.t[:1] if binning.start == "first" else 0).max(initial=0))
    if pause >= (1 << TIME_BITS - 1) - binning.bin_us:
        raise ValueError(
            f"events: a pause of {pause:,} us; {TIME_BITS} bits of time tell less than {1 << TIME_BITS - 1:,} less a"
            " bin: cut the recording there"
        )
    t, x, y = (np.asarray(field).astype(np.uint64) for field in (recording.t, recording.x, recording.y))
    p = recording.p.astype(np.uint64)
    if binning.denoise_us is not None:
        x = np.where(isolated(recording, binning.denoise_us), LARGEST - 1, x).astype(np.uint64)
    if not len(t):
        t, x, y, p = (np.array([value], np.uint64) for value in (0, LARGEST - 1, LARGEST - 1, 0))
    beats = (t & np.uint64(0xFFFFFFFF)) << np.uint64(T)
    for field, place in ((x, X), (y, Y), (p, P)):
        beats = beats | field << np.uint64(place)
    return Offered(beats, binned(recording, binning).counts)


def leaving(cfg: AxisEvents, beats: np.ndarray) -> np.ndarray:
    """How many frames of a recording leave before each of its events counts, int64; one before its bin is in it."""
    half = 1 << cfg.time_bits - 1
    t = (beats & np.uint64(0xFFFFFFFF)).astype(np.int64) & 2 * half - 1
    steps = np.diff(t, prepend=t[:1] if cfg.from_first else 0)
    since = np.cumsum((steps + half) % (2 * half) - half)
    bins = np.maximum.accumulate(np.maximum(since // cfg.bin, 0))
    return np.diff(bins, prepend=0)


def told(frames: Iterable[int], every: int) -> list[list[bool]]:
    """Of recordings of so many frames: after which is a result told?"""
    return [[i == count or (bool(every) and i % every == 0) for i in range(1, count + 1)] for count in frames]
