"""The command `scaflow`: one verb a stage. Options and messages only; chain.py and report.py do the work."""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer
from rich.console import Console
from rich.markup import escape

from scaflow.flow import chain, report, stages
from scaflow.flow.stages import TRAININGS, VARIANTS, Project, Stage
from scaflow.hw.synth import Target

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="Spiking networks from SCA-pruned training to a channel-sparse FPGA dataflow, proved equal.",
)
# Its advice is about speed on a GPU, and it would stand between the lines of the progress.
warnings.filterwarnings("ignore", message="fast_hadamard_transform")
out = Console()
out.width = max(out.width, 100)  # a figure is never cut, whatever the terminal
err = Console(stderr=True)

Net = Annotated[str, typer.Argument(help="A network TOML, or the name of a shipped network.", metavar="NET")]
Build = Annotated[Path, typer.Option("--build", help="Folder of everything generated.")]
Data = Annotated[Path, typer.Option("--data", help="Folder of the data sets.")]
Force = Annotated[bool, typer.Option("--force", help="Run even if up to date.")]
Images = Annotated[int, typer.Option("--images", min=2, help="Test images.")]
Stalls = Annotated[bool, typer.Option("--stalls/--no-stalls", help="Also with random pauses at both ends.")]
OneVariant = Annotated[
    Literal["dense", "skip", "compact"] | None, typer.Option("--variant", help="One design only.")
]
BUILD, DATA = Path("build"), Path("data")


def say(line: str) -> None:
    """Progress, one line a step; on stderr, so that stdout holds results only."""
    err.print(f"[dim]{escape(line)}[/dim]", highlight=False, soft_wrap=True)


@contextlib.contextmanager
def messages() -> Iterator[None]:
    """An expected failure becomes a message and an exit code: 2 for a refusal, 130 for an interruption."""
    try:
        yield
    except ValueError as error:
        err.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        err.print("[bold]interrupted[/]: finished stages are kept; `demo` and `train --resume` go on from there")
        raise typer.Exit(130) from None


@app.command()
def data(net: Net, folder: Data = DATA) -> None:
    """Obtain the images of NET. Writes DATA/<data set>/, by checksum; does nothing if they are there."""
    with messages():
        chain.fetch_data(_project(net, BUILD, folder), say)


@app.command()
def train(
    net: Net,
    build: Build = BUILD,
    folder: Data = DATA,
    only: Annotated[Literal["dense", "pruned"] | None, typer.Option("--only", help="One training.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Instead of the TOML's.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last whole epoch.")] = False,
    force: Force = False,
) -> None:
    """Train NET dense, and with SCA pruning. Reads DATA. Writes BUILD/<net>/*/: model.pt, logs."""
    with messages():
        project = _project(net, build, folder)
        if epochs is not None:
            project = stages.with_epochs(project, epochs)
        _run(project, chain.train_stages(project, [only] if only else TRAININGS, resume, err), force)


@app.command()
def export(net: Net, build: Build = BUILD, force: Force = False) -> None:
    """Write both networks as QONNX. Reads BUILD/<net>/*/model.pt. Writes BUILD/<net>/*/model.onnx."""
    with messages():
        project = _project(net, build, DATA)
        _run(project, chain.export_stages(project), force)


@app.command("compile")
def compile_(net: Net, build: Build = BUILD, folder: Data = DATA, force: Force = False) -> None:
    """QONNX to three designs, held against torch and QONNX. Reads BUILD/<net>/*/model.onnx, DATA.

    Writes BUILD/<net>/{dense,skip,compact}/: graph.json, graph.npz, rtl/; and compile.json.
    """
    with messages():
        project = _project(net, build, folder)
        _run(project, [chain.compile_stage(project, say)], force)


@app.command()
def sim(
    net: Net,
    build: Build = BUILD,
    folder: Data = DATA,
    images: Images = 20,
    stalls: Stalls = True,
    variant: OneVariant = None,
    waves: Annotated[Path | None, typer.Option("--waves", help="Write a VCD of --variant there.")] = None,
    force: Force = False,
) -> None:
    """Simulate the designs against the golden model on test images. Reads BUILD/<net>/*/rtl. Writes sim.json.

    With --variant the result is printed only.
    """
    with messages():
        project = _project(net, build, folder)
        if waves is not None and variant is None:
            raise ValueError("--waves: say which design by --variant dense, skip or compact")
        if variant is None:
            _run(project, [chain.sim_stage(project, images, stalls, say)], force)
            rows = stages.read_json(project / "sim.json")["equality"]
        else:
            rows = chain.simulate_designs(project, [variant], images, stalls, waves, say)["equality"]
        out.print(report.equality_table(rows))
        _end(rows)


@app.command()
def cycles(net: Net, build: Build = BUILD, folder: Data = DATA, force: Force = False) -> None:
    """Measure each stage alone against the cycle law. Reads BUILD/<net>/*/rtl. Writes cycles.json."""
    with messages():
        project = _project(net, build, folder)
        _run(project, [chain.cycles_stage(project, say)], force)
        found = stages.read_json(project / "cycles.json")
        rows = [*found["equality"], *report.law_rows(found["stages"])]
        out.print(report.stage_table(report.with_ideal(found["stages"])))
        out.print(report.equality_table(rows))
        _end(rows)


@app.command()
def synth(
    net: Net,
    build: Build = BUILD,
    target: Annotated[Target | None, typer.Option("--target", help="One target only.")] = None,
    variant: OneVariant = None,
    force: Force = False,
) -> None:
    """Synthesise the designs; route them on the ECP5-85F. Reads BUILD/<net>/*/rtl. Writes synth.json.

    With --target or --variant the result is printed only.
    """
    with messages():
        project = _project(net, build, DATA)
        if target is None and variant is None:
            _run(project, [chain.synth_stage(project, say)], force)
            rows = stages.read_json(project / "synth.json")["synth"]
        else:
            targets = [target] if target else get_args(Target)
            rows = chain.synthesize_designs(project, targets, [variant] if variant else VARIANTS, say)
        out.print(report.synth_table(rows))


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A QONNX file with LIF nodes.")],
    lanes: Annotated[int, typer.Option("--lanes", min=1, help="PE x SIMD, over all stages.")] = 256,
    name: Annotated[str | None, typer.Option("--name", help="Default: the file's name.")] = None,
    build: Build = BUILD,
    images: Images = 4,
) -> None:
    """A design from your own QONNX. Reads FILE. Writes BUILD/<name>/: graph.json, graph.npz, rtl/.

    The design is simulated on images of noise against the golden model.
    """
    with messages():
        from scaflow.flow.foreign import import_design

        os.environ["SCAFLOW_BUILD"] = str(build)
        found = import_design(file, build / (name or file.stem), lanes, images, say)
        out.print(report.import_table(found))
        out.print(report.equality_table(found["equality"]))
        _end(found["equality"])


@app.command("report")
def report_(net: Net, build: Build = BUILD) -> None:
    """Print the comparison. Reads what all stages wrote. Writes BUILD/<net>/report.json and report.html.

    Exit code 1 if an equality does not hold.
    """
    with messages():
        _report(_project(net, build, DATA))


@app.command()
def demo(
    net: Annotated[str, typer.Argument(metavar="NET", help="As for the other verbs.")] = "demo",
    build: Build = BUILD,
    folder: Data = DATA,
    images: Images = 20,
) -> None:
    """The whole chain on NET, from the data to the comparison; goes on where an interrupted run stopped."""
    with messages():
        project = _project(net, build, folder)
        chain.fetch_data(project, say)
        _run(project, chain.train_stages(project, TRAININGS, True, err))
        _run(project, chain.export_stages(project))
        _run(project, [chain.compile_stage(project, say)])
        _run(project, [chain.sim_stage(project, images, True, say)])
        _run(project, [chain.cycles_stage(project, say)])
        _run(project, [chain.synth_stage(project, say)])
        _report(project)


def _project(net: str, build: Path, folder: Path) -> Project:
    os.environ["SCAFLOW_BUILD"] = str(build)  # where sim/ keeps its builds
    return stages.open_project(net, build, folder)


def _run(project: Project, parts: Sequence[Stage], force: bool = False) -> None:
    for part in parts:
        start = time.monotonic()
        if stages.run_stage(project, part, say, force):
            say(f"{part.name}: done in {time.monotonic() - start:.0f} s")


def _report(project: Project) -> None:
    from scaflow.flow.page import render

    collected = report.collect(project)
    stages.write_json(project / "report.json", collected)
    stages.write_text(project / "report.html", render(project, collected))
    report.show(collected, out)
    say(f"written: {project / 'report.json'}, {project / 'report.html'}")
    _end(collected["equality"])


def _end(rows: list[dict[str, Any]]) -> None:
    failed = report.failures(rows)
    for line in failed:
        err.print(f"[bold red]not equal:[/] {escape(line)}", highlight=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)
