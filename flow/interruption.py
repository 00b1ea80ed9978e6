"""What ends the command from outside: Ctrl-C, SIGTERM, SIGHUP. All that it started ends at once, then the command."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from scaflow.model import processes

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE = 3.0  # seconds to clean up in; what is written is written whole or not at all


class Interrupted(KeyboardInterrupt):
    """A signal that ends the command; its exit code is that of a shell, 128 and the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def exit_code(interruption: KeyboardInterrupt) -> int:
    return 128 + (interruption.number if isinstance(interruption, Interrupted) else signal.SIGINT)


@contextmanager
def interruptions() -> Iterator[None]:
    """Inside, a signal kills the programs at work and raises `Interrupted`; a process that is still there `GRACE`
    seconds later, in a library's own code or waiting for a thread, ends without more ado.

    A signal that is ignored (nohup, a shell's background) stays so. Does nothing in other threads than the main one.
    """
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    processes.resume()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    threading.Thread(target=_deadline, args=(reader,), name="deadline", daemon=True).start()
    # Python writes the number there the moment the signal comes; the handler waits for the main thread
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    before = {number: signal.signal(number, _interrupt) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is _interrupt:
                signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        os.close(writer)


def _interrupt(number: int, frame: FrameType | None) -> None:
    for other in SIGNALS:
        if signal.getsignal(other) is _interrupt:
            signal.signal(other, signal.SIG_IGN)  # the clean-up is not interrupted: it has its deadline
    processes.stop()
    raise Interrupted(number)


def _deadline(reader: int) -> None:
    """End the process `GRACE` seconds after the first signal of ours."""
    while number := os.read(reader, 1):
        if number[0] in SIGNALS and signal.getsignal(number[0]) in (_interrupt, signal.SIG_IGN):
            time.sleep(GRACE)
            processes.stop()
            os._exit(128 + number[0])
    os.close(reader)
