"""Work in several processes: results in order, errors as they were raised, nothing left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scaflow.flow.workers import in_processes

PATIENCE = 20  # seconds, for what takes a moment


def until(true) -> bool:
    end = time.monotonic() + PATIENCE
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(true())


def gone(pid: int) -> bool:
    try:
        return ") Z" in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def told(path: Path) -> int:
    """The number of a process that writes it there."""
    assert until(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


# what follows runs in the processes; it must be found by name there


def work(order: str, folder: str, number: int) -> tuple[int, int]:
    (Path(folder) / f"{order}{number}").write_text(f"{os.getpid()}\n")
    match order:
        case "slow first":
            time.sleep(0.3 if number == 0 else 0)
        case "raise":
            raise ValueError(f"job {number}: wrong")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "leave":
            os._exit(7)
        case "wait":
            time.sleep(90)
        case "unpassable":
            return lambda: number
    return number, os.getpid()


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """jobs(orders...): jobs of `work`."""
    # pytest imports this file by its path alone; the processes look for a module
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setitem(sys.modules, "test_workers", sys.modules[__name__])
    monkeypatch.setattr(work, "__module__", "test_workers")
    return lambda *orders: [(order, str(tmp_path), number) for number, order in enumerate(orders)]


def test_results_come_in_the_order_of_the_jobs(jobs) -> None:
    heard: list[int] = []
    found = in_processes(work, jobs(*["slow first"] * 5), 2, lambda job: heard.append(job[2]))
    assert [number for number, _ in found] == [0, 1, 2, 3, 4]
    assert len({pid for _, pid in found} - {os.getpid()}) == 2
    assert sorted(heard) == [0, 1, 2, 3, 4]
    assert multiprocessing.active_children() == []


def test_no_jobs_need_no_processes() -> None:
    assert in_processes(work, [], 2) == []


def test_what_a_job_raises_ends_the_others(jobs, tmp_path: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(ValueError, match="job 1: wrong") as caught:
        in_processes(work, jobs("wait", "raise", "plain"), 2)
    assert time.monotonic() - begin < PATIENCE
    assert str(caught.value) == "job 1: wrong"
    assert any("in work" in note for note in caught.value.__notes__)
    assert gone(told(tmp_path / "raise1")) and multiprocessing.active_children() == []


@pytest.mark.parametrize(("order", "reason"), [("die", "SIGKILL"), ("leave", "exit code 7")])
def test_a_process_that_is_ended_is_told(jobs, order: str, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"^{order}, .*: its process was ended \({reason}\); where memory is short"):
        in_processes(work, jobs("wait", order), 2)
    assert multiprocessing.active_children() == []


def test_a_result_that_cannot_be_passed_is_told(jobs) -> None:
    with pytest.raises(RuntimeError, match="cannot be passed between processes"):
        in_processes(work, jobs("unpassable"), 1)


def test_a_killed_parent_leaves_none(jobs, tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_workers import work;"
        "from scaflow.flow.workers import in_processes as many;"
        "many(work, [('wait', sys.argv[2], n) for n in range(2)], 2)"
    )
    here = str(Path(__file__).parent)
    with subprocess.Popen([sys.executable, "-c", code, here, str(tmp_path)], stderr=subprocess.DEVNULL) as parent:
        try:
            pids = [told(tmp_path / f"wait{number}") for number in range(2)]
        finally:
            parent.kill()
    assert until(lambda: all(map(gone, pids)))
