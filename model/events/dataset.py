"""Labelled recordings as the frames that a network sees: real ones of a folder or .zip, or simulated from MNIST.

Simulating and reading many recordings takes minutes, so the frames are kept in `build/data` (or $SCAFLOW_BUILD/data),
some recordings a file, under a digest of what they were made from: what was cut off goes on behind the last whole file.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from scaflow.model import caches, places
from scaflow.model.config import NetworkConfig
from scaflow.model.data import Dataset, load_dataset
from scaflow.model.events import binning as binning_module
from scaflow.model.events import saccades
from scaflow.model.events.binning import binned
from scaflow.model.events.folder import opened_set
from scaflow.model.events.recording import Recording
from scaflow.model.files import whole
from scaflow.model.filetree import shown

EACH = 1000  # recordings of a file that is kept
REAL = 1000  # images of MNIST, from the first on, whose real recordings are for tests: none of them is simulated
SIMULATED_TEST = 1000  # recordings, of the first test images of MNIST, where there are no real ones
TEST_SEED = 1_000_000  # of the first of them
FOLDER, ARCHIVE = "nmnist", "nmnist*.zip"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Recorded:
    """Labelled recordings, each read or made when it is asked for."""

    title: str
    labels: np.ndarray  # int64 [N]
    classes: tuple[str, ...]
    read: Callable[[int], Recording]
    name: Callable[[int], str]  # of a recording, as it is told
    identity: str = field(repr=False)  # what tells their contents from others

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Labelled:
    """frames: uint8 [N, T, C, H, W], zeros behind a recording's end; lengths: its frames; labels: int64 [N] both."""

    frames: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray


def recordings_of(
    cfg: NetworkConfig, root: Path, say: Say = lambda line: None, few: int | None = None
) -> Dataset:
    """The recordings of a network in frames, from the data folder `root`.

    Args:
        say: is told what of a folder is not among the recordings.
        few: so many of those to learn from are enough; None: all.

    Raises:
        ValueError: no such recordings, or some that are not as the description says.
    """
    with recorded(cfg, root, "train", say, few) as found:
        train = framed(cfg, found)
    with recorded(cfg, root, "test", say) as found:
        test = framed(cfg, found)
    return Dataset(train.frames, train.labels, test.frames, test.labels, train.lengths, test.lengths)


@contextmanager
def recorded(
    cfg: NetworkConfig, root: Path, part: str, say: Say = lambda line: None, few: int | None = None
) -> Iterator[Recorded]:
    """The recordings to learn from (part train), or the others (test), of a network's own set in the data folder.

    Of `nmnist` those to learn from are simulated; the others are real where there are some in the data folder, and else
    simulated. `few`: the first so many; None: all.

    Raises:
        ValueError: there is no such set, or it is not as the description says.
    """
    real = real_nmnist(root) if cfg.data is None else None
    if cfg.data is not None:
        sensor = None if cfg.input.crop else (cfg.data.shape[2], cfg.data.shape[1])
        with recorded_in(cfg, Path(root) / cfg.data.path, say, part, sensor, few) as found:
            yield found
    elif part == "test" and real is not None:
        with recorded_in(cfg, real, say, few=few) as found:
            yield found
    else:
        if part == "test":
            say(f"no recordings in {Path(root) / FOLDER}: the test set is simulated")
        yield _simulated(cfg, root, part, few)


def real_nmnist(root: Path) -> Path | None:
    """The folder or archive of real recordings in the data folder, if there is one."""
    folder = Path(root) / FOLDER
    archives = sorted(folder.glob(ARCHIVE))
    if archives:
        return archives[0]
    return folder if folder.is_dir() and any(path.is_dir() for path in folder.iterdir()) else None


@contextmanager
def recorded_in(
    cfg: NetworkConfig,
    path: Path,
    say: Say = lambda line: None,
    part: str = "",
    sensor: tuple[int, int] | None = None,
    few: int | None = None,
) -> Iterator[Recorded]:
    """The recordings of any folder or .zip for a network, in order of their names; they are read while the block runs.

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
        problems = [] if entries else [f"no recording in {part}/<class>/"]
        if len(found.classes) != cfg.classes:
            problems.append(f"{len(found.classes)} classes where the network tells {cfg.classes}; correct one")
        if problems:
            lines = "".join(f"\n  {line}" for line in problems)
            raise ValueError(f"{shown(path)}: {len(problems)} problem(s){lines}")
        entries = entries[:few]
        yield Recorded(
            title=f"{shown(path)} {part}".strip(),
            labels=np.array([entry.label for entry in entries], np.int64),
            classes=found.classes,
            read=lambda i: found.read(entries[i]),
            name=lambda i: shown(entries[i].name),
            identity="\n".join(f"{entry} {found.mark(entry)}" for entry in entries) + f"\n{sensor}",
        )


def _simulated(cfg: NetworkConfig, root: Path, part: str, few: int | None) -> Recorded:
    """Recordings of MNIST's images: the training ones behind those that were recorded, or the first test ones."""
    mnist = load_dataset("mnist", root)
    if part == "train":
        wanted = (cfg.train.train_images or len(mnist.train_images)) + cfg.train.validation
        images, labels, begin = mnist.train_images[REAL:], mnist.train_labels[REAL:], REAL
    else:
        wanted, begin = SIMULATED_TEST, TEST_SEED
        images, labels = mnist.test_images, mnist.test_labels
    wanted = min(wanted, len(images)) if few is None else min(few, wanted, len(images))
    images, labels = images[:wanted], labels[:wanted]
    limit = cfg.frames * (cfg.input.bin_us or 1 << 40)  # a rare simulation lasts longer than all real ones

    def read(i: int) -> Recording:
        recording = saccades.simulated(images[i, 0], begin + i)
        start = int(recording.t[0]) if cfg.input.start == "first" and len(recording) else 0
        return recording.between(0, start + limit)

    source = Path(saccades.__file__).read_text()
    return Recorded(
        title=f"simulated, {part}",
        labels=labels,
        classes=tuple(map(str, range(cfg.classes))),
        read=read,
        name=lambda i: f"simulated {part} recording {i}",
        identity=f"{part} {begin} {hashlib.sha256(images.tobytes()).hexdigest()}\n{source}",
    )


def framed(cfg: NetworkConfig, found: Recorded) -> Labelled:
    """Recordings as a network sees them; kept file by file, made where they are not kept yet.

    Raises:
        ValueError: a recording that is none, or longer than the description says, or of another sensor.
    """
    binning = cfg.input.binning
    told = f"{found.identity}\n{binning}\n{cfg.frames} {cfg.input_shape}\n{Path(binning_module.__file__).read_text()}"
    digest = hashlib.sha256(told.encode(errors="surrogateescape")).hexdigest()[:24]
    folder = places.build_folder() / "data"
    count = len(found)
    frames = np.zeros((count, cfg.frames, *cfg.input_shape), np.uint8)
    lengths = np.zeros(count, np.int64)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(found.title, total=count)
        for start in range(0, count, EACH):
            part = slice(start, min(start + EACH, count))
            path = folder / f"{digest}-{start}-{part.stop}.npz"
            if not _read(path, frames[part], lengths[part]):
                for i in range(part.start, part.stop):
                    counts = counts_of(cfg, found.read(i), found.name(i))
                    lengths[i] = len(counts)
                    frames[i, : len(counts)] = counts
                    progress.update(task, advance=1)
                with whole(path) as file:
                    np.savez_compressed(file, allow_pickle=False, frames=frames[part], lengths=lengths[part])
                caches.trim(folder)
            progress.update(task, completed=part.stop)
    return Labelled(frames, lengths, found.labels)


def counts_of(cfg: NetworkConfig, recording: Recording, name: str) -> np.ndarray:
    """The frames of a recording as a network sees them, uint8 [T, C, H, W].

    Raises:
        ValueError: it is longer than the description says, or of another sensor.
    """
    _, height, width = cfg.input_shape
    if cfg.input.crop is None and (recording.height, recording.width) != (height, width):
        raise ValueError(
            f"{name}: a sensor of {recording.width} x {recording.height}, where the network sees"
            f" {width} x {height}; give the sensor's size, or input.crop"
        )
    counts = binned(recording, cfg.input.binning).counts
    if len(counts) > cfg.frames:
        raise ValueError(
            f"{name}: {len(counts)} frames, and input.frames={cfg.frames} is the most of a recording; raise it, or"
            " lengthen input.bin_us"
        )
    return counts


def _read(path: Path, frames: np.ndarray, lengths: np.ndarray) -> bool:
    try:
        with np.load(path) as arrays:
            frames[:], lengths[:] = arrays["frames"], arrays["lengths"]
        caches.used(path)
        return True
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # none, or a damaged one: made again
        return False

