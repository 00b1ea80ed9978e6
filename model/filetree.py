"""What lies in a folder or a .zip: files of wanted kinds, what is passed over, and what stands in the way, by name.

Nothing is judged by where it lies; folder.py does that. No name is trusted to be printable: `shown` makes it so.
"""

from __future__ import annotations

import errno
import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

# what systems put beside a user's files, in lower case; hidden names (.DS_Store, ._x, .ipynb_checkpoints) are known
# by their dot
SYSTEM = frozenset({
    "__macosx", "network trash folder", "temporary items", "icon\r",  # macOS
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin", "system volume information",
    "@eadir", "@tmp", "#recycle", "#snapshot", "@recycle", "@recently-snapshot",  # network storage
    "lost+found", "lost.dir", "__pycache__",
})  # fmt: skip
IMAGES = (
    "put the images there, as train/<class>/*.png and test/<class>/*.png, or change data.path (it is relative to the "
    "data folder, --data)"
)
_SPECIAL = {stat.S_IFIFO: "named pipe", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}


@dataclass
class Tree:
    """Paths are relative, with slashes, as they lie: a name that is not UTF-8 has surrogates."""

    marks: dict[str, str] = field(default_factory=dict)  # wanted file -> what tells its content from another
    others: list[str] = field(default_factory=list)  # files of other kinds
    passed: list[str] = field(default_factory=list)  # hidden, or a system's; a folder is not entered
    folders: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)  # what cannot be followed or read -> why
    read: Callable[[str], bytes] = lambda name: b""  # of a wanted file


def shown(name: str | os.PathLike[str]) -> str:
    """A name as it can be printed: bytes that are not UTF-8, and control characters, as \\x.. and alike."""
    return "".join(
        char if char.isprintable()
        else f"\\x{ord(char) - 0xDC00:02x}" if "\udc80" <= char <= "\udcff"
        else char.encode("unicode_escape").decode()
        for char in os.fspath(name)
    )  # fmt: skip


@contextmanager
def opened(path: Path, suffixes: frozenset[str], field: str = "data.path", remedy: str = IMAGES) -> Iterator[Tree]:
    """The tree of a folder, or of a .zip read in place; wanted are files of these suffixes, in any case.

    Args:
        field: what the user calls the path, and remedy: what is advised where there is neither.

    Raises:
        ValueError: neither can be opened; the message says why.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError | ValueError)
        raise ValueError(
            f"{shown(path)}: {'no such folder or .zip' if missing else _reason(error)}; {remedy}"
        ) from None
    if stat.S_ISDIR(mode):
        yield _of_folder(path, suffixes)
    elif stat.S_ISREG(mode):
        with _archive(path) as archive:
            yield _of_archive(archive, suffixes)
    else:
        raise ValueError(f"{shown(path)}: is a {_SPECIAL[stat.S_IFMT(mode)]}; {field} must be a folder or a .zip")


def _of_folder(root: Path, suffixes: frozenset[str]) -> Tree:
    tree = Tree(read=lambda name: (root / name).read_bytes())
    status = root.stat()
    waiting = [("", frozenset({(status.st_dev, status.st_ino)}))]  # folders, each with those it lies in
    while waiting:
        folder, above = waiting.pop()
        try:
            with os.scandir(root / folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            tree.problems[folder or "."] = _reason(error)
            continue
        for entry in found:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if _of_system(entry.name):
                tree.passed.append(name)
                continue
            try:
                status = entry.stat()
            except OSError as error:
                tree.problems[name] = _lost(Path(entry.path), error)
                continue
            wanted = PurePosixPath(entry.name).suffix.lower() in suffixes
            if stat.S_ISDIR(status.st_mode):
                this = (status.st_dev, status.st_ino)
                if this in above:
                    tree.problems[name] = "is a link to a folder that it lies in, a circle; remove it"
                    continue
                tree.folders.append(name)
                waiting.append((name, above | {this}))
            elif stat.S_ISREG(status.st_mode) and wanted:
                tree.marks[name] = f"{status.st_size} {status.st_mtime_ns}"
            elif wanted:  # reading it could wait for ever
                tree.problems[name] = f"is a {_SPECIAL[stat.S_IFMT(status.st_mode)]}, no file; remove it"
            else:
                tree.others.append(name)
    return tree


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except UnicodeDecodeError as error:
        raise ValueError(f"{shown(path)}: a name in it is not UTF-8, as the .zip says it is ({error}); pack it again"
        ) from None  # fmt: skip
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        reason = _reason(error) if isinstance(error, OSError) else error
        raise ValueError(f"{shown(path)}: neither a folder nor a readable .zip: {reason}") from None
    with archive:
        yield archive


def _of_archive(archive: zipfile.ZipFile, suffixes: frozenset[str]) -> Tree:
    entries: dict[str, zipfile.ZipInfo] = {}  # of a name that comes twice the last, as unpacking leaves it
    folders: dict[str, None] = {}
    tree = Tree(read=lambda name: archive.read(entries[name]))
    for entry in archive.infolist():
        parts = entry.filename.replace("\\", "/").split("/")  # some packers of Windows write backslashes
        name = "/".join(part for part in parts if part not in ("", "."))
        if not name:
            continue
        if any(map(_of_system, name.split("/"))):
            if parts[-1]:
                tree.passed.append(name)
            continue
        above = name.split("/")[: None if parts[-1] == "" else -1]
        folders |= dict.fromkeys("/".join(above[: i + 1]) for i in range(len(above)))
        if parts[-1] == "":
            continue
        if stat.S_ISLNK(entry.external_attr >> 16):
            tree.problems[name] = "is a link, which is not followed in a .zip; pack the file itself"
        elif PurePosixPath(name).suffix.lower() not in suffixes:
            tree.others.append(name)
        elif entry.flag_bits & 1:
            tree.problems[name] = "is encrypted; pack it without a password"
        else:
            entries[name] = entry
            tree.marks[name] = f"{entry.file_size} {entry.CRC}"
    tree.folders += folders
    return tree


def _of_system(name: str) -> bool:
    return (name.startswith(".") and name not in (".", "..")) or name.lower() in SYSTEM


def _lost(path: Path, error: OSError) -> str:
    """Why a directory entry leads nowhere."""
    if error.errno == errno.ELOOP:
        return "is a link that leads back to itself; remove it"
    if path.is_symlink() and isinstance(error, FileNotFoundError):
        return f"is a link to {shown(os.readlink(path))}, which is not there; mount or restore that, or remove the link"
    return _reason(error)


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
