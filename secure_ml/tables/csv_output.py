"""CSV files for people, which open in a spreadsheet without running a cell as a formula.

Spreadsheets run a cell that begins with = + - or @ as a formula, also behind white space, and their full-width forms.
Every CSV file of this package that holds cells of a batch is written here. Parquet and JSON keep cells exactly.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

__all__ = ["CSV_NOTE", "neutralize", "render_csv"]

CSV_NOTE = (
    "a cell or column name that begins with = + - @, a tab or a line break has a ' in front of it, so that a "
    "spreadsheet does not run it as a formula; numbers stay as they are"
)
_FORMULA = r"^[\t\r\n]|^\s*[=+\-@＝＋－＠]"
_NUMBER = r"(?i)^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$|^[+-]?inf$"


def render_csv(frame: pl.DataFrame) -> bytes:
    """Return a table as CSV, with a quote in front of each text that a spreadsheet could run."""
    import polars as pl

    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow(neutralize(pl.Series(frame.columns, dtype=pl.String)))
    text = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    cells = frame.with_columns(neutralize(frame[name]).alias(name) for name in text)
    return (header.getvalue() + cells.write_csv(include_header=False)).encode()


def neutralize(cells: pl.Series) -> pl.Series:
    """Return texts with a quote in front of each one that a spreadsheet could run. Numbers stay as they are."""
    import polars as pl

    dangerous = cells.str.contains(_FORMULA) & ~cells.str.contains(_NUMBER)
    return pl.select(pl.when(dangerous).then(pl.concat_str(pl.lit("'"), cells)).otherwise(cells)).to_series()
