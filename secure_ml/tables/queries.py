"""Running a query of a table: bounded in time and memory, its errors in our own words, without the cells they quote."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secure_ml.errors import MalformedError, PreconditionError, SecureMLError
from secure_ml.tables.engine_functions import engine_function

if TYPE_CHECKING:
    import ibis
    import numpy as np
    import polars as pl

__all__ = [
    "COLUMNS_AT_ONCE",
    "LIMIT_S",
    "MEMORY",
    "Opened",
    "bounded_memory",
    "fetch",
    "fetch_array",
    "fetch_polars",
    "said",
    "where_of",
]

MEMORY = "600MB"
COLUMNS_AT_ONCE = 256
"""Columns that one query is about: what it holds, and the time to plan it, grow faster than its columns do."""
LIMIT_S = 60.0
_MAX_FRAME_BYTES = 2 << 30
_MAX_NAMED = 5
_HEADROOM_BYTES = 2 << 30
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True, slots=True)
class Opened:
    """What is known of a table beyond what the engine tells.

    Attributes:
        where: What to call the file in an error.
        text: Whether all columns are text that is yet to be typed.
        dtypes: The columns as Polars would read them, None where the engine's own types say all.
        limit_s: A query that takes longer is given up.
    """

    where: str
    text: bool
    dtypes: Mapping[str, pl.DataType] | None = None
    limit_s: float = LIMIT_S


def fetch(expression: ibis.Table) -> list[dict[str, Any]]:
    """Run a query whose result is small.

    Raises:
        MalformedError: The file cannot be read to its end, or needs more memory than the engine may take.
    """
    import duckdb

    try:
        rows: list[dict[str, Any]] = _arrow_table(expression).to_pylist()
    except duckdb.Error as error:
        raise said(error, where_of(expression)) from None
    return rows


def fetch_array(table: ibis.Table) -> np.ndarray[Any, Any]:
    """Run a query of one column of numbers, without missing ones, whose result fits into memory.

    Returns:
        Shape: (rows,). The caller's own.

    Raises:
        MalformedError: The file cannot be read to its end, or needs more memory than the engine may take.
    """
    import duckdb
    import numpy as np

    try:
        (column,) = _arrow_table(table).columns
    except duckdb.Error as error:
        raise said(error, where_of(table)) from None
    return np.concatenate([chunk.to_numpy() for chunk in column.chunks] or [np.empty(0)])


def fetch_polars(table: ibis.Table, columns: Mapping[str, tuple[str, pl.DataType]]) -> pl.DataFrame:
    """Read columns into memory.

    Args:
        table: The table.
        columns: Name in the result to the column in the table and its type.

    Raises:
        MalformedError: The file cannot be read to its end, or needs more memory than the engine may take.
        PreconditionError: The columns do not fit into memory.
    """
    import duckdb
    import polars as pl

    texts = {
        f"c{index}": table[key].length().sum()
        for index, (key, _) in enumerate(columns.values())
        if table[key].type().is_string()
    }
    (sizes,) = fetch(table.aggregate(rows=table.count(), **texts))
    needed = int(sizes.pop("rows")) * 16 * len(columns) + sum(int(size or 0) for size in sizes.values())
    if needed > _MAX_FRAME_BYTES:
        named = ", ".join(list(columns)[:_MAX_NAMED]) + (", ..." if len(columns) > _MAX_NAMED else "")
        raise PreconditionError(
            f"{named}: a rule that is not compiled would read {needed >> 20} MiB into memory, at most "
            f"{_MAX_FRAME_BYTES >> 20} are; write it as a rule that compiles"
        )
    picked = table.select(
        **{f"c{index}": _portable(table[key], dtype) for index, (key, dtype) in enumerate(columns.values())}
    )
    try:
        frame = pl.from_arrow(_arrow_table(picked, 3 * needed))
    except duckdb.Error as error:
        raise said(error, where_of(picked)) from None
    try:
        return pl.DataFrame(frame).select(
            _cast(pl.col(f"c{index}"), dtype, table[key].type()).alias(name)
            for index, (name, (key, dtype)) in enumerate(columns.items())
        )
    except pl.exceptions.PolarsError:
        raise MalformedError(f"{where_of(table)}: {', '.join(columns)}: cannot be read as its type") from None


def _arrow_table(expression: ibis.Table, result_bytes: int = 0) -> Any:
    """Run a query; DuckDB's own result is taken as it stands, where ibis would turn times into text."""
    backend = expression.get_backend()
    if backend.name != "duckdb":
        return expression.to_pyarrow()
    known = getattr(backend, "_secure_ml", None)
    watch = threading.Timer(known[0].limit_s if known else LIMIT_S, backend.con.interrupt)
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


def where_of(expression: ibis.Table) -> str:
    """What to call a table in an error."""
    known = getattr(expression.get_backend(), "_secure_ml", None)
    return known[0].where if known is not None else "table"


def said(error: Exception, where: str) -> SecureMLError:
    """Say what the engine found, without the cells that it quotes."""
    import re

    import duckdb

    text = str(error)
    if isinstance(error, duckdb.OutOfMemoryException) or text.startswith("Out of Memory Error"):
        return MalformedError(f"{where}: needs more than {MEMORY} of memory to be read; split the file")
    if isinstance(error, duckdb.InterruptException):
        return MalformedError(f"{where}: takes longer than a file of its size may; a bomb is not read")
    line = re.search(r"CSV Error on Line: (\d+)", text)
    at = f", line {line[1]}" if line else ""
    width = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text)
    if width:
        columns = f"{width[1]} column" if width[1] == "1" else f"{width[1]} columns"
        return MalformedError(f"{where}{at}: expected {columns}, found {width[2]}")
    if "unterminated quote" in text or "state machine" in text:
        return MalformedError(f"{where}{at}: expected CSV, found a quote that does not close or is out of place")
    if "Maximum line size" in text:
        return MalformedError(f"{where}{at}: a line that is too long")
    json = re.search(r"(Malformed JSON|JSON transform error) in file .*?,(?: at byte \d+)? in line (\d+)", text)
    if json:  # the first of them counts lines from 2
        line_number = int(json[2]) - (json[1] == "Malformed JSON")
        why = "it is cut off or no JSON" if json[1] == "Malformed JSON" else "it is none, or has a key twice"
        return MalformedError(
            f"{where}, line {line_number}: cannot be read to its end, expected one JSON object a line: {why}"
        )
    return MalformedError(f"{where}{at}: cannot be read to its end, it is damaged, or holds what no table can hold")
