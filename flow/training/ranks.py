"""`scaflow train` as one of several processes of torchrun: the first decides what is to be done, all of them train."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace

import typer

from scaflow.flow.stages import Stage


def several() -> bool:
    """Was this process started as one of several? (As model/parallel.py asks, but without torch.)"""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def leaving() -> Iterator[None]:
    """Ends a rank's process behind what is inside, with its exit code; of a process alone nothing.

    When all is done and written, the destructors of torch's threads abort a rank now and then ("terminate called
    without an active exception"), and torchrun would report a failure. They are left out.
    """
    if not several():
        yield
        return
    code = 1
    try:
        yield
        code = 0
    except typer.Exit as end:
        code = end.exit_code
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run_together(
    parts: Sequence[Stage], run: Callable[[Sequence[Stage]], None], lock: AbstractContextManager[None]
) -> None:
    """The stages' work on all ranks; whatever `run` does beside (stamps, messages) on the first alone, as the lock.

    Raises:
        ValueError: as the stages; another rank has ended.
    """
    from scaflow.model import parallel

    with parallel.group(), ExitStack() as held:
        parallel.from_first(lambda: held.enter_context(lock))
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
