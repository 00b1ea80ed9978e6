"""Files written whole or not at all, and read back with their name in every complaint.

What is written goes to a part beside its place, is forced to the disk, takes its place by a rename, and the folder is
forced too: neither a kill nor a power cut leaves half a file under the name. A part belongs to one writer, who holds a
lock on it; what a killed writer left is removed by the next one in that folder.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal

PART = ".part"  # parts are .<number>.part
# what the fsync of a folder says where there is none of folders, or no right to read them
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EBADF, errno.ENOSYS}


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    with whole(path) as file:
        file.write(content)


@contextmanager
def whole(path: Path, former: Path | None = None) -> Iterator[BinaryIO]:
    """A file to write into; it stands at `path` when the block ends well, and nowhere when it does not.

    Args:
        former: where the file that stood at `path` goes; None: it is replaced.

    Raises:
        OSError: with `path` as its file name.
    """
    path = Path(path)
    half = _part(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        with half.open("xb") as file:
            _hold(file.fileno())
            yield file
            file.flush()
            os.fsync(file.fileno())
            if former is not None and path.is_file():
                os.replace(path, former)
            os.replace(half, path)  # while the lock is held: nobody takes the part for a dead one's
        _sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            half.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(half), half):
            raise OSError(error.errno, error.strerror or str(error), str(path)) from None
        raise


@contextmanager
def whole_folder(path: Path, durable: bool = True) -> Iterator[Path]:
    """A folder to write into; it replaces the one at `path` when the block ends well.

    Args:
        durable: force it to the disk; not worth its time for a folder that lives for one simulation.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    scratch = _part(path)
    try:
        scratch.mkdir()
        handle = os.open(scratch, os.O_RDONLY)
        try:
            _hold(handle)
            yield scratch
            if durable:
                for file in (*filter(Path.is_file, scratch.rglob("*")), scratch):
                    sync(file)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            os.replace(scratch, path)
        finally:
            os.close(handle)
    except OSError as error:
        inside = str(error.filename or "")
        name = inside.replace(str(scratch), str(path)) if inside else str(path)
        raise OSError(error.errno, error.strerror or str(error), name) from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if durable:
        _sync_folder(path.parent)


def sweep(folder: Path) -> None:
    """Remove the parts of killed writers. One without content may be of a writer that has just made it."""
    for part in folder.glob(f".*{PART}"):
        with suppress(OSError):
            if not (any(part.iterdir()) if part.is_dir() else part.stat().st_size):
                continue
            handle = os.open(part, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if part.is_dir():
                    shutil.rmtree(part)
                else:
                    part.unlink()
            finally:
                os.close(handle)


def remove(path: Path) -> None:
    """Delete a file or a folder, whole or not at all: what a kill leaves of it, the next `sweep` removes."""
    gone = _part(path)
    os.replace(path, gone)
    if gone.is_dir():
        shutil.rmtree(gone, ignore_errors=True)  # perhaps another is sweeping
    else:
        gone.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Force a file that another program wrote, or a folder, to the disk."""
    if path.is_dir():
        _sync_folder(path)
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        os.close(handle)


def check_place(path: Path) -> None:
    """See that a file could be written at `path`, before the work whose result it is. Leaves nothing there.

    Raises:
        OSError: a file where a folder should be, a folder where the file should be, no right to write, no room.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    probe = _part(path)
    made = [folder for folder in path.parents if not os.path.lexists(folder)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            path.lstat()  # the name itself may be too long
        with probe.open("xb") as file:
            _hold(file.fileno())
            file.write(b"\0" * 4096)
    except OSError as error:
        name = error.filename if error.filename not in (None, str(probe), probe) else str(path)
        raise OSError(error.errno, error.strerror or str(error), name) from None
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
            for folder in made:
                folder.rmdir()


def read_json(path: Path, remedy: str = "make it again", keys: Sequence[str] = ()) -> Any:
    """What `write_json` wrote.

    Args:
        keys: of the object that it is; none: any JSON.

    Raises:
        ValueError: no JSON, or without those keys: file, reason and `remedy`.
        OSError: it cannot be read.
    """
    try:
        value = json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise damaged(path, "it is empty" if not Path(path).stat().st_size else f"no JSON: {error}", remedy) from None
    if keys and not isinstance(value, dict):
        raise damaged(path, f"holds no object with {', '.join(keys)}", remedy)
    if lacking := [key for key in keys if key not in value]:
        raise damaged(path, f"holds no {', '.join(lacking)}", remedy)
    return value


def kept_json(path: Path, keys: Sequence[str]) -> Any:
    """Of a cache: what `write_json` wrote; None where there is none, or a damaged one."""
    try:
        return read_json(path, keys=keys)
    except (OSError, ValueError):
        return None


def damaged(path: Path, reason: object, remedy: str) -> ValueError:
    return ValueError(f"{path}: damaged, or of another program: {reason}\n  {remedy}")


# what numpy and zipfile say of a damaged .npz
UNREADABLE = (
    ValueError, KeyError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip


@contextmanager
def readable(path: Path, remedy: str, *errors: type[Exception]) -> Iterator[None]:
    """Turns what reading a damaged `path` raises into a message; OSError of the system stays what it is."""
    try:
        yield
    except errors as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise damaged(path, f"{type(error).__name__}: {error}", remedy) from None


def complete_binary(path: Path) -> bool:
    """Is this an executable or a shared library up to its end? (ELF: its table of sections stands last.)"""
    try:
        with path.open("rb") as file:
            head = file.read(64)
            size = file.seek(0, os.SEEK_END)
    except OSError:
        return False
    if head[:4] != b"\x7fELF":
        return len(head) == 64 and any(head)  # of another system: no more is known
    if len(head) < 64 or head[4] != 2:
        return len(head) >= 52
    order: Literal["little", "big"] = "little" if head[5] == 1 else "big"
    sections = int.from_bytes(head[40:48], order)
    return sections + int.from_bytes(head[58:60], order) * int.from_bytes(head[60:62], order) <= size


def _part(path: Path) -> Path:
    return path.with_name(f".{secrets.token_hex(8)}{PART}")


def _hold(handle: int) -> None:
    with suppress(OSError):  # a file system without locks: its dead parts are not removed
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _sync_folder(folder: Path) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise OSError(error.errno, error.strerror, str(folder)) from None
