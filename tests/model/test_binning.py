"""Frames of a recording, against counting event by event."""

from __future__ import annotations

import random

import numpy as np
import pytest

from scaflow.model.events.binning import Binning, binned, isolated
from scaflow.model.events.recording import Recording


def recording(events: list[tuple[int, int, int, int]], width: int = 6, height: int = 5) -> Recording:
    columns = np.array(events, np.int64).reshape(-1, 4).T
    t, x, y, p = columns
    return Recording(t, x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8), width, height)


def drawn(seed: int, count: int = 300, most: int = 2_000) -> Recording:
    rng = random.Random(seed)
    times = sorted(rng.randrange(most) for _ in range(count))
    return recording([(t, rng.randrange(6), rng.randrange(5), rng.randrange(2)) for t in times])


def counted(of: Recording, binning: Binning) -> tuple[np.ndarray, int]:
    """Written from the definition, an event at a time."""
    x0, y0, width, height = binning.crop or (0, 0, of.width, of.height)
    start = int(of.t[0]) if binning.start == "first" else 0
    last = int(of.t[-1]) - start
    steps = binning.bins or last // binning.bin_us + 1
    frames, dropped = np.zeros((steps, binning.channels, height, width), int), 0
    for i in range(len(of)):
        t, x, y, p = int(of.t[i]) - start, int(of.x[i]) - x0, int(of.y[i]) - y0, int(of.p[i])
        near = [j for j in range(i) if abs(int(of.x[j]) - int(of.x[i])) <= 1 and abs(int(of.y[j]) - int(of.y[i])) <= 1]
        late = binning.denoise_us and not any(of.t[i] - of.t[j] <= binning.denoise_us for j in near)
        if late or not (0 <= x < width and 0 <= y < height):
            dropped += 1
            continue
        if binning.bins:  # bin k holds k * length <= t * bins < (k + 1) * length
            which = next(k for k in range(steps) if k * (last + 1) <= t * steps < (k + 1) * (last + 1))
        else:
            which = next(k for k in range(steps) if k * binning.bin_us <= t < (k + 1) * binning.bin_us)
        frames[which, p if binning.channels == 2 else 0, y, x] += 1
    return np.minimum(frames, 2**binning.bits - 1), dropped


@pytest.mark.parametrize(
    "binning",
    [
        Binning(bin_us=100),
        Binning(bin_us=333, bits=3, start="zero"),
        Binning(bins=7, bits=8, polarity="joined"),
        Binning(bins=4, bits=2, start="zero", crop=(1, 2, 3, 2)),
        Binning(bin_us=250, bits=2, polarity="joined", crop=(2, 0, 4, 4)),
        Binning(bin_us=500, bits=4, denoise_us=20),
        Binning(bins=3, bits=4, crop=(0, 0, 2, 2), denoise_us=60),
    ],
)
def test_frames_are_what_counting_gives(binning):
    for seed in range(3):
        frames = binned(drawn(seed), binning)
        counts, dropped = counted(drawn(seed), binning)
        assert frames.counts.dtype == np.uint8
        np.testing.assert_array_equal(frames.counts, counts)
        assert frames.dropped == dropped


def test_bins_are_half_open_and_the_last_event_is_kept():
    events = recording([(10, 0, 0, 0), (19, 1, 0, 0), (20, 2, 0, 1), (40, 3, 0, 1)])
    counts = binned(events, Binning(bin_us=10)).counts
    assert [tuple(map(tuple, np.argwhere(frame))) for frame in counts] == [
        ((0, 0, 0), (0, 0, 1)), ((1, 0, 2),), (), ((1, 0, 3),)
    ]  # fmt: skip
    assert binned(events, Binning(bin_us=10, start="zero")).counts.any((1, 2, 3)).tolist() == [0, 1, 1, 0, 1]
    assert binned(events, Binning(bins=2, start="zero")).counts.sum((1, 2, 3)).tolist() == [3, 1]


def test_what_is_dropped_moves_time():
    """The bins are those of all events, whatever the crop leaves."""
    events = recording([(0, 5, 4, 0), (25, 0, 0, 1), (39, 5, 4, 0)])
    frames = binned(events, Binning(bin_us=10, crop=(0, 0, 1, 1)))
    assert frames.counts.sum((1, 2, 3)).tolist() == [0, 0, 1, 0]
    assert frames.dropped == 2


def test_a_recording_without_events_is_a_frame_of_zeros():
    for binning, steps in ((Binning(bin_us=10, denoise_us=5), 1), (Binning(bins=4), 4)):
        frames = binned(recording([]), binning)
        assert frames.counts.shape == (steps, 2, 5, 6)
        assert not frames.counts.any()


def test_an_event_is_isolated_without_a_neighbour_before_it():
    events = recording([
        (100, 2, 2, 0),  # the first
        (100, 3, 3, 1),  # at a corner, at the same time
        (200, 1, 3, 0),  # exactly 100 after the first
        (301, 1, 3, 0),  # 101 after the one before, at its own pixel
        (302, 3, 3, 0),  # two pixels away
        (303, 0, 4, 0),  # at a corner of an isolated one
    ])  # fmt: skip
    assert isolated(events, 100).tolist() == [True, False, False, True, True, False]
    assert isolated(recording([(0, 0, 0, 0)]), 100).tolist() == [True]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "bin_us=None and bins=None: give exactly one"),
        ({"bin_us": 1, "bins": 1}, "give exactly one"),
        ({"bin_us": 0, "bits": 9}, r"bin_us=0 must be at least 1; bits=9 must be 1 to 8"),
        ({"bins": 1, "polarity": "on", "start": 3}, "polarity='on' must be.*start=3 must be first or zero"),
        ({"bins": 1, "crop": (0, 0, 0, 4)}, r"crop=\(0, 0, 0, 4\) must be"),
    ],
)
def test_wrong_settings_are_told_together(settings, told):
    with pytest.raises(ValueError, match=told):
        Binning(**settings)


def test_what_does_not_fit_the_recording_is_refused():
    with pytest.raises(ValueError, match="reaches beyond the sensor of 6 x 5"):
        binned(recording([]), Binning(bins=1, crop=(4, 0, 3, 5)))
    with pytest.raises(ValueError, match="the first event is at -5 us"):
        binned(recording([(-5, 0, 0, 0)]), Binning(bins=1, start="zero"))
