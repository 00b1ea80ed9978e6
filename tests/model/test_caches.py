"""Folders by digest: what was used longest ago goes, and never what another process holds or has just used."""

import os
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from scaflow.model import caches, files
from scaflow.model.caches import taking, trim, used

HOLDER = """
import sys
from pathlib import Path
from scaflow.model.caches import taking
with taking(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""
HOUR = 3600


@pytest.fixture(autouse=True)
def _three_fit(monkeypatch):
    monkeypatch.setattr(caches, "LIMIT", 3 * 100_000 + 50_000)


@pytest.fixture
def entry(tmp_path):
    """entry(name, hours): of 100 kB, last used so many hours ago."""

    def make(name, hours, kind="folder"):
        path = tmp_path / "cache" / name
        with taking(path):
            (path / "deep" if kind == "folder" else path.parent).mkdir(parents=True, exist_ok=True)
            (path / "deep/file" if kind == "folder" else path).write_bytes(bytes(90_000))
        aged(path, hours)
        return path

    return make


def aged(path, hours):
    os.utime(path, (time.time() - hours * HOUR,) * 2)


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "locks")


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_was_used_longest_ago_goes_until_the_rest_fits(entry, tmp_path, kind):
    for name, hours in (("a", 5), ("b", 9), ("c", 6), ("d", 8), ("e", 7)):
        entry(name, hours, kind)
    trim(tmp_path / "cache")
    assert names(tmp_path / "cache") == ["a", "c", "e"]
    assert sorted(path.name for path in (tmp_path / "cache/locks").iterdir()) == ["a", "c", "e", "trimmed"]


def test_nothing_goes_while_all_fit(entry, tmp_path):
    for name in "abc":
        entry(name, 1000)
    trim(tmp_path / "cache")
    assert names(tmp_path / "cache") == ["a", "b", "c"]


def test_a_use_keeps_an_entry(entry, tmp_path):
    for name, hours in (("a", 9), ("b", 8), ("c", 7), ("d", 6), ("e", 5)):
        entry(name, hours)
    with taking(tmp_path / "cache/a"):
        pass
    used(tmp_path / "cache/b")
    trim(tmp_path / "cache")
    assert names(tmp_path / "cache") == ["a", "b", "e"]


def test_what_was_just_used_stays_whatever_it_takes(entry, tmp_path, monkeypatch):
    monkeypatch.setattr(caches, "LIMIT", 0)
    for name, hours in (("a", 3), ("b", 1), ("c", 0), ("d", -5)):  # d: of a machine whose clock is ahead
        entry(name, hours)
    trim(tmp_path / "cache")
    assert names(tmp_path / "cache") == ["b", "c", "d"]


def test_what_another_process_holds_stays(entry, tmp_path, monkeypatch):
    monkeypatch.setattr(caches, "LIMIT", 0)
    monkeypatch.setattr(caches, "PAUSE", 0)
    path = entry("a", 9)
    entry("b", 8)
    command = [sys.executable, "-c", HOLDER, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        trim(tmp_path / "cache")
        assert names(tmp_path / "cache") == ["a"]
        holder.communicate("\n")
    trim(tmp_path / "cache")
    assert names(tmp_path / "cache") == ["a"]  # it was used
    aged(path, 9)
    trim(tmp_path / "cache")
    assert names(tmp_path / "cache") == []


def test_what_is_being_made_stays_and_its_lock(entry, tmp_path, monkeypatch):
    monkeypatch.setattr(caches, "LIMIT", 0)
    monkeypatch.setattr(caches, "PAUSE", 0)
    entry("a", 0)
    (tmp_path / "cache/locks/gone").touch()
    coming = tmp_path / "cache/coming"
    with suppress(KeyError), taking(coming), files.whole_folder(coming) as part:
        (part / "file").touch()
        aged(part, 9)
        trim(tmp_path / "cache")
        assert sorted(path.name for path in (tmp_path / "cache/locks").iterdir()) == ["a", "coming", "trimmed"]
        assert (part / "file").exists()
        raise KeyError
    assert names(tmp_path / "cache") == ["a"]  # it came to nothing
    trim(tmp_path / "cache")
    assert sorted(path.name for path in (tmp_path / "cache/locks").iterdir()) == ["a", "trimmed"]


def test_what_is_used_while_others_are_weighed_stays(entry, tmp_path, monkeypatch):
    def weighed(path):
        used(path)
        return size(path)

    size = caches._size
    monkeypatch.setattr(caches, "_size", weighed)
    for name in "abcd":
        entry(name, 9)
    trim(tmp_path / "cache")
    assert names(tmp_path / "cache") == ["a", "b", "c", "d"]


def test_a_folder_is_looked_at_now_and_then(entry, tmp_path, monkeypatch):
    monkeypatch.setattr(caches, "LIMIT", 0)
    trim(tmp_path / "cache")
    entry("a", 9)
    for _ in range(2):
        trim(tmp_path / "cache")
        assert names(tmp_path / "cache") == ["a"]
    aged(tmp_path / "cache/locks/trimmed", 1)
    trim(tmp_path / "cache")
    assert names(tmp_path / "cache") == []
    entry("b", 9)
    trim(tmp_path / "cache")
    assert names(tmp_path / "cache") == ["b"]
    aged(tmp_path / "cache/locks/trimmed", -1)  # written by a clock that was ahead
    trim(tmp_path / "cache")
    assert names(tmp_path / "cache") == []


def test_one_process_looks_at_a_time(entry, tmp_path, monkeypatch):
    monkeypatch.setattr(caches, "LIMIT", 0)
    monkeypatch.setattr(caches, "PAUSE", 0)
    entry("a", 9)
    with taking(tmp_path / "cache/trimmed"):  # locks/trimmed
        trim(tmp_path / "cache")
    assert names(tmp_path / "cache") == ["a"]


def test_a_removal_that_was_killed_leaves_no_half_and_is_finished(entry, tmp_path, monkeypatch):
    monkeypatch.setattr(caches, "LIMIT", 0)
    monkeypatch.setattr(caches, "PAUSE", 0)
    entry("a", 9)
    with monkeypatch.context() as patch:
        patch.setattr(files.shutil, "rmtree", lambda *_, **__: None)
        trim(tmp_path / "cache")
    (left,) = names(tmp_path / "cache")
    assert left.endswith(files.PART) and (tmp_path / "cache" / left / "deep/file").is_file()
    trim(tmp_path / "cache")
    assert names(tmp_path / "cache") == []


def test_links_are_no_entries(entry, tmp_path, monkeypatch):
    monkeypatch.setattr(caches, "LIMIT", 0)
    path = entry("a", 9)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    trim(tmp_path / "cache")
    assert (path / "deep/file").is_file()


def test_trouble_in_the_folder_is_no_error(tmp_path):
    trim(tmp_path / "absent")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/locks").touch()
    trim(tmp_path / "cache")
