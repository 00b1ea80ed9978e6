"""Training on a few hundred digits: exact continuation, selection, the files left behind."""

import copy
import csv
import io

import numpy as np
import pytest
import torch
from rich.console import Console

from scaflow.model import train as training
from scaflow.model.batches import augment
from scaflow.model.config import AUGMENTS
from scaflow.model.data import Dataset, load_dataset
from scaflow.model.network import SpikingNetwork
from scaflow.model.train import evaluate, load_trained, train

QUIET = Console(file=io.StringIO())


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return load_dataset("digits", tmp_path_factory.mktemp("data"))


class Cut(Exception):
    """Stands for the power failure."""


def cut_after(monkeypatch, epochs: int) -> None:
    """Stop the run when it begins the next epoch after `epochs` in all."""
    begin, count = training.Run._epoch, 0

    def counted(self, *args, **kwargs):
        nonlocal count
        count += 1
        if count > epochs:
            raise Cut
        return begin(self, *args, **kwargs)

    monkeypatch.setattr(training.Run, "_epoch", counted)


def rows(path):
    with path.open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def same(a, b) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("cut", [1, 3, 5])  # in the ramp, with the final mask, in fine-tuning
def test_resuming_equals_an_unbroken_run(describe, digits, tmp_path, monkeypatch, optimizer, cut):
    schedule = "cosine" if optimizer == "sgd" else "onecycle"
    cfg = describe(
        train={"optimizer": optimizer, "schedule": schedule, "finetune_epochs": 2, "augment": "shift-flip"}
    )
    options = {"prune": True, "fold": copy.deepcopy, "console": QUIET}
    whole = train(cfg, digits, tmp_path / "whole", **options)
    with monkeypatch.context() as patch, pytest.raises(Cut):
        cut_after(patch, cut)
        train(cfg, digits, tmp_path / "cut", **options)
    assert not (tmp_path / "cut" / "model.pt").exists()
    torch.manual_seed(12345)  # whatever state the new process has
    again = train(cfg, digits, tmp_path / "cut", resume=True, **options)
    assert same(torch.load(whole), torch.load(again))
    for name in ("log.csv", "events.csv"):
        assert rows(whole.parent / name) == rows(again.parent / name)
    assert len(rows(whole.parent / "log.csv")) == 6


def test_the_step_schedule_falls_tenfold_after_each_third(describe, digits, tmp_path):
    cfg = describe(train={"epochs": 6, "lr": 0.01, "schedule": "step", "optimizer": "sgd", "train_images": 256})
    train(cfg, digits, tmp_path, prune=False, console=QUIET)
    rates = [float(row["lr"]) for row in rows(tmp_path / "log.csv")]  # behind the last step of each epoch
    assert rates == pytest.approx([1e-2, 1e-3, 1e-3, 1e-4, 1e-4, 1e-4])


def test_l1_makes_convolutions_small_and_leaves_the_rest(describe, digits, tmp_path):
    sums = []
    for weight in (0.0, 0.01):
        cfg = describe(train={"epochs": 6, "weight_l1": weight, "lr": 0.02})
        state = torch.load(train(cfg, digits, tmp_path / str(weight), prune=False, console=QUIET))["network"]
        sums.append([state[name].abs().sum().item() for name in ("blocks.1.conv.weight", "readout.weight")])
    (conv, readout), (small, other) = sums
    assert small < 0.5 * conv and other > 0.5 * readout, sums


def test_resume_after_the_end_trains_nothing(describe, digits, tmp_path, monkeypatch):
    cfg = describe(train={"epochs": 1})
    first = train(cfg, digits, tmp_path, prune=False, console=QUIET)
    before = first.stat().st_mtime_ns
    cut_after(monkeypatch, 0)
    assert train(cfg, digits, tmp_path, prune=False, resume=True, console=QUIET) == first
    assert first.stat().st_mtime_ns == before


def test_lanes_are_no_reason_to_train_again(describe, digits, tmp_path, monkeypatch):
    first = train(describe(train={"epochs": 1}), digits, tmp_path, prune=False, console=QUIET)
    cut_after(monkeypatch, 0)
    other = describe(train={"epochs": 1}, fold={"lanes": 13}, sca={"keep": 0.7})
    assert train(other, digits, tmp_path, prune=False, resume=True, console=QUIET) == first
    with pytest.raises(Cut):
        train(other, digits, tmp_path, prune=False, console=QUIET)


def test_resume_refuses_another_configuration(describe, digits, tmp_path):
    train(describe(train={"epochs": 1}), digits, tmp_path, prune=False, console=QUIET)
    with pytest.raises(ValueError, match=r"model\.pt: made with another config"):
        train(describe(train={"epochs": 2}), digits, tmp_path, prune=False, resume=True, console=QUIET)


def test_learns_prunes_and_selects(describe, digits, tmp_path):
    """A short SCA run: learns, keeps half the channels, takes the model from the final mask's epochs."""
    cfg = describe(
        train={"epochs": 8, "train_images": 1000}, layers=[{"channels": 8}, {"channels": 16, "pool": 2}]
    )
    trained = load_trained(train(cfg, digits, tmp_path, prune=True, console=QUIET))
    assert sum(int(mask.sum()) for mask in trained.masks) == 12
    log, events = rows(tmp_path / "log.csv"), rows(tmp_path / "events.csv")
    final = [
        float(row["validation_accuracy"]) for row in log if int(row["kept"]) == 12 and int(row["epoch"]) >= 6
    ]
    assert trained.validation_accuracy == max(final) > 0.8
    assert len(events) == 6 * 2
    assert sum(int(row["kept"]) for row in events[-2:]) == 12
    assert sum(int(row["pruned"]) - int(row["regrown"]) for row in events) == 12
    net = SpikingNetwork(trained.cfg)
    net.load_state_dict(trained.network)
    assert [block.mask.sum() for block in net.blocks] == [mask.sum() for mask in trained.masks]
    assert evaluate(net, digits.test_images, digits.test_labels) > 0.8
    assert list(tmp_path.glob("events.out.tfevents*"))
    assert not (tmp_path / "checkpoint.pt").exists()
    assert not list(tmp_path.glob(".*"))


def test_only_epochs_with_the_final_mask_are_candidates(describe, digits, tmp_path, monkeypatch):
    figures = iter([0.9, 0.8, 0.7, 0.6, 0.5, 0.55, 0.54, 0.53])
    monkeypatch.setattr(training.Run, "validate", lambda *_: next(figures))
    cfg = describe(train={"epochs": 8}, sca={"ramp": 0.5, "freeze": 0.5})
    trained = load_trained(train(cfg, digits, tmp_path, prune=True, console=QUIET))
    assert trained.validation_accuracy == 0.55


def test_the_test_set_is_not_read(describe, digits, tmp_path):
    blind = Dataset(digits.train_images, digits.train_labels, None, None)
    train(describe(train={"epochs": 1}), blind, tmp_path, prune=False, console=QUIET)


def test_the_fold_is_kept_where_tuning_makes_it_worse(describe, digits, tmp_path):
    cfg = describe(train={"epochs": 3, "finetune_lr": 10.0, "optimizer": "sgd", "lr": 0.1})
    trained = load_trained(train(cfg, digits, tmp_path, prune=False, fold=copy.deepcopy, console=QUIET))
    assert same(trained.folded, trained.network)
    assert trained.folded_accuracy == trained.validation_accuracy


def test_a_diverging_run_says_so(describe, digits, tmp_path):
    with pytest.raises(ValueError, match=r"the loss is (nan|inf).*lower train\.lr"):
        cfg = describe(train={"lr": 1e30, "optimizer": "sgd", "schedule": "cosine"})
        train(cfg, digits, tmp_path, prune=False, console=QUIET)


def test_pruning_needs_two_epochs(describe, digits, tmp_path):
    with pytest.raises(ValueError, match="epochs=1: pruning needs"):
        train(describe(train={"epochs": 1}), digits, tmp_path, prune=True, console=QUIET)


def test_load_trained_refuses_other_files(tmp_path):
    with pytest.raises(ValueError, match="no such file; make it by `scaflow train`"):
        load_trained(tmp_path / "model.pt")
    (tmp_path / "model.pt").write_bytes(b"not a model")
    with pytest.raises(ValueError, match=r"model\.pt: damaged, or of another program: .*\n  train again"):
        load_trained(tmp_path / "model.pt")


def test_augmentation_moves_and_mirrors():
    images = torch.zeros(400, 1, 6, 6, dtype=torch.uint8)
    images[:, 0, 2, 3] = 7
    moved = augment(images, AUGMENTS["shift"], torch.Generator().manual_seed(0))
    places = moved.flatten(1).argmax(1)
    want = {(2 + dy) * 6 + 3 + dx for dy in range(-2, 3) for dx in range(-2, 3) if 3 + dx < 6}
    assert moved.max() == 7
    assert set(places.tolist()) == want
    flipped = augment(images, AUGMENTS["shift-flip"], torch.Generator().manual_seed(0))
    rows_, columns = np.divmod(flipped.flatten(1).argmax(1).numpy(), 6)
    assert set(columns) == {0, 1, 2, 3, 4, 5}
    assert set(rows_) == {0, 1, 2, 3, 4}
    assert augment(images, AUGMENTS["none"], torch.Generator()) is images


def test_evaluate_counts_and_restores_the_mode():
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Identity()).train()
    images = np.eye(4, dtype=np.uint8).reshape(4, 1, 2, 2) * 255
    assert evaluate(module, images, np.array([0, 1, 2, 0]), batch=3) == 0.75
    assert module.training
    assert evaluate(module, images * 0, np.array([0, 1, 0, 0])) == 0.75  # a tie goes to the lowest index
