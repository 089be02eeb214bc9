"""An opened table: an engine's table together with what the engine does not know about it.

Every query takes the `OpenedTable`, so nothing has to be looked up on the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ibis
    import polars as pl

__all__ = ["DEFAULT_LIMITS", "Limits", "OpenedTable"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what the work on one table may take.

    Attributes:
        memory: Memory of the engine, as DuckDB writes it.
        query_s: Time that one query may take, before the allowance for the size of the file.
        columns_at_once: Columns of one query. Its memory and planning time grow faster than its columns do.
        frame_bytes: Bytes of a frame that is read for rules that only pandera can run.
        hashes_at_once: Hashes that are sorted at once to find duplicates.
        failing_cells: Cells of the failing rows that a report keeps.
        distinct_values: Distinct values of a text column whose rules are evaluated on the values.
        candidates: Distinct candidates for personal data that are proved per column and kind.
    """

    memory: str = "600MB"
    query_s: float = 60.0
    columns_at_once: int = 256
    frame_bytes: int = 2 << 30
    hashes_at_once: int = 1 << 24
    failing_cells: int = 1_000_000
    distinct_values: int = 256
    candidates: int = 5_000


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class OpenedTable:
    """A table of an engine, and what is known about it.

    Attributes:
        table: The table, an ibis expression.
        dtypes: Its columns as Polars would read them.
        source: Name of the file in messages.
        is_text: Whether all columns are text that the contract has yet to type.
        limits: Bounds on the work.
    """

    table: ibis.Table
    dtypes: Mapping[str, pl.DataType]
    source: str = "table"
    is_text: bool = False
    limits: Limits = DEFAULT_LIMITS

    @classmethod
    def from_table(cls, table: ibis.Table | OpenedTable) -> OpenedTable:
        """Return the opened table of a table of any ibis engine, an opened one as it is."""
        if isinstance(table, OpenedTable):
            return table
        dtypes = {name: _polars_dtype(dtype) for name, dtype in table.schema().items()}
        return cls(table, {**dtypes, **_spark_times(table)})

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.table.columns)

    @property
    def on_duckdb(self) -> bool:
        """Whether the engine is DuckDB, which numbers rows as they stand in the file."""
        return bool(self.table.get_backend().name == "duckdb")

    def with_table(self, table: ibis.Table) -> OpenedTable:
        """Return another table over the same file: some of its rows, or columns computed from its columns."""
        return replace(self, table=table)


def _polars_dtype(dtype: Any) -> pl.DataType:
    import polars as pl
    from ibis.common.exceptions import IbisError

    try:
        converted: pl.DataType = dtype.to_polars()
    except (NotImplementedError, IbisError, KeyError):
        return pl.Unknown()
    return converted


def _spark_times(table: ibis.Table) -> dict[str, pl.DataType]:
    """Return the types of the time columns of a Spark table: microseconds, in UTC or without a zone.

    ibis knows neither their unit nor their zone.
    """
    import polars as pl

    engine = table.get_backend()
    if engine.name != "pyspark":
        return {}
    zones = {"timestamp": "UTC", "timestamp_ntz": None}
    times = {name: kind for name, kind in engine.raw_sql(engine.compile(table)).dtypes if kind in zones}
    return {name: pl.Datetime("us", zones[kind]) for name, kind in times.items()}
