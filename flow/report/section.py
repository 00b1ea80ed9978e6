"""A part of the report that is there when its figures are: one table, for the terminal and the page, and plots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Section:
    title: str
    columns: tuple[str, ...]  # the first one names the row
    rows: tuple[tuple[str, ...], ...]
    total: tuple[str, ...] | None = None
    note: str = ""
    plots: Callable[[], dict[str, Figure]] = dict  # title -> figure; drawn only for the page

    def table(self) -> Table:
        table = Table(title=self.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, caption=self.note)
        for i, name in enumerate(self.columns):
            table.add_column(name.replace(" ", "\n"), justify="right" if i else "left", no_wrap=True)
        for row in self.rows:
            table.add_row(*row)
        if self.total:
            table.add_section()
            table.add_row(*self.total, style="bold")
        return table
