"""`scaflow train` killed: resumed, it ends with the weights of an unbroken run; ranks that are left say why."""

from __future__ import annotations

import csv
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import pytest
import torch

NET = """
name = "small"
dataset = "digits"
time_steps = 3
layers = [{{ channels = 8 }}, {{ channels = 16, pool = 2 }}]
train = {{ epochs = {epochs}, finetune_epochs = 1, batch = 32, lr = 0.01, validation = 200, augment = "shift" }}
sca = {{ keep = 0.5, warmup = 0.1, ramp = 0.6, freeze = 0.2, regrow = 0.3, momentum = 0.9 }}
"""
EPOCHS = 20
EVENTS = range(2, 16)  # the epochs, from 0, after which the masks change: behind the warm-up, before the freeze
PATIENCE = 600  # seconds, for what takes a few; many times as long where many others are at work
# The command, ended by SIGKILL some time after the event of an epoch is in events.csv. It looks for itself: on a busy
# machine another process would see the event only when the training is through.
KILLED = """
import csv, os, runpy, signal, sys, threading, time
from pathlib import Path

path, epoch, pause = Path(os.environ["EVENTS"]), os.environ["EPOCH"], float(os.environ["PAUSE"])

def watch():
    while not path.exists() or epoch not in [row["epoch"] for row in csv.DictReader(path.open())]:
        time.sleep(0.001)
    time.sleep(pause)
    os.kill(os.getpid(), signal.SIGKILL)

threading.Thread(target=watch, daemon=True).start()
sys.argv.pop(0)
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def train(tmp_path):
    """Starts `scaflow train` on a small network, in folders of its own: train(build, *options, rank=...)."""
    (tmp_path / "net.toml").write_text(NET.format(epochs=EPOCHS))
    compiled = Path(os.environ.get("SCAFLOW_BUILD", "build")).absolute() / "fused"
    compiled.mkdir(parents=True, exist_ok=True)
    running = []

    def start(build: str, *options: str, launcher: Sequence[str] = ("-m",), **environment: str) -> subprocess.Popen:
        (tmp_path / build).mkdir(exist_ok=True)
        if not (tmp_path / build / "fused").exists():  # not to be compiled for each
            (tmp_path / build / "fused").symlink_to(compiled)
        command = [sys.executable, *launcher, "scaflow.flow.cli", "train", "net.toml", "--only", "pruned", "--build"]
        running.append(
            subprocess.Popen(
                [*command, build, *options], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            )
        )  # fmt: skip
        return running[-1]

    yield start
    for process in running:
        if process.poll() is None:
            process.terminate() if "torch.distributed.run" in process.args else process.kill()
        process.wait()


def ended(process: subprocess.Popen) -> str:
    """What the process says until it ends."""
    return process.communicate(timeout=PATIENCE)[1]


def epochs_in(path: Path) -> list[int]:
    """The epochs of events.csv; none where there is no such file."""
    if not path.exists():
        return []
    with path.open() as file:
        return sorted({int(row["epoch"]) for row in csv.DictReader(file)})


def wait_for(process: subprocess.Popen, path: Path, epoch: int) -> None:
    """Until the event after `epoch` is in events.csv."""
    end = time.monotonic() + PATIENCE
    while epoch not in epochs_in(path):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.01)


def load(path: Path):
    return torch.load(path, weights_only=True)


def flat(value, name: str = "") -> dict[str, object]:
    """Everything in nested containers, by its place."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: leaf for k, v in pairs for key, leaf in flat(v, f"{name}/{k}").items()}
    return {name: value}


def same(a: object, b: object) -> bool:
    """Bit for bit; nan is like nan."""
    if not isinstance(a, torch.Tensor):
        return a == b
    return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()


def test_a_run_killed_between_two_events_and_resumed_has_the_weights_of_an_unbroken_one(train, tmp_path):
    whole = train("whole")
    ended(whole)
    assert whole.returncode == 0
    assert epochs_in(tmp_path / "whole/small/pruned/events.csv") == list(EVENTS)
    with (tmp_path / "whole/small/pruned/log.csv").open() as file:
        epoch_seconds = median(float(row["seconds"]) for row in csv.DictReader(file))

    folder = tmp_path / "cut/small/pruned"
    last_seen, pause = random.randrange(EVENTS[0] + 1, EVENTS[-1] - 3), random.uniform(0, epoch_seconds)
    moment = {"EVENTS": str(folder / "events.csv"), "EPOCH": str(last_seen), "PAUSE": str(pause)}
    cut = train("cut", launcher=("-c", KILLED), **moment)
    errors = ended(cut)
    assert cut.returncode == -signal.SIGKILL, errors
    state = load(folder / "checkpoint.pt")
    before = sorted({row["epoch"] for row in state["pruning"]["events"]})
    when = f"killed {pause:.3f} s after event {last_seen}"
    assert before == list(EVENTS[: len(before)]), when
    assert 0 < len(before) < len(EVENTS), when  # the masks change on both sides of the cut
    assert state["state"]["stage"] == "float" and state["state"]["epoch"] == before[-1] + 1, when
    assert not (folder / "model.pt").exists(), when
    assert not (tmp_path / "cut/small/stamps").exists(), when

    again = train("cut", "--resume")
    errors = ended(again)
    assert again.returncode == 0, errors
    lines = [line for line in errors.splitlines() if line.startswith("  float  epoch")]
    epochs = [int(line.split()[2]) for line in lines]
    assert epochs == list(range(before[-1] + 2, EPOCHS + 1)), when  # from the checkpoint on, not from the beginning
    one, other = flat(load(tmp_path / "whole/small/pruned/model.pt")), flat(load(folder / "model.pt"))
    assert one.keys() == other.keys() and len(one) > 30
    assert [key for key in one if not same(one[key], other[key])] == [], when
    assert (folder / "events.csv").read_text() == (tmp_path / "whole/small/pruned/events.csv").read_text(), when


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_rank_lost_ends_the_others_with_an_error_and_a_checkpoint(train, tmp_path, how):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    # a rank that hangs is noticed after this time, one that has died at once
    timeout = "20" if how == signal.SIGSTOP else "600"
    ranks = [train("net", RANK=str(rank), SCAFLOW_TIMEOUT=timeout, **address) for rank in (0, 1)]
    folder = tmp_path / "net/small/pruned"
    wait_for(ranks[0], folder / "events.csv", EVENTS[2])
    ranks[1].send_signal(how)
    errors = ended(ranks[0])
    assert ranks[0].returncode == 2, errors
    assert "error: rank 0 of 2: another rank has ended, or does not answer" in errors
    assert "start all ranks again with --resume" in errors and "Traceback" not in errors
    done = load(folder / "checkpoint.pt")["state"]["epoch"]
    assert EVENTS[2] <= done < EPOCHS and not (folder / "model.pt").exists()
    if how == signal.SIGSTOP:
        return

    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "-m")
    again = train("net", "--resume", launcher=launcher)
    errors = ended(again)
    assert again.returncode == 0, errors
    lines = [line for line in errors.splitlines() if line.startswith("  float  epoch")]
    assert [int(line.split()[2]) for line in lines] == list(range(done + 1, EPOCHS + 1))  # said once
    assert sum(int(mask.sum()) for mask in load(folder / "model.pt")["masks"]) == 12  # of 24
    assert epochs_in(folder / "events.csv") == list(EVENTS)
    assert not (folder / "checkpoint.pt").exists()
