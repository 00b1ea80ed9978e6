"""Data sets: what is refused, and how a split is made."""

import gzip
import hashlib
import struct

import numpy as np
import pytest

from scaflow.model import data
from scaflow.model.data import load_dataset, parse_idx, split


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A data set `mnist` of a few images, with its own checksums: (folder, file contents)."""
    rng = np.random.default_rng(0)
    contents = {}
    for part, count in (("train", 6), ("t10k", 3)):
        contents[f"{part}-images-idx3-ubyte"] = idx(rng.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        contents[f"{part}-labels-idx1-ubyte"] = idx(rng.integers(0, 10, count, dtype=np.uint8))
    sums = {name: "sha256:" + hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setitem(data.FILES, "mnist", sums)
    (tmp_path / "mnist").mkdir()
    return tmp_path, contents


@pytest.mark.parametrize("spelling", ["raw", "gz", "dotted", "dotted gz"])
def test_reads_every_spelling(tiny, spelling):
    root, contents = tiny
    for name, content in contents.items():
        if "dotted" in spelling:
            name = name.replace("-idx", ".idx")
        packed = gzip.compress(content) if "gz" in spelling else content
        (root / "mnist" / (name + (".gz" if "gz" in spelling else ""))).write_bytes(packed)
    got = load_dataset("mnist", root)
    assert got.train_images.shape == (6, 1, 28, 28)
    assert got.train_images.dtype == np.uint8
    assert got.test_labels.dtype == np.int64
    assert got.test_images.tobytes() == contents["t10k-images-idx3-ubyte"][16:]
    assert got.train_labels.tolist() == list(contents["train-labels-idx1-ubyte"][8:])


def test_all_bad_files_are_named_in_one_error(tiny):
    root, contents = tiny
    folder = root / "mnist"
    names = list(contents)
    (folder / names[0]).write_bytes(contents[names[0]][:-1] + b"\x00")  # one byte changed
    (folder / (names[1] + ".gz")).write_bytes(gzip.compress(contents[names[1]])[:-9])  # cut off
    (folder / names[2]).write_bytes(contents[names[2]])
    with pytest.raises(ValueError) as caught:
        load_dataset("mnist", root)
    text = str(caught.value)
    assert "3 file(s)" in text
    assert f"{folder / names[0]}: damaged: its unpacked contents have not the checksum sha256:" in text
    assert f"{folder / names[1]}.gz: damaged gzip file" in text
    assert names[2] not in text
    assert f"{folder / names[3]}: missing" in text
    assert "make data" in text and f"`scaflow data NET --data {root}`" in text
    assert str(folder) in text


def test_no_folder_at_all(tmp_path):
    with pytest.raises(ValueError, match=r"'fashion-mnist': 4 file\(s\)"):
        load_dataset("fashion-mnist", tmp_path)


def test_unknown_name(tmp_path):
    with pytest.raises(ValueError, match="use one of digits, mnist, fashion-mnist"):
        load_dataset("cifar", tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with nothing"),
        (b"\x89PNG....", "begins with 89504e47"),
        (b"\0\0\x08\x03\0\0", "no IDX file"),
        (idx(np.zeros((2, 3), np.uint8))[:-1], r"5 bytes of data where the header says \(2, 3\)"),
    ],
)
def test_what_is_no_idx_file(content, message):
    with pytest.raises(ValueError, match=message):
        parse_idx(content, "here")


def test_digits_are_built_in(tmp_path):
    got = load_dataset("digits", tmp_path)
    assert got.train_images.shape == (1437, 1, 8, 8)
    assert got.test_images.shape == (360, 1, 8, 8)
    assert set(np.unique(got.train_images)) == {v * 255 // 16 for v in range(17)}
    assert np.bincount(got.test_labels).min() > 20


def test_split_parts_the_training_set(tmp_path):
    digits = load_dataset("digits", tmp_path)
    one, again, other = split(digits, 300, 7), split(digits, 300, 7), split(digits, 300, 8)
    assert np.array_equal(one.validation_images, again.validation_images)
    assert not np.array_equal(one.validation_images, other.validation_images)
    assert len(one.validation_images) == 300
    both = np.concatenate([one.train_images, one.validation_images]).reshape(1437, -1)
    want = digits.train_images.reshape(1437, -1)
    assert sorted(map(bytes, both)) == sorted(map(bytes, want))


def test_split_leaves_something_to_learn(tmp_path):
    with pytest.raises(ValueError, match=r"train\.validation=1437 must leave some of the 1437"):
        split(load_dataset("digits", tmp_path), 1437, 0)


def test_a_file_that_may_not_be_read_is_named(tiny, monkeypatch):
    root, contents = tiny
    for name, content in contents.items():
        (root / "mnist" / name).write_bytes(content)

    def refusing(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(data.Path, "read_bytes", refusing)
    with pytest.raises(ValueError, match=r"4 file\(s\) cannot be used\n  .*: Permission denied"):
        load_dataset("mnist", root)
