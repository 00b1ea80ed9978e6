"""Labelled recordings as the frames that a network sees: real ones of a folder or .zip, or simulated from MNIST.

Simulating and reading many recordings takes minutes, so the frames are kept in `build/data` (or $SCAFLOW_BUILD/data),
some recordings a file, under a digest of what they were made from: what was cut off goes on behind the last whole file.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from scaflow.model import caches, places
from scaflow.model.config import NetworkConfig
from scaflow.model.data import Dataset, load_dataset
from scaflow.model.events import binning as binning_module
from scaflow.model.events import saccades
from scaflow.model.events.binning import Binning, binned
from scaflow.model.events.folder import RecordingSet, opened_set
from scaflow.model.events.recording import Recording
from scaflow.model.files import whole
from scaflow.model.filetree import shown

EACH = 1000  # recordings of a file that is kept
REAL = 1000  # images of MNIST, from the first on, whose real recordings are for tests: none of them is simulated
SIMULATED_TEST = 1000  # recordings, of the first test images of MNIST, where there are no real ones
FOLDER, ARCHIVE = "nmnist", "nmnist*.zip"

Say = Callable[[str], None]
Made = Callable[[int], Recording]


@dataclass(frozen=True)
class Labelled:
    """frames: uint8 [N, T, C, H, W], zeros behind a recording's end; lengths: its frames; labels: int64 [N] both."""

    frames: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]


def recordings_of(
    cfg: NetworkConfig, root: Path, say: Say = lambda line: None, few: int | None = None
) -> Dataset:
    """The recordings of a network in frames, from the data folder `root`.

    Of `nmnist` those to learn from are simulated; the others are real where there are some in the data folder, and else
    simulated.

    Args:
        say: is told what of a folder is not among the recordings.
        few: so many of those to learn from are enough; None: all.

    Raises:
        ValueError: no such recordings, or some that are not as the description says.
    """
    if cfg.data is not None:
        path = root / cfg.data.path
        sensor = None if cfg.input.crop else (cfg.data.shape[2], cfg.data.shape[1])
        train = labelled(cfg, path, say, "train", sensor, few)
        test = labelled(cfg, path, lambda line: None, "test", sensor)
    else:
        train, real = _simulated(cfg, root, "train", few), real_nmnist(root)
        if real is None:
            say(f"no recordings in {Path(root) / FOLDER}: the test set is simulated")
        test = _simulated(cfg, root, "test") if real is None else labelled(cfg, real, say)
    return Dataset(train.frames, train.labels, test.frames, test.labels, train.lengths, test.lengths)


def real_nmnist(root: Path) -> Path | None:
    """The folder or archive of real recordings in the data folder, if there is one."""
    folder = Path(root) / FOLDER
    archives = sorted(folder.glob(ARCHIVE))
    if archives:
        return archives[0]
    return folder if folder.is_dir() and any(path.is_dir() for path in folder.iterdir()) else None


def labelled(
    cfg: NetworkConfig,
    path: Path,
    say: Say = lambda line: None,
    part: str = "",
    sensor: tuple[int, int] | None = None,
    few: int | None = None,
) -> Labelled:
    """The recordings of a folder or .zip as a network sees them, in order of their names.

    Args:
        part: train or test; none: all there are.
        sensor: columns and rows; None: as the files say.
        few: the first so many; None: all.

    Raises:
        ValueError: there is no such set, or it is not as the description says.
    """
    with opened_set(path, sensor) as found:
        for note in found.notes:
            say(note)
        entries = found.of(part) if part else found.entries
        _check(cfg, path, part, found, len(entries))
        entries = entries[:few]
        marks = "\n".join(f"{entry} {found.mark(entry)}" for entry in entries)
        frames, lengths = _kept(
            f"{shown(path)} {part}".strip(), f"{marks}\n{sensor}", cfg, len(entries), lambda i: found.read(entries[i]),
            lambda i: shown(entries[i].name),
        )  # fmt: skip
        return Labelled(frames, lengths, np.array([entry.label for entry in entries], np.int64), found.classes)


def _check(cfg: NetworkConfig, path: Path, part: str, found: RecordingSet, count: int) -> None:
    problems = []
    if not count:
        problems.append(f"no recording in {part}/<class>/")
    if len(found.classes) != cfg.classes:
        problems.append(f"{len(found.classes)} classes where the network tells {cfg.classes}; correct one")
    if problems:
        raise ValueError(f"{shown(path)}: {len(problems)} problem(s)\n" + "\n".join(f"  {line}" for line in problems))


def _simulated(cfg: NetworkConfig, root: Path, part: str, few: int | None = None) -> Labelled:
    """Recordings of MNIST's images: the training ones behind those that were recorded, or the first test ones."""
    mnist = load_dataset("mnist", root)
    if part == "train":
        wanted = (cfg.train.train_images or len(mnist.train_images)) + cfg.train.validation
        chosen = slice(REAL, REAL + (wanted if few is None else min(few, wanted)))
        images, labels = mnist.train_images[chosen], mnist.train_labels[chosen]
    else:
        images, labels = mnist.test_images[:SIMULATED_TEST], mnist.test_labels[:SIMULATED_TEST]
    seed = {"train": REAL, "test": 1_000_000}[part]
    source = f"{Path(saccades.__file__).read_text()}\n{part} {seed}\n{hashlib.sha256(images.tobytes()).hexdigest()}"
    limit = cfg.frames * (cfg.input.bin_us or 1 << 40)  # a rare simulation lasts longer than all real ones

    def made(i: int) -> Recording:
        recording = saccades.simulated(images[i, 0], seed + i)
        begin = int(recording.t[0]) if cfg.input.start == "first" and len(recording) else 0
        return recording.between(0, begin + limit)

    frames, lengths = _kept(f"simulated {part}", source, cfg, len(images), made, lambda i: f"simulated {part} {i}")
    return Labelled(frames, lengths, labels, tuple(map(str, range(10))))


def _kept(
    title: str, source: str, cfg: NetworkConfig, count: int, made: Made, name: Callable[[int], str]
) -> tuple[np.ndarray, np.ndarray]:
    """Frames and lengths of so many recordings, file by file, made where they are not kept yet."""
    binning = cfg.input.binning
    told = f"{source}\n{binning}\n{cfg.frames} {cfg.input_shape}\n{Path(binning_module.__file__).read_text()}"
    digest = hashlib.sha256(told.encode(errors="surrogateescape")).hexdigest()[:24]
    folder = places.build_folder() / "data"
    frames = np.zeros((count, cfg.frames, *cfg.input_shape), np.uint8)
    lengths = np.zeros(count, np.int64)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=count)
        for start in range(0, count, EACH):
            part = slice(start, min(start + EACH, count))
            path = folder / f"{digest}-{start}-{part.stop}.npz"
            if not _read(path, frames[part], lengths[part]):
                for i in range(part.start, part.stop):
                    lengths[i] = _binned(frames[i], made(i), binning, name(i))
                    progress.update(task, advance=1)
                with whole(path) as file:
                    np.savez_compressed(file, allow_pickle=False, frames=frames[part], lengths=lengths[part])
                caches.trim(folder)
            progress.update(task, completed=part.stop)
    return frames, lengths


def _binned(into: np.ndarray, recording: Recording, binning: Binning, name: str) -> int:
    """The frames of a recording, and how many there are."""
    if binning.crop is None and (recording.height, recording.width) != into.shape[2:]:
        raise ValueError(
            f"{name}: a sensor of {recording.width} x {recording.height}, where the network sees"
            f" {into.shape[3]} x {into.shape[2]}; give the sensor's size, or input.crop"
        )
    counts = binned(recording, binning).counts
    if len(counts) > len(into):
        raise ValueError(
            f"{name}: {len(counts)} frames, and input.frames={len(into)} is the most of a recording; raise it, or"
            " lengthen input.bin_us"
        )
    into[: len(counts)] = counts
    return len(counts)


def _read(path: Path, frames: np.ndarray, lengths: np.ndarray) -> bool:
    try:
        with np.load(path) as arrays:
            frames[:], lengths[:] = arrays["frames"], arrays["lengths"]
        caches.used(path)
        return True
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # none, or a damaged one: made again
        return False

