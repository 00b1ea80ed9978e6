"""Images in class folders, `{train,test}/<class>/**/*.{png,jpg,...}`, of a folder or of a .zip read in place.

What of the tree is an image of a class, and what is said of the rest, is decided here; filetree.py lists, picture.py
decodes. Decoding many files takes long, so the arrays are kept in `build/data` (or $SCAFLOW_BUILD/data), under a digest
of the files and of how they were read.
"""

from __future__ import annotations

import hashlib
import warnings
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import PIL
from PIL import UnidentifiedImageError

from scaflow.model import caches, picture, places
from scaflow.model.config import FolderConfig
from scaflow.model.files import whole
from scaflow.model.filetree import Tree, opened, shown
from scaflow.model.picture import SUFFIXES, pixels_of

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # images uint8 [N, C, H, W], labels int64; train, test

PARTS = ("train", "test")
LISTED = 10  # problems told one by one
EXAMPLES = 3  # names told of what is left out
COMMON = ".png, .jpg, .bmp, .gif, .tif, .webp, .jp2, .avif and what else Pillow reads"


@dataclass(frozen=True)
class _Set:
    images: dict[str, list[tuple[str, int]]]  # of each part: path, label
    notes: tuple[str, ...]  # what is not among them, a line each


def read_folder(root: Path, cfg: FolderConfig, say: Callable[[str], None] = lambda line: None) -> Arrays:
    """(train images, train labels, test images, test labels) of the set at `root / cfg.path`.

    Images are uint8 [N, *cfg.shape], in the order of their paths; labels int64 number the classes, the folders of
    train/, in alphabetical order. Images in folders below a class are of that class; the whole may stand below one more
    folder. Hidden files and those of systems are passed over; of several frames or pages the first is the image.
    Grey images serve as colour ones, the other way round where all their colours are greys.

    Args:
        say: is told, in a line each, what was left out or passed over.

    Raises:
        ValueError: there is no such set, or it is not as `cfg` says; problems are listed together.
    """
    path = Path(root) / cfg.path
    with opened(path, SUFFIXES) as tree:
        found = _sorted(tree, path, cfg)
        identity = [f"Pillow {PIL.__version__}", f"{cfg.shape} {cfg.resize}", Path(picture.__file__).read_text()]
        identity += [f"{name} {tree.marks[name]} {label}" for part in PARTS for name, label in found.images[part]]
        cache = places.build_folder() / "data"
        digest = hashlib.sha256("\n".join(identity).encode(errors="surrogateescape")).hexdigest()
        kept = cache / f"{digest[:24]}.npz"
        whole = _kept(kept)
        if whole is None:
            whole = _decoded(tree, path, cfg, found.images)
            _keep(kept, *whole)
            caches.trim(cache)
    arrays, frames = whole
    for line in (*found.notes, *frames):
        say(line)
    return arrays


def _class_of(name: str) -> tuple[str, str, str] | None:
    """(folder above, part, class) of a path below {train,test}/<class>/; None of any other."""
    parts = name.split("/")
    for above in (0, 1):
        if len(parts) > above + 2 and parts[above] in PARTS:
            return "/".join(parts[:above]), parts[above], parts[above + 1]
    return None


def _in_set(name: str) -> bool:
    """Is a path train/ or test/, or below?"""
    return any(part in PARTS for part in name.split("/")[:2])


def _sorted(tree: Tree, path: Path, cfg: FolderConfig) -> _Set:
    found: dict[str, dict[str, list[str]]] = {part: {} for part in PARTS}
    tops, outside = set(), []
    for name in sorted(tree.marks):
        place = _class_of(name)
        if place is None:
            outside.append(name)
            continue
        above, part, label = place
        tops.add(above)
        found[part].setdefault(label, []).append(name)
    lacking = [f"no image in {part}/<class>/" for part in PARTS if not found[part]]
    problems = list(lacking)
    if len(tops) > 1:
        problems.append(f"several sets, in {', '.join(repr(shown(top or '.')) for top in sorted(tops))}; leave one")
    classes = sorted(found["train"])
    if classes and len(classes) != cfg.classes:
        problems.append(
            f"train/ has {len(classes)} classes ({_some(classes, LISTED)}) where data.classes={cfg.classes}; "
            "correct one"
        )
    unknown = sorted(set(found["test"]) - set(classes)) if classes else []
    if unknown:
        problems.append(f"test/ has classes that train/ has not: {_some(unknown, LISTED)}; remove or rename them")
    # what cannot be followed matters where it may hold images of the set
    lost = [(name, why) for name, why in sorted(tree.problems.items()) if lacking or _in_set(name)]
    problems += [f"{shown(name)}: {why}" for name, why in lost[:LISTED]]
    problems += [f"and {len(lost) - LISTED} more that cannot be read"] if len(lost) > LISTED else []
    notes = _notes(tree, found, outside, classes)
    if problems:
        raise ValueError(
            f"{shown(path)}: {len(problems)} problem(s)\n"
            + "".join(f"  {line}\n" for line in (*problems, *notes))
            + f"Expected are train/<class>/ and test/<class>/ with images ({COMMON})"
        )
    return _Set(
        {part: [(n, classes.index(label)) for label in sorted(found[part]) for n in found[part][label]]
         for part in PARTS},
        notes,
    )  # fmt: skip


def _notes(
    tree: Tree, found: dict[str, dict[str, list[str]]], outside: Sequence[str], classes: Sequence[str]
) -> tuple[str, ...]:
    """A line for each way in which something is not among the images."""
    others = sorted(name for name in tree.others if _in_set(name))
    elsewhere = sorted(name for name in tree.problems if not _in_set(name))
    places = {_class_of(f"{folder}/.") for folder in tree.folders}
    empty = sorted({place[2] for place in places if place and place[1] == "train"} - set(classes))
    told = (
        ("left out: {} image(s) outside train/<class>/ and test/<class>/", outside),
        ("left out: {} file(s) of kinds that are not read", others),
        ("left out: {} link(s) or folder(s) beside train/ and test/ that cannot be read", elsewhere),
        ("passed over: {} hidden or system file(s)", sorted(tree.passed)),
        ("no class: {} folder(s) of train/ without an image", empty),
        ("no test image of {} class(es)", sorted(set(classes) - set(found["test"]))),
    )
    return tuple(f"{line.format(f'{len(names):,}')} ({_some(names, EXAMPLES)})" for line, names in told if names)


def _some(names: Sequence[str], most: int) -> str:
    return ", ".join(map(shown, names[:most])) + (", ..." if len(names) > most else "")


def _decoded(
    tree: Tree, path: Path, cfg: FolderConfig, images: dict[str, list[tuple[str, int]]]
) -> tuple[Arrays, tuple[str, ...]]:
    """The arrays, and what is to be said of files with several frames."""
    arrays: list[np.ndarray] = []
    problems: list[str] = []
    frames: dict[str, int] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, on oddities of files that it reads all the same
        for part in PARTS:
            pixels = np.empty((len(images[part]), *cfg.shape), np.uint8)
            for i, (name, _) in enumerate(images[part]):
                try:
                    pixels[i], further = pixels_of(tree.read(name), cfg)
                    if further:
                        frames[name] = further
                except Exception as error:  # zipfile, its packers and Pillow raise anything for damaged files
                    problems.append(f"{shown(name)}: {_reason(error)}")
            arrays += [pixels, np.array([label for _, label in images[part]], np.int64)]
    if problems:
        more = len(problems) - LISTED
        raise ValueError(
            f"{shown(path)}: {len(problems)} image(s) cannot be used\n"
            + "\n".join(f"  {problem}" for problem in problems[:LISTED])
            + (f"\n  and {more} more" if more > 0 else "")
        )
    note = f"left out: {sum(frames.values()):,} frame(s) or page(s) behind the first ({_some([*frames], EXAMPLES)})"
    return cast(Arrays, tuple(arrays)), (note,) if frames else ()


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "no image that Pillow can read"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return shown(str(error)) or type(error).__name__


def _kept(path: Path) -> tuple[Arrays, tuple[str, ...]] | None:
    try:
        with np.load(path) as arrays:
            held = cast(Arrays, tuple(arrays[str(i)] for i in range(4)))
            caches.used(path)
            return held, tuple(arrays["notes"].tolist())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # none, or a damaged one: read again
        return None


def _keep(path: Path, arrays: Iterable[np.ndarray], notes: Sequence[str]) -> None:
    with whole(path) as file:
        held = {str(i): array for i, array in enumerate(arrays)} | {"notes": np.array(notes, str)}
        np.savez(file, allow_pickle=False, **held)
