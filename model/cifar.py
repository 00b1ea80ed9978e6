"""CIFAR-10 in its two published formats, binary and Python, as a folder or as the .tar.gz it comes in."""

from __future__ import annotations

import pickle
import tarfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
TEST = ("test_batch",)
RECORDS = 10_000  # of a file
SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32
FOLDERS = {"cifar-10-batches-bin": ".bin", "cifar-10-batches-py": ""}  # name of the folder: suffix of its files
ARCHIVES = {"cifar-10-binary.tar.gz": ".bin", "cifar-10-python.tar.gz": ""}
_LARGEST = 2 * RECORDS * PIXELS  # bytes of a file that is still read into memory


def places(root: Path) -> dict[Path, str]:
    """Where the set may be, best first, with the suffix of its files there."""
    places: dict[Path, str] = {}
    for base in (Path(root) / "cifar10", Path(root)):
        places |= {base: ".bin"} if (base / f"{TEST[0]}.bin").is_file() else {base: ""}
        places |= {base / name: suffix for name, suffix in (FOLDERS | ARCHIVES).items()}
    return places


def find(root: Path) -> tuple[Path, str] | None:
    """The folder or archive of the set and the suffix of its files; None: there is none.

    Raises:
        ValueError: a place cannot be looked at.
    """
    try:
        for place, suffix in places(root).items():
            if place.is_file() or any((place / (name + suffix)).is_file() for name in TRAIN + TEST):
                return place, suffix
    except OSError as error:
        raise ValueError(f"data set 'cifar10': {error.filename}: {error.strerror}") from None
    return None


def read_cifar10(root: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(train images, train labels, test images, test labels): uint8 [N, 3, 32, 32], int64 [N].

    Raises:
        ValueError: the set is missing or damaged: all files that cannot be used are listed.
    """
    found = find(root)
    if found is None:
        raise ValueError(
            f"data set 'cifar10' is not in {Path(root) / 'cifar10'}; get it by `scaflow data NET --data {root}`, or"
            f" put {' or '.join(ARCHIVES)}, or the folder {' or '.join(FOLDERS)}, there"
        )
    place, suffix = found
    read = _from_archive(place, suffix) if place.is_file() else lambda file: (place / file).read_bytes()
    batches, problems = {}, []
    for name in TRAIN + TEST:
        file = name + suffix
        try:
            batches[name] = _binary(read(file)) if suffix else _python(read(file))
        except FileNotFoundError:
            problems.append(f"{file}: missing")
        except OSError as error:
            problems.append(f"{file}: {error.strerror or error}")
        except ValueError as error:
            problems.append(f"{file}: {error}")
    if problems:
        raise ValueError(
            f"{place}: {len(problems)} file(s) cannot be used\n"
            + "".join(f"  {problem}\n" for problem in problems)
            + "Remove it and get the set again"
        )
    images, labels = (np.concatenate([batches[name][i] for name in TRAIN]) for i in range(2))
    return images, labels, *batches[TEST[0]]


def _from_archive(path: Path, suffix: str) -> Callable[[str], bytes]:
    """The files of a .tar.gz by their names, read in one pass; no file is written."""
    wanted = {name + suffix for name in TRAIN + TEST}
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if member.isfile() and name in wanted and member.size <= _LARGEST:
                    held = archive.extractfile(member)
                    contents[name] = held.read() if held is not None else b""  # always there, of a file
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path}: damaged archive ({error}); remove it and get the set again") from None

    def read(name: str) -> bytes:
        if name not in contents:
            raise FileNotFoundError(name)
        return contents[name]

    return read


def _binary(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Records of a label and 3072 pixels, red, green, blue, each row by row."""
    if len(content) != RECORDS * (1 + PIXELS):
        raise ValueError(f"{len(content)} bytes where {RECORDS} records of {1 + PIXELS} are expected")
    records = np.frombuffer(content, np.uint8).reshape(RECORDS, 1 + PIXELS)
    return _checked(records[:, 1:], records[:, 0])


def _python(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """A pickled dictionary: `data` uint8 [N, 3072] and `labels`, a list."""
    try:
        batch = _ArraysOnly(BytesIO(content), encoding="bytes").load()
        data, labels = (batch.get(key, batch.get(key.encode())) for key in ("data", "labels"))
    except Exception as error:  # a damaged pickle can raise anything
        raise ValueError(f"no pickled batch ({error})") from None
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape != (RECORDS, PIXELS):
        raise ValueError(f"`data` is no uint8 array of {[RECORDS, PIXELS]}")
    if not isinstance(labels, list) or len(labels) != RECORDS or not all(type(label) is int for label in labels):
        raise ValueError(f"`labels` is no list of {RECORDS} whole numbers")
    return _checked(data, np.array(labels))


def _checked(data: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if labels.min() < 0 or labels.max() > 9:
        raise ValueError(f"labels from {labels.min()} to {labels.max()} where 0 to 9 are expected")
    return data.reshape(-1, *SHAPE), labels.astype(np.int64)


def _bytes(text: str, encoding: str | bytes) -> bytes:
    """`_codecs.encode` as pickles of protocol 2 use it to write bytes; no other codec is run."""
    if encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError(f"bytes in {encoding!r}")
    return text.encode("latin1")


_RECONSTRUCT = np.empty(0).__reduce__()[0]  # numpy's own, wherever it keeps it


class _ArraysOnly(pickle.Unpickler):
    """Unpickles numpy arrays and what Python has built in, and no other object: a pickle can run any code."""

    _ALLOWED = {  # noqa: RUF012
        ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
        ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): _bytes,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"holds {module}.{name}, which is no numpy array")
        return self._ALLOWED[module, name]
