"""The command: help that says what is read and written, messages, exit codes."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from scaflow.flow import chain, cli
from scaflow.flow.stages import shipped

VERBS = (
    "data", "train", "export", "compile", "sim", "cycles", "activity", "synth", "compare-finn", "fold", "import",
    "reference", "report", "demo", "study", "recordings",
)  # fmt: skip


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCAFLOW_BUILD", "restored afterwards")
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(cli.app, arguments)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("import", "recordings")])
@pytest.mark.parametrize(("sections", "told"), [
    ("[sca]\nkeep = 0.5\n[fold]\nlanes = 10", "fold.lanes=10: at least 11"),
    ("[sca]\nkeep = 0.5\n[fold]\npe = [9]\nsimd = [1, 1]", "fold.pe[0]: layers[0]: pe=9 must be 1 to its 8"),
    ("[sca]\ncycles = 0.001", "sca.cycles=0.001: with every layer at its floor 0."),
])  # fmt: skip
def test_what_no_hardware_can_do_is_told_by_every_verb(run, tmp_path, verb, sections, told):
    (tmp_path / "net.toml").write_text(
        'name = "net"\ndataset = "digits"\ntime_steps = 2\nlayers = [{ channels = 8 }]\n'
        f"[train]\nepochs = 1\n{sections}\n"
    )
    result = run(verb, "net.toml")
    assert result.exit_code == 2
    assert "error: net.toml: 1 problem(s)" in result.stderr and told in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["net.toml"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_what_it_reads_and_writes(run, verb):
    result = run(verb, "--help")
    assert result.exit_code == 0
    text = " ".join(result.output.split())
    assert ("FILE" if verb in ("import", "recordings") else "NET") in text
    if verb != "demo":
        assert "Writes " in text
    if verb not in ("data", "demo"):
        assert "Reads " in text


def test_there_is_no_verb_without_this_test(run):
    assert {
        command.name or command.callback.__name__.strip("_") for command in cli.app.registered_commands
    } == set(VERBS)


def test_an_unknown_network_is_refused_with_the_known_ones(run):
    result = run("train", "nope")
    assert result.exit_code == 2
    assert "error: network 'nope'" in result.stderr and "fashion" in result.stderr
    assert result.stdout == ""


def test_a_faulty_toml_is_refused_with_all_its_problems(run, tmp_path):
    (tmp_path / "net.toml").write_text('name = "x"\ndataset = "imagenet"\ntime_steps = 0\nlayers = []\n')
    result = run("compile", "net.toml")
    assert result.exit_code == 2
    for word in ("dataset", "time_steps", "train", "sca"):
        assert word in result.stderr
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize(
    ("verb", "first"),
    [
        ("export", "train"),
        ("compile", "export"),
        ("sim", "compile"),
        ("cycles", "compile"),
        ("synth", "compile"),
    ],
)
def test_a_stage_too_early_names_the_stage_before(run, tmp_path, verb, first):
    result = run(verb, "digits")
    assert result.exit_code == 2
    assert f"run `scaflow {first} digits` first" in result.stderr
    assert list(tmp_path.rglob("*.*")) == []


def test_soft_targets_want_the_dense_network_first(run, tmp_path):
    text = shipped()["digits"].read_text().replace("[sca]", "[sca]\nsoft = 0.5")
    (tmp_path / "taught.toml").write_text(text)
    result = run("train", "taught.toml", "--only", "pruned")
    assert result.exit_code == 2
    assert "dense/model.pt" in result.stderr and "run `scaflow train taught.toml --only dense` first" in result.stderr


def test_a_report_too_early_names_every_command(run):
    result = run("report", "digits")
    assert result.exit_code == 2
    for verb in ("compile", "sim", "cycles", "synth"):
        assert f"run `scaflow {verb} digits`" in result.stderr


def test_a_foreign_file_that_is_none_is_refused(run, tmp_path):
    (tmp_path / "net.onnx").write_text("no protobuf")
    result = run("import", "net.onnx")
    assert result.exit_code == 2 and "net.onnx" in result.stderr
    result = run("import", "absent.onnx")
    assert result.exit_code == 2 and "absent.onnx: no such file" in result.stderr
    assert not (tmp_path / "build").exists()


def test_waves_need_one_design(run):
    result = run("sim", "digits", "--waves", "a.vcd")
    assert result.exit_code == 2
    assert "--variant dense, skip, compact or event" in result.stderr


def test_an_interruption_exits_with_130_and_leaves_no_stamp(run, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(chain, "_train", interrupted)
    result = run("train", "digits")
    assert result.exit_code == 130
    assert "interrupted" in result.stderr
    assert not list(tmp_path.rglob("*.json"))


def test_a_mismatch_exits_with_1_and_names_the_row(run, monkeypatch):
    row = {"rung": "3 top = golden", "variant": "skip", "compared": 20, "mismatches": 3}
    monkeypatch.setattr(chain, "simulate_designs", lambda *_: {"equality": [row]})
    result = run("sim", "digits", "--variant", "skip")
    assert result.exit_code == 1
    assert "not equal: 3 top = golden (skip): 3 mismatches in 20" in " ".join(result.stderr.split())


def test_options_reach_the_stage(run, tmp_path, monkeypatch):
    seen = {}

    def train(project, training, resume, console, device):
        seen[training] = (project.network.train.epochs, resume, device)
        folder = project / training
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("model.pt", "log.csv"):
            (folder / name).write_text(training)

    monkeypatch.setattr(chain, "_train", train)
    assert (
        run("train", "digits", "--only", "pruned", "--epochs", "3", "--resume", "--build", "b").exit_code == 0
    )
    assert seen == {"pruned": (3, True, "auto")}
    stamp = json.loads((tmp_path / "b/digits/stamps/train-pruned.json").read_text())
    assert stamp["reads"]["settings"]["network"]["train"]["epochs"] == 3
    seen.clear()
    assert run("train", "digits", "--only", "pruned", "--epochs", "3", "--build", "b").exit_code == 0
    assert seen == {}
