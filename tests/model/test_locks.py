"""Locks between processes: waited for or not, and of the file that stands there."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import pytest

from scaflow.model import locks
from scaflow.model.locks import locked


def test_a_lock_is_waited_for(tmp_path):
    holder = (
        "import sys, time; from pathlib import Path; from scaflow.model.locks import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(1)"
    )
    process = subprocess.Popen([sys.executable, "-c", holder, tmp_path / "l/ock"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    begun = time.monotonic()
    with pytest.raises(BlockingIOError, match="ock"), locked(tmp_path / "l/ock", wait=False):
        pytest.fail("held twice")
    with locked(tmp_path / "l/ock"):
        assert time.monotonic() - begun > 0.5
    process.communicate()


def test_who_waited_for_a_lock_whose_file_was_removed_holds_the_one_that_stands(tmp_path, monkeypatch):
    path, waits, holds, end = tmp_path / "lock", threading.Event(), threading.Event(), threading.Event()

    def flock(handle, kind):
        if threading.current_thread() is waiter:
            waits.set()
        fcntl_flock(handle, kind)

    def wait():
        with locked(path):
            holds.set()
            end.wait(10)

    fcntl_flock, waiter = fcntl.flock, threading.Thread(target=wait)
    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(path):
        waiter.start()
        assert waits.wait(10)  # it has opened the file that goes now
        path.unlink()
    try:
        assert holds.wait(10)
        with pytest.raises(BlockingIOError), locked(path, wait=False):
            pytest.fail("two hold it")
    finally:
        end.set()
        waiter.join()


def test_without_locks_one_goes_on_as_if_alone_or_not_at_all(tmp_path, monkeypatch):
    def flock(handle, kind):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(tmp_path / "lock"), locked(tmp_path / "lock"):
        pass
    with pytest.raises(OSError, match="No locks"), locked(tmp_path / "lock", wait=False):
        pytest.fail("as if alone")


def test_the_lock_of_another_user_needs_only_be_read(tmp_path, monkeypatch):
    def opened(path, flags, *mode):
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return os_open(path, flags, *mode)

    os_open = os.open
    monkeypatch.setattr(locks.os, "open", opened)
    with pytest.raises(PermissionError), locked(tmp_path / "absent"):
        pass
    (tmp_path / "lock").touch()
    with ExitStack() as held:
        held.enter_context(locked(tmp_path / "lock"))
        with pytest.raises(BlockingIOError):
            held.enter_context(locked(tmp_path / "lock", wait=False))
