"""Jobs on a Ray cluster: two nodes of this machine, each with an address of its own on the loopback device.

The study is held byte for byte against that of one machine; a node is killed while it works.
"""

import io
import json
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
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

import cluster_jobs as work
import pytest
from chains import readout, spiking
from rich.console import Console
from typer.testing import CliRunner

from scaflow.flow import cli
from scaflow.flow.fold import solve
from scaflow.flow.jobs import broker, program
from scaflow.flow.jobs import cluster as clusters
from scaflow.flow.jobs.cluster import Cluster
from scaflow.flow.jobs.job import End, Engine, Job, work_off
from scaflow.flow.jobs.local import Local
from scaflow.flow.jobs.node import News, pack, serve
from scaflow.flow.native import run as native
from scaflow.flow.stages import ROOT, open_project
from scaflow.flow.study import runs as study
from scaflow.hw import synth
from scaflow.hw.design import design
from scaflow.hw.emit import emit
from scaflow.hw.fold import Fold
from scaflow.model.files import read_json
from scaflow.quant.graph import Graph, save
from scaflow.sim import build

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
TOP = """
module top (input logic clk, input logic rst_n, output logic [15:0] count);
  always_ff @(posedge clk) if (!rst_n) count <= 0; else count <= count + (count ^ (count >> 3));
endmodule
"""


class Node:
    """What `ray start` makes: some processes in a session of their own."""

    def __init__(self, home: Path, *options: str) -> None:
        self.temporary = Path(tempfile.mkdtemp(prefix="node-", dir=home))
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *options]
        command += ["--num-cpus=1", "--object-store-memory=100000000", "--disable-usage-stats"]
        command += ["--no-monitor", "--include-log-monitor=false"]
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

    def trains(self) -> bool:
        """Has a training here done an epoch, and goes on?"""
        return any(self.temporary.glob("scaflow-job-*/*/log.csv"))

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


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def engine(nodes, said) -> Iterator[Cluster]:
    """One connection for all tests: Ray's processes and ours below them start once, and serve job after job."""
    with Cluster(nodes.address, None, said.append) as found:
        assert said == [f"cluster {nodes.address}: 2 processors"]
        yield found


@pytest.fixture
def scaflow(nodes, engine, tmp_path, monkeypatch):
    """The command in a folder of its own, with --ray."""

    def opened(address: str, count: int | None, say: object) -> AbstractContextManager[Engine]:
        assert address == nodes.address
        return nullcontext(engine)

    def run(*arguments: str) -> str:
        found = CliRunner().invoke(cli.app, [*arguments, "--build", "b", "--ray", nodes.address])
        assert found.exit_code == 0, found.output
        return found.output

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCAFLOW_BUILD", "restored afterwards")
    monkeypatch.setattr(cli, "engine_of", opened)
    return run


def job(base: Path, function, *arguments: str, **more) -> Job:
    return Job(f"job {function.__name__}", function, arguments, base, "own", **more)


def problem(engine: Engine, some: Job) -> str:
    with pytest.raises(ValueError) as refused:
        work_off([some], engine)
    return str(refused.value)


def test_files_travel_both_ways(engine, tmp_path):
    for name in ("read/a", "read/b/c", "own/before", "other/unread"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(Path(name).name)
    work_off([job(tmp_path, work.join, reads=("read/a", "read/b"), data=work.given)], engine)
    assert (tmp_path / "own/joined").read_text() == "a c before given"
    assert not (tmp_path / "own/before").exists()


@pytest.mark.parametrize("where", ["here", "there"])
def test_a_job_that_fails_is_told_and_not_tried_again(where, request, tmp_path, said):
    before = len(said)
    with Local(1) if where == "here" else nullcontext(request.getfixturevalue("engine")) as engine:
        assert problem(engine, job(tmp_path, work.refuse)) == f"lanes: 3 is odd\n  log: {tmp_path}/own/begun"
        assert (tmp_path / "own/begun").is_file()
        assert "RuntimeError: nobody expected it" in problem(engine, job(tmp_path, work.stumble))
        assert problem(engine, job(tmp_path, work.write, data=work.torn)) == "images: damaged"
        assert "job crash: its process was ended (SIGKILL)" in problem(engine, job(tmp_path, work.crash))
        work_off([job(tmp_path, work.write, "again", "and well")], engine)
    assert (tmp_path / "own/again").read_text() == "and well"
    assert not any("lost" in line for line in said[before:])


def test_a_lost_job_goes_on_from_what_came_back_and_is_not_begun_for_ever(engine, tmp_path, said, monkeypatch):
    monkeypatch.setattr(clusters, "PAUSE", 0.1)
    before = len(said)
    reason = "The worker died unexpectedly while executing this task"
    work_off([job(tmp_path, work.lose_once)], engine)
    assert (tmp_path / "own/done").read_text() == "from what came back"
    assert said[before:] == [f"job lose_once: lost with its node or process ({reason}); it goes on elsewhere"]
    told = problem(engine, job(tmp_path, work.lose))
    assert told == f"job lose: lost with its node or process 3 times in a row: {reason}"


def test_jobs_wait_until_others_end_with_their_engine(nodes, engine, tmp_path, said, monkeypatch):
    monkeypatch.setattr(clusters, "IDLE", 0.5)
    monkeypatch.setattr(engine, "_said", set())  # whatever it said before
    homes = [tmp_path / name for name in ("one", "two")]
    with Cluster(nodes.address, None, lambda line: None) as other:
        for home in homes:
            other.start(job(home, work.stay))
        while not all((home / "own/pid").is_file() for home in homes):
            assert other.ended(1) == []
        before, end = len(said), time.monotonic() + 60
        engine.start(job(tmp_path, work.write, "late", "and well"))
        while len(said) == before:
            assert engine.ended(0.5) == [] and time.monotonic() < end
    assert said[before:] == [
        f"cluster {nodes.address}: the jobs wait for a free processor; there were 2 at the start,"
        " and `ray status` shows their use"
    ]
    processes = [Path("/proc", (home / "own/pid").read_text()) for home in homes]
    ends: list[End] = []
    while any(process.exists() for process in processes) or not ends:
        ends += engine.ended(0.1)
        assert time.monotonic() < end
    assert not ends[0].problem and (tmp_path / "own/late").read_text() == "and well"


def test_nodes_with_another_program_are_refused(engine, tmp_path, monkeypatch):
    here = {**program.program(), "torch": "9.9"}
    monkeypatch.setattr(program, "program", lambda: here)
    told = problem(engine, job(tmp_path, work.write, "a", "b"))
    assert "another program than here: torch 2." in told
    assert "(here 9.9); install the same" in told


def test_a_job_says_when_it_begins_and_what_may_make_it_differ(tmp_path, monkeypatch):
    parcel = pack(job(tmp_path, work.write, "a", "b"))
    assert next(serve(parcel, None)) == News({})
    monkeypatch.setattr(program, "machine", lambda: {**parcel.machine, "processor": "another one"})
    assert "processor another one (here " in next(serve(parcel, None)).notice


@pytest.mark.rtl
def test_a_test_set_through_a_design_is_the_same_on_the_cluster(scaflow, tmp_path, monkeypatch):
    """In chunks of 4 images, that each node builds the design for."""
    monkeypatch.setattr(native, "CHUNK", 4)
    monkeypatch.setattr(native, "COUNTED_IMAGES", 4)
    monkeypatch.setattr(build, "cache_root", lambda: ROOT / "build/sim")  # the nodes' own
    graph = Graph("digits", (1, 8, 8), 2, (spiking("first", 2, 1, (3, 3), stride=2, in_bits=8), readout(10, 2, 3, 3)))
    save(graph, tmp_path / "b/digits/dense/graph")
    emit(design(graph, {"first": Fold(1, 1), "readout": Fold(10, 1)}), tmp_path / "b/digits/dense/rtl")
    project = open_project("digits", Path("b"), Path("data"))
    alone = native.run_designs(project, ["dense"], 10, True, Console(file=io.StringIO()))
    native.forget(project)
    scaflow("sim", "digits", "--engine", "native", "--images", "10", "--variant", "dense", "--stalls")
    together = read_json(project / "native/dense.json")
    for run in (*alone["native"], *together["native"]):
        for name in ("seconds", "kcycles_per_second", "kcycles_per_core_second"):
            del run[name]
    for part in ("native", "counters", "equality"):
        assert json.dumps(together[part]) == json.dumps(alone[part])
    assert not any(row["mismatches"] for row in together["equality"])


def test_placements_and_foldings_are_the_same_on_the_cluster(scaflow, tmp_path, monkeypatch):
    placed, seeds_here = synth._placed, []
    monkeypatch.setattr(synth, "_placed", lambda *given: seeds_here.append(given[3]) or placed(*given))
    rtl = tmp_path / "b/digits/dense/rtl"
    rtl.mkdir(parents=True)
    (rtl / "top.sv").write_text(TOP)
    printed = scaflow("synth", "digits", "--variant", "dense", "--target", "ecp5-85", "--seeds", "2")
    assert seeds_here == [1]
    folder = next((tmp_path / "b/cache/synth").glob("*/netlist.json")).parent
    there = synth.route(folder, 2)
    shutil.rmtree(folder / "seed-2")
    clocks = [read_json(folder / "result.json")["fmax_mhz"], synth.route(folder, 2)]
    assert there == clocks[1] != clocks[0]
    assert f"{min(clocks):.1f}" in printed and f"{max(clocks):.1f}" in printed

    graphs = {"compact": 2, "dense": 3}
    for name, channels in graphs.items():
        layers = (spiking("first", channels, 1, (3, 3), in_bits=8), readout(10, channels, 6, 6))
        save(Graph("digits", (1, 8, 8), 2, layers), tmp_path / f"b/digits/{name}/graph")
    rates = ("20000", "30000")
    scaflow("fold", "digits", "--scheduler", "list", "--target-fps", rates[0], "--target-fps", rates[1])
    points = read_json(tmp_path / "b/digits/fold-sweep.json")["points"]
    project = open_project("digits", Path("b"), Path("data"))
    images = solve.calibration_images(project.network, project.data)
    for request, point in zip(solve.ask("ecp5-85", 100, [float(rate) for rate in rates], ()), points, strict=True):
        assert point == json.loads(json.dumps(solve.fold_graphs(project.folder, request, "list", images, len)))


def studied(folder: Path, engine: Engine) -> bytes:
    folder.mkdir()
    (folder / "net.toml").write_text(NET)
    project = open_project(str(folder / "net.toml"), folder / "build", folder / "data")
    study.study(project, CRITERIA, 1, engine, False, Console(file=io.StringIO()))
    return (project / "study.json").read_bytes()


def test_a_study_is_the_same_on_one_machine_on_two_nodes_and_with_one_killed(nodes, engine, tmp_path, said):
    """The last of them: the cluster has one node afterwards."""
    with Local(1) as local:
        alone = studied(tmp_path / "alone", local)
    before = len(said)
    assert studied(tmp_path / "together", engine) == alone
    assert said[before:] == []
    killed = tmp_path / "killed"

    def kill() -> None:
        while not nodes.other.trains():
            time.sleep(0.01)
        nodes.other.kill()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    assert studied(killed, engine) == alone
    killer.join(10)
    assert any("lost with its node or process" in line for line in said[before:])
    assert b"seconds" not in alone


def test_the_end_of_the_cluster_is_told_and_what_came_back_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(broker, "attend", work.vanish)
    with Cluster("auto", None, lambda line: None) as engine:
        engine.start(job(tmp_path, work.write, "a", "b"))
        with pytest.raises(ValueError) as gone:
            assert [engine.ended(1.0) for _ in range(20)] == []
        assert str(gone.value) == (
            "--ray auto: the connection with the cluster has ended: some line\n"
            "Failed to connect to GCS within 60 seconds\n"
            "  what has come back is kept: run this again once the cluster is there"
        )
        with pytest.raises(ValueError, match="the connection with the cluster has ended"):
            engine.start(job(tmp_path, work.write, "a", "b"))
    assert (tmp_path / "own/came").read_text() == "back"


def test_it_is_said_once_that_no_job_can_begin(tmp_path, monkeypatch):
    monkeypatch.setattr(broker, "attend", work.crowd)
    monkeypatch.setattr(clusters, "IDLE", 0.6)
    said: list[str] = []
    with Cluster("auto", None, said.append) as engine:
        for _ in range(2):
            engine.start(job(tmp_path, work.write, "a", "b"))
        assert [engine.ended(0.5) for _ in range(2)] == [[], []]
        assert said == ["cluster auto: 2 processors"]  # one is at work
        engine.start(job(tmp_path, work.write, "a", "b"))
        assert len([end for _ in range(6) for end in engine.ended(0.4)]) == 1
    assert said[1:] == [
        "cluster auto: the jobs wait for a free processor; there were 2 at the start, and `ray status` shows their use"
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "Task failed because the node it was running on is dead or unavailable. Node IP: 127.0.0.3, node ID: 0cee."
            " This can happen if the node was preempted.",
            "Task failed because the node it was running on is dead or unavailable; node 127.0.0.3",
        ),
        (
            "Task was killed due to the node running low on memory.\nMemory on the node (IP: 10.0.62.231, ID: e5) was",
            "Task was killed due to the node running low on memory; node 10.0.62.231",
        ),
        ("\nThe local object store is full.\nTip: use", "The local object store is full"),
        ("many words " * 40, "many words " * 14 + "many w…"),
    ],
)
def test_the_reasons_of_ray_are_told_in_brief(words, told):
    assert broker.brief(words) == told


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
    monkeypatch.setenv("SCAFLOW_BUILD", "restored afterwards")
    (tmp_path / "net.toml").write_text(NET)
    with socket.socket() as other, socket.socket() as free:
        other.bind(("127.0.0.1", 0))
        other.listen()
        free.bind(("127.0.0.1", 0))
        ports = {"other": other.getsockname()[1], "free": free.getsockname()[1]}
        found = CliRunner().invoke(
            cli.app, ["study", str(tmp_path / "net.toml"), "--build", str(tmp_path), "--ray", address.format(**ports)]
        )
    assert found.exit_code == 2
    assert message.format(**ports) in " ".join(found.output.split())
    assert not list(tmp_path.glob("*/study"))


def test_the_extra_is_named_where_ray_is_not_installed(monkeypatch):
    monkeypatch.setattr(clusters.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'scaflow\[cluster\]'"):
        clusters.check_address("127.0.0.1:6379")
