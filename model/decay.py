"""What a step leaves of a membrane, as a fraction that hardware multiplies by: D / 2^K, D a number of 8 bits."""

from __future__ import annotations

MOST = 255  # of D: half as many shifts and adds a neuron as it has bits, or fewer
MOST_SHIFT = 15


def decay_problem(decay: tuple[int, ...]) -> str | None:
    """Of a step that leaves v*D >>> K of a membrane v."""
    if len(decay) == 2 and 0 <= decay[1] <= MOST_SHIFT and 0 <= decay[0] <= min(1 << decay[1], MOST):
        return None
    return (
        f"decay={list(decay)} must be [D, K], for D / 2^K of a membrane: K of 0 to {MOST_SHIFT}, D of 0 to 2^K"
        f" and at most {MOST}"
    )


def nearest(value: object) -> object:
    """A part of a membrane as the nearest D / 2^K, with as few bits as it has; [D, K] and nothing as they are.

    Raises:
        ValueError: it is none that hardware has.
    """
    if value is None:
        return None
    if isinstance(value, list | tuple) and all(isinstance(number, int) for number in value):
        if problem := decay_problem(tuple(value)):
            raise ValueError(problem)
        return tuple(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("give the part of a membrane that a step leaves, as 0.9, or [D, K] for D / 2^K of it")
    fits = [k for k in range(MOST_SHIFT + 1) if 0 <= value < 1 and round(value * 2**k) <= MOST]
    shift = max(fits, default=0)
    factor = round(value * 2**shift) if fits else 1
    if factor == 1 << shift:
        raise ValueError(
            f"a step leaves {value} of a membrane; give 0 to {MOST}/{MOST + 1} of it, or leak_shift = 0 for all"
        )
    while shift and factor % 2 == 0:
        factor, shift = factor // 2, shift - 1
    return factor, shift
