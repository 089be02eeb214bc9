"""The bytes of a model's batch as a table.

A batch is Parquet, Arrow IPC, JSON lines or CSV, recognised by its content alone. The engine reads the bytes that it is
given, so a caller that verified them against a digest knows what was read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from secure_ml.spec import Batches
from secure_ml.tables.data_files import open_bytes
from secure_ml.tables.opened_table import OpenedTable
from secure_ml.tables.queries import fetch, fetch_polars

if TYPE_CHECKING:
    import polars as pl

__all__ = ["count_rows", "frame_of", "open_batch", "parse_batch"]


def open_batch(content: bytes, batches: Batches, source: str) -> OpenedTable:
    """Open a batch as a table of an engine of its own.

    Args:
        content: The file's bytes.
        batches: The columns of a CSV file without a header, and the cells of CSV that stand for a missing value.
        source: Name of the file in messages.

    Returns:
        The columns of the file. The contract finds missing and unexpected ones. Those of CSV and JSON lines are text
        that the contract has yet to type.

    Raises:
        MalformedError: If the bytes are no such table. The message holds no cell.
    """
    return open_bytes(content, source, columns=batches.columns, null=batches.null)


def count_rows(opened: OpenedTable) -> int:
    """Read all cells of a table once, and count its rows.

    Raises:
        MalformedError: If the file cannot be read to its end, or has no rows.
    """
    table = opened.table
    cells = {f"c{index}": table[name].count() for index, name in enumerate(table.columns)}
    (counts,) = fetch(opened, table.aggregate(rows=table.count(), **cells))
    return int(counts["rows"])


def frame_of(opened: OpenedTable) -> pl.DataFrame:
    """Return a table as a frame in memory, with the columns of the file.

    Raises:
        MalformedError: If the file cannot be read to its end.
        PreconditionError: If the table does not fit into memory.
    """
    return fetch_polars(opened, opened.table, {name: (name, dtype) for name, dtype in opened.dtypes.items()})


def parse_batch(content: bytes, batches: Batches, source: str) -> pl.DataFrame:
    """Read a batch into memory; see `open_batch` and `frame_of`."""
    return frame_of(open_batch(content, batches, source))
