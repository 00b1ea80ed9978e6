"""The neuron of the integer contract: what a step leaves of a membrane.

    decay(v) = l(v)*D >>> K    with l(v) = v - (v >>> L), or v where L = 0; arithmetic shifts, which round down
    hard       decay(s ? v_reset : u)
    soft       decay(u - s*threshold)
    delayed    decay(u) - s*threshold: the threshold is taken off behind the leak of the next step

The next u is what is left and the current of its step. A decay never falls when v rises, and of 0 it leaves 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from scaflow.model.decay import decay_problem

if TYPE_CHECKING:
    from scaflow.quant.graph import Spiking

Reset = Literal["hard", "soft", "delayed"]
RESETS: tuple[str, ...] = get_args(Reset)
NO_DECAY = (1, 0)


def decayed(node: Spiking, v: np.ndarray) -> np.ndarray:
    """decay(v) of membranes."""
    factor, shift = node.decay
    if node.leak_shift:
        v = v - (v >> node.leak_shift)
    return v if (factor, shift) == NO_DECAY else v * factor >> shift


def remains(node: Spiking, u: np.ndarray, fired: np.ndarray) -> np.ndarray:
    """What the step after finds of the membranes u, [..., C]; `fired`: which of them reached their threshold."""
    if node.reset == "hard":
        return decayed(node, np.where(fired, node.v_reset, u))
    if node.reset == "soft":
        return decayed(node, u - fired * node.threshold)
    left: np.ndarray = decayed(node, u) - fired * node.threshold
    return left


def neuron_problems(leak_shift: int, decay: tuple[int, ...], reset: str) -> list[str]:
    """What no neuron can be, of a node and of a file's."""
    problems = []
    if not 0 <= leak_shift <= 8:
        problems.append(f"leak_shift={leak_shift} must be 0 (no leak) to 8")
    if problem := decay_problem(decay):
        problems.append(problem)
    elif leak_shift and tuple(decay) != NO_DECAY:
        problems.append(f"leak_shift={leak_shift} and decay={list(decay)}: two leaks; leave one of them out")
    if reset not in RESETS:
        problems.append(f"reset={reset!r} must be 'hard' or 'soft', or 'delayed' until behind the next step's leak")
    return problems
