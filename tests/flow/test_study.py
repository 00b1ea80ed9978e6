"""The study on digits: equal conditions, a shared warm-up, going on after an interruption, figures by hand."""

import io
import shutil
import subprocess
import sys
import time
import tomllib
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

from scaflow.flow.jobs.local import Local
from scaflow.flow.stages import Project, open_project
from scaflow.flow.study import report as study_report
from scaflow.flow.study import runs as study
from scaflow.hw.cost import outline
from scaflow.model.config import NetworkConfig
from scaflow.model.files import read_json
from scaflow.quant.graph import execute

NET = """
name = "studied"
dataset = "digits"
time_steps = 2
layers = [ { channels = 4 }, { channels = 8, pool = 2 } ]
train = { epochs = 5, batch = 32, lr = 0.01, validation = 100, train_images = 320 }
sca = { cycles = 0.6, momentum = 0.5, warmup = 0.4, ramp = 0.2, freeze = 0.4, granularity = 2 }
fold = { lanes = 16 }
"""
QUIET = Console(file=io.StringIO())


@pytest.fixture
def project(tmp_path) -> Project:
    path = tmp_path / "net.toml"
    path.write_text(NET)
    return open_project(str(path), tmp_path / "build", tmp_path / "data")


def test_runs_of_a_seed_start_from_one_warm_up(project):
    runs = study.plan(project, ("sca", "weight", "slimming"), range(2))
    assert [(run.criterion, run.cfg.train.seed) for run in runs[:6]] == [
        (None, 0), ("dense", 0), ("sca", 0), ("weight", 0), (None, 0), ("slimming", 0),
    ]  # fmt: skip
    first, dense, sca, weight, other, slimming = runs[:6]
    assert dense.start == sca.start == weight.start == first
    assert slimming.start == other != first  # its loss differs from the first epoch on
    assert [run.prune for run in runs[:6]] == [False, False, True, True, True, True]
    assert {run.cfg.model_dump_json(exclude={"sca", "train"}) for run in runs} == {
        project.network.model_dump_json(exclude={"sca", "train"})
    }
    assert sum(run.epochs for run in runs[:6]) == 2 + 4 + 4 + 4 + 2 + 4  # of five epochs and the fine-tuning


def test_a_study_goes_on_where_it_stopped(project, monkeypatch):
    found = study.study(project, ("weight",), 1, Local(1), False, QUIET)
    assert [row["criterion"] for row in found["rows"]] == ["dense", "weight"]
    assert read_json(project / "study.json") == found
    dense, pruned = found["rows"]
    assert dense["cycles_over_dense"] == 1
    assert dense["channels"] == [4, 8]
    assert dense["parameters"] == 4 * 9 + 8 * 36 + 2 * 12 + 10 * (8 * 16 + 1)
    assert pruned["cycles_over_dense"] <= 0.6
    assert pruned["parameters"] < dense["parameters"]
    assert 0 < pruned["synops"] < dense["synops"]
    assert dense["accuracy"] > 0.5
    # the warm-up and the runs are of one piece
    logs = [(project / f"study/{name}/log.csv").read_text().splitlines() for name in ("dense-0", "weight-0")]
    assert logs[0][1:3] == logs[1][1:3]
    assert len(logs[0]) == 1 + 5 + 1
    started = []
    monkeypatch.setattr(study, "_process", started.append)
    shutil.rmtree(project / "study")  # study.json alone is enough to go on, on another machine too
    assert study.study(project, ("weight",), 1, Local(1), False, QUIET) == found
    (project / "study/weight-0/row.json").unlink()
    (project / "study.json").unlink()
    with pytest.raises(ValueError, match="study: warm-up, seed 0 failed"):
        study.study(project, ("weight",), 1, Local(1), False, QUIET)


def test_pruned_runs_learn_from_the_dense_network_of_their_seed(project):
    sca = project.network.sca.model_copy(update={"soft": 0.5})
    project = replace(project, network=project.network.model_copy(update={"sca": sca}))
    warmup, dense, weight = study.plan(project, ("weight",), [0])
    assert (dense.teacher, weight.teacher) == (None, dense)
    for run in (warmup, dense):
        run.folder.mkdir(parents=True)
        run.result.write_text('{"settings": ""}')
    assert study._left([warmup, dense, weight]) == [dense, weight]  # its row came without its model
    assert not study._ready(weight)
    dense.model.touch()
    assert study._left([warmup, dense, weight]) == [weight]
    assert study._ready(weight)


def test_runs_end_with_a_killed_study(tmp_path):
    """The pipe's end is held by the command and its runs: it closes when the last of them is gone."""
    (tmp_path / "net.toml").write_text(NET.replace("epochs = 5", "epochs = 4000"))
    process = subprocess.Popen(
        [sys.executable, "-m", "scaflow.flow.cli", "study", "net.toml", "--criteria", "weight", "--seeds", "1"],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    log, end = tmp_path / "build/studied/study/warmup-dense-0/log.csv", time.monotonic() + 120
    while not log.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.05)
    process.kill()
    process.communicate(timeout=20)


def test_results_of_other_settings_are_refused(project):
    """Dense runs do not depend on the budget; pruned ones must not pass for those of another."""
    runs = study.plan(project, ("weight",), [0])
    cheaper = project.network.model_copy(update={"sca": project.network.sca.model_copy(update={"cycles": 0.5})})
    others = study.plan(replace(project, network=cheaper), ("weight",), [0])
    assert [a.settings == b.settings for a, b in zip(runs, others, strict=True)] == [True, True, False]
    for run in others:
        run.folder.mkdir(parents=True)
        run.result.write_text(f'{{"settings": "{run.settings}"}}')
    with pytest.raises(ValueError, match=r"study: made with other settings: weight-0; remove the folder \(--force"):
        study.study(project, ("weight",), 1, Local(1), False, QUIET)


def test_unknown_criteria_are_named():
    with pytest.raises(ValueError, match="--criteria: size is unknown; use some of sca, "):
        study.chosen("sca, size")
    assert study.chosen("rank,sca") == ("rank", "sca")
    assert "sca-cycles" in study.chosen("")


def test_synaptic_operations_are_spikes_times_what_reads_them():
    graph = outline(NetworkConfig.model_validate(tomllib.loads(NET)))
    rng = np.random.default_rng(0)
    first, second, pool, last = graph.nodes
    first = replace(first, weight=rng.integers(-7, 8, first.weight.shape), threshold=np.full(4, 2000))
    second = replace(second, weight=rng.integers(-7, 8, second.weight.shape), threshold=np.full(8, 60))
    graph = replace(graph, nodes=(first, second, pool, last))
    images = rng.integers(0, 256, (3, 1, 8, 8), dtype=np.uint8)
    spikes = execute(graph, images, trace=True)[1]
    into = torch.from_numpy(spikes[first.name].astype(np.float32)).flatten(0, 1)
    fed = torch.nn.functional.conv2d(into, torch.ones(1, 4, 3, 3), padding=1).sum() * 8
    by_hand = (float(fed) + spikes[pool.name].sum() * 10) / 3
    assert by_hand > 100
    assert study._synops(graph, images) == pytest.approx(by_hand)


def test_the_table_has_mean_and_spread(tmp_path):
    row = {"parameters": 10, "synops": 5.0, "cycles": 7, "cycles_over_dense": 0.2, "interval": 3, "cycles_event": 2.0,
           "channels": [1, 2]}  # fmt: skip
    accuracies = {"rate": (0.5, 0.7), "dense": (0.1, 0.1), "sca": (0.8, 0.8)}
    found = {
        "dataset": "digits", "network": "n", "time_steps": 2, "weight_bits": 4, "epochs": 5,
        "budget": {"cycles": 0.2, "keep": None, "objective": "sum"},
        "rows": [
            {**row, "criterion": name, "seed": seed, "accuracy": values[seed]}
            for seed in range(2)
            for name, values in accuracies.items()
        ],
    }  # fmt: skip
    section = study_report.section(found)
    assert [cells[:2] for cells in section.rows] == [
        ("dense", "10.00 ± 0.00 (2)"), ("sca", "80.00 ± 0.00 (2)"), ("rate", "60.00 ± 14.14 (2)"),
    ]  # fmt: skip
    study_report.save_plot(found, tmp_path / "study.png")
    assert (tmp_path / "study.png").stat().st_size > 10_000
