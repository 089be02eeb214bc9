"""Make the profile of a table in one scan, and merge profiles.

The table is read once, in Arrow batches that are bounded in rows and bytes; each column takes in its part of a batch by
itself, so memory is bounded by two batches: one that is worked on while the next is read.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import zip_longest
from typing import TYPE_CHECKING

from secure_ml.contracts.batches import fetch_batches
from secure_ml.contracts.column_scans import ColumnScan
from secure_ml.contracts.profile import Profile
from secure_ml.contracts.profile_columns import KEPT, SCANNED, Size, bare, merge_columns, shrink
from secure_ml.contracts.queries import COLUMNS_AT_ONCE
from secure_ml.errors import PreconditionError

if TYPE_CHECKING:
    import ibis
    import polars as pl
    import pyarrow as pa
    from pandera.polars import DataFrameSchema

__all__ = [
    "merge",
    "merge_all",
    "profile_batches",
    "profile_frame",
    "profile_table",
    "scan_batches",
    "without_values",
]

_ROWS = 1 << 17
_BYTES = 1 << 26
_UNIT = 1 << 11
_UNIT_CELLS = 1 << 23
_MAX_THREADS = 8


def profile_table(table: ibis.Table, *, personal: Collection[str] = ()) -> Profile:
    """Profile a table in one scan; of more than 256 columns, each 256 take one.

    Args:
        table: A table or expression of any engine.
        personal: Columns of which only counts are kept.

    Raises:
        PreconditionError: `personal` names a column that the table does not have.
        MalformedError: The table's file cannot be read to its end.
    """
    if table.get_backend().name == "pyspark":
        from secure_ml.contracts.spark_profiles import profile_spark_table

        return without_values(profile_spark_table(table), personal)
    names, parts = table.columns, []
    for start in range(0, max(1, len(names)), COLUMNS_AT_ONCE):
        some = table.select(names[start : start + COLUMNS_AT_ONCE]) if len(names) > COLUMNS_AT_ONCE else table
        schema, batches = fetch_batches(some, _unit(len(some.columns)))
        parts.append(scan_batches(schema, batches, KEPT))
    return without_values(Profile(parts[0].rows, tuple(column for part in parts for column in part.columns)), personal)


def profile_batches(schema: pa.Schema, batches: Iterable[pa.RecordBatch], *, personal: Collection[str] = ()) -> Profile:
    """Profile Arrow batches; the result depends on the rows and their order, not on where batches end.

    Args:
        schema: The schema of all batches.
        batches: Read once.
        personal: Columns of which only counts are kept.

    Raises:
        PreconditionError: `personal` names a column that the schema does not have.
    """
    return without_values(scan_batches(schema, batches, KEPT), personal)


def scan_batches(schema: pa.Schema, batches: Iterable[pa.RecordBatch], size: Size) -> Profile:
    """Profile Arrow batches, with as much of sketched columns as `size` says."""
    scans = [ColumnScan(field.name, field.type) for field in schema]
    rows = 0
    working: list[Future[None]] = []
    with ThreadPoolExecutor(min(_MAX_THREADS, len(os.sched_getaffinity(0)))) as pool:
        for pieces in _gathered(batches, _unit(len(schema))):
            _finish(working)
            columns = zip(*(piece.columns for piece in pieces), strict=True)
            working = [pool.submit(scan.add, arrays) for scan, arrays in zip(scans, columns, strict=True)]
            rows += sum(piece.num_rows for piece in pieces)
        _finish(working)
    return Profile(rows, tuple(scan.profile(size) for scan in scans))


def _finish(working: list[Future[None]]) -> None:
    for future in working:
        future.result()


def profile_frame(frame: pl.DataFrame, schema: DataFrameSchema, *, found: Collection[str] = ()) -> Profile:
    """Profile a frame; of columns that the contract marks as personal, or that were found to be, only counts are kept.

    Args:
        frame: The rows.
        schema: The contract; `metadata={"secure_ml": {"personal": True}}` marks a column.
        found: Columns in which personal data were found.
    """
    import polars as pl

    from secure_ml.contracts.binding import personal_columns
    from secure_ml.contracts.rules import compile_rules

    personal = personal_columns(compile_rules(schema), frame.columns) | set(found)
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    return profile_batches(table.schema, table.to_batches(), personal=personal)


def without_values(profile: Profile, personal: Collection[str]) -> Profile:
    """Return the profile with counts only of these columns.

    Raises:
        PreconditionError: One is not in the profile.
    """
    unknown = set(personal) - {column.name for column in profile.columns}
    if unknown:
        raise PreconditionError(f"profile: {len(unknown)} columns named as personal are not in the table")
    columns = (bare(item) if item.name in personal and not item.personal else item for item in profile.columns)
    return Profile(profile.rows, tuple(columns))


def merge(a: Profile, b: Profile) -> Profile:
    """Return the profile of the rows of both.

    Exact columns stay exact while they fit. Of sketched ones the errors add, and the document says how large they
    are. It is commutative; it is associative for exact figures, and within the stated errors for others.

    Raises:
        PreconditionError: They have not the same columns, in name, order, type and privacy.
    """
    return _merged(a, b, KEPT)


def merge_all(profiles: Sequence[Profile]) -> Profile:
    """Merge profiles of neighbouring rows two by two, so that errors grow with the logarithm of their number.

    Args:
        profiles: At least one, with as much in them as `SCANNED` says.

    Raises:
        PreconditionError: They have not the same columns, in name, order, type and privacy.
    """
    while len(profiles) > 1:
        pairs = zip_longest(profiles[::2], profiles[1::2])
        profiles = [a if b is None else _merged(a, b, SCANNED) for a, b in pairs]
    return Profile(profiles[0].rows, tuple(shrink(column, KEPT) for column in profiles[0].columns))


def _unit(columns: int) -> int:
    """Return how many rows are read at once: few where there are many columns."""
    return max(1, min(_UNIT, _UNIT_CELLS // max(1, columns)))


def _gathered(batches: Iterable[pa.RecordBatch], unit: int) -> Iterator[list[pa.RecordBatch]]:
    """Gather units of rows until there are `_ROWS` of them or `_BYTES`, wherever the given batches end."""
    waiting: list[pa.RecordBatch] = []
    rows = held = 0
    for piece in _units(batches, unit):
        waiting.append(piece)
        rows += piece.num_rows
        held += piece.nbytes
        if rows >= _ROWS or held >= _BYTES:
            yield waiting
            waiting, rows, held = [], 0, 0
    if waiting:
        yield waiting


def _units(batches: Iterable[pa.RecordBatch], unit: int) -> Iterator[pa.RecordBatch]:
    """Cut batches anew, `unit` rows each but the last; where such rows have more than `_BYTES`, fewer."""
    import pyarrow as pa

    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        if rows < unit:
            continue
        whole = pa.concat_batches(waiting) if len(waiting) > 1 else batch
        for start in range(0, rows - unit + 1, unit):
            piece = whole.slice(start, unit)
            step = max(1, unit * _BYTES // max(piece.nbytes, _BYTES))
            for place in range(0, unit, step):
                yield piece.slice(place, step)
        done = rows - rows % unit
        waiting, rows = ([whole.slice(done)], rows - done) if done < rows else ([], 0)
    if rows:
        yield pa.concat_batches(waiting)


def _merged(a: Profile, b: Profile, size: Size) -> Profile:
    shapes = [[(column.name, column.kind, column.dtype, column.personal) for column in part.columns] for part in (a, b)]
    if shapes[0] != shapes[1]:
        differing = sum(x != y for x, y in zip_longest(*shapes))
        raise PreconditionError(
            f"profile: {differing} columns differ in name, order, type or privacy: they are not merged"
        )
    columns = (merge_columns(x, y, size) for x, y in zip(a.columns, b.columns, strict=True))
    return Profile(a.rows + b.rows, tuple(columns))
