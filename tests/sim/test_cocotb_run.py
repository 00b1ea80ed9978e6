"""What a simulation with cocotb is told of its surroundings, composed without one."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pygpi.entry
import pytest

from scaflow.sim import cocotb_run


@pytest.fixture
def composed(tmp_path: Path):
    """composed(): the environment of a run of `top` in tmp_path/run, laid out."""
    (tmp_path / "design").mkdir()

    def compose() -> dict[str, str]:
        assert cocotb_run.lay_out(tmp_path, tmp_path / "design") == tmp_path / "run"
        return cocotb_run.environment(tmp_path, "own.bench", "top", 7, tmp_path / "results.xml")

    return compose


def test_it_finds_modules_where_this_process_does(composed, tmp_path: Path, monkeypatch) -> None:
    """Also in folders with the sign in their names that divides the list, and in relative ones."""
    divided = tmp_path / f"a{os.pathsep}b"
    divided.mkdir()
    (divided / "theirs.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["design", str(divided), "/elsewhere"])
    here, linked, there = composed()["PYTHONPATH"].split(os.pathsep)
    assert (here, there) == (str(tmp_path / "design"), "/elsewhere")
    assert (Path(linked) / "theirs.py").is_file()


def test_libraries_of_the_user_come_behind_cocotbs(composed, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/theirs")
    own, theirs = composed()["LD_LIBRARY_PATH"].split(os.pathsep)
    assert theirs == "/theirs"
    assert list((tmp_path / "run" / own).glob("libcocotbvpi_verilator*"))  # as seen from the folder of the run


def test_without_libraries_of_the_user_no_other_folder_is_searched(composed, monkeypatch) -> None:
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    assert os.pathsep not in composed()["LD_LIBRARY_PATH"]  # an empty part would be the folder of the run


def test_it_is_told_what_to_run_and_nothing_of_other_runs(composed, tmp_path: Path, monkeypatch) -> None:
    for name in ("COCOTB_TOPLEVEL", "COCOTB_RANDOM_SEED", "COCOTB_TEST_FILTER", "GPI_EXTRA"):
        monkeypatch.setenv(name, "theirs")
    found = composed()
    told = ("COCOTB_TOPLEVEL", "COCOTB_TEST_MODULES", "COCOTB_RANDOM_SEED", "COCOTB_RESULTS_FILE")
    assert [found[name] for name in told] == ["top", "own.bench", "7", str(tmp_path / "results.xml")]
    assert "theirs" not in found.values()


def test_cocotb_is_entered_as_it_enters_itself_but_without_pytest(composed) -> None:
    first, *entries = composed()["PYGPI_USERS"].split(",")
    entered = inspect.getsource(pygpi.entry.load_entry)
    assert first == "scaflow.sim.lean:stand_in"
    assert [entry for entry in entries if f'"{entry}"' not in entered] == []
    script = "import sys; from scaflow.sim import lean; lean.stand_in(); import cocotb.regression"
    script += "; print('_pytest.nodes' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "False\n"


def test_a_python_without_a_shared_library_is_refused_with_the_remedy(composed, monkeypatch, request) -> None:
    request.addfinalizer(cocotb_run._libpython.cache_clear)
    cocotb_run._libpython.cache_clear()
    monkeypatch.setattr(cocotb_run.find_libpython, "find_libpython", lambda: None)
    with pytest.raises(ValueError, match=r"python.* has no shared library .*apt-get install libpython3-dev"):
        composed()
