"""Labelled recordings as what a network learns from: frames, lengths, labels; kept, and gone on with where cut off."""

import numpy as np
import pytest
import torch

from scaflow.model.batches import Images
from scaflow.model.config import AUGMENTS
from scaflow.model.data import Dataset, dataset_of
from scaflow.model.events import dataset
from scaflow.model.events.binning import binned
from scaflow.model.events.folder import opened_set
from scaflow.model.network import SpikingNetwork
from scaflow.model.run import count_right
from scaflow.model.teacher import Teacher

FRAMES = {"kind": "frames", "bin_us": 1000, "frames": 4, "bits": 2}
SET = {"path": "set", "shape": [2, 6, 8], "classes": 2}


@pytest.fixture(autouse=True)
def _kept_here(tmp_path, monkeypatch):
    monkeypatch.setenv("SCAFLOW_BUILD", str(tmp_path / "build"))


@pytest.fixture
def root(tmp_path):
    """A data folder with `set`: two classes, 3 recordings each to learn from and 1 to test, of 1 to 4 frames."""
    rng = np.random.default_rng(0)
    for label in "ab":
        for i in range(4):
            folder = tmp_path / "data/set" / ("test" if i == 3 else "train") / label
            folder.mkdir(parents=True, exist_ok=True)
            t = np.sort(rng.integers(0, 1000 * (1 + i), 60))
            t[0], t[-1] = 0, 1000 * (1 + i) - 1
            x, y, p = (rng.integers(0, most, 60) for most in (8, 6, 2))
            np.savez(folder / f"{i}.npz", t=t, x=x, y=y, p=p)
    return tmp_path / "data"


def folder_network(describe, **changes):
    return describe(dataset="folder", data=SET, input=FRAMES | changes, time_steps=1)


def test_a_folder_of_recordings(describe, root):
    cfg = folder_network(describe)
    found = dataset_of(cfg, root)
    assert found.train_images.shape == (6, 4, 2, 6, 8) and found.test_images.shape == (2, 4, 2, 6, 8)
    assert found.train_lengths.tolist() == [1, 2, 3, 1, 2, 3] and found.test_lengths.tolist() == [4, 4]
    assert found.train_labels.tolist() == [0, 0, 0, 1, 1, 1] and found.test_labels.tolist() == [0, 1]
    with opened_set(root / "set", (8, 6)) as recordings:
        for entry, frames, length in zip(
            recordings.of("train"), found.train_images, found.train_lengths, strict=True
        ):
            counts = binned(recordings.read(entry), cfg.input.binning).counts
            assert (frames[:length] == counts).all() and not frames[length:].any()


def test_all_recordings_of_a_set_for_a_network(describe, root):
    cfg = folder_network(describe)
    with dataset.recorded_in(cfg, root / "set", sensor=(8, 6)) as found:
        assert (len(found), found.classes) == (8, ("a", "b"))
        frames = dataset.framed(cfg, found)
        assert frames.lengths.tolist() == [len(binned(found.read(i), cfg.input.binning).counts) for i in range(8)]
    assert sorted(frames.lengths.tolist()) == [1, 1, 2, 2, 3, 3, 4, 4]


def test_few_recordings_are_the_first_ones(describe, mnist, root):
    for cfg in (folder_network(describe), nmnist_network(describe)):
        whole, few = dataset_of(cfg, root), dataset_of(cfg, root, few=2)
        assert (few.train_images == whole.train_images[:2]).all() and few.train_labels.shape == (2,)
        assert (few.test_images == whole.test_images).all()


@pytest.mark.parametrize(
    ("changes", "given", "said"),
    [
        ({"frames": 3}, {}, "4 frames, and input.frames=3"),
        ({}, {"shape": [2, 5, 8]}, "the sensor has 8 columns and 5 rows"),
        ({}, {"classes": 3}, "2 classes where the network tells 3"),
    ],
)
def test_what_does_not_fit_is_told(describe, root, changes, given, said):
    cfg = describe(dataset="folder", data=SET | given, input=FRAMES | changes, time_steps=1)
    with pytest.raises(ValueError, match=said):
        dataset_of(cfg, root)


@pytest.fixture
def mnist(monkeypatch):
    rng = np.random.default_rng(1)
    images = (rng.random((1012, 1, 28, 28)) < 0.05).astype(np.uint8) * 255
    labels = np.arange(1012) // 3 % 10
    few = Dataset(images, labels, images[:3], labels[:3])
    monkeypatch.setattr(dataset, "load_dataset", lambda name, root: few)
    return few


def nmnist_network(describe, **changes):
    seen = {"kind": "frames", "bin_us": 80_000, "frames": 4} | changes
    train = {"epochs": 1, "train_images": 7, "validation": 3}
    return describe(dataset="nmnist", input=seen, time_steps=1, train=train)


def test_simulated_recordings(describe, mnist, tmp_path):
    """Of the training images behind the recorded ones, and of the first test ones."""
    said = []
    found = dataset_of(nmnist_network(describe), tmp_path, said.append)
    assert found.train_images.shape == (10, 4, 2, 34, 34) and found.test_images.shape == (3, 4, 2, 34, 34)
    assert found.train_labels.tolist() == mnist.train_labels[1000:1010].tolist()
    assert (found.train_lengths == 4).all() and found.train_images.any((0, 2, 3, 4)).all()
    assert "simulated" in said[0]


def test_the_test_set_is_real_where_there_are_real_recordings(describe, mnist, root):
    folder = root / "nmnist/Train"
    for label in range(10):
        (folder / str(label)).mkdir(parents=True)
        (folder / f"{label}/00001.bin").write_bytes(bytes([label, 33, 0x80, 0, 9]))
    found = dataset_of(nmnist_network(describe), root)
    assert found.test_labels.tolist() == list(range(10)) and found.test_lengths.tolist() == [1] * 10
    assert np.argwhere(found.test_images)[:, [0, 3, 4]].tolist() == [[label, 33, label] for label in range(10)]


def test_what_was_made_is_kept_and_gone_on_with(describe, mnist, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "EACH", 4)
    made, simulated = [], dataset.saccades.simulated

    def counting(image, seed):
        if len(made) == 6 and cut:
            raise KeyboardInterrupt
        made.append(seed)
        return simulated(image, seed)

    monkeypatch.setattr(dataset.saccades, "simulated", counting)
    cut = True
    with pytest.raises(KeyboardInterrupt):
        dataset_of(nmnist_network(describe), tmp_path)
    cut = False
    whole = dataset_of(nmnist_network(describe), tmp_path)
    assert sorted(set(made[6:]) & set(made[:6])) == made[4:6]  # of the file that was begun, and no other
    count = len(made)
    again = dataset_of(nmnist_network(describe), tmp_path)
    assert len(made) == count and (again.train_images == whole.train_images).all()
    dataset_of(nmnist_network(describe, bits=2), tmp_path)
    assert len(made) == count + 13  # other settings are other frames
    for path in (tmp_path / "build/data").glob("*.npz"):
        path.write_bytes(path.read_bytes()[:100])
    assert (dataset_of(nmnist_network(describe), tmp_path).train_images == whole.train_images).all()


def test_batches_of_recordings(describe, root):
    """Counts over their largest value; a recording's frames move as one; lengths follow the recordings."""
    cfg = describe(
        dataset="folder", data=SET, input=FRAMES, time_steps=1,
        train={"epochs": 1, "batch": 2, "validation": 2, "train_images": 4, "augment": {"crop": 1}},
    )  # fmt: skip
    images = Images.of(cfg, dataset_of(cfg, root))
    assert images.train.shape == (4, 4, 2, 6, 8) and images.validation_lengths.shape == (2,)
    for batch, labels, chosen in images.batches(cfg, "float", 0):
        assert batch.shape == (2, 4, 2, 6, 8) and set((3 * batch).unique().tolist()) <= {0, 1, 2, 3}
        assert (images.train_labels[chosen] == labels).all()
        for moved, place in zip(batch, chosen.tolist(), strict=True):
            still = images.train[place].float() / 3
            padded = np.pad(still.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, (6, 8), (2, 3))
            assert any((windows[:, :, i, j] == moved.numpy()).all() for i in range(3) for j in range(3))
            assert (still.any(-1).any(-1).any(-1).nonzero().max() < images.lengths(chosen)).any()


def test_what_lies_behind_a_recordings_end_is_not_judged(describe):
    """By validation, and by the dense network whose answers are learnt."""
    shape = SET | {"shape": [2, 9, 9]}
    cfg = describe(dataset="folder", data=shape, input=FRAMES, time_steps=1)
    torch.manual_seed(0)
    net = SpikingNetwork(cfg).eval()
    for block in net.blocks:
        block.bn.bias.data += 0.5
    rng = np.random.default_rng(2)
    frames = torch.from_numpy(rng.integers(0, 4, (60, 4, 2, 9, 9)).astype(np.uint8))
    lengths = torch.from_numpy(rng.integers(1, 4, 60))
    other = frames.clone()
    for recording, length in zip(other, lengths.tolist(), strict=True):
        recording[length:] = 0
    with torch.no_grad():
        labels = net(frames.float() / 3, lengths).argmax(1)
    assert count_right(net, other, labels, lengths, 3, batch=25) == 60 > count_right(net, other, labels, None, 3)
    none, moved = AUGMENTS["none"], AUGMENTS["shift"]
    tables = [Teacher(net, seen, none, 2.0, lengths).table for seen in (frames, other)]
    assert torch.equal(*tables) and not torch.equal(tables[0], Teacher(net, other, none, 2.0).table)
    asked = Teacher(net, frames, moved, 2.0)
    logits, chosen = torch.zeros(60, 2), torch.arange(60)
    losses = [asked.loss(logits, seen.float() / 3, chosen, lengths) for seen in (frames, other)]
    assert losses[0] == losses[1] != asked.loss(logits, other.float() / 3, chosen)
