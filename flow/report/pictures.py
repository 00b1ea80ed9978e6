"""The README's pictures: two plots of the report as PNG files.

`python -m scaflow.flow.report.pictures NET FOLDER` draws them from build/<net>/, where `scaflow reference` (or
`compile`) and `scaflow activity` have run.
"""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure

from scaflow.flow.activity import report as events
from scaflow.flow.report import dataflow
from scaflow.flow.stages import Project, open_project
from scaflow.model.files import read_json

DPI = 110


def pictures(project: Project) -> dict[str, Figure]:
    """Stem of the file -> picture."""
    stages = read_json(project / "activity.json")["stages"]
    laid = dataflow.collect(project, stages)["dataflow"]
    return {"dataflow": dataflow.plot(laid), "events": events.plot(stages)}


if __name__ == "__main__":
    net, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for stem, figure in pictures(open_project(net, Path("build"), Path("data"))).items():
        figure.savefig(folder / f"{stem}.png", dpi=DPI, metadata={"Software": None})
