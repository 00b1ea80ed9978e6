"""numba's cache, where there may be no place for one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numba
import pytest

from scaflow.hw.compiled import cached

SOURCE = "def double(x):\n    return 2 * x\n"
NOWHERE = "/proc/none"  # not even root may write there
STARTS = """
import numba
from scaflow.hw.compiled import cached
assert numba.config.CACHE_DIR == {kept!r}, numba.config.CACHE_DIR
"""


def function(folder: str):
    """`double`, of a source file in that folder."""
    names: dict = {}
    exec(compile(SOURCE, f"{folder}/double.py", "exec"), names)
    return names["double"]


@pytest.fixture(autouse=True)
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("HOME", NOWHERE)
    monkeypatch.setenv("XDG_CACHE_HOME", NOWHERE)


def test_without_a_place_it_is_compiled_all_the_same() -> None:
    with pytest.raises(RuntimeError, match="no locator available"):
        numba.njit(cache=True)(function(NOWHERE))
    double = cached()(function(NOWHERE))
    assert double(21) == 42 and double.stats.cache_path is None


def test_beside_the_source_it_is_kept(tmp_path: Path) -> None:
    (tmp_path / "double.py").write_text(SOURCE)
    assert cached()(function(str(tmp_path)))(21) == 42
    assert list((tmp_path / "__pycache__").glob("double.double-*.nbi"))


def test_among_the_users_caches_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cached()(function(NOWHERE)).stats.cache_path.startswith(str(tmp_path))


@pytest.mark.parametrize("named", ["{tmp}", NOWHERE])
def test_a_named_folder_is_taken_where_it_can_be_written(tmp_path: Path, named: str) -> None:
    named = named.format(tmp=tmp_path)
    kept = named if named == str(tmp_path) else ""
    env = {"NUMBA_CACHE_DIR": named, "HOME": NOWHERE, "PATH": "/bin"}
    done = subprocess.run([sys.executable, "-c", STARTS.format(kept=kept)], env=env, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
