"""One table of cases that every engine passes: a contract, a table, and what is to be found, by rule and count.

The expectations are written by hand. `WHOLE` stands where a rule judges a column or table as a whole.
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandera.polars as pa
import polars as pl

from secure_ml.contracts.checks import columns_compare, mean_between, null_fraction_at_most, row_count_between
from tests.pandera_oracle import WHOLE, Verdict

__all__ = ["CASES", "Case"]

Check = pa.Check
_NAN, _INF = float("nan"), float("inf")
_DAY = datetime.datetime(2024, 2, 29)


@dataclass(frozen=True)
class Case:
    """One contract on one table."""

    name: str
    schema: pa.DataFrameSchema
    frame: pl.DataFrame
    expected: Verdict


def _column(
    name: str,
    dtype: Any,
    cells: list[Any],
    rules: list[tuple[pa.Check, int]],
    *,
    nulls: int = 0,
    repeated: int = 0,
    **settings: Any,
) -> Case:
    """Make a case of one column: each rule with the rows that fail it; rows that are null, and that are not unique."""
    expected: Verdict = {("x", str(check.name).split("(")[0]): failed for check, failed in rules if failed}
    settings.setdefault("nullable", not nulls)
    if nulls:
        expected["x", "not_nullable"] = nulls
    if repeated:
        expected["x", "field_uniqueness"] = repeated
    column = pa.Column(dtype, [check for check, _ in rules], unique=bool(repeated), **settings)
    return Case(name, pa.DataFrameSchema({"x": column}), pl.DataFrame({"x": pl.Series(cells, dtype=dtype)}), expected)


def _table(name: str, frame: pl.DataFrame, expected: Verdict, make: Callable[[], pa.DataFrameSchema]) -> Case:
    return Case(name, make(), frame, expected)


def _ordered(bound: Any, *failed: int) -> list[tuple[pa.Check, int]]:
    """All six comparisons with one bound, and the rows that fail each."""
    makers = (Check.eq, Check.ne, Check.lt, Check.le, Check.gt, Check.ge)
    return [(make(bound), count) for make, count in zip(makers, failed, strict=True)]


_TWO = pl.DataFrame(
    {
        "a": pl.Series([1, 2, None, 4, 5], dtype=pl.Int64),
        "b": pl.Series([1, 3, 3, None, 4], dtype=pl.Int64),
    }
)
_BOTH = {"a": pa.Column(pl.Int64, nullable=True), "b": pa.Column(pl.Int64, nullable=True)}

CASES: tuple[Case, ...] = (
    _column("whole numbers", pl.Int64, [-1, 0, 1, 2, None], _ordered(1, 3, 1, 2, 1, 3, 2)),
    _column("a null is a failure where nulls are not allowed", pl.Int64, [1, None, None], [], nulls=2),
    _column(
        "the largest whole numbers",
        pl.Int64,
        [2**63 - 1, -(2**63), 2**53 + 1, 2**53],
        [
            (Check.eq(2**53 + 1), 3),
            (Check.gt(2**53), 2),
            (Check.isin([2**53, 2**63 - 1]), 2),
        ],
    ),
    _column(
        "NaN is larger than all and equal to itself",
        pl.Float64,
        [_NAN, _INF, -_INF, 0.5, None],
        _ordered(0.5, 3, 1, 3, 2, 2, 1),
    ),
    _column(
        "NaN alone is above a bound, whatever the file says of its largest",
        pl.Float64,
        [None, _NAN, 0.0, -1.0],
        [(Check.lt(2.0), 1)],
    ),
    _column("NaN counts as null where nulls are not allowed", pl.Float64, [_NAN, 1.0, None], [], nulls=2),
    _column(
        "zeros of both signs are the same",
        pl.Float64,
        [0.0, -0.0, 1.0],
        [
            (Check.eq(0.0), 1),
            (Check.isin([0.0]), 1),
            (Check.lt(0.0), 3),
        ],
        repeated=2,
    ),
    _column("a range", pl.Float64, [0.0, 0.5, 1.0, -0.1, 1.1, None], [(Check.in_range(0, 1), 2)]),
    _column(
        "a range without its ends",
        pl.Float64,
        [0.0, 0.5, 1.0, None],
        [
            (Check.in_range(0, 1, include_min=False, include_max=False), 2),
        ],
    ),
    _column("a range in which all lies", pl.Float64, [0.0, 0.5, 1.0], [(Check.in_range(0, 1), 0)]),
    _column("allowed numbers", pl.Float64, [1.0, 2.0, 3.0, None], [(Check.isin([1.0, 2.0]), 1)]),
    _column("forbidden numbers", pl.Int64, [1, 2, 2, None], [(Check.notin([2, 9]), 2)]),
    _column("allowed words", pl.String, ["a", "A", "", " a", None], [(Check.isin(["a", ""]), 2)]),
    _column(
        "words that are spelled alike are not the same",
        pl.String,
        ["é", "e\u0301", "ß", "ss", "İ", "i"],
        [
            (Check.eq("é"), 5),
            (Check.notin(["ß", "i"]), 2),
        ],
    ),
    _column(
        "order of words by code point",
        pl.String,
        ["A", "a", "é", "日", "😀", ""],
        [
            (Check.gt("a"), 3),
            (Check.le("日"), 1),
        ],
    ),
    _column(
        "length counts code points",
        pl.String,
        ["", "é", "e\u0301", "👩\u200d💻", "abc", None],
        [
            (Check.str_length(1, 2), 3),
        ],
    ),
    _column("an exact length", pl.String, ["DE", "de", "D", "", None], [(Check.str_length(exact_value=2), 2)]),
    _column(
        "beginning and end are text, not patterns",
        pl.String,
        ["a.b", "axb", "%", "a", None],
        [
            (Check.str_startswith("a."), 3),
            (Check.str_endswith("b"), 2),
        ],
    ),
    _column("a percent sign is no wildcard", pl.String, ["100%", "100", "%"], [(Check.str_endswith("%"), 1)]),
    _column(
        "a pattern matches from the beginning",
        pl.String,
        ["ab", "xab", "AB", "", None],
        [
            (Check.str_matches("ab"), 3),
        ],
    ),
    _column(
        "a pattern is found anywhere",
        pl.String,
        ["ab", "xab", "AB", "a\nb", None],
        [
            (Check.str_contains("ab$"), 2),
        ],
    ),
    _column(
        "a pattern with classes",
        pl.String,
        ["DE", "De", "DEU", "ÄÖ", "D\n"],
        [
            (Check.str_matches("^[A-Z]{2}$"), 4),
        ],
    ),
    _column("a dot matches no line end", pl.String, ["a\nb", "a b", "a日b", "ab"], [(Check.str_contains("a.b"), 2)]),
    _column("unique words", pl.String, ["a", "b", "a", "é", "e\u0301", "a"], [], repeated=3),
    _column("unique whole numbers with nulls", pl.Int64, [1, None, 2, None, 1], [], repeated=4),
    _column("every value occurs", pl.String, ["a", "b", None], [(Check.unique_values_eq(["a", "b"]), 0)]),
    _column("not every value occurs", pl.String, ["a", "a"], [(Check.unique_values_eq(["a", "b"]), WHOLE)]),
    _column("share of nulls above its bound", pl.Float64, [None, None, 1.0], [(null_fraction_at_most(0.5), WHOLE)]),
    _column("share of nulls at its bound", pl.Float64, [None, 1.0], [(null_fraction_at_most(0.5), 0)]),
    _column("mean within its bounds", pl.Float64, [1.0, 2.0, None], [(mean_between(1.5, 1.5), 0)]),
    _column("mean outside its bounds", pl.Int64, [1, 2, 6], [(mean_between(0, 2), WHOLE)]),
    _column("true and false", pl.Boolean, [True, False, None], [(Check.eq(True), 1)]),
    _column(
        "days",
        pl.Date,
        [_DAY.date(), _DAY.date() + datetime.timedelta(1), None],
        [
            (Check.lt(datetime.date(2024, 3, 1)), 1),
            (Check.isin([datetime.date(2024, 2, 29)]), 1),
        ],
    ),
    _column(
        "moments to the microsecond",
        pl.Datetime("us"),
        [_DAY, _DAY + datetime.timedelta(microseconds=1), None],
        [
            (Check.le(_DAY), 1),
            (Check.in_range(_DAY, _DAY + datetime.timedelta(days=1)), 0),
        ],
    ),
    _column(
        "moments of a time zone",
        pl.Datetime("us", "UTC"),
        [_DAY.replace(tzinfo=datetime.UTC), None],
        [
            (Check.lt(_DAY.replace(tzinfo=datetime.UTC)), 1),
            (Check.ge(_DAY.replace(tzinfo=datetime.UTC)), 0),
        ],
    ),
    _column(
        "decimals",
        pl.Decimal(18, 2),
        [decimal.Decimal(text) for text in ("0.10", "0.11", "12345678901234.56")],
        [
            (Check.lt(decimal.Decimal("0.11")), 2),
            (Check.eq(decimal.Decimal("0.10")), 2),
        ],
    ),
    _column("no rows", pl.Int64, [], [(Check.gt(0), 0)]),
    _column("only nulls", pl.Float64, [None, None], [(Check.gt(0), 0)], nulls=2),
    _table(
        "two columns",
        _TWO,
        {(None, "columns_compare"): 1},
        lambda: pa.DataFrameSchema(_BOTH, checks=[columns_compare("a", "<=", "b")]),
    ),
    _table("a missing column", _TWO.select("a"), {("b", "column_present"): WHOLE}, lambda: pa.DataFrameSchema(_BOTH)),
    _table(
        "a wrong type",
        _TWO.with_columns(pl.col("b").cast(pl.Float64)),
        {("b", "type"): WHOLE},
        lambda: pa.DataFrameSchema(_BOTH),
    ),
    _table(
        "too few rows",
        _TWO,
        {(None, "row_count_between"): WHOLE},
        lambda: pa.DataFrameSchema(_BOTH, checks=[row_count_between(6, 100)]),
    ),
    _table(
        "unique together",
        pl.concat([_TWO, _TWO.head(1)]),
        {(None, "multiple_fields_uniqueness"): 2},
        lambda: pa.DataFrameSchema(_BOTH, unique=["a", "b"]),
    ),
    _table(
        "a hostile name",
        pl.DataFrame({'"; drop table x; --': [1, -1], "größe '": ["a", "b"]}),
        {('"; drop table x; --', "greater_than"): 1, ("größe '", "equal_to"): 1},
        lambda: pa.DataFrameSchema(
            {'"; drop table x; --': pa.Column(pl.Int64, Check.gt(0)), "größe '": pa.Column(pl.String, Check.eq("a"))}
        ),
    ),
)
