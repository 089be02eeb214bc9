"""A batch without its failing rows, for a model that quarantines `rows`: what goes on, and what is kept aside.

The rows that are kept are held against the whole contract again, until it has nothing against them: what goes on was
accepted as it goes on. A rule of the whole batch (a missing column, an aggregate) refuses the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from secure_ml.contracts.findings import Finding, Report

if TYPE_CHECKING:
    import polars as pl

__all__ = ["RowSplit", "split_rows"]

_MAX_PASSES: Final = 20
_RULES_OF_THE_BATCH: Final = ("null_fraction_at_most", "unique_values_eq")
_CODES_OF_THE_BATCH: Final = frozenset(
    {
        *("missing_column", "new_column", "low_uniqueness", "high_uniqueness", "aggregate", "row_count", "freshness"),
        *("vocabulary", "drift", "skew", "poisoning", "provenance", "unreadable"),
    }
)


@dataclass(frozen=True, slots=True)
class RowSplit:
    """What became of a batch.

    Attributes:
        report: What the contract says about the whole batch.
        kept: The same about the rows that go on, which it accepts; None where nothing goes on.
        aside: The rows that broke the contract: row number, reasons, cells as text.
    """

    report: Report
    kept: Report | None
    aside: pl.DataFrame


def split_rows(table: pl.DataFrame, judge: Callable[[pl.DataFrame], Report], held: Collection[int] = ()) -> RowSplit:
    """Take the failing rows out of a batch; rows that are `held` already are left out unseen.

    Args:
        table: All columns as they stand in the file.
        judge: Holds a table against the contract.
        held: Row numbers, from 1, that an earlier contract set aside and nobody released.
    """
    import polars as pl

    whole = judge(table)
    report, rest, aside = whole, table, [whole.failing_rows.clear()]
    numbers = pl.Series("row", range(1, table.height + 1), dtype=pl.Int64)
    if held:
        kept = ~numbers.is_in(list(held))
        rest, numbers = table.filter(kept), numbers.filter(kept)
        report = judge(rest)
    for _ in range(_MAX_PASSES):
        if report.accepted and report.frame is not None and rest.height:
            return RowSplit(whole, report, pl.concat(aside).sort("row"))
        if report.failing_rows.is_empty() or any(map(_of_the_batch, report.findings)):
            return RowSplit(whole, None, whole.failing_rows)
        wrong = report.failing_rows["row"] - 1
        aside.append(report.failing_rows.with_columns(numbers.gather(wrong).alias("row")))
        kept = ~pl.int_range(rest.height, eager=True).is_in(wrong.to_list())
        rest, numbers = rest.filter(kept), numbers.filter(kept)
        report = judge(rest)
    said = f"more rows fail than {_MAX_PASSES} passes set aside: the whole batch is refused"
    many = Finding(None, "rows_set_aside", whole.rows, whole.rows, "block", said, "row_count", "compiled")
    return RowSplit(replace(whole, findings=(many, *whole.findings)), None, whole.failing_rows)


def _of_the_batch(finding: Finding) -> bool:
    of_the_batch = finding.code in _CODES_OF_THE_BATCH or finding.rule.startswith(_RULES_OF_THE_BATCH)
    return finding.tier == "block" and of_the_batch
