"""numba's cache, where there may be no place for one."""

from __future__ import annotations

import os
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


def function(folder: Path, writable: bool):
    """`double`, of a source file in that folder; nothing can be kept beside it unless `writable`."""
    (folder / "double.py").write_text(SOURCE)
    if not writable:
        (folder / "__pycache__").touch()
    names: dict = {}
    exec(compile(SOURCE, str(folder / "double.py"), "exec"), names)
    return names["double"]


@pytest.fixture(autouse=True)
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("HOME", NOWHERE)
    monkeypatch.setenv("XDG_CACHE_HOME", NOWHERE)


def test_without_a_place_it_is_compiled_all_the_same(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no locator available"):
        numba.njit(cache=True)(function(tmp_path, writable=False))
    assert cached()(function(tmp_path, writable=False))(21) == 42


def test_beside_the_source_it_is_kept(tmp_path: Path) -> None:
    assert cached()(function(tmp_path, writable=True))(21) == 42
    assert list((tmp_path / "__pycache__").glob("double.double-*.nbi"))


def test_among_the_users_caches_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cached()(function(tmp_path, writable=False))(21) == 42
    assert list((tmp_path / "caches").rglob("double.double-*.nbi"))


@pytest.mark.parametrize("named", ["{tmp}", NOWHERE])
def test_a_named_folder_is_taken_where_it_can_be_written(tmp_path: Path, named: str) -> None:
    named = named.format(tmp=tmp_path)
    kept = named if named == str(tmp_path) else ""
    env = {**os.environ, "NUMBA_CACHE_DIR": named}
    done = subprocess.run([sys.executable, "-c", STARTS.format(kept=kept)], env=env, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


NAMES = """
import numba, numpy as np
from scaflow.hw import compiled
from scaflow.hw.timing.lanes import array
double = numba.njit(lambda record: len(record))
for lanes in {order}:
    double(array(1, lanes))
print(*(double.overloads[numba.typeof(array(1, lanes)),].fndesc.mangled_name for lanes in (1, 16)), sep="\\n")
"""


def test_what_is_kept_for_records_is_named_after_them() -> None:
    """Whatever a process met first: what two of them keep is loaded together."""
    found = [
        subprocess.run(
            [sys.executable, "-c", NAMES.format(order=order)], check=True, capture_output=True, text=True
        ).stdout.split()
        for order in ((1, 16), (16, 1))
    ]
    assert found[0][0] != found[0][1]
    types = [[name.split("__3c_lambda_3e_")[-1].split("Array")[-1] for name in names] for names in found]
    assert types[0] == types[1]
