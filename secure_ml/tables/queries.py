"""Run queries of an opened table, bounded in time and memory.

Errors of the engine become messages of this project, without the cells that the engine quotes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secure_ml.errors import MalformedError, PreconditionError, SecureMLError
from secure_ml.tables.engine_functions import engine_function
from secure_ml.tables.opened_table import Limits, OpenedTable

if TYPE_CHECKING:
    import ibis
    import numpy as np
    import polars as pl
    import pyarrow as pa

__all__ = ["bounded_memory", "engine_error", "fetch", "fetch_array", "fetch_batches", "fetch_polars"]

_MAX_NAMED = 5
_HEADROOM_BYTES = 2 << 30
_ONE_AT_A_TIME = threading.Lock()


def fetch(opened: OpenedTable, expression: ibis.Table) -> list[dict[str, Any]]:
    """Run a query whose result is small.

    Args:
        opened: The table that the query reads.
        expression: The query.

    Raises:
        MalformedError: If the file cannot be read to its end, or needs more memory than the engine may take.
    """
    import duckdb

    try:
        rows: list[dict[str, Any]] = _arrow_table(opened, expression).to_pylist()
    except duckdb.Error as error:
        raise engine_error(error, opened.source, opened.limits) from None
    return rows


def fetch_array(opened: OpenedTable, column: ibis.Table) -> np.ndarray[Any, Any]:
    """Run a query of one column of numbers without missing cells, whose result fits into memory.

    Returns:
        A new array of shape (rows,).

    Raises:
        MalformedError: If the file cannot be read to its end, or needs more memory than the engine may take.
    """
    import duckdb
    import numpy as np

    try:
        (numbers,) = _arrow_table(opened, column).columns
    except duckdb.Error as error:
        raise engine_error(error, opened.source, opened.limits) from None
    return np.concatenate([chunk.to_numpy() for chunk in numbers.chunks] or [np.empty(0)])


def fetch_batches(opened: OpenedTable, rows: int) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Read a table once, about `rows` rows at a time.

    Raises:
        MalformedError: If the file cannot be read to its end, or needs more memory than the engine may take.
    """
    import duckdb

    if not opened.on_duckdb:
        batches = opened.table.to_pyarrow_batches(chunk_size=rows)
        return batches.schema, batches
    try:
        # The public way of ibis 12 calls a method of cursors that DuckDB 2 no longer has.
        reader = opened.table.get_backend()._to_duckdb_relation(opened.table).to_arrow_reader(rows)
    except duckdb.Error as error:
        raise engine_error(error, opened.source, opened.limits) from None
    return reader.schema, _read_batches(reader, opened)


def _read_batches(batches: Iterable[pa.RecordBatch], opened: OpenedTable) -> Iterator[pa.RecordBatch]:
    import duckdb
    import pyarrow as pa

    try:
        yield from batches
    except (duckdb.Error, OSError, pa.ArrowException) as error:  # the stream wraps what the engine raises
        raise engine_error(error, opened.source, opened.limits) from None


def fetch_polars(
    opened: OpenedTable, table: ibis.Table, columns: Mapping[str, tuple[str, pl.DataType]]
) -> pl.DataFrame:
    """Read columns into memory.

    Args:
        opened: The table that is read.
        table: The same table, or columns computed from it.
        columns: Name in the result to the column in `table` and its type.

    Raises:
        MalformedError: If the file cannot be read to its end, or needs more memory than the engine may take.
        PreconditionError: If the columns do not fit into memory.
    """
    import duckdb
    import polars as pl

    texts = {
        f"c{index}": table[key].length().sum()
        for index, (key, _) in enumerate(columns.values())
        if table[key].type().is_string()
    }
    (sizes,) = fetch(opened, table.aggregate(rows=table.count(), **texts))
    needed = int(sizes.pop("rows")) * 16 * len(columns) + sum(int(size or 0) for size in sizes.values())
    if needed > opened.limits.frame_bytes:
        named = ", ".join(list(columns)[:_MAX_NAMED]) + (", ..." if len(columns) > _MAX_NAMED else "")
        raise PreconditionError(
            f"{named}: a rule that is not compiled would read {needed >> 20} MiB into memory, at most "
            f"{opened.limits.frame_bytes >> 20} are; write it as a rule that compiles"
        )
    picked = table.select(
        **{f"c{index}": _portable(table[key], dtype) for index, (key, dtype) in enumerate(columns.values())}
    )
    try:
        frame = pl.from_arrow(_arrow_table(opened, picked, 3 * needed))
    except duckdb.Error as error:
        raise engine_error(error, opened.source, opened.limits) from None
    try:
        return pl.DataFrame(frame).select(
            _cast(pl.col(f"c{index}"), dtype, table[key].type()).alias(name)
            for index, (name, (key, dtype)) in enumerate(columns.items())
        )
    except pl.exceptions.PolarsError:
        raise MalformedError(f"{opened.source}: {', '.join(columns)}: cannot be read as its type") from None


def _arrow_table(opened: OpenedTable, expression: ibis.Table, result_bytes: int = 0) -> Any:
    """Run a query and return DuckDB's own result, because ibis would turn times into text."""
    backend = expression.get_backend()
    if backend.name != "duckdb":
        return expression.to_pyarrow()
    watch = threading.Timer(opened.limits.query_s, backend.con.interrupt)
    with bounded_memory(result_bytes):
        watch.start()
        try:
            return backend.con.sql(backend.compile(expression)).to_arrow_table()
        finally:
            watch.cancel()
            watch.join()


@contextmanager
def bounded_memory(result_bytes: int = 0) -> Iterator[None]:
    """Bound what the process may allocate: the engine's own limit leaves out the strings that a reader decodes.

    A dictionary of one cell of 10 MB, referred to by 2,000 rows, is 20 GB in the engine's hands and 6 kB in a file.
    """
    import resource

    with _ONE_AT_A_TIME:
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        bound = used + _HEADROOM_BYTES + result_bytes
        bound = bound if soft == resource.RLIM_INFINITY else min(bound, soft)
        resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _cast(column: pl.Expr, dtype: pl.DataType, kind: Any) -> pl.Expr:
    import polars as pl

    if isinstance(dtype, pl.Duration) and not kind.is_integer():
        column = column.cast(pl.Duration("us"))
    return column.cast(dtype)


def _portable(value: Any, dtype: pl.DataType) -> Any:
    """Return a column in a form that leaves the engine: a duration as whole microseconds."""
    import polars as pl

    if not isinstance(dtype, pl.Duration) or value.type().is_integer():
        return value
    return engine_function("epoch_us", value.type(), "int64")(value)


def engine_error(error: Exception, source: str, limits: Limits) -> SecureMLError:
    """Return the error for what the engine raised, without the cells that the engine quotes."""
    import re

    import duckdb

    text = str(error)
    if isinstance(error, duckdb.OutOfMemoryException) or text.startswith("Out of Memory Error"):
        return MalformedError(f"{source}: needs more than {limits.memory} of memory to be read; split the file")
    if isinstance(error, duckdb.InterruptException):
        return MalformedError(f"{source}: takes longer than a file of its size may; a bomb is not read")
    line = re.search(r"CSV Error on Line: (\d+)", text)
    at = f", line {line[1]}" if line else ""
    width = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text)
    if width:
        columns = f"{width[1]} column" if width[1] == "1" else f"{width[1]} columns"
        return MalformedError(f"{source}{at}: expected {columns}, found {width[2]}")
    if "unterminated quote" in text or "state machine" in text:
        return MalformedError(f"{source}{at}: expected CSV, found a quote that does not close or is out of place")
    if "Maximum line size" in text:
        return MalformedError(f"{source}{at}: a line that is too long")
    json = re.search(r"(Malformed JSON|JSON transform error) in file .*?,(?: at byte \d+)? in line (\d+)", text)
    if json:  # the first of them counts lines from 2
        line_number = int(json[2]) - (json[1] == "Malformed JSON")
        why = "it is cut off or no JSON" if json[1] == "Malformed JSON" else "it is none, or has a key twice"
        return MalformedError(
            f"{source}, line {line_number}: cannot be read to its end, expected one JSON object a line: {why}"
        )
    return MalformedError(f"{source}{at}: cannot be read to its end, it is damaged, or holds what no table can hold")
