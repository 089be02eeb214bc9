"""Slices: parts of a batch against the same contract, and what of them is not judged."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandera.polars as pa
import polars as pl
import pytest

from secure_ml.contracts.checks import null_fraction_at_most, row_count_between
from secure_ml.contracts.contract_file import Contract
from secure_ml.contracts.engine.slices import Slice
from secure_ml.contracts.findings import Unjudged
from secure_ml.contracts.validate import validate
from secure_ml.errors import PreconditionError
from secure_ml.spec import find_model
from secure_ml.tables.batch_files import open_batch
from secure_ml.tables.data_files import open_table, table_of
from tests.unit.contracts.engine.drift_examples import column, contract, find, profile, said


def shops(small: int) -> pl.DataFrame:
    """In shop b half of the prices are missing; in the whole table few are."""
    return pl.DataFrame(
        {
            "shop": ["a"] * 960 + ["b"] * small,
            "price": [1.0] * 960 + [None if i % 2 else 1.0 for i in range(small)],
        }
    )


SHOPS = contract(
    shop=column(pl.String, pa.Check.isin(["a", "b"]), nullable=False),
    price=column(pl.Float64, null_fraction_at_most(0.1)),
)


def test_a_slice_can_fail_where_the_whole_table_does_not() -> None:
    assert find(shops(40), SHOPS).findings == ()
    report = find(shops(40), SHOPS, slices=["shop"])
    assert said(report) == [("missing_values", "price", "block")]
    (finding,) = report.findings
    assert (finding.failed, finding.rows) == (20, 40)
    assert finding.rule == "null_fraction_at_most(0.1) in slice shop='b'"
    assert finding.sentence == "slice shop='b' (40 rows): price: 20 of 40 rows null, more than 10%"


def test_a_slice_may_be_an_expression_of_columns_as_they_are_typed(tmp_path: Path) -> None:
    file = tmp_path / "shops.csv"
    shops(40).write_csv(file)
    cheap = Slice("cheap or unknown", lambda columns: columns["price"].fill_null(0) < 0.5)
    of_b = Slice("b", lambda columns: columns["shop"] == "b")
    report = validate(open_table(file), SHOPS, slices=[of_b, cheap])
    assert [finding.rule for finding in report.findings] == ["null_fraction_at_most(0.1) in slice b=true"]


def test_fewer_than_thirty_rows_are_not_judged_and_the_report_says_so() -> None:
    report = find(shops(28), SHOPS, slices=["shop", "shop=c"])
    assert report.findings == ()
    assert report.unjudged == (Unjudged("shop", "shop='b'", 28), Unjudged("shop=c", "shop=c", 0))
    assert find(shops(30), SHOPS, slices=["shop"]).unjudged == ()


def test_what_the_whole_table_fails_is_said_once() -> None:
    schema = contract(x=column(pl.Int64, pa.Check.ge(0)), by=column(pl.Boolean))
    frame = pl.DataFrame({"x": [-1] + [1] * 99, "by": [True, False] * 50})
    assert len(find(frame, schema, slices=["by"]).findings) == 1


def test_rules_about_the_batch_as_a_whole_are_not_held_against_a_slice() -> None:
    schema = pa.DataFrameSchema({"by": pa.Column(pl.Boolean)}, checks=[row_count_between(100, 100)])
    assert find(pl.DataFrame({"by": [True, False] * 50}), schema, slices=["by"]).findings == ()


def test_a_value_that_the_contract_does_not_name_is_not_said() -> None:
    schema = contract(who=column(pl.String), price=column(pl.Float64, null_fraction_at_most(0.1)))
    frame = shops(40).rename({"shop": "who"}).with_columns(who=pl.lit("secret-") + pl.col("who"))
    (finding,) = find(frame, schema, slices=["who"]).findings
    assert finding.sentence.startswith("slice who, part 2 (40 rows)")
    assert "secret" not in repr(finding)


def test_missing_values_are_a_slice() -> None:
    schema = contract(shop=column(pl.String), price=column(pl.Float64, null_fraction_at_most(0.1)))
    frame = shops(40).with_columns(shop=pl.when(pl.col("shop") == "a").then("shop"))
    (finding,) = find(frame, schema, slices=["shop"]).findings
    assert finding.sentence.startswith("slice shop=missing (40 rows)")


@pytest.mark.parametrize("name", ["nothing", "secret", "many"])
def test_a_slice_that_cannot_be_made_is_the_callers_mistake(name: str) -> None:
    schema = contract(secret=column(pl.String, personal=True), many=column(pl.Int64))
    frame = pl.DataFrame({"secret": ["a"] * 300, "many": list(range(300))})
    with pytest.raises(PreconditionError, match="slice"):
        find(frame, schema, slices=[name])


def test_a_slice_is_named_by_a_value_or_a_range_in_the_command_and_the_contract() -> None:
    frame = shops(40).with_columns(age=pl.Series([20] * 960 + [70] * 40), half=pl.Series([0.5] * 960 + [None] * 40))
    columns = {**SHOPS.columns, "age": column(pl.Int64), "half": column(pl.Float64)}
    schema = contract(**columns)
    assert find(frame, schema, slices=["shop=a", "age=..70", "age=18..65", "half=0.5..", "age=20"]).findings == ()
    for asked in ("shop=b", "age=70..", "age=65..71", "age=70", "half="):
        (finding,) = find(frame, schema, slices=[asked]).findings
        shown = asked if asked != "half=" else "half=missing"
        assert finding.rule == f"null_fraction_at_most(0.1) in slice {shown}"
        named = pa.DataFrameSchema(columns, metadata={"secure_ml": {"slices": [asked]}})
        assert find(frame, named).findings == validate(table_of(frame), named).findings == (finding,)


@pytest.mark.parametrize(
    ("dtype", "values", "asked", "rows"),
    [
        (pl.Date, [date(2026, 1, 31), date(2026, 2, 1)], "2026-02-01..", 1),
        (pl.Datetime("us"), [datetime(2026, 1, 1, 12), datetime(2026, 1, 2)], "2026-01-01..2026-01-02", 1),
        (pl.Datetime("us", "UTC"), [datetime(2026, 1, 1, 12, tzinfo=UTC)], "2026-01-01T13:00+01:00", 1),
        (pl.Boolean, [True, False, None], "true", 1),
        (pl.Float32, [0.5, 1.5, None], "1e0..", 1),
        (pl.String, ["a..b", "a", "b"], "a..b", 1),
        (pl.String, ["x=y", "x"], "x=y", 1),
    ],
)
def test_values_of_a_slice_are_written_as_a_file_of_text_holds_them(
    dtype: Any, values: list[Any], asked: str, rows: int
) -> None:
    frame = pl.DataFrame({"by": pl.Series(values, dtype=dtype)})
    report = find(frame, contract(by=column(dtype)), slices=[f"by={asked}"])
    assert [(part.slice, part.rows) for part in report.unjudged] == [(f"by={asked}", rows)]


@pytest.mark.parametrize("asked", ["n=a", "n=1.5", "n=..", "n=1..b", "n=1; drop table batch", "m=1", "t=18..65"])
def test_a_condition_that_does_not_fit_the_column_is_the_callers_mistake(asked: str) -> None:
    schema = contract(n=column(pl.Int64), t=column(pl.Datetime("us")))
    frame = pl.DataFrame({"n": [1], "t": [datetime(2026, 1, 1)]})
    with pytest.raises(PreconditionError, match="slice"):
        find(frame, schema, slices=[asked])


def test_a_slice_of_the_contract_that_a_batch_does_not_let_be_made_is_a_finding() -> None:
    columns = {"shop": pa.Column(pl.String, required=False), "n": pa.Column(pl.Int64)}
    schema = pa.DataFrameSchema(columns, metadata={"secure_ml": {"slices": ["shop", "n=1..5"]}})
    frame = pl.DataFrame({"shop": [f"shop-{i}" for i in range(101)], "n": [1] * 101})
    (finding,) = validate(table_of(frame), schema).findings
    assert (finding.rule, finding.tier) == ("slice(shop)", "block")
    assert "more than 100 values" in finding.sentence
    assert "shop-" not in finding.sentence
    other = validate(table_of(frame.select(n=pl.lit("text"))), schema)
    assert sorted(found.rule for found in other.findings) == ["slice(shop)", "type(Int64)"]
    assert other.unjudged == (Unjudged("n=1..5", "n=1..5", 0),)


def test_a_slice_of_the_contract_is_looked_at_where_a_model_is_validated() -> None:
    model = find_model("heart_disease")
    schema = copy(model.schema)
    schema.metadata = {"secure_ml": {"slices": ("sex=1", "age=..10")}}
    batch = open_batch(model.batches.files["cleveland"].read_bytes(), model.batches, "cleveland")
    report = validate(batch, Contract.of_model(replace(model, contract=schema)))
    assert [(part.part, part.rows) for part in report.unjudged] == [("age=..10", 0)]


def test_a_hostile_column_can_be_compared_and_sliced_by() -> None:
    name = '"; drop table batch; --'
    schema = contract(**{name: column(pl.String, drift=0.1), "x": column(pl.Float64, null_fraction_at_most(0.1))})
    frame = shops(40).rename({"shop": name, "price": "x"})
    report = find(frame, schema, slices=[name], previous=profile(frame.head(100), schema))
    assert said(report) == [("missing_values", "x", "block")]
