"""The verb recordings: its table, its picture, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from scaflow.flow import cli
from scaflow.model.events.arrays import write_npz
from scaflow.model.events.recording import Recording


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(cli.app, ["recordings", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path):
    """A class with two recordings of 4 and 8 events within 3 and 7 ms, and one with a single event."""
    for name, count in (("left/a", 4), ("left/b", 8), ("right/a", 1)):
        number = np.arange(count)
        recording = Recording(1_000 * number, number, number // 2, number % 2, 8, 4)
        (tmp_path / "Train" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "Train" / f"{name}.npz").write_bytes(write_npz(recording))
    return tmp_path


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]


def test_the_table_and_the_picture(run, folder, tmp_path):
    picture = tmp_path / "frames.png"
    result = run(folder, "--bin-us", 2_000, "--picture", picture)
    assert result.exit_code == 0
    assert cells(result.stdout) == [
        ["train", "left", "2", "6", "5.0", "0.500", "3.0", "0.0"],
        ["train", "right", "1", "1", "0.0", "0.000", "1.0", "0.0"],
    ]
    with Image.open(picture) as drawn:
        colours = {colour for _, colour in drawn.convert("RGB").getcolors(1 << 20)}
    assert {(255, 0, 0), (0, 0, 255)} <= colours
    assert cells(run(folder, "--each", 1, "--denoise-us", 500).stdout)[0][3:] == ["4", "3.0", "0.500", "10.0", "4.0"]


def test_what_is_wrong_is_said_and_nothing_is_written(run, folder, tmp_path):
    picture = tmp_path / "frames.png"
    result = run(folder, "--bins", 0, "--picture", picture)
    assert result.exit_code == 2 and "binning: bins=0 must be at least 1" in result.stderr
    (folder / "Train/left/a.npz").write_bytes(b"PK")
    result = run(folder, "--picture", picture)
    assert result.exit_code == 2 and "Train/left/a.npz: numpy says" in result.stderr
    assert not picture.exists()
