"""Recordings as N-MNIST's were made (Orchard et al. 2015), simulated: a still digit before a moving event camera.

The camera makes three movements of about 100 ms along a triangle, so the digit moves over the sensor of 34 x 34 pixels.
Each pixel sees the digit through a lens that blurs, and gives an event whenever the logarithm of what it sees has
changed by its threshold since its last event (after Lichtsteiner et al. 2008); thresholds differ from pixel to pixel,
and there are events of noise. The digit is dark on a bright ground: so polarities, and the counts of thin and thick
digits, are those of the real recordings. The settings' values are fitted to them (docs/events.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from scaflow.model.events.recording import Recording

SIDE = 34  # pixels of the sensor, each way
MOVES = 3


@dataclass(frozen=True)
class Saccades:
    """
    corners: where the upper left pixel of the image lies on the sensor (column, row), before, between, after the moves.
    moves: when each move begins and ends, microseconds.
    duration: of a recording, mean and standard deviation, microseconds.
    wander: standard deviation of the corners from one recording to the next, pixels.
    delay: the same of the times of the moves, microseconds.
    blur: of the lens, standard deviation in pixels.
    dark: what a white pixel of the image gives, a black one giving 1 more.
    threshold: change of the logarithm that gives an event; mismatch: its standard deviation over the pixels, relative.
    noise: events of noise a pixel and second.
    step: microseconds between two looks at the image.
    """

    corners: tuple[tuple[float, float], ...] = ((0.58, 1.80), (2.11, 6.74), (5.39, 1.38), (0.39, 1.26))
    moves: tuple[tuple[int, int], ...] = ((5_200, 85_100), (104_900, 190_500), (219_500, 303_600))
    duration: tuple[float, float] = (307_700.0, 2_850.0)
    wander: float = 0.1
    delay: float = 2_000.0
    blur: float = 0.594
    dark: float = 0.23
    threshold: float = 0.221
    mismatch: float = 0.04
    noise: float = 0.85
    step: int = 2_500


CALIBRATED = Saccades()


def simulated(image: np.ndarray, seed: int, settings: Saccades = CALIBRATED) -> Recording:
    """The recording of an image, uint8 [28, 28], bright on dark; the same for the same seed."""
    rng = np.random.default_rng((seed, 0x5ACCAD))
    length = int(max(rng.normal(*settings.duration), settings.moves[-1][1]))
    at = np.arange(0, length, settings.step)
    seen = _seen(image, *_path(at, rng, settings), settings)
    light = np.log(settings.dark + 1 - seen).reshape(len(at), -1)
    levels = light / (settings.threshold * _sensitivity(settings.mismatch))
    which, pixel, part, polarity = _crossed(levels, rng)
    t = at[which - 1] + (part * settings.step).astype(np.int64)
    t, pixel, polarity = _with_noise(t, pixel, polarity, length, rng, settings)
    order = np.lexsort((pixel, t))
    pixel = pixel[order]
    x, y = (pixel % SIDE).astype(np.uint16), (pixel // SIDE).astype(np.uint16)
    return Recording(t[order], x, y, polarity[order].astype(np.uint8), SIDE, SIDE)


@lru_cache(maxsize=4)
def _sensitivity(mismatch: float) -> np.ndarray:
    """Of each pixel of the one sensor of all recordings, its threshold relative to the mean."""
    drawn = np.random.default_rng(2015).normal(1, mismatch, SIDE * SIDE)
    return np.clip(drawn, 0.3, None)


def _path(at: np.ndarray, rng: np.random.Generator, settings: Saccades) -> tuple[np.ndarray, np.ndarray]:
    """Column and row of the image's corner at these times; a move speeds up and slows down as a cosine."""
    corners = np.array(settings.corners) + rng.normal(0, settings.wander, (MOVES + 1, 2))
    place = np.repeat(corners[:1], len(at), axis=0)
    for (start, stop), before, after in zip(settings.moves, corners[:-1], corners[1:], strict=True):
        late = rng.normal(0, settings.delay)
        part = np.clip((at - start - late) / (stop - start), 0, 1)
        place += ((1 - np.cos(np.pi * part)) / 2)[:, None] * (after - before)
    return place[:, 0], place[:, 1]


def _seen(image: np.ndarray, left: np.ndarray, top: np.ndarray, settings: Saccades) -> np.ndarray:
    """[time, row, column] of the sensor: the image, moved and blurred, 0 to 1."""

    def spread(moved: np.ndarray, pixels: int) -> np.ndarray:
        """[time, sensor, image]: how much each pixel of an axis of the sensor sees of each of the image."""
        apart = np.arange(SIDE)[:, None] - np.arange(pixels) - moved[:, None, None]
        bell = np.exp(-0.5 * (apart / settings.blur) ** 2)
        return bell / (settings.blur * np.sqrt(2 * np.pi))

    rows, columns = spread(top, image.shape[0]), spread(left, image.shape[1])
    return np.minimum(rows @ (image / 255) @ columns.transpose(0, 2, 1), 1)


def _crossed(levels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Of each event: the look by which it has come, its pixel, its part of the step before that look, its polarity."""
    reference = levels[0] + rng.uniform(-0.5, 0.5, levels.shape[1])
    found = []
    for look in range(1, len(levels)):
        change = levels[look] - reference
        pixels = np.flatnonzero(np.abs(change) >= 1)
        if pixels.size:
            events = np.trunc(change[pixels]).astype(np.int64)
            former = levels[look - 1][pixels] - reference[pixels]
            reference[pixels] += events
            number = np.abs(events)
            which = np.repeat(np.arange(len(pixels)), number)
            nth = np.arange(len(which)) - np.repeat(np.cumsum(number) - number, number) + 1
            sign = np.sign(events)[which]
            slope = (change[pixels] - former)[which]
            part = np.clip((sign * nth - former[which]) / np.where(slope == 0, 1, slope), 0, 1 - 1e-9)
            found.append((np.full(len(which), look), pixels[which], part, sign > 0))
    if not found:
        found = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0, bool))]
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def _with_noise(
    t: np.ndarray, pixel: np.ndarray, polarity: np.ndarray, length: int, rng: np.random.Generator, settings: Saccades
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = rng.poisson(settings.noise * SIDE * SIDE * length / 1e6)
    return (
        np.concatenate([t, rng.integers(0, length, count)]),
        np.concatenate([pixel, rng.integers(0, SIDE * SIDE, count)]),
        np.concatenate([polarity, rng.integers(0, 2, count) > 0]),
    )
