"""Image folders and zips: what is read, in which order, what is refused, and what is kept."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scaflow.model import folder
from scaflow.model.config import FolderConfig
from scaflow.model.data import dataset_of
from scaflow.model.folder import read_folder

COLOUR = FolderConfig(path="set", shape=(3, 6, 5), classes=2)
GREY = FolderConfig(path="set", shape=(1, 6, 5), classes=2)


@pytest.fixture(autouse=True)
def _build(monkeypatch, tmp_path):
    monkeypatch.setenv("SCAFLOW_BUILD", str(tmp_path / "build"))


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def picture(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def files(*shape: int) -> dict[str, bytes]:
    """Two classes; pictures are told by their seed: 0 and 1 of ant, 2 of bee, 3 of bee in test."""
    return {
        "train/bee/x.bmp": encoded(picture(2, *shape), "BMP"),
        "train/ant/b.PNG": encoded(picture(1, *shape)),
        "train/ant/a.png": encoded(picture(0, *shape)),
        "test/bee/only.png": encoded(picture(3, *shape)),
        "train/README.md": b"no image",
        "notes/ant/a.png": b"left out",
    }


def place(root: Path, contents: dict[str, bytes], kind: str) -> None:
    if kind == "zip":
        with zipfile.ZipFile(root / "set", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.mkdir("train")
            for name, content in contents.items():
                archive.writestr(name, content)
        return
    for name, content in contents.items():
        (root / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "set" / name).write_bytes(content)


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("below", ["", "pictures/"])
def test_pixels_and_labels(tmp_path, kind, below):
    place(tmp_path, {below + name: content for name, content in files(6, 5, 3).items()}, kind)
    train, labels, test, test_labels = read_folder(tmp_path, COLOUR)
    assert train.shape == (3, 3, 6, 5)
    assert train.dtype == np.uint8
    assert labels.tolist() == [0, 0, 1]
    assert test_labels.tolist() == [1]
    assert labels.dtype == np.int64
    for i in range(3):
        assert np.array_equal(train[i], picture(i, 6, 5, 3).transpose(2, 0, 1))
    assert np.array_equal(test[0], picture(3, 6, 5, 3).transpose(2, 0, 1))


def test_grey(tmp_path):
    place(tmp_path, files(6, 5), "zip")
    train, *_ = read_folder(tmp_path, GREY)
    assert np.array_equal(train[1, 0], picture(1, 6, 5))
    wide, *_ = read_folder(tmp_path, COLOUR)
    assert np.array_equal(wide, train.repeat(3, 1))


def test_a_network_names_its_folder(tmp_path, describe):
    place(tmp_path, files(6, 5, 3), "zip")
    cfg = describe(dataset="folder", data=COLOUR.model_dump())
    assert dataset_of(cfg, tmp_path).train_images.shape == (3, 3, 6, 5)


def test_resize(tmp_path):
    flat = np.full((12, 20, 3), (10, 200, 30), np.uint8)
    place(tmp_path, files(6, 5, 3) | {"train/ant/b.PNG": encoded(flat)}, "folder")
    train, *_ = read_folder(tmp_path, COLOUR.model_copy(update={"resize": True}))
    assert np.array_equal(train[0], picture(0, 6, 5, 3).transpose(2, 0, 1))
    assert (train[1] == np.array([10, 200, 30])[:, None, None]).all()


def test_all_images_that_cannot_be_used_are_named(tmp_path):
    broken = files(6, 5, 3)["train/ant/a.png"]
    contents = files(6, 5, 3) | {
        "train/ant/cut.png": broken[: len(broken) // 2],
        "train/ant/text.jpg": b"hello",
        "train/bee/large.png": encoded(picture(5, 6, 7, 3)),
        "test/bee/alpha.png": encoded(picture(6, 6, 5, 4)),
        "test/bee/deep.png": encoded(picture(6, 6, 5).astype(np.uint16) * 256),
    }
    place(tmp_path, contents, "zip")
    with pytest.raises(ValueError) as refused:
        read_folder(tmp_path, COLOUR)
    text = str(refused.value)
    assert "5 image(s) cannot be used" in text
    for part in (
        "train/ant/cut.png: ",
        "train/ant/text.jpg: no image that Pillow can read",
        "train/bee/large.png: is 7 wide and 6 high where data.shape says 5 and 6; set data.resize = true",
        "test/bee/alpha.png: has mode RGBA",
        "test/bee/deep.png: has mode I;16",
    ):
        assert f"\n  {part}" in text
    assert not (tmp_path / "build").exists()


def test_many_bad_images_are_counted(tmp_path):
    place(tmp_path, files(6, 5, 3) | {f"train/ant/{i}.png": b"" for i in range(30)}, "zip")
    with pytest.raises(ValueError, match=r"30 image\(s\) cannot be used(.|\n)*and 20 more$"):
        read_folder(tmp_path, COLOUR)


def test_colour_does_not_become_grey(tmp_path):
    place(tmp_path, files(6, 5, 3), "zip")
    with pytest.raises(ValueError, match=r"4 image\(s\)(.|\n)*is in colour \(mode RGB\) where data.shape has 1"):
        read_folder(tmp_path, GREY)


def test_the_classes_are_checked_together(tmp_path):
    more = {"train/cat/a.png": b"", "test/dog/a.png": b"", "other/test/ant/a.png": b""}
    place(tmp_path, files(6, 5, 3) | more, "zip")
    with pytest.raises(ValueError) as refused:
        read_folder(tmp_path, COLOUR)
    text = str(refused.value)
    assert "3 problem(s)" in text
    assert "train/ has 3 classes (ant, bee, cat) where data.classes=2" in text
    assert "test/ has classes that train/ has not: dog" in text
    assert "several sets, in '.', 'other'" in text


def test_what_is_no_set(tmp_path):
    with pytest.raises(ValueError, match=r"no such folder or .zip; put the images there(.|\n)*--data"):
        read_folder(tmp_path, COLOUR)
    (tmp_path / "set").write_bytes(b"PK, but no zip")
    with pytest.raises(ValueError, match=r"set: neither a folder nor a readable \.zip"):
        read_folder(tmp_path, COLOUR)
    (tmp_path / "set").unlink()
    (tmp_path / "set").mkdir()
    with pytest.raises(ValueError, match=r"no image in train/<class>/\n  no image in test/<class>/"):
        read_folder(tmp_path, COLOUR)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_arrays_are_kept_until_a_file_changes(tmp_path, monkeypatch, kind):
    place(tmp_path, files(6, 5, 3), kind)
    first = read_folder(tmp_path, COLOUR)
    decode = folder.pixels_of
    monkeypatch.setattr(folder, "pixels_of", lambda *_: pytest.fail("decoded again"))
    again = read_folder(tmp_path, COLOUR)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))

    monkeypatch.setattr(folder, "pixels_of", decode)
    place(tmp_path, files(6, 5, 3) | {"test/bee/only.png": encoded(picture(9, 6, 5, 3))}, kind)
    assert np.array_equal(read_folder(tmp_path, COLOUR)[2][0], picture(9, 6, 5, 3).transpose(2, 0, 1))


def test_kept_arrays_depend_on_the_settings_and_heal(tmp_path):
    place(tmp_path, files(6, 5), "zip")
    read_folder(tmp_path, GREY)
    assert read_folder(tmp_path, COLOUR)[0].shape == (3, 3, 6, 5)
    kept = list((tmp_path / "build" / "data").glob("*.npz"))
    assert len(kept) == 2
    for path in kept:
        os.truncate(path, path.stat().st_size // 2)
    assert np.array_equal(read_folder(tmp_path, GREY)[0][0, 0], picture(0, 6, 5))


def test_kept_arrays_stay_while_they_are_used_and_older_ones_go_for_others(tmp_path, monkeypatch):
    place(tmp_path, files(6, 5), "folder")
    read_folder(tmp_path, GREY)
    (grey,) = (tmp_path / "build/data").glob("*.npz")
    read_folder(tmp_path, COLOUR)
    (colour,) = {*(tmp_path / "build/data").glob("*.npz")} - {grey}
    for path in (grey, colour):
        os.utime(path, (0, 0))
    monkeypatch.setattr(folder.caches, "LIMIT", 0)
    monkeypatch.setattr(folder.caches, "PAUSE", 0)
    read_folder(tmp_path, COLOUR)
    assert grey.is_file() and colour.is_file()
    read_folder(tmp_path, COLOUR.model_copy(update={"resize": True}))
    assert colour.is_file() and not grey.is_file()


def said(root: Path) -> tuple[tuple, list[str]]:
    lines: list[str] = []
    return read_folder(root, COLOUR, lines.append), lines


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_images_below_a_class_are_of_that_class(tmp_path, kind):
    more = {"train/ant/2024/may/c.png": encoded(picture(7, 6, 5, 3)), "test/ant/x/y.png": encoded(picture(8, 6, 5, 3))}
    place(tmp_path, files(6, 5, 3) | more, kind)
    (train, labels, test, test_labels), _ = said(tmp_path)
    assert np.array_equal(train[0], picture(7, 6, 5, 3).transpose(2, 0, 1))
    assert (len(train), labels.tolist(), len(test), test_labels.tolist()) == (4, [0, 0, 0, 1], 2, [0, 1])


def test_every_suffix_of_a_kind_that_pillow_reads(tmp_path):
    kinds = {".jfif": "JPEG", ".gif": "GIF", ".jp2": "JPEG2000", ".ico": "ICO", ".tga": "TGA", ".pnm": "PPM"}
    flat = np.full((6, 5, 3), 40, np.uint8)
    place(
        tmp_path,
        files(6, 5, 3)
        | {f"train/ant/{i}{suffix.upper()}": encoded(flat, kind) for i, (suffix, kind) in enumerate(kinds.items())},
        "folder",
    )
    train, *_ = read_folder(tmp_path, COLOUR.model_copy(update={"resize": True}))
    assert len(train) == 3 + len(kinds)
    assert all(abs(image.astype(int) - 40).max() <= 2 for image in train[: len(kinds)])


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_what_is_no_image_of_a_class_is_said(tmp_path, kind):
    stream = io.BytesIO()
    Image.fromarray(picture(4, 6, 5)).save(stream, "TIFF", save_all=True, append_images=[Image.new("L", (6, 5))] * 2)
    with_pages = stream.getvalue()
    place(
        tmp_path,
        files(6, 5, 3)
        | {
            "train/0.png": b"?",
            "val/ant/1.png": b"?",
            "train/ant/phone.heic": b"?",
            "train/ant/._a.png": b"?",
            "train/wasp/readme.txt": b"?",
            "test/bee/stack.tif": with_pages,
            "top.txt": b"?",
        },
        kind,
    )
    for _ in range(2):  # also where the arrays were kept
        _, lines = said(tmp_path)
        assert lines == [
            "left out: 3 image(s) outside train/<class>/ and test/<class>/ (notes/ant/a.png, train/0.png, "
            "val/ant/1.png)",
            "left out: 3 file(s) of kinds that are not read (train/README.md, train/ant/phone.heic, "
            "train/wasp/readme.txt)",
            "passed over: 1 hidden or system file(s) (train/ant/._a.png)",
            "no class: 1 folder(s) of train/ without an image (wasp)",
            "no test image of 1 class(es) (ant)",
            "left out: 2 frame(s) or page(s) behind the first (test/bee/stack.tif)",
        ]


def test_a_plain_set_needs_no_word(tmp_path):
    contents = {name: content for name, content in files(6, 5, 3).items() if not name.endswith(".md")}
    del contents["notes/ant/a.png"]
    place(tmp_path, contents | {"test/ant/0.png": contents["train/ant/a.png"]}, "zip")
    assert said(tmp_path)[1] == []


def test_what_cannot_be_followed_is_told_together_and_only_in_the_set(tmp_path):
    place(tmp_path, files(6, 5, 3), "folder")
    os.symlink("/mnt/gone/elsewhere", tmp_path / "set/notes/gone")
    assert "beside train/ and test/ that cannot be read (notes/gone)" in "".join(said(tmp_path)[1])
    os.symlink("/mnt/gone/1.png", tmp_path / "set/train/ant/99.png")
    os.symlink("..", tmp_path / "set/train/bee/loop")
    os.mkfifo(tmp_path / "set/test/bee/pipe.jpg")
    with pytest.raises(ValueError) as refused:
        read_folder(tmp_path, COLOUR)
    text = str(refused.value)
    assert "3 problem(s)" in text
    for line in ("train/ant/99.png: is a link to /mnt/gone", "train/bee/loop: is a link to a folder", "pipe.jpg: is a"):
        assert line in text


def test_names_of_any_bytes_are_read_and_can_be_printed(tmp_path):
    strange = os.fsdecode(b"caf\xe9")
    contents = files(6, 5, 3)
    place(tmp_path, {name.replace("ant", strange): content for name, content in contents.items()}, "folder")
    assert len(read_folder(tmp_path, COLOUR)[0]) == 3
    (tmp_path / "set/train" / strange / "b.PNG").write_bytes(b"?")
    with pytest.raises(ValueError, match=r"train/caf\\xe9/b\.PNG: no image") as refused:
        read_folder(tmp_path, COLOUR)
    str(refused.value).encode()


def test_damaged_entries_of_a_zip_are_named(tmp_path):
    place(tmp_path, files(6, 5, 3), "zip")
    content = bytearray((tmp_path / "set").read_bytes())
    with zipfile.ZipFile(tmp_path / "set") as archive:
        spots = {entry.filename: entry.header_offset for entry in archive.infolist()}
    content[spots["train/bee/x.bmp"]] = 0
    first = spots["train/ant/a.png"]
    body = first + 30 + len("train/ant/a.png")
    content[body : body + 4] = b"\xff" * 4  # deflate's stream
    other = content.rfind(b"test/bee/only.png") - 46
    content[other + 10 : other + 12] = b"\x63\0"  # packed in a way that nobody knows
    (tmp_path / "set").write_bytes(content)
    with pytest.raises(ValueError) as refused:
        read_folder(tmp_path, COLOUR)
    text = str(refused.value)
    assert "3 image(s) cannot be used" in text
    for line in ("train/ant/a.png: Error -3", "train/bee/x.bmp: Bad magic", "only.png: That compression method"):
        assert line in text


def test_the_way_of_decoding_is_part_of_what_is_kept(tmp_path, monkeypatch):
    place(tmp_path, files(6, 5, 3), "folder")
    read_folder(tmp_path, COLOUR)
    other = tmp_path / "picture.py"
    other.write_text("another revision")
    monkeypatch.setattr(folder.picture, "__file__", str(other))
    read_folder(tmp_path, COLOUR)
    assert len(list((tmp_path / "build" / "data").glob("*.npz"))) == 2
