"""What of the user's environment reaches the programs that we start, and what does not."""

from __future__ import annotations

import tempfile

import pytest

from scaflow.model.environment import environment

SIMULATORS = """
WAVES SIM TOPLEVEL TOPLEVEL_LANG MODULE TESTCASE COCOTB_TEST_FILTER COCOTB_TESTCASE COCOTB_TEST_MODULES COCOTB_TOPLEVEL
COCOTB_RESULTS_FILE COCOTB_RANDOM_SEED COCOTB_LOG_LEVEL COCOTB_ANSI_OUTPUT COCOTB_RESOLVE_X COCOTB_SCHEDULER_DEBUG
COCOTB_PLUSARGS COCOTB_ENABLE_PROFILING COCOTB_REWRITE_ASSERTION_FILES COCOTB_HDL_TIMEUNIT RANDOM_SEED PLUSARGS
GPI_USERS GPI_EXTRA GPI_LOG_LEVEL PYGPI_USERS PYGPI_ENTRY_POINT PYGPI_PYTHON_BIN LIBPYTHON_LOC COVERAGE COVERAGE_RCFILE
COVERAGE_PROCESS_START VERILATOR_ROOT VERILATOR_BIN VERILATOR_SOLVER VERILATOR_COVERAGE_BIN SYSTEMC SYSTEMC_INCLUDE
MODELSIM QUESTA_HOME VCS_HOME XCELIUM_HOME SIM_BUILD SIM_ARGS EXTRA_ARGS COMPILE_ARGS RESULTS_FILE
"""
BUILDS = """
MAKEFLAGS MFLAGS GNUMAKEFLAGS MAKEFILES MAKELEVEL MAKE_TERMOUT CC CXX LINK LD AR CFLAGS CXXFLAGS CPPFLAGS LDFLAGS
LDLIBS OPT OPT_FAST OPT_SLOW OPT_GLOBAL VM_TRACE VM_PREFIX USER_CPPFLAGS USER_LDLIBS OBJCACHE CFG_CXXFLAGS_STD_NEWEST
DEPENDENCIES_OUTPUT SUNPRO_DEPENDENCIES
"""
SHELLS = """
BASH_ENV ENV BASH_FUNC_make%% IFS CDPATH PYTHONSTARTUP PYTHONWARNINGS PYTHONINSPECT PYTHONOPTIMIZE PYTHONHASHSEED
PYTHONBREAKPOINT PYTHONDEVMODE PYTHONTRACEMALLOC PYTHONSAFEPATH PERL5OPT YOSYS_DATDIR ABC ABC9
"""
PASSED = """
PATH HOME LANG LC_ALL LD_LIBRARY_PATH CPATH LIBRARY_PATH CCACHE_DIR NIX_CFLAGS_COMPILE CONDA_PREFIX XDG_CACHE_HOME
YOWASP_CACHE_DIR PYTHONPATH PYTHONHOME SCAFLOW_BUILD
"""


@pytest.mark.parametrize("name", (SIMULATORS + BUILDS + SHELLS).split())
def test_what_changes_how_programs_run_stays_outside(name: str) -> None:
    assert name not in environment({name: "1", "PATH": "/bin"})


@pytest.mark.parametrize("name", PASSED.split())
def test_what_programs_need_to_be_found_and_to_write_is_passed(name: str) -> None:
    assert environment({name: "/some/where"})[name] == "/some/where"


def test_the_users_own_is_taken_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/some/where")
    monkeypatch.setenv("WAVES", "1")
    found = environment()
    assert found["PATH"] == "/some/where" and "WAVES" not in found


def test_temporary_files_go_where_ours_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment({"TMPDIR": "no/such/folder"})["TMPDIR"] == tempfile.gettempdir()


def test_no_place_for_temporary_files_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/none"])
    with pytest.raises(ValueError, match=r"temporary files: .*/proc/none.*; set TMPDIR to a folder"):
        environment({})
