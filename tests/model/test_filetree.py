"""Folders and zips as they are met: what is passed over, what cannot be followed, and names of any bytes."""

import os
import socket
import zipfile
from pathlib import Path

import pytest

from scaflow.model.filetree import Tree, opened, shown

PNG = frozenset({".png"})


def tree(path: Path) -> Tree:
    with opened(path, PNG) as found:
        return found


@pytest.fixture
def root(tmp_path):
    (tmp_path / "set/train/cat").mkdir(parents=True)
    (tmp_path / "set/train/cat/0.png").write_bytes(b"0")
    return tmp_path / "set"


SYSTEMS = (
    "train/cat/._0.png", "__MACOSX/train/cat/._0.png", ".DS_Store", "train/cat/Thumbs.db", "train/desktop.ini",
    "train/cat/.ipynb_checkpoints/0-checkpoint.png", "train/cat/@eaDir/0.png/thumb.png", ".Trash-1000/files/9.png",
    "$RECYCLE.BIN/1.png", "System Volume Information/x.png", "train/cat/.0.png.swp", "lost+found/1.png",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_files_of_systems_are_passed_over(root, kind):
    for name in SYSTEMS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    (root / "train/cat/note.txt").write_text("x")
    if kind == "zip":
        with zipfile.ZipFile(root.with_name("z"), "w") as archive:
            for path in sorted(root.rglob("*")):
                archive.write(path, path.relative_to(root))
        root = root.with_name("z")
    found = tree(root)
    assert [*found.marks] == ["train/cat/0.png"]
    assert found.others == ["train/cat/note.txt"]
    assert len(found.passed) >= len(SYSTEMS)
    assert not found.problems


def test_a_hidden_folder_above_the_set_does_not_hide_it(tmp_path):
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache/1.png").write_bytes(b"")
    assert [*tree(tmp_path / ".cache").marks] == ["1.png"]


def test_links_are_followed_and_those_that_lead_nowhere_are_named(root):
    (root.parent / "other").mkdir()
    (root.parent / "other/7.png").write_bytes(b"7")
    os.symlink(root.parent / "other", root / "train/dog")
    os.symlink("0.png", root / "train/cat/again.png")
    os.symlink("/mnt/gone/1.png", root / "train/cat/gone.png")
    os.symlink("self.png", root / "train/cat/self.png")
    os.symlink("..", root / "train/cat/up")
    os.symlink(root, root / "train/dog/set")
    found = tree(root)
    assert {*found.marks} == {"train/cat/0.png", "train/cat/again.png", "train/dog/7.png"}
    assert found.read("train/dog/7.png") == b"7"
    assert {*found.problems} == {f"train/{name}" for name in ("cat/gone.png", "cat/self.png", "cat/up", "dog/set")}
    assert "/mnt/gone/1.png, which is not there" in found.problems["train/cat/gone.png"]
    assert "circle" in found.problems["train/cat/up"] and "itself" in found.problems["train/cat/self.png"]


def test_what_is_no_file_is_not_opened(root):
    os.mkfifo(root / "train/cat/pipe.png")
    os.mkfifo(root / "train/cat/pipe")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(root / "train/cat/s.png"))
        found = tree(root)
    assert found.problems == {
        "train/cat/pipe.png": "is a named pipe, no file; remove it",
        "train/cat/s.png": "is a socket, no file; remove it",
    }
    assert found.others == ["train/cat/pipe"]
    os.mkfifo(root.with_name("pipe"))
    with pytest.raises(ValueError, match=r"is a named pipe; data\.path must be a folder"):
        tree(root.with_name("pipe"))


def test_a_folder_that_cannot_be_read_is_named(root, monkeypatch):
    scan = os.scandir

    def refusing(path):
        if str(path).endswith("cat"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = tree(root)
    assert found.problems == {"train/cat": "Permission denied"} and not found.marks


def test_names_of_any_bytes(root):
    (root / "train" / os.fsdecode(b"caf\xe9")).mkdir()
    name = f"train/{os.fsdecode(bytes([0x63, 0x61, 0x66, 0xE9]))}/a\n{chr(27)}[1m.png"
    (root / name).write_bytes(b"n")
    found = tree(root)
    assert found.read(name) == b"n"
    assert shown(name) == "train/caf\\xe9/a\\n\\x1b[1m.png"
    assert shown("Größe 日本.png") == "Größe 日本.png"


def test_zips_of_windows_links_in_them_and_passwords(tmp_path):
    with zipfile.ZipFile(tmp_path / "z", "w") as archive:
        archive.writestr("train\\cat\\0.png", b"0")
        archive.writestr("./train/cat/1.png", b"1")
        link = zipfile.ZipInfo("train/cat/2.png")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, b"1.png")
        archive.mkdir("train/empty")
        archive.writestr("train/cat/3.png", b"3")
    content = bytearray((tmp_path / "z").read_bytes())
    content[content.rfind(b"train/cat/3.png") - 46 + 8] |= 1  # the directory says: encrypted
    (tmp_path / "z").write_bytes(content)
    with opened(tmp_path / "z", PNG) as found:
        assert {*found.marks} == {"train/cat/0.png", "train/cat/1.png"}
        assert found.read("train/cat/0.png") == b"0"
    assert "a link" in found.problems["train/cat/2.png"] and "encrypted" in found.problems["train/cat/3.png"]
    assert found.folders == ["train", "train/cat", "train/empty"]


def test_a_zip_whose_names_are_no_utf8(tmp_path):
    with zipfile.ZipFile(tmp_path / "z", "w") as archive:
        archive.writestr("train/cat/ä.png", b"0")
    content = (tmp_path / "z").read_bytes().replace("ä".encode(), b"\xe9\xe9")
    (tmp_path / "z").write_bytes(content)
    with pytest.raises(ValueError, match=r"z: a name in it is not UTF-8.*pack it again"):
        tree(tmp_path / "z")


@pytest.mark.parametrize("name", ["gone", "nul\0", "l" * 300, "broken"])
def test_a_place_that_is_none(tmp_path, name):
    os.symlink("/mnt/gone", tmp_path / "broken")
    with pytest.raises(ValueError, match=r"no such folder or \.zip|too long"):
        tree(tmp_path / name)
