"""The options that several verbs of the command have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Net = Annotated[str, typer.Argument(help="A network TOML, or the name of a shipped network.", metavar="NET")]
Build = Annotated[Path, typer.Option("--build", help="Folder of everything generated.")]
Data = Annotated[Path, typer.Option("--data", help="Folder of the data sets.")]
Force = Annotated[bool, typer.Option("--force", help="Run even if up to date.")]
Images = Annotated[int, typer.Option("--images", min=2, help="Test images.")]
OneVariant = Annotated[
    Literal["dense", "skip", "compact", "event"] | None, typer.Option("--variant", help="One design only.")
]
Ray = Annotated[
    str | None, typer.Option("--ray", metavar="ADDRESS", help="Work on the Ray cluster with its head at HOST:PORT.")
]
Jobs = Annotated[
    int | None, typer.Option("--jobs", min=1, help="At once, a thread each. [default: one a processor]")
]
BUILD, DATA = Path("build"), Path("data")
