"""A recording from the contents of a file, by what kind of file its name says it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from scaflow.model.events.aedat import MAGIC3, read_aedat3, read_aedat4
from scaflow.model.events.arrays import read_arrays
from scaflow.model.events.nmnist import read_bin
from scaflow.model.events.prophesee import read_dat, read_raw
from scaflow.model.events.recording import Recording
from scaflow.model.filetree import shown

Reader = Callable[[bytes, str, tuple[int, int] | None], Recording]


def _read_aedat(content: bytes, where: str, sensor: tuple[int, int] | None) -> Recording:
    """Either version goes by the name .aedat."""
    return (read_aedat3 if content.startswith(MAGIC3) else read_aedat4)(content, where, sensor)


READERS: dict[str, Reader] = {
    ".bin": read_bin,
    ".aedat": _read_aedat,
    ".aedat4": read_aedat4,
    ".dat": read_dat,
    ".raw": read_raw,
    ".npz": read_arrays,
    ".npy": read_arrays,
}
SUFFIXES = frozenset(READERS)


def recording_of(content: bytes, name: str, sensor: tuple[int, int] | None = None) -> Recording:
    """The recording that a file of this name holds.

    Args:
        sensor: columns and rows; None: as the file says, or, where it does not, N-MNIST's for a .bin and else as
            many as its events reach.

    Raises:
        ValueError: of no kind that is read, or not a whole recording: file, byte, value, rule, remedy.
    """
    reader = READERS.get(PurePosixPath(name).suffix.lower())
    if reader is None:
        raise ValueError(f"{shown(name)}: no kind of file that is read ({', '.join(READERS)}); convert it to .npz")
    return reader(content, shown(name), sensor)


def read_recording(path: Path, sensor: tuple[int, int] | None = None) -> Recording:
    """
    Raises:
        ValueError: as `recording_of`.
        OSError: it cannot be read.
    """
    return recording_of(Path(path).read_bytes(), str(path), sensor)
