"""Where generated files and caches go when the usual place cannot be written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaflow.model import places

NOWHERE = "/proc"  # not even root may write there
NAMES = ("XDG_CACHE_HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR", "YOWASP_CACHE_DIR")


@pytest.fixture(autouse=True)
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home and a folder for temporary files; none of the variables is set."""
    for name in NAMES:
        monkeypatch.setenv(name, "restored afterwards")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(places, "temporary", lambda: str(tmp_path))
    for memory in (places.writable, places._own):
        memory.cache_clear()
    yield tmp_path
    for memory in (places.writable, places._own):
        memory.cache_clear()


def test_a_home_that_can_be_written_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kept"))
    places.settle()
    assert os.environ["NUMBA_CACHE_DIR"] == str(tmp_path / "kept")
    assert not {"XDG_CACHE_HOME", "MPLCONFIGDIR", "YOWASP_CACHE_DIR"} & os.environ.keys()


@pytest.mark.parametrize("home", [NOWHERE, f"{NOWHERE}/nobody", ""])
def test_without_a_home_caches_go_among_temporary_files(monkeypatch, away: Path, home: str) -> None:
    monkeypatch.setenv("HOME", home)
    places.settle()
    own = away / f"scaflow-{os.getuid()}"
    assert os.environ["XDG_CACHE_HOME"] == str(own / "xdg_cache_home")
    assert os.environ["MPLCONFIGDIR"] == str(own / "mplconfigdir")
    assert own.stat().st_mode & 0o777 == 0o700


def test_a_named_place_that_cannot_be_written_gives_way(monkeypatch, away: Path) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, f"{NOWHERE}/none")
    places.settle()
    assert Path(os.environ["XDG_CACHE_HOME"]).is_relative_to(away)
    assert Path(os.environ["MPLCONFIGDIR"]).is_relative_to(away)
    assert not {"NUMBA_CACHE_DIR", "YOWASP_CACHE_DIR"} & os.environ.keys()


@pytest.mark.parametrize("planted", ["another's rights", "a link", "a file"])
def test_a_folder_that_others_can_write_is_not_trusted(monkeypatch, away: Path, planted: str) -> None:
    own = away / f"scaflow-{os.getuid()}"
    if planted == "a link":
        (away / "elsewhere").mkdir(mode=0o700)
        own.symlink_to(away / "elsewhere")
    elif planted == "a file":
        own.touch()
    else:
        own.mkdir()
        own.chmod(0o777)
    monkeypatch.setenv("HOME", NOWHERE)
    monkeypatch.setattr("tempfile.tempdir", str(away))
    places.settle()
    caches = Path(os.environ["XDG_CACHE_HOME"]).parent
    assert caches != own and caches.parent == away and caches.stat().st_mode & 0o777 == 0o700


def test_generated_files_go_to_the_build_folder(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SCAFLOW_BUILD", str(tmp_path / "out"))
    assert places.generated("sim") == tmp_path / "out/sim"
    assert (tmp_path / "out/sim").is_dir()


def test_or_to_the_caches(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SCAFLOW_BUILD", NOWHERE)
    assert places.generated("sim") == tmp_path / "home/.cache/scaflow/sim"


def test_or_among_temporary_files(monkeypatch, away: Path) -> None:
    monkeypatch.setenv("SCAFLOW_BUILD", NOWHERE)
    monkeypatch.setenv("HOME", NOWHERE)
    assert places.generated("sim") == away / f"scaflow-{os.getuid()}/xdg_cache_home/scaflow/sim"
