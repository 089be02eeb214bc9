"""Bytes to a table of text, or one clear sentence why they are no table. Nothing is guessed and nothing repaired."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from secure_ml.contracts.text_files import refuse_names
from secure_ml.errors import MalformedError
from secure_ml.spec import Batches

if TYPE_CHECKING:
    import polars as pl

__all__ = ["parse_batch"]

_MAX_LINE_BYTES = 1 << 20
_MAGIC = {
    b"PAR1": "Parquet",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"ARROW1": "Arrow",
    b"SQLite format 3": "SQLite",
}


def parse_batch(content: bytes, batches: Batches, where: str) -> pl.DataFrame:
    """Parse a CSV file; a first line that holds any declared column name is a line of names.

    Args:
        content: The file's bytes.
        batches: Declared columns, and which cells stand for a missing value.
        where: What to call the file in an error.

    Returns:
        All columns as text, stripped, null where missing. Columns are those of the file: what is missing or too
        many is for the contract to find.

    Raises:
        MalformedError: It is no such table. The message holds no cell.
    """
    text = _decode(content, where)
    lines = _lines(content, text, where)
    try:
        rows = list(csv.reader(io.StringIO("\n".join(lines) + "\n", newline=""), strict=True))
    except csv.Error:
        raise MalformedError(f"{where}: expected CSV, found a quote that does not close or is out of place") from None
    rows = [row for row in rows if row]
    names, first = list(batches.columns), 1
    stripped = [cell.strip() for cell in rows[0]] if rows else []
    if set(stripped) & set(batches.columns):
        names, first = stripped, 2
        rows = rows[1:]
        refuse_names(names, where)
    if not rows:
        raise MalformedError(f"{where}: no rows, expected at least one after the line of column names")
    width = len(names)
    wrong = [number for number, row in enumerate(rows, first) if len(row) != width]
    if wrong:
        found = len(rows[wrong[0] - first])
        raise MalformedError(
            f"{where}: {len(wrong)} of {len(rows)} rows have another number of columns than {width}; "
            f"the first, line {wrong[0]}, has {found} ({'missing' if found < width else 'extra'} column)"
        )
    import polars as pl

    null = set(batches.null)
    columns = list(zip(*rows, strict=True))
    return pl.DataFrame(
        {
            name: pl.Series(name, [None if (cell := text.strip()) in null else cell for text in cells], dtype=pl.String)
            for name, cells in zip(names, columns, strict=True)
        }
    )


def _decode(content: bytes, where: str) -> str:
    if not content:
        raise MalformedError(f"{where}: empty file, expected CSV text")
    for magic, kind in _MAGIC.items():
        if content.startswith(magic):
            raise MalformedError(f"{where}: expected CSV text, found {kind}")
    if b"\x00" in content:
        raise MalformedError(f"{where}: expected CSV text, found a NUL byte at position {content.index(0)}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedError(f"{where}: expected UTF-8 text, found an invalid byte at position {error.start}") from None


def _lines(content: bytes, text: str, where: str) -> list[str]:
    longest = max(len(line) for line in content.split(b"\n"))
    if longest > _MAX_LINE_BYTES:
        raise MalformedError(f"{where}: a line of {longest} bytes, at most {_MAX_LINE_BYTES} are read")
    if not text.endswith("\n"):
        raise MalformedError(f"{where}: truncated, the last line has no end; send the whole file again")
    lines = text.replace("\r\n", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise MalformedError(f"{where}: no rows, found only empty lines")
    return lines
