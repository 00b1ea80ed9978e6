"""Jobs on a Ray cluster: two nodes of this machine, each with an address of its own on the loopback device.

The study is held byte for byte against that of one machine; a node is killed while it works.
"""

import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import cluster_jobs as work
import pytest
from rich.console import Console
from typer.testing import CliRunner

from scaflow.flow.cli import app
from scaflow.flow.jobs import cluster as clusters
from scaflow.flow.jobs import program
from scaflow.flow.jobs.cluster import Cluster
from scaflow.flow.jobs.job import Engine, Job, work_off
from scaflow.flow.jobs.local import Local
from scaflow.flow.stages import ROOT, open_project
from scaflow.flow.study import runs as study

NET = """
name = "studied"
dataset = "digits"
time_steps = 2
layers = [ { channels = 4 }, { channels = 8, pool = 2 } ]
train = { epochs = 3, finetune_epochs = 0, batch = 32, lr = 0.01, validation = 100, train_images = 320 }
sca = { cycles = 0.6, momentum = 0.5, warmup = 0, ramp = 0.4, freeze = 0.4, granularity = 2 }
fold = { lanes = 16 }
"""
CRITERIA = ("weight", "rate", "random")  # and dense: four runs


class Node:
    """What `ray start` makes: some processes in a session of their own."""

    def __init__(self, home: Path, *options: str) -> None:
        self.temporary = Path(tempfile.mkdtemp(prefix="node-", dir=home))
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *options]
        command += ["--num-cpus=1", "--object-store-memory=100000000", "--disable-usage-stats"]
        self._process = subprocess.Popen(
            command, env={**os.environ, "TMPDIR": str(self.temporary)}, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert self._process.stdout is not None
        told = []
        for line in self._process.stdout:
            told.append(line)
            if "Ray runtime started" in line:
                return
        raise AssertionError("".join(told))

    def at_work(self) -> bool:
        """Is a job at work here?"""
        return any(path.is_dir() for path in self.temporary.glob("scaflow-job-*/*"))

    def kill(self) -> None:
        for status in Path("/proc").glob("[0-9]*/stat"):
            with suppress(FileNotFoundError, ProcessLookupError):
                if int(status.read_text().rpartition(")")[2].split()[3]) == self._process.pid:  # its session
                    os.kill(int(status.parent.name), signal.SIGKILL)
        self._process.communicate(timeout=20)


class Nodes:
    """A head and another node, of one processor each."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.2", 0))
            self.address = f"127.0.0.2:{free.getsockname()[1]}"
        self._home = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # the names of sockets must be short
        port = self.address.rpartition(":")[2]
        options = (f"--port={port}", f"--temp-dir={self._home}", "--include-dashboard=false")
        self._head = Node(self._home, "--head", "--node-ip-address=127.0.0.2", *options)
        self.add()

    def add(self) -> None:
        self.other = Node(self._home, f"--address={self.address}", "--node-ip-address=127.0.0.3")

    def end(self) -> None:
        for node in (self.other, self._head):
            node.kill()
        shutil.rmtree(self._home, ignore_errors=True)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("SCAFLOW_BUILD", str(ROOT / "build"))  # what is compiled for a training is there already
        patch.setenv("PYTHONPATH", str(Path(work.__file__).parent))
        found = Nodes()
        yield found
        found.end()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def engine(nodes, said) -> Iterator[Cluster]:
    with Cluster(nodes.address, None, said.append) as found:
        yield found


def job(base: Path, function, *arguments: str, **more) -> Job:
    return Job(f"job {function.__name__}", function, arguments, base, "own", **more)


def problem(engine: Engine, some: Job) -> str:
    with pytest.raises(ValueError) as refused:
        work_off([some], engine)
    return str(refused.value)


def studied(folder: Path, engine: Engine, said: list[str]) -> bytes:
    folder.mkdir()
    (folder / "net.toml").write_text(NET)
    project = open_project(str(folder / "net.toml"), folder / "build", folder / "data")
    study.study(project, CRITERIA, 1, engine, False, Console(file=io.StringIO()))
    return (project / "study.json").read_bytes()


def test_a_study_is_the_same_on_one_machine_on_two_nodes_and_with_one_killed(nodes, tmp_path, said):
    with Local(2) as local:
        alone = studied(tmp_path / "alone", local, said)
    with Cluster(nodes.address, None, said.append) as engine:
        assert studied(tmp_path / "together", engine, said) == alone
    assert said == [f"cluster {nodes.address}: 2 processors"]
    killed = tmp_path / "killed"

    def kill() -> None:
        """Half-way, while the other node is at work."""
        while not (list(killed.glob("build/studied/study/*/row.json")) and nodes.other.at_work()):
            time.sleep(0.01)
        nodes.other.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with Cluster(nodes.address, None, said.append) as engine:
        assert studied(killed, engine, said) == alone
    killer.join()
    nodes.add()
    assert any("lost with its node or process" in line for line in said)
    assert b"seconds" not in alone


def test_files_travel_both_ways(engine, tmp_path):
    for name in ("read/a", "read/b/c", "own/before", "other/unread"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(Path(name).name)
    work_off([job(tmp_path, work.join, reads=("read/a", "read/b"), data=work.given)], engine)
    assert (tmp_path / "own/joined").read_text() == "a c before given"
    assert not (tmp_path / "own/before").exists()


@pytest.mark.parametrize("where", ["here", "there"])
def test_a_job_that_fails_is_told_and_not_tried_again(where, request, tmp_path, said):
    with Local(1) if where == "here" else request.getfixturevalue("engine") as engine:
        assert problem(engine, job(tmp_path, work.refuse)) == "lanes: 3 is odd"
        assert (tmp_path / "own/begun").is_file()
        assert "RuntimeError: nobody expected it" in problem(engine, job(tmp_path, work.stumble))
        assert "job crash: its process was ended (SIGKILL)" in problem(engine, job(tmp_path, work.crash))
        work_off([job(tmp_path, work.write, "again", "and well")], engine)
    assert (tmp_path / "own/again").read_text() == "and well"
    assert not any("lost" in line for line in said)


def test_a_lost_job_goes_on_from_what_came_back_and_is_not_begun_for_ever(engine, tmp_path, said, monkeypatch):
    monkeypatch.setattr(clusters, "PAUSE", 0.1)
    work_off([job(tmp_path, work.lose_once)], engine)
    assert (tmp_path / "own/done").read_text() == "from what came back"
    assert len([line for line in said if "lost" in line]) == 1
    assert "job lose: lost with its node or process 3 times in a row" in problem(engine, job(tmp_path, work.lose))


def test_jobs_end_with_the_engine(nodes, tmp_path, said):
    with Cluster(nodes.address, None, said.append) as engine:
        engine.start(job(tmp_path, work.stay))
        while not (tmp_path / "own/pid").is_file():
            assert engine.ended(1) == []
    process, end = Path("/proc", (tmp_path / "own/pid").read_text()), time.monotonic() + 20
    while process.exists():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_nodes_with_another_program_are_refused(engine, tmp_path, monkeypatch):
    here = {**program.program(), "torch": "9.9"}
    monkeypatch.setattr(program, "program", lambda: here)
    told = problem(engine, job(tmp_path, work.write, "a", "b"))
    assert "another program than here: torch 2." in told
    assert "(here 9.9); install the same" in told


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("here", "--ray 'here': give HOST:PORT of the head"),
        ("127.0.0.1:0", "give HOST:PORT"),
        ("ray://127.0.0.1:10001", "give HOST:PORT"),
        ("127.0.0.1:{free}", "nobody answers there (Connection refused)"),
        ("127.0.0.1:{other}", "--ray 127.0.0.1:{other}: "),
    ],
)
def test_an_address_without_a_cluster_is_refused_within_seconds(address, message, tmp_path, monkeypatch):
    monkeypatch.setattr(clusters, "JOIN", 3.0)
    (tmp_path / "net.toml").write_text(NET)
    with socket.socket() as other, socket.socket() as free:
        other.bind(("127.0.0.1", 0))
        other.listen()
        free.bind(("127.0.0.1", 0))
        ports = {"other": other.getsockname()[1], "free": free.getsockname()[1]}
        found = CliRunner().invoke(
            app, ["study", str(tmp_path / "net.toml"), "--build", str(tmp_path), "--ray", address.format(**ports)]
        )
    assert found.exit_code == 2
    assert message.format(**ports) in " ".join(found.output.split())
    assert not list(tmp_path.glob("*/study"))


def test_the_extra_is_named_where_ray_is_not_installed(monkeypatch):
    monkeypatch.setattr(clusters.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'scaflow\[cluster\]'"):
        clusters.check_address("127.0.0.1:6379")
