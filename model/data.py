"""Sets of images, and of recordings in frames, as arrays; files are checked against what is known of them."""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scaflow.model.cifar import read_cifar10
from scaflow.model.config import NetworkConfig
from scaflow.model.folder import read_folder

# Checksums of the unpacked IDX files: packers differ between sources, the contents do not.
FILES: dict[str, dict[str, str]] = {
    "mnist": {
        "train-images-idx3-ubyte": "sha256:ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "sha256:65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "sha256:0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "sha256:ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte": "md5:f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "md5:9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "md5:8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "md5:15d484375f8d13e6eb1aabb0c3f46965",
    },
}

DIGITS_TEST = 360


@dataclass(frozen=True)
class Dataset:
    """Images uint8 [N, C, H, W], labels int64 [N]; or recordings [N, T, C, H, W], zeros behind their lengths [N]."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    train_lengths: np.ndarray | None = None
    test_lengths: np.ndarray | None = None


@dataclass(frozen=True)
class Split:
    """The training set in two: what is learnt from, and what selects the model. Arrays as in Dataset."""

    train_images: np.ndarray
    train_labels: np.ndarray
    validation_images: np.ndarray
    validation_labels: np.ndarray
    train_lengths: np.ndarray | None = None
    validation_lengths: np.ndarray | None = None


def dataset_of(
    cfg: NetworkConfig, root: Path, say: Callable[[str], None] = lambda line: None, few: int | None = None
) -> Dataset:
    """The images or recordings of a network, from the data folder `root`.

    Args:
        say: is told what of a folder of one's own is not among the images.
        few: so many training recordings are enough; None: all. Images come all in any case.

    Raises:
        ValueError: missing or damaged files, or images that are not as [data] says: all are listed.
    """
    if cfg.frames:
        from scaflow.model.events.dataset import recordings_of  # which reads images by this file

        return recordings_of(cfg, root, say, few)
    return Dataset(*read_folder(root, cfg.data, say)) if cfg.data else load_dataset(cfg.dataset, root)


def load_dataset(name: str, root: Path) -> Dataset:
    """`digits` (built in), `mnist` / `fashion-mnist` (IDX files, raw or .gz) or `cifar10` under `root/name`.

    Raises:
        ValueError: unknown name, or missing or damaged files: all are listed, with the ways to get them.
    """
    if name == "digits":
        return _digits()
    if name == "cifar10":
        return Dataset(*read_cifar10(root))
    if name not in FILES:
        raise ValueError(f"data set {name!r} is unknown; use one of digits, {', '.join(FILES)}, cifar10")
    folder = Path(root) / name
    contents, problems = {}, []
    for file, expected in FILES[name].items():
        try:
            contents[file] = _read_checked(folder, file, expected)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError(
            f"data set {name!r}: {len(problems)} file(s) cannot be used\n"
            + "".join(f"  {problem}\n" for problem in problems)
            + f"Get them by `make data` (or `scaflow data NET --data {root}`), or put the four standard "
            f"IDX files, raw or .gz, into {folder}/"
        )
    train_images, train_labels, test_images, test_labels = (
        parse_idx(contents[file], str(folder / file)) for file in FILES[name]
    )
    return Dataset(
        train_images[:, None],
        train_labels.astype(np.int64),
        test_images[:, None],
        test_labels.astype(np.int64),
    )


def split(dataset: Dataset, validation: int, seed: int) -> Split:
    """Hold out `validation` training images, drawn by the seed; the test set is not touched.

    Raises:
        ValueError: `validation` leaves nothing to train on.
    """
    total = len(dataset.train_images)
    if not 0 < validation < total:
        raise ValueError(
            f"train.validation={validation} must leave some of the {total} training images; lower it"
        )
    order = np.random.default_rng(seed).permutation(total)
    held, kept = np.sort(order[:validation]), np.sort(order[validation:])
    images, labels, lengths = dataset.train_images, dataset.train_labels, dataset.train_lengths
    if lengths is None:
        return Split(images[kept], labels[kept], images[held], labels[held])
    return Split(images[kept], labels[kept], images[held], labels[held], lengths[kept], lengths[held])


def spellings(file: str) -> list[str]:
    """The names a standard IDX file goes by: with a dash or a dot before idx, raw or .gz."""
    dotted = file.replace("-idx", ".idx")
    return [file, file + ".gz", dotted, dotted + ".gz"]


def check(content: bytes, expected: str) -> bool:
    """Does the content have the checksum `algorithm:hexdigest`?"""
    algorithm, digest = expected.split(":")
    return hashlib.new(algorithm, content, usedforsecurity=False).hexdigest() == digest


def unpack(content: bytes, where: str) -> bytes:
    """The content, decompressed if it is gzip."""
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{where}: damaged gzip file: {error}") from None


def parse_idx(content: bytes, where: str) -> np.ndarray:
    """The uint8 array of an IDX file.

    Raises:
        ValueError: the header is not that of unsigned bytes, or disagrees with the length.
    """
    if len(content) < 4 or content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise ValueError(
            f"{where}: no IDX file of unsigned bytes (begins with {content[:4].hex() or 'nothing'})"
        )
    shape = struct.unpack_from(f">{content[3]}I", content, 4)
    body = np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).copy()  # writable
    if body.size != np.prod(shape, dtype=np.int64):
        raise ValueError(f"{where}: {body.size} bytes of data where the header says {shape}")
    return body.reshape(shape)


def _read_checked(folder: Path, file: str, expected: str) -> bytes:
    for spelling in spellings(file):
        path = folder / spelling
        try:
            content = path.read_bytes() if path.is_file() else None
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror}") from None
        if content is not None:
            content = unpack(content, str(path))
            if not check(content, expected):
                raise ValueError(f"{path}: damaged: its unpacked contents have not the checksum {expected}")
            return content
    raise ValueError(f"{folder / file}: missing (also looked for {', '.join(spellings(file)[1:])})")


def _digits() -> Dataset:
    from sklearn.datasets import load_digits  # a slow import that only this set needs

    bunch = load_digits()
    images = (bunch.images.astype(np.int64) * 255 // 16).astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(images))
    test, train = order[:DIGITS_TEST], order[DIGITS_TEST:]
    return Dataset(images[train], labels[train], images[test], labels[test])
