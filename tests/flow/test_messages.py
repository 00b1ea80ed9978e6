"""What fails is told with path, reason and remedy, and an exit code; no traceback reaches the terminal."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scaflow.flow import chain, cli, foreign
from scaflow.sim.errors import SimulationError

COMMAND = (sys.executable, "-m", "scaflow.flow.cli")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """run(*arguments, raising=error): the command in an empty folder; its training fails with that."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCAFLOW_BUILD", "restored afterwards")

    def start(*arguments: str, raising: BaseException | None = None):
        def fail(*_):
            raise raising

        if raising is not None:
            monkeypatch.setattr(chain, "_train", fail)
        return CliRunner().invoke(cli.app, arguments or ("train", "digits"))

    return start


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EIO, errno.ENAMETOOLONG]
)
def test_what_the_system_says_is_told_with_path_reason_and_remedy(run, number):
    result = run(raising=OSError(number, os.strerror(number), "some/where/file"))
    assert result.exit_code == 2
    assert f"error: some/where/file: {os.strerror(number)}; " in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(Path("build").rglob("*.json")) and not list(Path().rglob("unexpected-*"))


def test_without_a_path_the_places_are_named_with_what_is_free(run):
    result = run(raising=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert result.exit_code == 2
    assert "--build build:" in result.stderr and "temporary files" in result.stderr and "KiB free" in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (SimulationError("top: no beat for 1000 cycles"), 1, "no beat for 1000 cycles"),
        (MemoryError(), 2, "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 2, "out of memory"),
        (BrokenProcessPool("a child died"), 2, "ended from outside"),
        (ValueError("node 'a': wrong; mend it"), 2, "node 'a': wrong; mend it"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_expected_failures_have_words_and_codes_of_their_own(run, error, code, words):
    result = run(raising=error)
    assert result.exit_code == code
    assert words in result.stderr and "Traceback" not in result.stderr
    assert not list(Path().rglob("unexpected-*"))


def test_the_unexpected_is_written_down_in_the_networks_folder(run):
    Path("build/digits").mkdir(parents=True)  # a folder that a run made for itself alone goes with it
    result = run(raising=KeyError("nobody thought of it"))
    assert result.exit_code == 70
    assert "error: unexpected, at work on `scaflow train`: KeyError: 'nobody thought of it'" in result.stderr
    assert "Traceback" not in result.stderr
    (written,) = Path("build/digits").glob("unexpected-train-*.txt")
    assert str(written) in result.stderr.replace("\n", "")
    text = written.read_text()
    assert "Traceback" in text and "in fail" in text and "scaflow train" in text


def test_where_the_folder_cannot_be_written_it_goes_among_temporary_files(run, tmp_path, monkeypatch):
    def fail(*_):
        raise KeyError("nobody thought of it")

    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(foreign, "import_design", fail)
    result = run("import", "net.onnx", "--build", "absent")
    assert result.exit_code == 70
    (written,) = tmp_path.glob("unexpected-import-*.txt")
    assert "Traceback" in written.read_text()


@pytest.mark.parametrize("verb", ["train", "study", "import", "demo"])
def test_a_file_in_place_of_the_build_folder(run, tmp_path, verb):
    (tmp_path / "afile").touch()
    what = "net.onnx" if verb == "import" else "digits"
    for build in ("afile", "afile/below"):
        result = run(verb, what, "--build", build)
        assert result.exit_code == 2
        assert "error: afile" in result.stderr and "remove or rename it" in result.stderr.replace("\n", " ")
    assert (tmp_path / "afile").read_bytes() == b"" and [path.name for path in tmp_path.iterdir()] == ["afile"]


@pytest.mark.parametrize("blocked", ["dense/model.pt", "dense", "stamps", "stamps/train-dense.json", "dense/log.csv"])
def test_a_place_that_cannot_be_written_is_told_before_the_work(run, tmp_path, monkeypatch, blocked):
    monkeypatch.setattr(chain, "_train", lambda *_: pytest.fail("it trained"))
    path = tmp_path / "build/digits" / blocked
    path.parent.mkdir(parents=True)
    if path.suffix:
        path.mkdir()
    else:
        path.touch()
    result = run("train", "digits")
    assert result.exit_code == 2
    assert f"build/digits/{blocked}" in result.stderr.replace("\n", "") and "remove or rename it" in result.stderr


def test_waves_are_judged_before_the_simulation(run, tmp_path):
    (tmp_path / "afile").touch()
    for waves, reason in ((".", "Is a directory"), ("afile/w.vcd", "afile"), ("x" * 300, "File name too long")):
        result = run("sim", "digits", "--variant", "skip", "--waves", waves)
        assert result.exit_code == 2 and reason in result.stderr
        assert "missing" not in result.stderr


@pytest.mark.parametrize("option", [("train", "--help"), ("data", "digits")])
def test_a_reader_that_goes_away_ends_the_command_quietly(tmp_path, option):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*COMMAND, *option], cwd=tmp_path, stdout=writing, stderr=writing if option[0] == "data" else subprocess.PIPE,
        timeout=120,
    )  # fmt: skip
    os.close(writing)
    assert done.returncode in (1, 141)
    assert not done.stderr


def test_a_full_standard_output_is_told(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "train", "--help"], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120
        )
    assert done.returncode != 0


WIDE = pytest.mark.full


@pytest.mark.parametrize("size", [pytest.param(24, marks=WIDE), 40, pytest.param(60, marks=WIDE)])
def test_a_full_disk_ends_a_training_with_a_message_and_no_half_file(tmp_path, size):
    (tmp_path / "net.toml").write_text(
        'name = "net"\ndataset = "digits"\ntime_steps = 2\nlayers = [{ channels = 4 }, { channels = 4, pool = 2 }]\n'
        "[train]\nepochs = 4\nfinetune_epochs = 0\nbatch = 64\nvalidation = 200\n[sca]\nkeep = 0.75\n"
    )
    train = f"{' '.join(COMMAND)} train net.toml --only dense --build small/b"
    left = "c=$?; find small -type f ! -name 'events*' ! -path '*/fused/*'; exit $c"
    script = f"mkdir small && mount -t tmpfs -o size={size}k none small || exit 99; {train}; {left}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = ["unshare", "-m", "bash", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
    if done.returncode == 99 or "unshare" in done.stderr:
        pytest.skip("no right to make a disk")
    assert done.returncode == 2, done.stderr
    assert "No space left on device" in done.stderr and "small/b" in done.stderr and "make room there" in done.stderr
    assert "Traceback" not in done.stderr
    names = [Path(line).name for line in done.stdout.splitlines()]
    assert not [name for name in names if name.endswith((".part", ".json", "model.pt"))], names
