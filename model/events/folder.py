"""Labelled recordings in class folders, `[{Train,Test}/]<class>/**/*.bin` and alike, or as the DVS128 Gesture set.

Of a folder or a .zip, read in place, one recording at a time: a whole set is often larger than the memory. A recording
beside which `<name>_labels.csv` lies is many, one a line of that (DVS128 Gesture): classes are its numbers, and the
part is told by `trials_to_{train,test}.txt`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from scaflow.model.events.aedat import read_labels
from scaflow.model.events.reading import READERS, SUFFIXES, recording_of
from scaflow.model.events.recording import Recording
from scaflow.model.filetree import Tree, opened, shown

PARTS = ("train", "test")  # in any case: the published set of N-MNIST has Train and Test
LABELS, LIST = "_labels.csv", ".txt"
REMEDY = "give a folder or a .zip with [{Train,Test}/]<class>/<recording>"
LISTED = 10  # problems told one by one


@dataclass(frozen=True)
class Entry:
    """A recording of the set: of the file `name` all events, or those of start <= t < stop."""

    name: str
    label: int
    part: str  # train, test, or none: the folder has class folders alone
    start: int | None = None
    stop: int | None = None


@dataclass(frozen=True)
class RecordingSet:
    """classes: names of the labels, in order, as numbers where all of them are; entries: in order of their names."""

    classes: tuple[str, ...]
    entries: tuple[Entry, ...]
    sensor: tuple[int, int] | None
    notes: tuple[str, ...]  # what of the folder is not among the recordings, a line each
    _tree: Tree = field(repr=False)

    def of(self, *parts: str) -> tuple[Entry, ...]:
        """The entries of these parts."""
        return tuple(entry for entry in self.entries if entry.part in parts)

    def mark(self, entry: Entry) -> str:
        """What tells the file of an entry from another one."""
        return self._tree.marks[entry.name]

    def read(self, entry: Entry) -> Recording:
        """
        Raises:
            ValueError: the file holds no recording.
        """
        whole = recording_of(self._tree.read(entry.name), entry.name, self.sensor)
        if entry.start is None or entry.stop is None:
            return whole
        return whole.between(entry.start, entry.stop)


@contextmanager
def opened_set(path: Path, sensor: tuple[int, int] | None = None) -> Iterator[RecordingSet]:
    """The labelled recordings of a folder or a .zip; they are read while the block runs.

    Args:
        sensor: columns and rows of all of them; None: as the files say.

    Raises:
        ValueError: neither, or no recording in it stands in a class; problems are listed together.
    """
    with opened(Path(path), SUFFIXES | {".csv", LIST}, "it", REMEDY) as tree:
        yield _sorted(tree, Path(path), sensor)


def _sorted(tree: Tree, path: Path, sensor: tuple[int, int] | None) -> RecordingSet:
    files = [name for name in sorted(tree.marks) if PurePosixPath(name).suffix.lower() in SUFFIXES]
    found = _gestures(tree, files) or _classed(files)
    problems = [f"{shown(name)}: {why}" for name, why in sorted(tree.problems.items())]
    if not found:
        problems.append(f"no recording ({', '.join(READERS)}) stands in a folder of its class")
    if problems:
        more = [f"and {len(problems) - LISTED} more"] if len(problems) > LISTED else []
        raise ValueError(
            f"{shown(path)}: {len(problems)} problem(s)\n"
            + "".join(f"  {line}\n" for line in (*problems[:LISTED], *more))
            + REMEDY
        )
    names = {name for _, name, *_ in found}
    classes = sorted({label for label, *_ in found})
    if all(label.isdecimal() for label in classes):
        classes.sort(key=int)
    entries = tuple(Entry(name, classes.index(label), part, *rest) for label, name, part, *rest in found)
    left = [name for name in files if name not in names]
    notes = [f"left out: {len(left):,} recording(s) in no class ({shown(left[0])}, ...)"] if left else []
    return RecordingSet(tuple(classes), entries, sensor, tuple(notes), tree)


def _classed(files: list[str]) -> list[tuple[str, str, str]]:
    """Class, name and part of each recording in a class folder; the whole may stand below one more folder."""
    placed = []
    for name in files:
        folders = name.split("/")[:-1]
        at = [i for i, folder in enumerate(folders[:2]) if folder.lower() in PARTS]
        if at and len(folders) > at[0] + 1:
            placed.append((folders[at[0] + 1], name, folders[at[0]].lower()))
    if placed:
        return placed
    tops = {name.split("/")[0] for name in files if "/" in name}
    deep = all(name.count("/") > 1 for name in files if "/" in name)
    level = 1 if len(tops) == 1 and deep else 0  # one more folder around the classes
    return [(name.split("/")[level], name, "") for name in files if name.count("/") > level]


def _gestures(tree: Tree, files: list[str]) -> list[tuple[str, str, str, int, int]]:
    """Class, name, part, start and end of each gesture of the recordings that have labels beside them."""
    parts = {
        PurePosixPath(line.strip()).name: part
        for part in PARTS
        for name in tree.marks
        if PurePosixPath(name).name == f"trials_to_{part}{LIST}"
        for line in tree.read(name).decode("utf-8", "replace").splitlines()
    }
    found = []
    for name in files:
        labels = str(PurePosixPath(name).with_suffix("")) + LABELS
        if labels in tree.marks:
            part = parts.get(PurePosixPath(name).name, "")
            found += [(label, name, part, start, stop) for label, start, stop in read_labels(tree.read(labels), labels)]
    return found
