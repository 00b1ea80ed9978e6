"""What the verbs of the command do alike: open the network, say how far they are, run stages, report, end."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape

from scaflow.flow import lock, stages
from scaflow.flow.messages import Printer, guarded
from scaflow.flow.report import collect as report
from scaflow.flow.stages import Project, Stage
from scaflow.model.files import write_json, write_text

out = Printer()
out.width = max(out.width, 100)  # a figure is never cut, whatever the terminal
err = Printer(stderr=True)


def say(line: str) -> None:
    """Progress, one line a step; on stderr, so that stdout holds results only."""
    err.print(f"[dim]{escape(line)}[/dim]", highlight=False, soft_wrap=True)


def messages() -> contextlib.AbstractContextManager[None]:
    """A failure becomes a message and an exit code: 2 refused, 1 wrong hardware, 130 interrupted, 70 unexpected."""
    return guarded(err)


def at_work(project: Project, verb: str) -> contextlib.AbstractContextManager[None]:
    return lock.at_work(project.folder, verb, say)


def project_of(net: str, build: Path, folder: Path) -> Project:
    os.environ["SCAFLOW_BUILD"] = str(build)  # where sim/ keeps its builds
    return stages.open_project(net, build, folder)


def run_stages(project: Project, parts: Sequence[Stage], force: bool = False) -> None:
    for part in parts:
        start = time.monotonic()
        if stages.run_stage(project, part, say, force):
            say(f"{part.name}: done in {time.monotonic() - start:.0f} s")


def make_report(project: Project) -> None:
    from scaflow.flow.report.page import render

    collected = report.collect(project)
    write_json(project / "report.json", collected)
    write_text(project / "report.html", render(project, collected))
    report.show(collected, out)
    say(f"written: {project / 'report.json'}, {project / 'report.html'}")
    end(collected["equality"])


def end(rows: list[dict[str, Any]]) -> None:
    failed = report.failures(rows)
    for line in failed:
        err.print(f"[bold red]not equal:[/] {escape(line)}", highlight=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)
