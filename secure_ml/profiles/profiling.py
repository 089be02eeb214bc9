"""Make the profile of a table in one scan."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from secure_ml.profiles.document import Profile
from secure_ml.profiles.merging import KEPT, without_values
from secure_ml.profiles.scan import scan_batches, unit_rows
from secure_ml.tables.opened_table import OpenedTable
from secure_ml.tables.queries import fetch_batches

if TYPE_CHECKING:
    import ibis
    import pyarrow as pa

__all__ = ["profile_batches", "profile_table"]


def profile_table(table: ibis.Table | OpenedTable, *, personal: Collection[str] = ()) -> Profile:
    """Profile a table in one scan, or one scan per `columns_at_once` columns of a wider table.

    Args:
        table: An opened table, or a table or expression of any ibis engine.
        personal: Columns of which only counts are kept.

    Raises:
        PreconditionError: If `personal` names a column that the table does not have.
        MalformedError: If the table's file cannot be read to its end.
    """
    opened = OpenedTable.from_table(table)
    if opened.table.get_backend().name == "pyspark":
        from secure_ml.profiles.spark import profile_spark_table

        return without_values(profile_spark_table(opened.table), personal)
    names, parts, at_once = opened.columns, [], opened.limits.columns_at_once
    for start in range(0, max(1, len(names)), at_once):
        narrow = len(names) <= at_once
        part = opened if narrow else opened.with_table(opened.table.select(names[start : start + at_once]))
        schema, batches = fetch_batches(part, unit_rows(len(part.columns)))
        parts.append(scan_batches(schema, batches, KEPT))
    return without_values(
        Profile(parts[0].rows, tuple(column for profile in parts for column in profile.columns)), personal
    )


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
