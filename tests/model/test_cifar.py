"""CIFAR-10: the published formats give the same arrays, and a pickle is no way to run code."""

import hashlib
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from scaflow.model import cifar, fetch
from scaflow.model.cifar import read_cifar10

COUNT = 4  # records of a file here
NAMES = [*cifar.TRAIN, *cifar.TEST]


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(cifar, "RECORDS", COUNT)


def batch(i: int) -> tuple[np.ndarray, list[int]]:
    rng = np.random.default_rng(i)
    return rng.integers(0, 256, (COUNT, 3072), dtype=np.uint8), rng.integers(0, 10, COUNT).tolist()


def files(form: str) -> dict[str, bytes]:
    contents = {}
    for i, name in enumerate(NAMES):
        data, labels = batch(i)
        if form == "binary":
            records = (bytes([label]) + row.tobytes() for label, row in zip(labels, data, strict=True))
            contents[f"{name}.bin"] = b"".join(records)
        else:
            content = {"batch_label": "x", "labels": labels, "data": data, "filenames": ["a.png"] * COUNT}
            contents[name] = pickle.dumps(content, protocol=2)
    return contents


def place(root: Path, form: str, packed: bool, contents: dict[str, bytes] | None = None) -> Path:
    contents = contents or files(form)
    home = root / "cifar10"
    home.mkdir()
    folder = "cifar-10-batches-bin" if form == "binary" else "cifar-10-batches-py"
    if not packed:
        (home / folder).mkdir()
        for name, content in contents.items():
            (home / folder / name).write_bytes(content)
        return home / folder
    path = home / f"cifar-10-{form}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {"readme.html": b"<html>", **contents}.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "tar.gz"])
@pytest.mark.parametrize("form", ["binary", "python"])
def test_formats(tmp_path, form, packed):
    place(tmp_path, form, packed)
    train, labels, test, test_labels = read_cifar10(tmp_path)
    assert train.shape == (5 * COUNT, 3, 32, 32)
    assert test.shape == (COUNT, 3, 32, 32)
    assert (train.dtype, labels.dtype) == (np.uint8, np.int64)
    for i in range(5):
        data, expected = batch(i)
        part = slice(i * COUNT, (i + 1) * COUNT)
        assert labels[part].tolist() == expected
        for image, row in zip(train[part], data, strict=True):  # 1024 red, 1024 green, 1024 blue, row by row
            assert image[1, 0, 2] == row[1024 + 2]
            assert image[2, 31, 0] == row[2048 + 31 * 32]
            assert image.tobytes() == row.tobytes()
    assert test.tobytes() == batch(5)[0].tobytes()
    assert test_labels.tolist() == batch(5)[1]


def test_all_bad_files_are_named(tmp_path):
    contents = files("binary")
    del contents["data_batch_2.bin"]
    contents["data_batch_3.bin"] = contents["data_batch_3.bin"][:-1]
    contents["test_batch.bin"] = b"\x0a" + contents["test_batch.bin"][1:]
    place(tmp_path, "binary", False, contents)
    with pytest.raises(ValueError) as refused:
        read_cifar10(tmp_path)
    text = str(refused.value)
    assert "3 file(s) cannot be used" in text
    assert "data_batch_2.bin: missing" in text
    assert "data_batch_3.bin: 12291 bytes where 4 records of 3073 are expected" in text
    assert "test_batch.bin: labels from" in text


def test_a_cut_archive(tmp_path):
    path = place(tmp_path, "python", True)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(ValueError, match="damaged archive"):
        read_cifar10(tmp_path)


def test_none_there(tmp_path):
    with pytest.raises(ValueError, match=r"'cifar10' is not in .*cifar-10-binary.tar.gz or cifar-10-python.tar.gz"):
        read_cifar10(tmp_path)


class _Runs:
    def __reduce__(self):
        return Path.touch, (Path("ran"),)


@pytest.mark.parametrize(
    "content",
    [
        {"data": _Runs(), "labels": [0] * COUNT},
        {"data": batch(0)[0], "labels": np.array([0] * COUNT)},
        {"data": batch(0)[0].astype(np.int64), "labels": [0] * COUNT},
        {"data": batch(0)[0]},
        ["data"],
    ],
    ids=["code", "labels", "type", "key", "list"],
)
def test_a_pickle_is_arrays_and_lists(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    contents = files("python")
    contents["data_batch_1"] = pickle.dumps(content, protocol=2)
    place(tmp_path, "python", False, contents)
    with pytest.raises(ValueError, match=r"1 file\(s\) cannot be used\n  data_batch_1: "):
        read_cifar10(tmp_path)
    assert not Path("ran").exists()


def test_fetch_brings_the_archive_verified(tmp_path, monkeypatch):
    source = place(tmp_path, "binary", True)
    monkeypatch.setattr(fetch, "CIFAR10_URL", source.as_uri())
    root = tmp_path / "data"
    with pytest.raises(ValueError, match=r"has not the checksum md5:(.|\n)*by hand"):
        fetch.fetch("cifar10", root, lambda _: None)
    assert not root.exists()

    monkeypatch.setattr(fetch, "CIFAR10_CHECKSUM", "sha256:" + hashlib.sha256(source.read_bytes()).hexdigest())
    said = []
    assert fetch.fetch("cifar10", root, said.append) == root / "cifar10"
    assert read_cifar10(root)[0].shape == (5 * COUNT, 3, 32, 32)
    fetch.fetch("cifar10", root, said.append)
    assert "already there" in said[-1]
