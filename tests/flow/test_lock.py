"""Two runs of one network in one build folder: the second is refused and told who is at work; no other is hindered."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from scaflow.flow import chain, cli, lock
from scaflow.flow.stages import shipped

HOLDER = """
import subprocess, sys
from pathlib import Path
from scaflow.flow.lock import at_work
with at_work(Path(sys.argv[1]), sys.argv[2], print):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdout=subprocess.DEVNULL)
    print("held", child.pid, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def hold(tmp_path):
    """hold(folder, verb): a process at work there, with a child of its own."""
    held = []

    def start(folder, verb):
        command = [sys.executable, "-c", HOLDER, folder, verb]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        word, child = process.stdout.readline().split()
        assert word == "held"
        held.append((process, int(child)))
        return process

    yield start
    for process, child in held:
        os.kill(child, signal.SIGKILL)
        process.kill()
        process.communicate()


def taken(folder, verb) -> bool:
    try:
        with lock.at_work(folder, verb, print):
            return True
    except ValueError:
        return False


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("train", "train", False),
        ("train", "compile", False),
        ("demo", "sim", False),
        ("sim", "export", False),
        ("sim", "sim", False),
        ("sim", "synth", True),  # make -j: both only read the designs
        ("report", "cycles", True),
        ("study", "train", True),
        ("study", "study", False),
        ("reference", "report", False),
    ],
)
def test_what_may_be_at_work_together(tmp_path, hold, first, second, together):
    (tmp_path / "net").mkdir()
    hold(tmp_path / "net", first)
    assert taken(tmp_path / "net", second) is together
    assert taken(tmp_path / "other", second)


def test_the_refusal_says_who_where_and_since_when(tmp_path, hold):
    holder = hold(tmp_path / "net", "compile")
    with pytest.raises(ValueError) as told, lock.at_work(tmp_path / "net", "train", print):
        pass
    text = str(told.value)
    assert text.startswith(f"train: another run is at work in {tmp_path / 'net'}:\n  scaflow compile, ")
    assert f"process {holder.pid} on " in text
    assert ", since 2" in text and "--build" in text


def test_a_killed_process_holds_nothing_though_its_children_live(tmp_path, hold):
    holder = hold(tmp_path / "net", "train")
    assert not taken(tmp_path / "net", "train")
    holder.kill()
    holder.wait()
    assert taken(tmp_path / "net", "train")


def test_a_damaged_or_empty_lock_file_is_no_matter(tmp_path, hold):
    hold(tmp_path / "net", "train")
    for content in (b"", b"\xff\0", b"[]"):
        (tmp_path / "net/.locks/train").write_bytes(content)
        with pytest.raises(ValueError, match=r"another run is at work in .*:\n  scaflow train\n"):
            lock.at_work(tmp_path / "net", "sim", print).__enter__()


def test_where_nothing_comes_about_no_folder_stays(tmp_path):
    with pytest.raises(ZeroDivisionError), lock.at_work(tmp_path / "build/net", "import", print):
        raise ZeroDivisionError
    with lock.at_work(tmp_path / "build/net", "sim", print):
        pass
    assert list(tmp_path.iterdir()) == []
    with lock.at_work(tmp_path / "build/net", "import", print):
        (tmp_path / "build/net/graph.json").touch()
    assert (tmp_path / "build/net/graph.json").exists()


def test_a_file_system_without_locks_is_told_and_used(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(lock.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", none)
    said = []
    with lock.at_work(tmp_path / "net", "train", said.append):
        pass
    assert len(said) == 1 and "No locks available" in said[0]


def test_a_verb_is_refused_while_another_is_at_work(tmp_path, hold, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCAFLOW_BUILD", "restored afterwards")
    monkeypatch.setattr(chain, "_train", lambda *_: pytest.fail("it trained"))
    hold(tmp_path / "build/digits", "train")
    for verb in ("train", "export", "compile", "sim", "cycles", "activity", "synth", "fold", "report", "demo"):
        options = ["--max-luts", "100"] if verb == "fold" else []
        result = CliRunner().invoke(cli.app, [verb, "digits", *options])
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"{verb}: another run is at work in build/digits" in " ".join(result.stderr.split())
    assert sorted(path.name for path in (tmp_path / "build/digits").iterdir()) == [".locks"]
    # what only prints takes no lock: it gets as far as its missing files
    result = CliRunner().invoke(cli.app, ["sim", "digits", "--variant", "skip"])
    assert "another run" not in result.stderr


def test_ranks_of_one_run_share_its_lock_and_those_of_another_are_refused_together(tmp_path, hold):
    text = shipped()["digits"].read_text()
    (tmp_path / "net.toml").write_text(text)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "scaflow.flow.cli"]
    command = [*launcher, "train", "net.toml", "--only", "dense", "--epochs", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    holder = hold(tmp_path / "build/digits", "train")
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert f"scaflow train, process {holder.pid}" in " ".join(done.stderr.split())
    assert not (tmp_path / "build/digits/dense").exists()
    said = json.loads((tmp_path / "build/digits/.locks/train").read_text())
    assert said["pid"] == holder.pid
