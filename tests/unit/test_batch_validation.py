"""Failing rows are taken out of a batch under their own numbers, and not where a rule of the whole batch fails."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from secure_ml.batch_validation import split_rows
from secure_ml.contracts.findings import Finding, ReasonCode, Report


def judge_of(wrong: list[str], code: ReasonCode = "unexpected_value") -> Callable[[pl.DataFrame], Report]:
    """Return a contract that has something against one row at a time: the first cell of `wrong` that is there."""

    def judge(table: pl.DataFrame) -> Report:
        numbered = table.with_row_index("row", 1).with_columns(pl.col("row").cast(pl.Int64), reasons=pl.lit("x"))
        numbered = numbered.select("row", "reasons", "x")
        first = next((text for text in wrong if text in table["x"]), None)
        failing = numbered.clear() if first is None else numbered.filter(pl.col("x") == first)
        finding = Finding("x", "isin", failing.height, table.height, "block", "x", code)
        return Report(table.height, () if first is None else (finding,), table, failing)

    return judge


def test_rows_that_a_later_pass_finds_are_kept_aside_under_their_own_numbers() -> None:
    table = pl.DataFrame({"x": list("abcdef")})
    split = split_rows(table, judge_of(["a", "c", "f"]), excluded_rows=[2])
    assert split.accepted is not None
    assert split.accepted.frame is not None
    assert split.accepted.frame["x"].to_list() == ["d", "e"]
    assert split.failing_rows.select("row", "x").rows() == [(1, "a"), (3, "c"), (6, "f")]


@pytest.mark.parametrize("code", ["aggregate", "row_count", "missing_column"])
def test_no_row_is_set_aside_for_a_rule_of_the_whole_batch(code: ReasonCode) -> None:
    table = pl.DataFrame({"x": list("abc")})
    assert split_rows(table, judge_of(["a"])).accepted is not None
    assert split_rows(table, judge_of(["a"], code)).accepted is None


def test_a_batch_with_more_bad_rows_than_the_passes_set_aside_is_refused() -> None:
    table = pl.DataFrame({"x": [str(number) for number in range(40)]})
    assert split_rows(table, judge_of([str(number) for number in range(19)])).accepted is not None
    split = split_rows(table, judge_of([str(number) for number in range(25)]))
    assert split.accepted is None
    assert split.report.findings[0].rule == "rows_set_aside"
