"""docs/architecture.md holds exactly the module table that the RTL headers give."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaflow.flow.report.modules import BEGIN, END, RTL, header, module_table, with_table

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "architecture.md"


def test_the_document_holds_the_table_of_the_headers():
    text = DOCUMENT.read_text()
    assert text == with_table(text, module_table()), (
        "run `python -m scaflow.flow.report.modules docs/architecture.md`"
    )


def test_every_module_has_a_row_with_every_cell():
    rows = module_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [path.stem for path in sorted(RTL.glob("*.sv"))]
    for row in rows:
        assert all(cell.strip() for cell in row.strip("|").split(" | ")), row


def test_a_header_is_read_field_by_field():
    fields = header(
        "/// adder - adds two numbers.\n"
        "///   out = a + b\n"
        "/// Latency     1 cycle,\n"
        "///             or 2\n"
        "/// Throughput  1 beat/cycle\n"
        "module adder ();\n"
        "  /// State    not of the header's column\n"
    )
    assert fields == {
        "title": "adder - adds two numbers.",
        "Latency": "1 cycle, or 2",
        "Throughput": "1 beat/cycle",
    }


def test_only_what_stands_between_the_markers_is_replaced():
    assert with_table(f"a\n{BEGIN}\nold\n{END}\nb\n", "new\n") == f"a\n{BEGIN}\nnew\n{END}\nb\n"
    with pytest.raises(ValueError, match="lacks the lines"):
        with_table("a\nb\n", "new\n")
