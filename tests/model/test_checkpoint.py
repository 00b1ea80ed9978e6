"""Checkpoints and models that cannot be read: the last good one is gone back to, or one message says why not."""

from __future__ import annotations

import errno
import os
import pickle

import pytest
import torch

from scaflow.model import checkpoint
from scaflow.model.checkpoint import (
    CHECKPOINT,
    MODEL,
    PREVIOUS,
    beginning,
    load_trained,
    write_checkpoint,
    write_tensors,
)
from scaflow.model.config import load_network
from scaflow.model.data import load_dataset
from scaflow.model.train import train

IDENTITY = {"config": {"name": "x", "fold": 1, "sca": 2}, "prune": False, "fold": False}


def content(epoch: int) -> dict:
    state = {"stage": "float", "epoch": epoch, "best": {}, "best_weights": {}, "log": []}
    rest = {"pruning": None, "module": {"w": torch.arange(epoch * 1000.0)}, "optimizer": {}, "scheduler": {}}
    return {**IDENTITY, "state": state, **rest, "rng": torch.get_rng_state()}


@pytest.fixture
def out(tmp_path):
    """A folder with the checkpoints after epochs 1 and 2."""
    for epoch in (1, 2):
        write_checkpoint(tmp_path, content(epoch))
    return tmp_path


def zip_with_a_hole(good: bytes) -> bytes:
    return good[: len(good) // 3] + bytes(len(good) // 3) + good[2 * (len(good) // 3) :]


UNREADABLE = {
    "empty": lambda good: b"",
    "cut off": lambda good: good[: len(good) // 2],
    "its end cut off": lambda good: good[:-1],
    "zeros": lambda good: bytes(len(good)),
    "a hole": zip_with_a_hole,
    "text": lambda good: b"no checkpoint\n",
    "a foreign pickle": lambda good: pickle.dumps(os.getcwd),
}
FOREIGN = {
    "weights of another program": {"state_dict": {}},
    "a tensor": torch.zeros(3),
    "a list": [1, 2],
    "lacks an entry": {key: value for key, value in content(1).items() if key != "rng"},
    "lacks an entry inside": {**content(1), "state": {"stage": "float"}},
    "has another type inside": {**content(1), "config": 3},
}


def test_the_checkpoint_before_is_kept(out):
    assert [beginning(out, IDENTITY, True, None).saved["state"]["epoch"]] == [2]
    assert torch.load(out / PREVIOUS)["state"]["epoch"] == 1
    assert sorted(path.name for path in out.iterdir()) == sorted([CHECKPOINT, PREVIOUS])


@pytest.mark.parametrize("how", UNREADABLE)
def test_a_damaged_checkpoint_gives_way_to_the_one_before_and_says_so(out, how):
    path = out / CHECKPOINT
    path.write_bytes(UNREADABLE[how](path.read_bytes()))
    begin = beginning(out, IDENTITY, True, None)
    assert begin.saved["state"]["epoch"] == 1
    assert begin.notice.startswith(f"{path}: damaged")
    assert f"going on from {PREVIOUS}, after epoch 1" in begin.notice
    write_checkpoint(out, content(2))  # the damaged one does not push the good one out
    path.write_bytes(b"")
    assert beginning(out, IDENTITY, True, None).saved["state"]["epoch"] == 1


@pytest.mark.parametrize("how", UNREADABLE)
def test_without_one_before_it_is_refused_with_a_remedy(out, how):
    (out / PREVIOUS).unlink()
    path = out / CHECKPOINT
    path.write_bytes(UNREADABLE[how](path.read_bytes()))
    with pytest.raises(ValueError, match=r"checkpoint\.pt: damaged, .+: .+\n  remove it, or train without --resume"):
        beginning(out, IDENTITY, True, None)


def test_both_damaged_are_refused(out):
    for name in (CHECKPOINT, PREVIOUS):
        (out / name).write_bytes(b"")
    told = r"checkpoint-previous\.pt: damaged.*it is empty\n.*checkpoint\.pt is damaged too"
    with pytest.raises(ValueError, match=told):
        beginning(out, IDENTITY, True, None)


@pytest.mark.parametrize("what", FOREIGN)
def test_one_of_another_program_is_refused_and_left_alone(out, what):
    torch.save(FOREIGN[what], out / CHECKPOINT)
    before = (out / CHECKPOINT).read_bytes()
    with pytest.raises(ValueError, match=r"checkpoint\.pt: damaged, or of another program: it holds no "):
        beginning(out, IDENTITY, True, None)
    assert (out / CHECKPOINT).read_bytes() == before


def test_a_folder_in_its_place_is_an_error_of_the_system_with_its_path(out):
    (out / CHECKPOINT).unlink()
    (out / CHECKPOINT).mkdir()
    with pytest.raises(IsADirectoryError) as told:
        beginning(out, IDENTITY, True, None)
    assert told.value.filename == str(out / CHECKPOINT)


def test_a_kill_between_the_two_renames_loses_one_epoch(out):
    (out / CHECKPOINT).unlink()
    begin = beginning(out, IDENTITY, True, None)
    assert begin.saved["state"]["epoch"] == 1 and "no such file" in begin.notice


def test_a_full_disk_keeps_both(out, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError) as told:
        write_checkpoint(out, content(3))
    assert told.value.filename == str(out / CHECKPOINT)
    assert beginning(out, IDENTITY, True, None).saved["state"]["epoch"] == 2
    assert sorted(path.name for path in out.iterdir()) == sorted([CHECKPOINT, PREVIOUS])


@pytest.mark.parametrize("how", UNREADABLE)
def test_a_damaged_beginning_of_a_run_is_refused(out, how):
    path = out / CHECKPOINT
    path.write_bytes(UNREADABLE[how](path.read_bytes()))
    with pytest.raises(ValueError, match=r"checkpoint\.pt: damaged.*\n  remove its folder"):
        beginning(out / "pruned", IDENTITY, True, path)


@pytest.mark.parametrize("how", UNREADABLE)
def test_a_damaged_model_is_refused(tmp_path, how):
    path = tmp_path / MODEL
    write_tensors(path, content(1))
    path.write_bytes(UNREADABLE[how](path.read_bytes()))
    with pytest.raises(ValueError, match=r"model\.pt: damaged.*\n  train again: `scaflow train`"):
        load_trained(path)
    with pytest.raises(ValueError, match=r"model\.pt: damaged.*\n  remove it"):
        beginning(tmp_path, IDENTITY, True, None)


def test_a_training_goes_on_from_the_one_before_to_the_same_end(tmp_path, monkeypatch):
    (tmp_path / "net.toml").write_text(
        'name = "x"\ndataset = "digits"\ntime_steps = 2\nlayers = [{ channels = 4, pool = 2 }]\n'
        "[train]\nepochs = 3\nbatch = 64\nvalidation = 200\ntrain_images = 300\n[sca]\nkeep = 0.5\n"
    )
    cfg, data = load_network(tmp_path / "net.toml"), load_dataset("digits", tmp_path)
    whole = torch.load(train(cfg, data, tmp_path / "whole", prune=False))
    train(cfg, data, tmp_path / "cut", prune=False, until=2)
    path = tmp_path / "cut" / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-100])
    again = torch.load(train(cfg, data, tmp_path / "cut", prune=False, resume=True))
    assert all(torch.equal(whole["network"][key], again["network"][key]) for key in whole["network"])
    assert not path.exists() and not (tmp_path / "cut" / PREVIOUS).exists()

    train(cfg, data, tmp_path / "cut", prune=False, until=1)
    state = torch.load(path)
    state["module"] = {"of": torch.zeros(1)}  # readable, but of another version of the program
    checkpoint.write_tensors(path, state)
    with pytest.raises(ValueError, match=r"checkpoint\.pt: damaged, or of another program: it does not fit"):
        train(cfg, data, tmp_path / "cut", prune=False, resume=True)
