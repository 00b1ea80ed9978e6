"""`scaflow train` as one of several processes of torchrun: the first decides what is to be done, all of them train."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from scaflow.flow.stages import Stage


def several() -> bool:
    """Was this process started as one of several? (As model/parallel.py asks, but without torch.)"""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def run_together(parts: Sequence[Stage], run: Callable[[Sequence[Stage]], None]) -> None:
    """The stages' work on all ranks; whatever `run` does beside (stamps, messages) on the first alone.

    Raises:
        ValueError: as the stages; another rank has ended.
    """
    from scaflow.model import parallel

    with parallel.group():
        for part in parts:
            if parallel.rank() == 0:
                _lead(part, run)
            elif parallel.from_first(bool):
                part.run()


def _lead(part: Stage, run: Callable[[Sequence[Stage]], None]) -> None:
    from scaflow.model import parallel

    begun = False

    def work() -> None:
        nonlocal begun
        begun = parallel.from_first(lambda: True)
        part.run()

    run([replace(part, run=work)])
    if not begun:
        parallel.from_first(lambda: False)
