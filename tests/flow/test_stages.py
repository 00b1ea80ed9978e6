"""The stage runner: runs what has changed, skips the rest, and leaves nothing finished-looking on failure."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from scaflow.flow import stages
from scaflow.flow.stages import Project, Stage, open_project, run_stage, shipped, with_cycles, with_epochs


@pytest.fixture
def project(tmp_path) -> Project:
    return open_project("digits", tmp_path / "build", tmp_path / "data")


class Copy:
    """A stage that copies a file and counts its runs."""

    def __init__(self, project: Project) -> None:
        self.source, self.target = project / "in.txt", project / "out.txt"
        self.source.parent.mkdir(parents=True)
        self.source.write_text("1")
        self.runs = 0
        self.project = project
        self.stage = Stage(
            "copy", (self.source,), (self.target,), self.work, {"a": (1, 2)}, remedy="make in.txt"
        )

    def work(self) -> None:
        self.runs += 1
        self.target.write_text(self.source.read_text())

    def __call__(self, force: bool = False, **changes) -> int:
        run_stage(self.project, dataclasses.replace(self.stage, **changes), lambda _: None, force)
        return self.runs


def test_a_stage_runs_once_while_nothing_changes(project):
    copy = Copy(project)
    assert [copy(), copy(), copy()] == [1, 1, 1]


def test_a_changed_input_setting_or_output_runs_it_again(project):
    copy = Copy(project)
    assert copy() == 1
    copy.source.write_text("2")
    assert copy() == 2
    assert copy.target.read_text() == "2"
    copy.target.write_text("by hand")
    assert copy() == 3
    copy.target.unlink()
    assert copy() == 4
    assert copy(settings={"a": (1, 3)}) == 5
    assert copy(settings={"a": (1, 3)}) == 5
    assert copy(settings={"a": (1, 3)}, force=True) == 6


def test_a_touched_but_equal_input_runs_nothing(project):
    copy = Copy(project)
    copy()
    copy.source.write_text("1")
    assert copy() == 1


def test_a_changed_source_of_a_room_runs_it_again(project, tmp_path, monkeypatch):
    (tmp_path / "hw").mkdir()
    (tmp_path / "hw" / "a.sv").write_text("module a; endmodule")
    monkeypatch.setattr(stages, "ROOT", tmp_path)
    copy = Copy(project)
    assert [copy(rooms=("hw",)), copy(rooms=("hw",))] == [1, 1]
    (tmp_path / "hw" / "a.sv").write_text("module a; wire b; endmodule")
    assert copy(rooms=("hw",)) == 2


def test_a_failed_run_is_not_up_to_date(project):
    copy = Copy(project)
    copy()

    def fail() -> None:
        copy.target.write_text("half")
        raise KeyboardInterrupt

    copy.source.write_text("2")
    with pytest.raises(KeyboardInterrupt):
        copy(run=fail)
    copy.source.write_text("1")  # all as it was after the first run, but for the output's content
    copy.target.write_text("1")
    assert copy() == 2


def test_a_stage_that_does_not_write_its_output_is_an_error(project):
    copy = Copy(project)
    with pytest.raises(ValueError, match=r"^copy: ended without writing .*out\.txt$"):
        copy(run=lambda: None)
    assert copy() == 1


def test_missing_inputs_are_all_named_with_the_remedy(project):
    copy = Copy(project)
    other = project / "other.txt"
    copy.source.unlink()
    with pytest.raises(ValueError, match=r"in\.txt\n.*other\.txt\n  run `make in\.txt` first"):
        copy(reads=(copy.source, other))
    assert copy.runs == 0


def test_a_network_is_found_by_name_or_by_path(tmp_path):
    assert {"demo", "digits", "fashion", "mnist", "swift"} <= shipped().keys()
    by_path = open_project(str(shipped()["digits"]), Path("b"), Path("d"))
    assert by_path.network == open_project("digits", Path("b"), Path("d")).network
    assert by_path / "x" == Path("b/digits/x")
    with pytest.raises(ValueError, match=r"'nope': neither a file nor a shipped network; .*demo, digits"):
        open_project("nope", tmp_path, tmp_path)
    with pytest.raises(ValueError, match=r"absent\.toml: no such file"):
        open_project(str(tmp_path / "absent.toml"), tmp_path, tmp_path)


def test_other_epochs_make_another_network(project):
    assert with_epochs(project, 3).network.train.epochs == 3
    assert with_epochs(project, project.network.train.epochs) == project


@pytest.mark.parametrize(("named", "criterion"), [({}, "weight"), ({"criterion": "rank"}, "rank")])
def test_a_budget_of_cycles_brings_its_criterion(project, named, criterion):
    described = project.network.model_dump()
    described["sca"] = {"keep": 0.5, **named}
    kept = dataclasses.replace(project, network=type(project.network).model_validate(described))
    sca = with_cycles(kept, 0.25).network.sca
    assert (sca.cycles, sca.keep, sca.criterion) == (0.25, None, criterion)
    with pytest.raises(ValueError, match="--cycles 2: give a part"):
        with_cycles(kept, 2)
