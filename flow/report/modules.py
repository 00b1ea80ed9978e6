"""The module table of docs/architecture.md, made from the headers of the RTL.

`python -m scaflow.flow.report.modules docs/architecture.md` rewrites the table between its two marker lines.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

RTL = Path(__file__).resolve().parents[2] / "hw" / "rtl"
BEGIN, END = "<!-- modules: from the RTL headers -->", "<!-- /modules -->"
COLUMNS = ("Latency", "Throughput")


def header(source: str) -> dict[str, str]:
    """The fields of a module's `///` header, continuation lines joined; `title` is `name - what it is`."""
    lines = [line[4:] for line in source.splitlines() if line.startswith("/// ")]
    fields = {"title": lines[0] if lines else ""}
    name = None
    for line in lines[1:]:
        start = re.match(r"([A-Z]\w+) {2,}(.+)", line)
        if start:
            name = start[1]
            fields[name] = start[2]
        elif name and line.startswith("   "):
            fields[name] += " " + line.strip()
    return fields


def module_table(rtl: Path = RTL) -> str:
    """Markdown, one row a module of the folder, in the order of their names."""
    rows = [["module", "is", *(name.lower() for name in COLUMNS)], ["---"] * (2 + len(COLUMNS))]
    for path in sorted(rtl.glob("*.sv")):
        fields = header(path.read_text())
        name, _, what = fields["title"].partition(" - ")
        cells = [what.rstrip("."), *(fields.get(column, "") for column in COLUMNS)]
        rows.append([f"`{name}`", *(cell.replace("|", "\\|") for cell in cells)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def with_table(text: str, table: str) -> str:
    """The document with the part between the markers replaced.

    Raises:
        ValueError: a marker is missing.
    """
    head, begin, rest = text.partition(BEGIN + "\n")
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(
            f"the document lacks the lines {BEGIN!r} and {END!r}, between which the table stands"
        )
    return head + begin + table + end + tail


if __name__ == "__main__":
    document = Path(sys.argv[1])
    document.write_text(with_table(document.read_text(), module_table()))
