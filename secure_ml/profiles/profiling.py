"""Make the profile of a table in one scan."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from secure_ml.profiles.document import Profile
from secure_ml.profiles.merging import KEPT, without_values
from secure_ml.profiles.scan import scan_batches, unit_rows
from secure_ml.tables.arrow_batches import fetch_batches
from secure_ml.tables.queries import COLUMNS_AT_ONCE

if TYPE_CHECKING:
    import ibis
    import pyarrow as pa

__all__ = ["profile_batches", "profile_table"]


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
        from secure_ml.profiles.spark import profile_spark_table

        return without_values(profile_spark_table(table), personal)
    names, parts = table.columns, []
    for start in range(0, max(1, len(names)), COLUMNS_AT_ONCE):
        some = table.select(names[start : start + COLUMNS_AT_ONCE]) if len(names) > COLUMNS_AT_ONCE else table
        schema, batches = fetch_batches(some, unit_rows(len(some.columns)))
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
