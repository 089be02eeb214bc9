"""Read a table of any engine once, a few rows at a time, as Arrow batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from secure_ml.tables.queries import said, where_of

if TYPE_CHECKING:
    import ibis
    import pyarrow as pa

__all__ = ["fetch_batches"]


def fetch_batches(table: ibis.Table, rows: int) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Read a table once, about `rows` rows at a time.

    Raises:
        MalformedError: The file cannot be read to its end, or needs more memory than the engine may take.
    """
    import duckdb

    backend = table.get_backend()
    if backend.name != "duckdb":
        batches = table.to_pyarrow_batches(chunk_size=rows)
        return batches.schema, batches
    where = where_of(table)
    try:
        # The public way of ibis 12 calls a method of cursors that DuckDB 2 no longer has.
        reader = backend._to_duckdb_relation(table).to_arrow_reader(rows)
    except duckdb.Error as error:
        raise said(error, where) from None
    return reader.schema, _read_on(reader, where)


def _read_on(batches: Iterable[pa.RecordBatch], where: str) -> Iterator[pa.RecordBatch]:
    import duckdb
    import pyarrow as pa

    try:
        yield from batches
    except (duckdb.Error, OSError, pa.ArrowException) as error:  # the stream wraps what the engine raises
        raise said(error, where) from None
