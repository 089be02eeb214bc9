"""Uniqueness by sorted hashes: the counts that grouping all rows gives, in one part or many, whatever is repeated."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from decimal import Decimal

import pandera.polars as pa
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_ml.contracts.checks import no_duplicate_rows
from secure_ml.contracts.engine import uniqueness
from secure_ml.contracts.validate import validate
from secure_ml.tables.data_files import table_of
from secure_ml.tables.opened_table import DEFAULT_LIMITS, Limits


def counts(one: int, both: int, again: int) -> dict[str, int]:
    named = {"field_uniqueness": one, "multiple_fields_uniqueness(('a', 'b'))": both, "no_duplicate_rows": again}
    return {name: count for name, count in named.items() if count}


SCHEMA = pa.DataFrameSchema(
    {"a": pa.Column(None, nullable=True, unique=True), "b": pa.Column(None, nullable=True)},
    checks=[no_duplicate_rows()],
    unique=["a", "b"],
)
ROWS = st.lists(
    st.tuples(st.none() | st.integers(-3, 2**63 - 1), st.none() | st.sampled_from(["", "x", "e\u0301", "é"])),
    max_size=40,
)


def found(frame: pl.DataFrame, limits: Limits = DEFAULT_LIMITS) -> dict[str, int]:
    report = validate(table_of(frame, limits=limits), SCHEMA)
    assert report.fallbacks == ()
    return {finding.rule: finding.failed for finding in report.findings}


@settings(max_examples=40, deadline=None)
@given(ROWS)
def test_counts_are_those_of_counting_in_python(rows: list[tuple[int | None, str | None]]) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.Int64, "b": pl.String}, orient="row")
    keys, pairs = Counter(a for a, _ in rows), Counter(rows)
    one, both = (sum(times for times in counted.values() if times > 1) for counted in (keys, pairs))
    assert found(frame) == counts(one, both, len(rows) - len(pairs))


@pytest.mark.parametrize("most", [1 << 24, 64])
def test_the_verdict_is_the_same_in_one_part_and_in_many(most: int) -> None:
    limits = Limits(hashes_at_once=most)
    different = pl.DataFrame({"a": range(500), "b": ["x"] * 500})
    one_twice = different.with_columns(a=pl.when(pl.col("a") == 7).then(499).otherwise("a"))
    all_alike = different.with_columns(a=pl.lit(1))
    many = pl.DataFrame({"a": [row // 2 for row in range(3000)], "b": ["x"] * 3000})
    assert found(different, limits) == {}
    assert found(one_twice, limits) == counts(2, 2, 1)
    assert found(all_alike, limits) == counts(500, 500, 499)
    assert found(many, limits) == counts(3000, 3000, 1500)


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([0.0, -0.0, 1.0]),
        pl.Series([math.nan, -math.nan, 1.0]),
        pl.Series([Decimal("1.20"), Decimal("1.2"), Decimal(3)], dtype=pl.Decimal(10, 2)),
        pl.Series([dt.timedelta(days=1), dt.timedelta(hours=24), dt.timedelta(0)]),
        pl.Series([None, None, 2**64 - 1], dtype=pl.UInt64),
        pl.Series([b"\x00", b"\x00", b""]),
        pl.Series(["a\x00", "a\x00", "a"]),
        pl.Series([True, True, False]),
    ],
    ids=lambda values: str(values.dtype),
)
def test_equal_values_are_repeated_in_whatever_form_they_stand(values: pl.Series) -> None:
    frame = pl.DataFrame({"a": values, "b": [1, 1, 1]})
    assert found(frame) == counts(2, 2, 1)


def test_keys_whose_hashes_meet_are_still_different(monkeypatch: pytest.MonkeyPatch) -> None:
    def everything_meets(table: object, keys: object) -> object:
        import ibis

        return ibis.literal(1, "uint64")

    monkeypatch.setattr(uniqueness, "_hash", everything_meets)
    assert found(pl.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]})) == {}
