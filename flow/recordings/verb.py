"""The verb `recordings`, and `sim --recordings`: what they ask and print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scaflow.flow.report import collect as report
from scaflow.flow.running import end, err, messages, out, say
from scaflow.flow.stages import Project
from scaflow.model.files import check_place, write_json


def recordings(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A folder or a .zip of event recordings by class.")],
    bin_us: Annotated[int | None, typer.Option("--bin-us", help="Microseconds of a frame.")] = None,
    bins: Annotated[
        int | None, typer.Option("--bins", help="Frames of a recording. [default: 10, without --bin-us]")
    ] = None,
    bits: Annotated[int, typer.Option("--bits", help="Of a count, which saturates; 1: 0 or 1.")] = 4,
    joined: Annotated[bool, typer.Option("--joined", help="Both polarities in one channel.")] = False,
    denoise_us: Annotated[
        int | None, typer.Option("--denoise-us", help="Drop events without a neighbour in so many microseconds.")
    ] = None,
    sensor: Annotated[
        tuple[int, int] | None, typer.Option("--sensor", metavar="COLUMNS ROWS", help="[default: as the files say]")
    ] = None,
    each: Annotated[int, typer.Option("--each", min=1, help="Recordings that are read of each class.")] = 20,
    picture: Annotated[Path | None, typer.Option("--picture", help="Write the frames there, as PNG.")] = None,
) -> None:
    """What a set of event recordings holds. Reads FILE. Writes the picture of --picture.

    Classes are folders, with or without {Train,Test}/ above them; docs/events.md says which files are read.
    """
    with messages():
        from scaflow.flow.recordings import look as looking
        from scaflow.model.events.binning import Binning

        if picture is not None:
            check_place(picture)
        if bin_us is None and bins is None:
            bins = 10
        binning = Binning(bin_us, bins, bits, "joined" if joined else "channels", denoise_us=denoise_us)
        rows = looking.look(path, binning, each, sensor, say)
        out.print(looking.table(rows, each))
        if picture is not None:
            looking.draw(rows, picture)
            say(f"written: {picture}")


def simulate_recordings(project: Project, path: Path, variant: str, engine: str, json: Path | None) -> None:
    """Recordings of one's own through a design: prints figures and equalities."""
    from scaflow.flow.recordings import figures, through

    if engine != "native":
        raise ValueError("--recordings: whole recordings are for the native engine; add --engine native")
    if json is not None:
        check_place(json)
    found = through.run(project, path, variant, err, say)
    if json is not None:
        write_json(json, found)
    out.print(figures.section(found["recordings"]).table())
    out.print(report.equality_table(found["equality"]))
    end(found["equality"])
