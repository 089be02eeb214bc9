"""The bytes of a model's batch as a table, or one clear sentence why they are none.

A batch is Parquet, Arrow IPC, JSON lines or CSV, told by its content and by nothing else. The engine reads the very
bytes that it is given, so who verified them against a digest knows what was read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from secure_ml.spec import Batches
from secure_ml.tables.data_files import dtypes_of, open_bytes
from secure_ml.tables.queries import fetch, fetch_polars

if TYPE_CHECKING:
    import ibis
    import polars as pl

__all__ = ["count_rows", "frame_of", "open_batch", "parse_batch"]


def open_batch(content: bytes, batches: Batches, where: str) -> ibis.Table:
    """Open a batch as a table of an engine of its own.

    Args:
        content: The file's bytes.
        batches: The columns of a CSV file without a line of names, and which cells of CSV stand for a missing value.
        where: What to call the file in an error.

    Returns:
        The file's own columns: what is missing or too many is for the contract to find. Those of CSV and JSON lines
        are text that is yet to be typed.

    Raises:
        MalformedError: It is no such table. The message holds no cell.
    """
    return open_bytes(content, where, columns=batches.columns, null=batches.null)


def count_rows(table: ibis.Table) -> int:
    """Read all cells of a table once, and count its rows.

    Raises:
        MalformedError: It cannot be read to its end, or has no rows.
    """
    cells = {f"c{index}": table[name].count() for index, name in enumerate(table.columns)}
    (found,) = fetch(table.aggregate(rows=table.count(), **cells))
    return int(found["rows"])


def frame_of(table: ibis.Table) -> pl.DataFrame:
    """Return a table as a frame in memory, its columns as they stand.

    Raises:
        MalformedError: It cannot be read to its end.
        PreconditionError: It does not fit into memory.
    """
    return fetch_polars(table, {name: (name, dtype) for name, dtype in dtypes_of(table).items()})


def parse_batch(content: bytes, batches: Batches, where: str) -> pl.DataFrame:
    """Read a batch into memory; see `open_batch` and `frame_of`."""
    return frame_of(open_batch(content, batches, where))
