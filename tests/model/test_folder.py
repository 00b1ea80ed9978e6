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
        "notes/ant/a.png": b"not looked at",
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
    decode = folder._image
    monkeypatch.setattr(folder, "_image", lambda *_: pytest.fail("decoded again"))
    again = read_folder(tmp_path, COLOUR)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))

    monkeypatch.setattr(folder, "_image", decode)
    place(tmp_path, files(6, 5, 3) | {"test/bee/only.png": encoded(picture(9, 6, 5, 3))}, kind)
    assert np.array_equal(read_folder(tmp_path, COLOUR)[2][0], picture(9, 6, 5, 3).transpose(2, 0, 1))


def test_kept_arrays_depend_on_the_settings_and_heal(tmp_path):
    place(tmp_path, files(6, 5), "zip")
    read_folder(tmp_path, GREY)
    assert read_folder(tmp_path, COLOUR)[0].shape == (3, 3, 6, 5)
    kept = list((tmp_path / "build" / "data").iterdir())
    assert len(kept) == 2
    for path in kept:
        os.truncate(path, path.stat().st_size // 2)
    assert np.array_equal(read_folder(tmp_path, GREY)[0][0, 0], picture(0, 6, 5))
