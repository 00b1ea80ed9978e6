"""A signal ends the command, and all that it started, within seconds; its exit code tells which."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace

import pytest

from scaflow.flow.interruption import SIGNALS, interruptions
from scaflow.model import processes

PATIENCE = 20  # seconds, for what takes a moment
ENDS = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}

# A verb that waits as the real ones do; what it starts writes its number down.
VERB = """
import os, signal, sys, threading, time
from pathlib import Path
import typer
from rich.console import Console
from scaflow.flow import interruption
from scaflow.flow.messages import guarded
from scaflow.flow.workers import in_processes
from scaflow.model import processes

SHELL = ["/bin/sh", "-c", 'sleep 90 & echo $! > "$1.part"; mv "$1.part" "$1"; wait', "tool"]

def at_work(order, number):
    processes.run([*SHELL, f"tool{number}"])

def verb(order: str):
    with guarded(Console(stderr=True)):
        match order:
            case "tool":
                at_work(order, 0)
            case "threads":
                interruption.GRACE = 90  # they end at once, not by it
                threads = [threading.Thread(target=at_work, args=(order, number)) for number in range(2)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            case "workers":
                in_processes(at_work, [("job", number) for number in range(2)], 2)
            case "tidy":
                try:
                    at_work(order, 0)
                finally:
                    Path("tidying").touch()
                    time.sleep(0.5)
                    Path("tidied").touch()
            case "another":  # takes a signal for itself
                interruption.GRACE = 0
                signal.signal(signal.SIGTERM, lambda *_: Path("taken").touch())
                at_work(order, 0)
            case "stubborn":
                thread = threading.Thread(target=time.sleep, args=(90,))
                thread.start()
                Path("tool0").write_text(f"{os.getpid()}\\n")
                while True:
                    try:
                        thread.join()
                    except KeyboardInterrupt:
                        pass

if __name__ == "__main__":
    typer.run(verb)
"""


def gone(pid: int) -> bool:
    try:
        return ") Z" in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def until(true) -> bool:
    end = time.monotonic() + PATIENCE
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(true())


def of_group(group: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.fixture
def verb(tmp_path: Path) -> Iterator:
    """verb(order, tools): the command at work in a process group of its own, and the numbers of what it started."""
    (tmp_path / "verb.py").write_text(VERB)
    running: list[subprocess.Popen[str]] = []

    def start(order: str, tools: int, ignored: tuple[signal.Signals, ...] = ()) -> tuple[subprocess.Popen, list[int]]:
        def heard() -> None:  # whoever runs the tests in the background has them ignore Ctrl-C
            for number in ENDS:
                signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

        command = [sys.executable, "verb.py", order]
        running.append(
            subprocess.Popen(
                command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, process_group=0, preexec_fn=heard
            )
        )
        paths = [tmp_path / f"tool{number}" for number in range(tools)]
        assert until(lambda: all(path.exists() and path.read_text() for path in paths))
        return running[-1], [int(path.read_text()) for path in paths]

    yield start
    for process in running:
        for pid in of_group(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("number", ENDS)
@pytest.mark.parametrize("whom", ["the command", "its group"])
def test_a_signal_ends_the_tools(verb, number: signal.Signals, whom: str) -> None:
    process, tools = verb("tool", 1)
    (os.kill if whom == "the command" else os.killpg)(process.pid, number)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == ENDS[number]
    assert said.startswith("interrupted: finished stages are kept") and "Traceback" not in said
    assert until(lambda: all(map(gone, tools))) and until(lambda: not of_group(process.pid))


@pytest.mark.parametrize("order", ["threads", "workers"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_those_of_threads_and_of_processes(verb, order: str, number: signal.Signals) -> None:
    process, tools = verb(order, 2)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == ENDS[number]
    assert "Traceback" not in said
    assert until(lambda: all(map(gone, tools))) and until(lambda: not of_group(process.pid))


def test_what_does_not_hear_it_ends_after_the_grace(verb) -> None:
    process, _ = verb("stubborn", 1)
    begin = time.monotonic()
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 143 and time.monotonic() - begin < 10


def test_a_second_signal_does_not_break_into_the_cleaning_up(verb, tmp_path: Path) -> None:
    process, _ = verb("tidy", 1)
    process.terminate()
    assert until((tmp_path / "tidying").exists)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143 and "Traceback" not in said
    assert (tmp_path / "tidied").exists()


def test_a_signal_that_another_has_taken_is_left_to_it(verb, tmp_path: Path) -> None:
    process, _ = verb("another", 1)
    process.terminate()
    assert until((tmp_path / "taken").exists)
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=0.5)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 129


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])  # nohup; a shell's background
def test_an_ignored_signal_stays_ignored(verb, number: signal.Signals) -> None:
    process, _ = verb("tool", 1, ignored=(number,))
    process.send_signal(number)
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=0.5)
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 143


def test_behind_it_signals_are_heard_by_those_who_heard_them_before() -> None:
    def own(*_: object) -> None: ...

    before = {signal.SIGINT: signal.SIG_IGN, signal.SIGTERM: own, signal.SIGHUP: signal.SIG_DFL}
    with ExitStack() as restored:
        for number, handler in before.items():
            restored.callback(signal.signal, number, signal.signal(number, handler))
        restored.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(-1))
        with interruptions():
            assert signal.getsignal(signal.SIGTERM) is not own
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            signal.signal(signal.SIGHUP, own)
        assert [signal.getsignal(number) for number in SIGNALS] == [signal.SIG_IGN, own, own]
        assert signal.set_wakeup_fd(-1) == -1


def test_the_next_verb_starts_programs_again(request: pytest.FixtureRequest) -> None:
    request.addfinalizer(processes.resume)
    processes.stop()
    with pytest.raises(KeyboardInterrupt):
        processes.run(["true"])
    try:
        with interruptions():
            assert processes.run(["true"]).returncode == 0
    except KeyboardInterrupt:  # it would end the tests
        pytest.fail("stopped still")


def test_a_thread_leaves_signals_to_the_main_one() -> None:
    def inside() -> str:
        with interruptions():
            return "no complaint"

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(inside).result() == "no complaint"


SLOW = """
import sys, time
class Slow:
    def find_spec(name, path=None, target=None):
        if name == "scaflow.flow.cli":
            print("loading", flush=True)
            time.sleep(90)
sys.meta_path.insert(0, Slow)
from scaflow.flow.start import main
main()
"""


def test_while_the_verbs_are_loaded_ctrl_c_says_nothing() -> None:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    with subprocess.Popen([sys.executable, "-c", SLOW], **pipes, **heard) as process:
        assert process.stdout.readline() == "loading\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGINT and said == ""


def test_while_they_are_loaded_an_ignored_ctrl_c_stays_ignored() -> None:
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    with subprocess.Popen([sys.executable, "-c", SLOW], stdout=subprocess.PIPE, text=True, **heard) as process:
        assert process.stdout.readline() == "loading\n"
        process.send_signal(signal.SIGINT)
        process.terminate()
    assert process.returncode == -signal.SIGTERM


def test_then_the_verbs_run(monkeypatch, request: pytest.FixtureRequest) -> None:
    before = signal.getsignal(signal.SIGINT)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    ran: list[str] = []
    monkeypatch.setitem(sys.modules, "scaflow.flow.cli", SimpleNamespace(app=lambda: ran.append("app")))
    (command,) = entry_points(group="console_scripts", name="scaflow")
    command.load()()
    assert ran == ["app"]
