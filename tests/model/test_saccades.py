"""Simulated recordings: the camera's movement is in them, and they are the same wherever they are made."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from scaflow.model.events.saccades import CALIBRATED, MOVES, SIDE, simulated

QUIET = dataclasses.replace(CALIBRATED, noise=0.0, wander=0.0, delay=0.0, mismatch=0.0)


@pytest.fixture(scope="module")
def square() -> np.ndarray:
    image = np.zeros((28, 28), np.uint8)
    image[10:18, 8:18] = 255
    return image


def test_the_same_seed_gives_the_same_recording(square):
    one, same, other = (simulated(square, seed) for seed in (3, 3, 4))
    for name in ("t", "x", "y", "p"):
        np.testing.assert_array_equal(getattr(one, name), getattr(same, name))
    assert len(one) != len(other) or (one.t != other.t).any()


def test_it_is_a_recording_of_nmnist(square):
    found = simulated(square, 0)
    assert (found.width, found.height) == (SIDE, SIDE)
    assert (np.diff(found.t) >= 0).all()
    assert 0 <= found.t[0] < found.t[-1] < 330_000
    assert max(found.x.max(), found.y.max()) < SIDE
    assert set(np.unique(found.p)) == {0, 1}
    assert 1_000 < len(found) < 8_000


def test_without_noise_events_are_of_the_moves(square):
    """At rest nothing changes."""
    found = simulated(square, 0, QUIET)
    moving = np.zeros(len(found), bool)
    for start, stop in QUIET.moves:
        there = (found.t >= start - QUIET.step) & (found.t < stop + QUIET.step)
        assert there.sum() > 300
        moving |= there
    assert moving.all()


def test_what_the_digit_covers_becomes_darker(square):
    """The digit is dark: of a move, pixels that it comes to give polarity 0, those that it leaves polarity 1."""
    found = simulated(square, 0, QUIET)
    for move in range(MOVES):
        start, stop = QUIET.moves[move]
        there = (found.t >= start - QUIET.step) & (found.t < stop + QUIET.step)
        way = np.subtract(QUIET.corners[move + 1], QUIET.corners[move])
        x, y, p = (values[there].astype(float) for values in (found.x, found.y, found.p))
        along = x * way[0] + y * way[1]
        assert along[p == 0].mean() > along[p == 1].mean() + 1


def test_an_empty_image_gives_noise_alone():
    blank = np.zeros((28, 28), np.uint8)
    assert len(simulated(blank, 1, QUIET)) == 0
    expected = CALIBRATED.noise * SIDE * SIDE * 0.3077
    assert abs(len(simulated(blank, 1)) - expected) < 6 * expected**0.5
