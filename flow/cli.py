"""The command `scaflow`: one verb a stage. Only what each asks and prints; the modules beside it do the work."""

from __future__ import annotations

import os
import warnings
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from scaflow.flow import chain, lock, stages
from scaflow.flow import synth as synthesis
from scaflow.flow.activity import report as event_report
from scaflow.flow.designs import compile as compiling
from scaflow.flow.designs import reference as keeping
from scaflow.flow.jobs.engines import engine_of
from scaflow.flow.options import BUILD, DATA, Build, Data, Force, Images, Jobs, Net, OneVariant, Ray
from scaflow.flow.recordings.verb import recordings, simulate_recordings
from scaflow.flow.report import collect as report
from scaflow.flow.running import at_work, end, err, make_report, messages, out, project_of, run_stages, say
from scaflow.flow.stages import DESIGNS, TRAININGS, Project
from scaflow.flow.training import ranks
from scaflow.hw.synth import BOTH, Target
from scaflow.model import threads
from scaflow.model.files import check_place, read_json
from scaflow.model.limits import AXI_BYTES

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="Spiking networks from SCA-pruned training to a channel-sparse FPGA dataflow, proved equal.",
)
app.command()(recordings)
threads.wait_idly()
# Its advice is about speed on a GPU, and it would stand between the lines of the progress.
warnings.filterwarnings("ignore", message="fast_hadamard_transform")
ACTIVITY_IMAGES = 1000


@app.command()
def data(net: Net, folder: Data = DATA) -> None:
    """Obtain the images of NET. Writes DATA/<data set>/, by checksum; does nothing if they are there."""
    with messages():
        chain.fetch_data(project_of(net, BUILD, folder), say)


@app.command()
def train(
    net: Net,
    build: Build = BUILD,
    folder: Data = DATA,
    only: Annotated[Literal["dense", "pruned"] | None, typer.Option("--only", help="One training.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Instead of the TOML's.")] = None,
    cycles: Annotated[
        float | None, typer.Option("--cycles", min=0, max=1, help="Prune to this part of the dense cycles.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last whole epoch.")] = False,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option("--device", help="auto: a GPU where there is one.")
    ] = "auto",
    force: Force = False,
) -> None:
    """Train NET dense, and with SCA pruning. Reads DATA. Writes BUILD/<net>/*/: model.pt, logs.

    On several processors or machines: torchrun --nproc-per-node N -m scaflow.flow.cli train NET.
    """
    with ranks.leaving(), messages():
        project = project_of(net, build, folder)
        if epochs is not None:
            project = stages.with_epochs(project, epochs)
        if cycles is not None:
            project = stages.with_cycles(project, cycles)
        parts = chain.train_stages(project, [only] if only else TRAININGS, resume, err, device)
        if ranks.several():
            ranks.run_together(parts, lambda some: run_stages(project, some, force), at_work(project, "train"))
        else:
            with at_work(project, "train"):
                run_stages(project, parts, force)


@app.command()
def export(net: Net, build: Build = BUILD, force: Force = False) -> None:
    """Write both networks as QONNX. Reads BUILD/<net>/*/model.pt. Writes BUILD/<net>/*/model.onnx."""
    with messages():
        project = project_of(net, build, DATA)
        with at_work(project, "export"):
            parts = chain.export_stages(project)
            if not parts:
                say("export: a network of recordings has no QONNX form; `scaflow compile` goes on from the training")
            run_stages(project, parts, force)


@app.command("compile")
def compile_(net: Net, build: Build = BUILD, folder: Data = DATA, force: Force = False) -> None:
    """QONNX to four designs, held against torch and QONNX. Reads BUILD/<net>/*/model.onnx, DATA.

    Writes BUILD/<net>/{dense,skip,compact,event}/: graph.json, graph.npz, rtl/; and compile.json.
    """
    with messages():
        project = project_of(net, build, folder)
        with at_work(project, "compile"):
            run_stages(project, [compiling.stage(project, say)], force)


@app.command()
def reference(net: Net, build: Build = BUILD, folder: Data = DATA, force: Force = False) -> None:
    """The four designs of a reference network from the graphs that come with the program: no training, no torch.

    Reads DATA. Writes BUILD/<net>/ as compile does; every later verb goes on from there.
    """
    with messages():
        project = project_of(net, build, folder)
        with at_work(project, "reference"):
            run_stages(project, [keeping.stage(project, say)], force)


@app.command()
def sim(
    net: Net,
    build: Build = BUILD,
    folder: Data = DATA,
    images: Images = 20,
    stalls: Annotated[
        bool | None,
        typer.Option("--stalls/--no-stalls", help="Also with random pauses at both ends [default: cocotb, yes]"),
    ] = None,
    variant: OneVariant = None,
    waves: Annotated[Path | None, typer.Option("--waves", help="Write a VCD of --variant there.")] = None,
    engine: Annotated[
        Literal["cocotb", "native"],
        typer.Option("--engine", help="native: compiled, for whole test sets; writes native.json."),
    ] = "cocotb",
    path: Annotated[
        Path | None,
        typer.Option("--recordings", metavar="FILE", help="Labelled event recordings, a folder or a .zip, instead."),
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write what --recordings gave there.")] = None,
    ray: Ray = None,
    force: Force = False,
) -> None:
    """Simulate the designs against the golden model on test images. Reads BUILD/<net>/*/rtl. Writes sim.json.

    With --variant the result is printed only. --ray is for the native engine: parts of the test set are its jobs.
    With --recordings all recordings of FILE go through one design (event, or --variant), natively.
    """
    with messages():
        project = project_of(net, build, folder)
        if path is not None:
            simulate_recordings(project, path, variant or "event", engine, json)
            return
        if json is not None:
            raise ValueError("--json: of what --recordings gives; add it, or leave --json out")
        if ray is not None and engine != "native":
            raise ValueError("--ray: cocotb simulates on this machine alone; add --engine native")
        if waves is not None and (variant is None or engine == "native"):
            raise ValueError("--waves: say which design by --variant dense, skip, compact or event; cocotb writes them")
        if waves is not None:
            check_place(waves)
        if engine == "native":
            with at_work(project, "native"):
                rows = _native(project, images, bool(stalls), variant, ray, force)
        elif variant is None:
            with at_work(project, "sim"):
                run_stages(project, [chain.sim_stage(project, images, stalls is not False, say)], force)
            rows = read_json(project / "sim.json")["equality"]
        else:
            found = chain.simulate_designs(project, [variant], images, stalls is not False, waves, say)
            rows = found["equality"]
        out.print(report.equality_table(rows))
        end(rows)


def _native(
    project: Project, images: int, stalls: bool, variant: str | None, ray: str | None, force: bool
) -> list[dict[str, Any]]:
    """The native engine: prints its figures, returns its equalities."""
    from scaflow.flow.native import report as native_report
    from scaflow.flow.native import run as native

    engine = None if ray is None else partial(engine_of, ray, None, say)
    if force:
        native.forget(project)
    if variant is None:
        run_stages(project, [native.stage(project, images, stalls, err, engine)], force)
        found = read_json(project / "native.json")
    else:
        found = native.run_designs(project, [variant], images, stalls, err, engine)
    for section in native_report.sections(found):
        out.print(section.table())
    return found["equality"]


@app.command()
def cycles(net: Net, build: Build = BUILD, folder: Data = DATA, force: Force = False) -> None:
    """Measure each stage alone against the cycle law. Reads BUILD/<net>/*/rtl. Writes cycles.json."""
    with messages():
        project = project_of(net, build, folder)
        with at_work(project, "cycles"):
            run_stages(project, [chain.cycles_stage(project, say)], force)
        found = read_json(project / "cycles.json")
        rows = [*found["equality"], *report.law_rows(found["stages"])]
        out.print(report.stage_table(report.with_ideal(found["stages"])))
        out.print(report.equality_table(rows))
        end(rows)


@app.command()
def activity(
    net: Net, build: Build = BUILD, folder: Data = DATA, images: Images = ACTIVITY_IMAGES, force: Force = False
) -> None:
    """Count the events of test images, and what they cost by either scheduler.

    Reads BUILD/<net>/event/graph.*, DATA. Writes activity.json.
    """
    with messages():
        project = project_of(net, build, folder)
        with at_work(project, "activity"):
            run_stages(project, [chain.activity_stage(project, images, say)], force)
        out.print(event_report.section(read_json(project / "activity.json")).table())


@app.command()
def synth(
    net: Net,
    build: Build = BUILD,
    target: Annotated[Target | None, typer.Option("--target", help="One only; xcup (UltraScale+): cells.")] = None,
    variant: OneVariant = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Of the placement: the spread of the clock.")] = 1,
    jobs: Jobs = None,
    ray: Ray = None,
    force: Force = False,
) -> None:
    """Synthesise the designs; route them on the ECP5-85F. Reads BUILD/<net>/*/rtl. Writes synth.json.

    With --target or --variant the result is printed only. --jobs and --ray are for the seeds behind the first.
    """
    engine = partial(engine_of, ray, jobs, say)
    with messages():
        project = project_of(net, build, DATA)
        if target is None and variant is None:
            with at_work(project, "synth"):
                run_stages(project, [synthesis.stage(project, say, seeds, engine)], force)
            rows = read_json(project / "synth.json")["synth"]
        else:
            targets = [target] if target else BOTH
            rows = synthesis.synthesize_designs(
                project, targets, [variant] if variant else DESIGNS, say, seeds, engine
            )
        out.print(report.synth_table(rows))


@app.command("compare-finn")
def compare_finn(net: Net, build: Build = BUILD, folder: Data = DATA, force: Force = False) -> None:
    """Measure FINN's circuit of each convolution beside ours. Reads BUILD/<net>/*/graph. Writes finn.json.

    At equal lanes, and at FINN's best: its fastest folding within the LUTs of our event stage. FINN is installed apart,
    by `make finn`.
    """
    with messages():
        from scaflow.flow.finn import compare as finn
        from scaflow.flow.finn import report as finn_report

        project = project_of(net, build, folder)
        with at_work(project, "compare-finn"):
            run_stages(project, [finn.stage(project, say)], force)
        for section in finn_report.sections(read_json(project / "finn.json")):
            out.print(section.table())


@app.command()
def fold(
    net: Net,
    build: Build = BUILD,
    folder: Data = DATA,
    target_fps: Annotated[
        list[float] | None, typer.Option("--target-fps", min=1, help="Images a second to reach; may be repeated.")
    ] = None,
    max_luts: Annotated[
        list[float] | None, typer.Option("--max-luts", min=1, help="LUTs to spend on speed; may be repeated.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="Whose LUTs, block RAMs and DSPs bound it.")] = "ecp5-85",
    clock: Annotated[float, typer.Option("--clock", min=1, help="MHz.")] = 100,
    scheduler: Annotated[
        Literal["auto", "list", "event"], typer.Option("--scheduler", help="Of the spiking stages; auto: of each.")
    ] = "auto",
    jobs: Jobs = None,
    ray: Ray = None,
) -> None:
    """Find PE, SIMD and schedulers for a rate with the least area, or the best rate within an area.

    Reads BUILD/<net>/{dense,compact}/graph.*, DATA. Writes fold.json, and fold.toml for the TOML of NET. Asked for
    several rates or budgets, writes fold-sweep.json instead; --jobs and --ray are for that.
    """
    with messages():
        from scaflow.flow.fold import report as fold_report
        from scaflow.flow.fold import solve as folding
        from scaflow.flow.fold import sweep as sweeping

        project = project_of(net, build, folder)
        requests = folding.ask(device, clock, target_fps or (), max_luts or ())
        if len(requests) > 1:
            with at_work(project, "fold"), engine_of(ray, jobs, say) as engine:
                found = sweeping.sweep(project, requests, scheduler, engine, say)
            out.print(sweeping.section(found).table())
            say(f"written: {project / 'fold-sweep.json'}")
            return
        with at_work(project, "fold"):
            found = folding.fold_network(project, requests[0], scheduler, say)
        for section in fold_report.sections({"fold": found}):
            out.print(section.table())
        out.print(found["toml"], markup=False, highlight=False)
        say(f"written: {project / 'fold.json'}, {project / 'fold.toml'}")


@app.command()
def study(
    net: Net,
    build: Build = BUILD,
    folder: Data = DATA,
    criteria: Annotated[str, typer.Option("--criteria", help="Names, with commas between; all if not given.")] = "",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Runs of each criterion.")] = 3,
    cycles: Annotated[
        float | None, typer.Option("--cycles", min=0, max=1, help="Budget, of the dense cycles; not the TOML's.")
    ] = None,
    jobs: Jobs = None,
    ray: Ray = None,
    force: Force = False,
) -> None:
    """Prune NET by each criterion under equal conditions; goes on where an interrupted study stopped.

    Reads DATA. Writes BUILD/<net>/study/ (a folder a run), study.json and study.png.
    """
    with messages():
        from scaflow.flow.study import report as study_report
        from scaflow.flow.study import runs as work

        project = project_of(net, build, folder)
        if cycles is not None:
            project = stages.with_cycles(project, cycles)
        wanted = work.chosen(criteria)
        with at_work(project, "study"):
            chain.fetch_data(project, say)
            with engine_of(ray, jobs, say) as engine:
                found = work.study(project, wanted, seeds, engine, force, err)
            study_report.save_plot(found, project / "study.png")
        out.print(study_report.section(found).table())
        say(f"written: {project / 'study.json'}, {project / 'study.png'}")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A QONNX file with LIF nodes.")],
    lanes: Annotated[int, typer.Option("--lanes", min=1, help="PE x SIMD, over all stages.")] = 256,
    axi_bytes: Annotated[
        int, typer.Option("--axi-bytes", help="Bytes of a beat in which images come in, 1 to 16.")
    ] = AXI_BYTES,
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
        folder = build / (name or file.stem)
        with lock.at_work(folder, "import", say):
            found = import_design(file, folder, lanes, images, say, axi_bytes)
        out.print(report.import_table(found))
        out.print(report.equality_table(found["equality"]))
        end(found["equality"])


@app.command("report")
def report_(net: Net, build: Build = BUILD) -> None:
    """Print the comparison. Reads what all stages wrote. Writes BUILD/<net>/report.json and report.html.

    Exit code 1 if an equality does not hold.
    """
    with messages():
        project = project_of(net, build, DATA)
        with at_work(project, "report"):
            make_report(project)


@app.command()
def demo(
    net: Annotated[str, typer.Argument(metavar="NET", help="As for the other verbs.")] = "demo",
    build: Build = BUILD,
    folder: Data = DATA,
    images: Images = 20,
) -> None:
    """The whole chain on NET, from the data to the comparison; goes on where an interrupted run stopped."""
    with messages():
        project = project_of(net, build, folder)
        with at_work(project, "demo"):
            chain.fetch_data(project, say)
            run_stages(project, chain.train_stages(project, TRAININGS, True, err))
            run_stages(project, chain.export_stages(project))
            run_stages(project, [compiling.stage(project, say)])
            run_stages(project, [chain.sim_stage(project, images, True, say)])
            run_stages(project, [chain.cycles_stage(project, say)])
            run_stages(project, [chain.activity_stage(project, ACTIVITY_IMAGES, say)])
            run_stages(project, [synthesis.stage(project, say)])
            make_report(project)


if __name__ == "__main__":
    app()
