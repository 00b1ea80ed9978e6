"""Files are whole or not there; two writers share no part; what is damaged is named; a full disk leaves nothing."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scaflow.model import files


def fail_with(number: int):
    def failing(*_):
        raise OSError(number, os.strerror(number))

    return failing


def test_a_file_and_its_folder_are_forced_to_the_disk(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, os.replace

    def forced(handle):
        order.append(os.readlink(f"/proc/self/fd/{handle}"))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", forced)
    monkeypatch.setattr(os, "replace", lambda a, b: order.append("rename") or replace(a, b))
    files.write_text(tmp_path / "deep/er/a.txt", "1")
    part, renamed, folder = order
    assert part.endswith(files.PART) and renamed == "rename" and folder == str(tmp_path / "deep/er")
    assert [path.name for path in (tmp_path / "deep/er").iterdir()] == ["a.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_an_error_of_the_disk_keeps_the_old_file_and_names_it(tmp_path, monkeypatch, number, call):
    path = tmp_path / "a.json"
    files.write_json(path, [1])
    monkeypatch.setattr(os, call, fail_with(number))
    with pytest.raises(OSError) as told:
        files.write_json(path, [2])
    assert (told.value.errno, told.value.filename) == (number, str(path))
    assert files.read_json(path) == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_block_that_fails_writes_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), files.whole(tmp_path / "a") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    with pytest.raises(ZeroDivisionError), files.whole_folder(tmp_path / "b") as folder:
        (folder / "c").write_text("half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_as_one_or_kept(tmp_path, monkeypatch):
    for text in ("1", "2"):
        with files.whole_folder(tmp_path / "rtl") as folder:
            (folder / f"{text}.mem").write_text(text)
    assert [path.name for path in (tmp_path / "rtl").iterdir()] == ["2.mem"]
    monkeypatch.setattr(os, "fsync", fail_with(errno.ENOSPC))
    with pytest.raises(OSError) as told, files.whole_folder(tmp_path / "rtl") as folder:
        (folder / "3.mem").write_text("3")
    assert told.value.filename == str(tmp_path / "rtl/3.mem")
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["rtl", "rtl/2.mem"]


WRITER = """
import sys, time
from pathlib import Path
from scaflow.model import files
with files.whole(Path(sys.argv[1])) as file:
    file.write(b"half"); file.flush()
    print("writing", flush=True)
    time.sleep(60)
"""


def test_the_part_of_a_living_writer_is_left_alone_and_that_of_a_dead_one_removed(tmp_path):
    writer = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path / "a"], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout.readline() == "writing\n"
        files.write_text(tmp_path / "a", "mine")
        assert len(list(tmp_path.glob(f".*{files.PART}"))) == 1
    finally:
        writer.kill()
        writer.communicate()
    assert (tmp_path / "a").read_text() == "mine"
    files.write_text(tmp_path / "b", "mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_place_is_judged_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    files.check_place(tmp_path / "new/folder/x.json")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    (tmp_path / "new").mkdir()
    for path, kind in (
        (tmp_path / "file/x.json", (FileExistsError, NotADirectoryError)),
        (tmp_path / "file/deeper/x.json", NotADirectoryError),
        (tmp_path / "new", IsADirectoryError),
    ):
        with pytest.raises(kind):
            files.check_place(path)
    with pytest.raises(OSError) as told:
        files.check_place(tmp_path / ("x" * 300))
    assert told.value.errno == errno.ENAMETOOLONG and told.value.filename == str(tmp_path / ("x" * 300))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b'{"a": 1', "no JSON"),
        (b"\0" * 100, "no JSON"),
        (b"\xff\xfe\0", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[1]", "holds no object with a, b"),
        (b'{"a": 1}', "holds no b"),
    ],
)
def test_damaged_json_is_told_with_file_reason_and_remedy(tmp_path, content, reason):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError) as told:
        files.read_json(path, "make it anew", ("a", "b"))
    assert str(told.value).startswith(f"{path}: damaged, or of another program: {reason}")
    assert str(told.value).endswith("\n  make it anew")
    assert files.kept_json(path, ("a", "b")) is None


def test_a_damaged_archive_is_told(tmp_path):
    path = tmp_path / "a.npz"
    with files.whole(path) as file:
        np.savez_compressed(file, x=np.arange(1000))
    whole = path.read_bytes()
    for content in (b"", whole[:-30], whole[:100], b"\0" * len(whole), whole[:60] + b"\0" * 40 + whole[100:]):
        path.write_bytes(content)
        with (
            pytest.raises(ValueError, match=r"a\.npz: damaged.*\n  again"),
            files.readable(path, "again", OSError, *files.UNREADABLE),
            np.load(path) as arrays,
        ):
            arrays["x"].sum()


def test_an_executable_is_looked_at_up_to_its_end(tmp_path):
    content = Path(sys.executable).read_bytes()
    path = tmp_path / "program"
    cut = (b"", content[:1000], content[:-1], bytes(5000))
    for text, good in ((content, True), *((part, False) for part in cut)):
        path.write_bytes(text)
        assert files.complete_binary(path) == good
    assert not files.complete_binary(tmp_path / "absent")
