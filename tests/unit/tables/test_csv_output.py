"""CSV files for people run no formula in a spreadsheet."""

from __future__ import annotations

import csv
import io

import polars as pl
import pytest

from secure_ml.tables.csv_output import render_csv

FORMULAS = [
    *("=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "＝1", "＋x", "－x", "＠x"),
    *('=HYPERLINK("http://x","y")', "-", "+", "-5-3", "-5,3", "+49 30 123", "=", "-1e", "--5", "-0x10"),
]
PLAIN = [
    "",
    "a",
    "a=1",
    "'=1",
    "0",
    "5",
    "-5",
    "+5",
    "-5.25",
    "-.5",
    "-5.",
    "+1e-300",
    "-1E5",
    "-inf",
    "1 = 1",
    "x -5",
]


def read(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


@pytest.mark.parametrize("cell", FORMULAS)
def test_a_cell_that_a_spreadsheet_runs_has_a_quote_in_front(cell: str) -> None:
    frame = pl.DataFrame({"row": [1], "x": [cell]})
    assert read(frame.write_csv().encode())[1] == ["1", cell]  # without the control, the cell is a formula
    assert read(render_csv(frame))[1] == ["1", f"'{cell}"]


@pytest.mark.parametrize("cell", PLAIN)
def test_other_cells_stay_as_they_are(cell: str) -> None:
    assert read(render_csv(pl.DataFrame({"row": [1], "x": [cell]})))[1] == ["1", cell]


def test_numbers_missing_cells_and_the_layout_stay_as_polars_writes_them() -> None:
    frame = pl.DataFrame({"row": [1, 2], "x": [-5.5, None], "y": ["a,b", None], "z": [-1, 2]})
    assert render_csv(frame) == frame.write_csv().encode()
    assert render_csv(frame.clear()) == frame.clear().write_csv().encode()


def test_column_names_are_treated_like_cells() -> None:
    frame = pl.DataFrame({"row": [1], "=1+1": ["a"], "'=1+1": ["b"], 'say "x"': ["c"]})
    assert read(render_csv(frame))[0] == ["row", "'=1+1", "'=1+1", 'say "x"']
