"""Images in class folders, `{train,test}/<class>/*.{png,jpg,...}`, of a folder or of a .zip read in place.

Decoding many files takes long, so the arrays are kept in `build/data` (or $SCAFLOW_BUILD/data), under a digest of the
files and of how they were read.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
import PIL
from PIL import Image, UnidentifiedImageError

from scaflow.model.config import FolderConfig
from scaflow.model.files import whole

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # images uint8 [N, C, H, W], labels int64; train, test

PARTS = ("train", "test")
SUFFIXES = {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
GREY, COLOUR = {"1", "L"}, {"RGB", "P", "CMYK", "YCbCr"}  # modes of Pillow that are read without loss
LISTED = 10  # problems told one by one
# of a damaged entry; Pillow raises SyntaxError for broken PNG chunks, zipfile RuntimeError for encrypted entries
_UNREADABLE = (
    OSError, ValueError, SyntaxError, RuntimeError, EOFError, zipfile.BadZipFile, Image.DecompressionBombError,
)  # fmt: skip


@dataclass(frozen=True)
class _Files:
    marks: dict[str, str]  # path inside, with slashes -> what tells its content from another
    read: Callable[[str], bytes]


def read_folder(root: Path, cfg: FolderConfig) -> Arrays:
    """(train images, train labels, test images, test labels) of the set at `root / cfg.path`.

    Images are uint8 [N, *cfg.shape], in the order of their paths; labels int64 number the classes, the folders of
    train/, in alphabetical order. Folders may stand below one more folder. Files that are no images, and folders beside
    train/ and test/, are not looked at. Grey images serve as colour ones, not the other way round.

    Raises:
        ValueError: there is no such set, or it is not as `cfg` says; problems are listed together.
    """
    path = Path(root) / cfg.path
    with _opened(path) as files:
        images = _sorted(files, path, cfg)
        identity = [f"Pillow {PIL.__version__}", f"{cfg.shape} {cfg.resize}"]
        identity += [f"{name} {files.marks[name]} {label}" for part in PARTS for name, label in images[part]]
        cache = Path(os.environ.get("SCAFLOW_BUILD", "build")).absolute() / "data"
        kept = cache / f"{hashlib.sha256(chr(10).join(identity).encode()).hexdigest()[:24]}.npz"
        arrays = _kept(kept)
        if arrays is None:
            arrays = _decoded(files, path, cfg, images)
            _keep(kept, arrays)
    return arrays


@contextmanager
def _opened(path: Path) -> Iterator[_Files]:
    if path.is_dir():
        marks = {}
        for folder, _, names in os.walk(path, followlinks=True):
            for name in names:
                file = Path(folder, name)
                if file.suffix.lower() in SUFFIXES:
                    status = file.stat()
                    marks[file.relative_to(path).as_posix()] = f"{status.st_size} {status.st_mtime_ns}"
        yield _Files(marks, lambda name: (path / name).read_bytes())
    elif path.is_file():
        try:
            archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise ValueError(f"{path}: neither a folder nor a readable .zip: {error}") from None
        with archive:
            marks = {
                entry.filename: f"{entry.file_size} {entry.CRC}"
                for entry in archive.infolist()
                if PurePosixPath(entry.filename).suffix.lower() in SUFFIXES
            }
            yield _Files(marks, archive.read)
    else:
        raise ValueError(
            f"{path}: no such folder or .zip; put the images there, as train/<class>/*.png and test/<class>/*.png, "
            "or change data.path (it is relative to the data folder, --data)"
        )


def _sorted(files: _Files, path: Path, cfg: FolderConfig) -> dict[str, list[tuple[str, int]]]:
    """For each part the paths with their labels."""
    found: dict[str, dict[str, list[str]]] = {part: {} for part in PARTS}
    tops = set()
    for name in sorted(files.marks):
        *above, part, label, _file = ("", "", *PurePosixPath(name).parts)
        if part in PARTS and len([folder for folder in above if folder]) <= 1 and label:
            tops.add("/".join(folder for folder in above if folder))
            found[part].setdefault(label, []).append(name)
    problems = [f"no image in {part}/<class>/" for part in PARTS if not found[part]]
    if len(tops) > 1:
        problems.append(f"several sets, in {', '.join(repr(top or '.') for top in sorted(tops))}; leave one")
    classes = sorted(found["train"])
    if classes and len(classes) != cfg.classes:
        some = ", ".join(classes[:LISTED]) + (", ..." if len(classes) > LISTED else "")
        problems.append(f"train/ has {len(classes)} classes ({some}) where data.classes={cfg.classes}; correct one")
    unknown = sorted(set(found["test"]) - set(classes)) if classes else []
    if unknown:
        problems.append(f"test/ has classes that train/ has not: {', '.join(unknown[:LISTED])}; remove or rename them")
    if problems:
        kinds = ", ".join(sorted(SUFFIXES))
        raise ValueError(
            f"{path}: {len(problems)} problem(s)\n"
            + "".join(f"  {problem}\n" for problem in problems)
            + f"Expected are train/<class>/ and test/<class>/ with images ({kinds})"
        )
    return {
        part: [(name, classes.index(label)) for label in sorted(found[part]) for name in found[part][label]]
        for part in PARTS
    }


def _decoded(files: _Files, path: Path, cfg: FolderConfig, images: dict[str, list[tuple[str, int]]]) -> Arrays:
    arrays, problems = [], []
    for part in PARTS:
        pixels = np.empty((len(images[part]), *cfg.shape), np.uint8)
        for i, (name, _) in enumerate(images[part]):
            try:
                pixels[i] = _image(files.read(name), cfg)
            except _UNREADABLE as error:
                reason = "no image that Pillow can read" if isinstance(error, UnidentifiedImageError) else error
                problems.append(f"{name}: {reason}")
        arrays += [pixels, np.array([label for _, label in images[part]], np.int64)]
    if problems:
        more = len(problems) - LISTED
        raise ValueError(
            f"{path}: {len(problems)} image(s) cannot be used\n"
            + "\n".join(f"  {problem}" for problem in problems[:LISTED])
            + (f"\n  and {more} more" if more > 0 else "")
        )
    return tuple(arrays)


def _image(content: bytes, cfg: FolderConfig) -> np.ndarray:
    """The pixels uint8 [C, H, W] of an encoded image."""
    channels, height, width = cfg.shape
    with Image.open(BytesIO(content)) as image:  # reads the header alone
        if image.size != (width, height) and not cfg.resize:
            raise ValueError(
                f"is {image.width} wide and {image.height} high where data.shape says {width} and {height}; "
                "set data.resize = true to scale such images"
            )
        if image.mode not in GREY | COLOUR or "transparency" in image.info:
            raise ValueError(f"has mode {image.mode} or transparency; save it as 8-bit grey or RGB")
        if channels == 1 and image.mode not in GREY:
            raise ValueError(f"is in colour (mode {image.mode}) where data.shape has 1 channel; use 3, or grey images")
        image = image.convert("L" if channels == 1 else "RGB")
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _kept(path: Path) -> Arrays | None:
    try:
        with np.load(path) as arrays:
            return tuple(arrays[str(i)] for i in range(4))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # none, or a damaged one: read again
        return None


def _keep(path: Path, arrays: Arrays) -> None:
    with whole(path) as file:
        np.savez(file, **{str(i): array for i, array in enumerate(arrays)})
