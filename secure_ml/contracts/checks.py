"""Ready pandera checks over a whole column or table, for contracts on Polars."""

from __future__ import annotations

from typing import Any

import pandera.polars as pa
import polars as pl

__all__ = ["no_duplicate_rows", "null_fraction_at_most"]


def null_fraction_at_most(fraction: float, *, warn: bool = False) -> pa.Check:
    """At most this share of a column's cells is missing."""

    def check(given: pa.PolarsData) -> pl.LazyFrame:
        return given.lazyframe.select(pl.col(given.key).is_null().mean() <= fraction)

    return pa.Check(
        check,
        name=f"null_fraction_at_most({fraction})",
        description=f"null, more than {fraction:.0%}",
        raise_warning=warn,
        ignore_na=False,
    )


def no_duplicate_rows(*, warn: bool = True) -> pa.Check:
    """No row stands twice in the table."""

    def check(given: pa.PolarsData) -> pl.LazyFrame:
        row: Any = pl.struct(pl.all())
        return given.lazyframe.select(row.is_first_distinct().alias("check_output"))

    return pa.Check(check, name="no_duplicate_rows", description="duplicated", raise_warning=warn, ignore_na=False)
