"""Programs that we start end with us: by leaving, by an exception, by `stop`, and when we are killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaflow.model import processes

PATIENCE = 10  # seconds, for what takes a moment
# a shell with a program below it in the background, and one below that; each lives in the folder "$1"
TREE = ("/bin/sh", "-c", 'cd "$1" && { sh -c "sleep 90; :" & sleep 90 & : > "$2"; wait; }', "tree")


def below(folder: Path) -> list[int]:
    """Processes that work in `folder`, and are no more than remembered by their parents."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder and ") Z" not in (process / "stat").read_text():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def until(true) -> bool:
    end = time.monotonic() + PATIENCE
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(true())


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[tuple[list[str], Path]]:
    """The command of a tree of processes, and the folder it lives in."""
    home = tmp_path / "home"
    home.mkdir()
    yield [*TREE, str(home), str(tmp_path / "begun")], home
    for left in below(home):
        os.kill(left, signal.SIGKILL)


def grown(home: Path) -> bool:
    return until((home.parent / "begun").exists) and until(lambda: len(below(home)) >= 4)


def test_what_a_program_prints_and_its_exit_code(tmp_path: Path) -> None:
    script = "pwd; echo $COLOUR; echo mist >&2; exit 3"
    done = processes.run(["/bin/sh", "-c", script], cwd=tmp_path, env={"COLOUR": "red"}, stderr=subprocess.PIPE)
    assert (done.returncode, done.stdout, done.stderr) == (3, f"{tmp_path}\nred\n", "mist\n")


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such program"):
        processes.run([str(tmp_path / "no such program")])
    assert not processes._groups


def test_a_program_gets_nothing_of_our_input() -> None:
    assert processes.run(["cat"]).stdout == ""


def test_what_a_program_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    processes.run(["/bin/sh", "-c", "sleep 90 >/dev/null 2>&1 &"], cwd=tmp_path)
    assert until(lambda: not below(tmp_path))


def test_an_exception_ends_the_whole_tree(tree) -> None:
    command, home = tree
    with pytest.raises(RuntimeError, match="enough"), processes.started(command):
        assert grown(home)
        raise RuntimeError("enough")
    assert until(lambda: not below(home))


def test_patience_has_an_end(tree) -> None:
    command, home = tree
    with pytest.raises(subprocess.TimeoutExpired):
        processes.run(command, timeout=0.5)
    assert until(lambda: not below(home))


def test_stop_ends_all_trees_and_no_more_begin(tree) -> None:
    command, home = tree
    try:
        with processes.started(command) as process:
            assert grown(home)
            processes.stop()
            assert process.wait(PATIENCE) == -signal.SIGKILL
        assert until(lambda: not below(home))
        with pytest.raises(KeyboardInterrupt):
            processes.run(["true"])
    finally:
        processes.resume()
    assert processes.run(["true"]).returncode == 0


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_killed_parent_leaves_none(tree, end: signal.Signals) -> None:
    command, home = tree
    code = "import sys; from scaflow.model import processes; processes.run(sys.argv[1:])"
    parent = subprocess.Popen([sys.executable, "-c", code, *command])
    try:
        assert grown(home)
        parent.send_signal(end)
        assert parent.wait(PATIENCE) == -end
        assert until(lambda: not below(home))
    finally:
        parent.kill()


def _asleep(home: str) -> None:
    processes.end_with_parent()
    os.chdir(home)
    time.sleep(90)


def _parent(home: str) -> None:
    worker = multiprocessing.get_context("fork").Process(target=_asleep, args=(home,))
    worker.start()
    worker.join()


def test_a_process_of_pythons_own_ends_with_its_parent(tmp_path: Path) -> None:
    parent = multiprocessing.get_context("fork").Process(target=_parent, args=(str(tmp_path),))
    parent.start()
    assert until(lambda: below(tmp_path))
    parent.kill()
    assert until(lambda: not below(tmp_path))
    parent.join()
