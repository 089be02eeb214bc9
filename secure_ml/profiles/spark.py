"""The profile of a Spark table, made where its rows are: each partition gives a document, and documents are merged.

Spark hands each worker its partition as Arrow batches, a few at a time; ibis would carry the whole table through pandas
to one machine, and NaN would become null on the way. Workers need this package. Until all are merged, documents keep as
much as a scan does, so that many partitions cost little precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from secure_ml.profiles.document import Profile, parse, render
from secure_ml.profiles.merging import SCANNED, merge_all
from secure_ml.profiles.scan import scan_batches

if TYPE_CHECKING:
    import ibis
    import pyarrow as pa

__all__ = ["profile_spark_table"]


def profile_spark_table(table: ibis.Table) -> Profile:
    """Profile a table of ibis on PySpark.

    Args:
        table: A table or expression; Spark runs it once.
    """
    engine = table.get_backend()
    frame = engine.raw_sql(engine.compile(table))
    found = frame.mapInArrow(_profile_partition, "document binary").collect()
    profiles = [parse(bytes(row.document)) for row in found]
    return merge_all(profiles or [scan_batches(frame.toArrow().schema, (), SCANNED)])


def _profile_partition(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    first = next(batches, None)
    if first is not None:  # not an empty partition
        profile = scan_batches(first.schema, chain([first], batches), SCANNED)
        yield pa.RecordBatch.from_pydict({"document": [render(profile)]})
