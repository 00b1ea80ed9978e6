"""Threads of a training: as many as its work is worth and its processors allow, waiting without turning round."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from scaflow.model import threads
from scaflow.model.network import SpikingNetwork


@pytest.mark.parametrize(("set_before", "policy"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_the_command_lets_waiting_threads_sleep_before_torch_is_there(set_before, policy):
    """libgomp reads the policy as it is loaded, and OMP_DISPLAY_ENV makes it tell what it read."""
    script = "import scaflow.flow.cli, sys; assert 'torch' not in sys.modules; import torch"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OMP_")}
    environment |= {"OMP_DISPLAY_ENV": "VERBOSE"} | ({"OMP_WAIT_POLICY": set_before} if set_before else {})
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    told = [line.strip() for line in done.stderr.splitlines()]
    assert f"OMP_WAIT_POLICY = '{policy}'" in told
    if set_before is None:
        assert "GOMP_SPINCOUNT = '0'" in told


@pytest.mark.parametrize(
    ("products", "allowed", "expected"), [(threads.WORTH - 1, 2, 1), (threads.WORTH, 2, 2), (threads.WORTH, 1, 1)]
)
def test_small_steps_have_one_thread_and_none_has_more_than_processors(monkeypatch, products, allowed, expected):
    monkeypatch.setattr(threads, "processors", lambda: allowed)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
        seen = []
        monkeypatch.setattr(torch, "set_num_threads", seen.append)
        with threads.fitting(products):
            assert seen == [expected]
        assert seen == [expected, 2]
    finally:
        monkeypatch.undo()
        torch.set_num_threads(before)


def test_a_training_has_the_threads_of_its_work(monkeypatch, tmp_path, describe):
    from scaflow.model import train as training
    from scaflow.model.data import load_dataset

    seen, step = [], training.Run._epoch

    def watched(self, *arguments):
        seen.append(torch.get_num_threads())
        return step(self, *arguments)

    monkeypatch.setattr(training.Run, "_epoch", watched)
    monkeypatch.setattr(threads, "processors", lambda: 2)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        cfg = describe(train={"epochs": 1, "batch": 16, "validation": 1300, "train_images": 32})
        for worth, expected in ((10**18, 1), (1, 2)):
            monkeypatch.setattr(threads, "WORTH", worth)
            training.train(cfg, load_dataset("digits", tmp_path), tmp_path / str(worth), prune=False)
            assert seen.pop() == expected
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_work_counts_whole_vectors(describe):
    layers = [{"channels": 8}, {"channels": 20, "pool": 2}, {"kind": "linear", "channels": 6}]
    cfg = describe(dataset="digits", time_steps=2, layers=layers)
    by_hand = 16 * 9 * 16 * 64 + 16 * 9 * 32 * 64 + 320 * 16
    assert threads.work(cfg, SpikingNetwork(cfg).shapes, 10) == by_hand * 2 * 10


@pytest.mark.parametrize(
    ("membership", "files", "quotas"),
    [
        ("0::/a/b\n", {"v2/a/b/cpu.max": "150000 100000\n", "v2/a/cpu.max": "max 100000\n"}, [1.5]),
        ("0::/\n", {"v2/cpu.max": "50000 100000\n"}, [0.5]),
        ("0::/elsewhere\n", {"v2/cpu.max": "400000 100000\n"}, [4.0]),
        ("4:memory:/x\n3:cpu,cpuacct:/x\n", {"v1/x/cpu.cfs_quota_us": "200", "v1/x/cpu.cfs_period_us": "100"}, [2.0]),
        ("3:cpu:/x\n", {"v1/x/cpu.cfs_quota_us": "-1", "v1/x/cpu.cfs_period_us": "100"}, []),
        (None, {}, []),
    ],
)  # fmt: skip
def test_quotas_of_a_container(tmp_path, monkeypatch, membership, files, quotas):
    monkeypatch.setattr(threads, "_V2", tmp_path / "v2")
    monkeypatch.setattr(threads, "_V1", tmp_path / "v1")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    if membership is not None:
        (tmp_path / "cgroup").write_text(membership)
    assert list(threads._quotas(tmp_path / "cgroup")) == quotas


@pytest.mark.parametrize(("quotas", "expected"), [([], 4), ([1.5, 3.0], 2), ([0.2], 1), ([64.0], 4)])
def test_processors_are_those_allowed(monkeypatch, quotas, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(threads, "_quotas", lambda membership: iter(quotas))
    assert threads.processors() == expected
