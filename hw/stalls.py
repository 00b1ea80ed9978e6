"""The pauses at the ends of a design, as bits: one pattern that the simulation and the exact clock both replay."""

from __future__ import annotations

import numpy as np

OFFERS, TAKES = 1, 2
SHORTEST = 16  # cycles of a phase


def stall_pattern(chance: float, seed: int, longest: int) -> np.ndarray:
    """One byte for each cycle since reset, uint8 [period]; cycle c has entry c % period.

    Bit 0 (OFFERS): the source may begin to offer a beat, which then stands until it is taken. Bit 1 (TAKES): the sink
    takes; it refuses until the design's first beat has stood for a cycle.

    Phases of free flow, of light and heavy stalling and of standing still follow each other, from 16 to `longest`
    cycles long: queues run full and empty, and where `longest` exceeds the interval the whole design comes to a stop.

    Args:
        chance: that a cycle brings a pause, in a phase of light stalling.

    Raises:
        ValueError: `chance` is not between 0 and 1, or `longest` below 16.
    """
    if not 0 < chance < 1:
        raise ValueError(f"stalls: chance={chance} must lie between 0 and 1")
    if longest < SHORTEST:
        raise ValueError(f"stalls: longest={longest} must be at least {SHORTEST} cycles")
    period = 16 * longest + 1
    ends = []
    for end in range(2):
        rng = np.random.default_rng([seed, end])
        phases: list[np.ndarray] = []
        length = 0
        while length < period:
            phases.append(_phase(rng, chance, longest))
            length += len(phases[-1])
        ends.append(np.concatenate(phases)[:period])
        ends[-1][-1] = True  # never closed for good
    pattern: np.ndarray = (ends[0] * OFFERS | ends[1] * TAKES).astype(np.uint8)
    return pattern


def _phase(rng: np.random.Generator, chance: float, longest: int) -> np.ndarray:
    """Open cycles are True; the lengths are even on a logarithmic scale."""
    length = int(np.exp(rng.uniform(np.log(SHORTEST), np.log(longest + 1))))
    kind = rng.integers(8)
    if kind == 0:
        return np.zeros(length, bool)
    if kind < 3:
        return np.ones(length, bool)
    heavy = min(2 * chance, 0.9) if kind > 5 else chance
    pause = rng.integers(1, rng.choice((1, 3, 20)), length, endpoint=True) * (rng.random(length) < heavy)
    bits = np.zeros(length, bool)
    opened = np.cumsum(pause + 1) - 1
    bits[opened[opened < length]] = True
    return bits
