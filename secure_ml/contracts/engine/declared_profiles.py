"""Profiles of data as a contract declares them: typed by it, and with counts only of personal columns."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from secure_ml.contracts.engine.binding import BoundContract, bind, personal_columns
from secure_ml.contracts.rules import compile_rules
from secure_ml.profiles.document import Profile
from secure_ml.profiles.profiling import profile_batches, profile_table
from secure_ml.tables.opened_table import OpenedTable

if TYPE_CHECKING:
    import ibis
    import polars as pl
    from pandera.polars import DataFrameSchema

__all__ = ["profile_as_declared", "profile_columns", "profile_frame"]


def profile_as_declared(table: ibis.Table | OpenedTable, contract: Any) -> Profile:
    """Profile the declared columns of a table, typed as the contract says; a cell of another type counts as missing."""
    rules = compile_rules(getattr(contract, "schema", contract))
    bound = bind(OpenedTable.from_table(table), rules, environment=None)
    return profile_columns(bound, [column.name for column in bound.declared])


def profile_frame(frame: pl.DataFrame, schema: DataFrameSchema, *, found: Collection[str] = ()) -> Profile:
    """Profile a frame; of columns that the contract marks as personal, or that were found to be, only counts are kept.

    Args:
        frame: The rows.
        schema: The contract; `metadata={"secure_ml": {"personal": True}}` marks a column.
        found: Columns in which personal data were found.
    """
    import polars as pl

    personal = personal_columns(compile_rules(schema), frame.columns) | set(found)
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    return profile_batches(table.schema, table.to_batches(), personal=personal)


def profile_columns(bound: BoundContract, names: Sequence[str]) -> Profile:
    """Profile some columns of a bound table, typed as the contract says."""
    columns = [bound.table[bound.keys.get(name, name)].name(name) for name in names]
    personal = [column.name for column in bound.declared if column.settings.get("personal")]
    return profile_table(bound.opened.with_table(bound.table.select(columns)), personal=personal)
