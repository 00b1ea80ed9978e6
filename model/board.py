"""The curves of a training as TensorBoard files: a convenience, whose disk errors end no training."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

Show = Callable[[str, float, int], None]  # name, value, step


@contextmanager
def board(out: Path, begun: int, say: Callable[[str], None]) -> Iterator[Show]:
    """Where to put values; they go into `out`. What a run before this one wrote from step `begun` on is passed over.

    TensorBoard writes in a thread of its own. When that fails, it is said once, and nothing more is written.
    """
    kept, lost = threading.excepthook, False

    def quietly(problem: threading.ExceptHookArgs) -> None:
        """The thread's error comes back to the writer, too: no traceback beside that."""
        if not (isinstance(problem.exc_value, OSError) and type(problem.thread).__module__.startswith("tensorboard")):
            kept(problem)

    def guarded(work: Callable[[], object]) -> None:
        nonlocal lost
        try:
            work()
        except OSError as error:
            if not lost:
                say(f"  no more curves for TensorBoard in {out}: {error.strerror or error}")
            lost = True

    def show(name: str, value: float, step: int) -> None:
        if not lost and writer:
            guarded(lambda: writer[0].add_scalar(name, value, step))

    writer: list[SummaryWriter] = []
    threading.excepthook = quietly
    try:
        guarded(lambda: writer.append(SummaryWriter(str(out), purge_step=begun)))
        yield show
    finally:
        if writer:
            guarded(writer[0].close)
        threading.excepthook = kept
