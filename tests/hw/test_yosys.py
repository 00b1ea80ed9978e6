"""How Yosys is called: on which script, with which names, and with nothing of the user's."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from scaflow.hw import yosys
from scaflow.model import processes


def test_the_script_named_is_run_in_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "odd; folder"
    (folder / "out").mkdir(parents=True)
    (folder / "out/own.ys").write_text("tee -q -o out/said.txt log of own.ys\n")
    command, variables = yosys.call(folder, "out/own.ys")
    done = processes.run(command, cwd=folder, env=variables)
    assert done.returncode == 0, done.stdout
    assert (folder / "out/said.txt").read_text() == "of own.ys\n"


def test_a_folder_serves_again(tmp_path: Path) -> None:
    assert yosys.call(tmp_path, "a.ys")[0][:-1] == yosys.call(tmp_path, "b.ys")[0][:-1]
    assert (tmp_path / "pyosys/share").is_dir()


@pytest.mark.parametrize(("name", "plain"), [("plain-1.2_3+", True), ("a b", False), ("a;b", False), ("ü", False)])
def test_temporary_files_have_plain_names(tmp_path: Path, monkeypatch, name: str, plain: bool) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))
    _, variables = yosys.call(tmp_path, "a.ys")
    assert variables["TMPDIR"] == (str(tmp_path / name) if plain else "/proc/self/cwd")


def test_nothing_of_the_users_shell_reaches_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("ABC", "theirs")
    monkeypatch.setenv("PYTHONSTARTUP", "theirs")
    assert "theirs" not in yosys.call(tmp_path, "a.ys")[1].values()
