"""Compiled rules say what pandera's Polars backend says, count by count, and the report says the rest."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandera.polars as pa
import polars as pl
import pytest

from secure_ml.contracts import checks as ready
from secure_ml.contracts.contract_file import Contract
from secure_ml.contracts.findings import Report
from secure_ml.contracts.rules import Rule
from secure_ml.contracts.validate import validate
from secure_ml.models.heart_disease import model as heart_disease
from secure_ml.tables.data_files import open_table, table_of

NAN, INF = math.nan, math.inf
COLUMNS = {
    "int8": pl.Series([1, -128, 127, 0, None], dtype=pl.Int8),
    "int64": pl.Series([1, 2**53 + 1, 2**53, -(2**63), 2**63 - 1, None, 1], dtype=pl.Int64),
    "uint64": pl.Series([0, 2**64 - 1, 2**53 + 1, None, None], dtype=pl.UInt64),
    "float32": pl.Series([0.1, 0.3, 1e-45, 3.4e38, NAN, NAN, INF, -0.0, 0.0, None], dtype=pl.Float32),
    "float64": pl.Series([0.1, 0.1 + 0.2, NAN, -0.0, 0.0, INF, -INF, 5e-324, 1e308, 2.0**53, None]),
    "text": pl.Series(
        ["a", "", "é", "e\u0301", "ﬀ", "👩‍👩‍👧", "a\nb", "A", "\u0661", " ", None, "a", "%", "'", '"', "\x00x"]
    ),
    "truth": pl.Series([True, False, True, None]),
    "date": pl.Series([dt.date(2020, 1, 1), dt.date(1, 1, 1), None]),
    "time": pl.Series([dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 1, 0, 0, 0, 1), None]),
    "zoned": pl.Series([dt.datetime(2020, 1, 1), None]).dt.replace_time_zone("Europe/Berlin"),
    "utc": pl.Series([dt.datetime(2020, 1, 1), dt.datetime(2021, 1, 1), None]).dt.replace_time_zone("UTC"),
    "decimal": pl.Series([Decimal("1.25"), Decimal("-9.99"), None], dtype=pl.Decimal(10, 2)),
    "category": pl.Series(["a", "b", None], dtype=pl.Categorical),
    "empty": pl.Series([], dtype=pl.Int64),
    "nothing": pl.Series([None, None], dtype=pl.String),
}
FIGURES: tuple[Any, ...] = (
    0, 2**53 + 1, 0.1, -0.0, NAN, INF, "a", "", True, Decimal("1.25"), dt.date(2020, 1, 1), dt.datetime(2020, 1, 1),
    dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
)  # fmt: skip


def built_in(text: bool) -> Iterator[pa.Check]:
    for figure in FIGURES:
        for make in (pa.Check.eq, pa.Check.gt, pa.Check.le):
            yield make(figure)
        yield pa.Check.isin([figure, None])
        yield pa.Check.notin([figure])
        yield pa.Check.unique_values_eq([figure])
        yield pa.Check.ge(figure, ignore_na=False)
    for low, high in ((0, 1), (0.1, 0.2), ("a", "b"), (Decimal(0), Decimal("1.25"))):
        yield pa.Check.in_range(low, high)
        yield pa.Check.in_range(low, high, include_max=False, ignore_na=False)
    if text:
        yield from (pa.Check.str_matches(pattern) for pattern in ("a", "a$", r"\d", "b|a", ".$", r"\w"))
        yield from (pa.Check.str_contains(pattern) for pattern in ("a", "^$", r"\s"))
        yield from (pa.Check.str_startswith(start) for start in ("a", "", "%", "'"))
        yield pa.Check.str_endswith('"')
        yield pa.Check.str_length(1, 1)
        yield pa.Check.str_length(max_value=1, ignore_na=False)


def by_pandera(column: pa.Column, frame: pl.DataFrame) -> int | None:
    """Return how many rows pandera finds, None for none."""
    try:
        pa.DataFrameSchema({"x": column}).validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        (error,) = errors.schema_errors
        output = error.check_output
        output = output.collect() if isinstance(output, pl.LazyFrame) else output
        if output is None or error.failure_cases is False:
            return frame.height
        return int((~output.to_series(output.width - 1).fill_null(True)).sum())
    return None


@pytest.mark.parametrize("name", COLUMNS)
def test_each_rule_finds_what_pandera_finds(name: str) -> None:
    frame = COLUMNS[name].alias("x").to_frame()
    compiled = 0
    given = list(built_in(text=frame["x"].dtype == pl.String))
    for start in range(0, len(given), 40):
        some = given[start : start + 40]
        report = validate(table_of(frame), pa.DataFrameSchema({"x": pa.Column(None, some, nullable=True)}))
        compiled += len(some) - len(report.fallbacks)
        found: dict[str, int] = {}
        expected: dict[str, int] = {}
        for finding in report.findings:
            found[finding.rule] = found.get(finding.rule, 0) + finding.failed
        for check in some:
            rows = by_pandera(pa.Column(None, check, nullable=True), frame)
            if rows is not None:
                label = Rule("x", check.name, check.statistics).name
                expected[label] = expected.get(label, 0) + rows
        assert found == expected
    assert compiled or name in ("category", "zoned")


@pytest.mark.parametrize("name", COLUMNS)
def test_nulls_and_uniqueness_are_counted_as_pandera_counts_them(name: str) -> None:
    frame = COLUMNS[name].alias("x").to_frame()
    for column, rule in ((pa.Column(None), "not_nullable"), (pa.Column(None, nullable=True, unique=True), "unique")):
        report = validate(table_of(frame), pa.DataFrameSchema({"x": column}))
        found = {finding.rule: finding.failed for finding in report.findings}
        assert (next(iter(found.values())) if found else None) == by_pandera(column, frame), rule
        assert all(finding.by == "compiled" for finding in report.findings)


TABLE = pl.DataFrame(
    {"id": [1, 2, 2, 4], "low": [1.0, 5.0, None, 2.0], "high": [2.0, 4.0, 1.0, 3.0], "s": list("abca")}
)


def checked(column: str, *checks: pa.Check, table: pl.DataFrame = TABLE, **settings: Any) -> Report:
    schema = pa.DataFrameSchema({column: pa.Column(None, list(checks), nullable=True)}, **settings)
    return validate(table_of(table), schema)


def test_rules_about_a_whole_column_or_table_agree_with_pandera() -> None:
    old = dt.datetime(2000, 1, 1)
    table = TABLE.with_columns(old=pl.lit(old), new=pl.lit(dt.datetime.now()))
    cases = [
        ("low", ready.mean_between(2, 3), True), ("low", ready.mean_between(3, 4), False),
        ("low", ready.quantile_between(0.5, 2, 2), True), ("low", ready.quantile_between(0.5, 3, 9), False),
        ("low", ready.null_fraction_at_most(0.25), True), ("low", ready.null_fraction_at_most(0.2), False),
        ("s", ready.value_fraction_between("a", 0.5, 0.5), True),
        ("s", ready.value_fraction_between("a", 0, 0.4), False),
        ("s", ready.token_fraction_between("c", 0.2, 0.3), True),
        ("s", ready.token_fraction_between("c", 0.3, 1), False),
        ("s", ready.out_of_vocabulary_at_most(["a", "b"], 0.25), True),
        ("s", ready.out_of_vocabulary_at_most(["a"], 0.25), False),
        ("new", ready.fresh_within(dt.timedelta(days=2)), True),
        ("old", ready.fresh_within(dt.timedelta(days=2)), False),
    ]  # fmt: skip
    for column, check, accepted in cases:
        report = checked(column, check, table=table)
        assert report.accepted is accepted, check.name
        assert not report.fallbacks
        assert (by_pandera(pa.Column(None, check, nullable=True), table.select(x=column)) is None) is accepted


def test_rules_across_columns_name_the_rows() -> None:
    schema = pa.DataFrameSchema(
        {"id": pa.Column(int, unique=True), "low": pa.Column(float, nullable=True), "high": pa.Column(float)},
        checks=[ready.columns_compare("low", "<=", "high"), ready.row_count_between(5, 9)],
        unique=["id", "s"],
    )
    report = validate(table_of(TABLE), schema)
    assert [(item.code, item.failed, item.sentence) for item in report.findings] == [
        ("row_count", 4, "4 rows, expected 5 to 9"),
        ("duplicates", 2, "id: 2 of 4 rows not unique"),
        ("row_rule", 1, "1 of 4 rows not low <= high"),
    ]
    assert report.failing_rows.rows() == [
        (2, "not low <= high; id: not unique", "2", "5.0", "4.0", "b"),
        (3, "id: not unique", "2", None, "1.0", "c"),
    ]


def test_duplicate_rows_are_counted_without_the_first() -> None:
    schema = pa.DataFrameSchema({}, checks=[ready.no_duplicate_rows(warn=False)])
    report = validate(table_of(pl.DataFrame({"a": [1, 1, 1, 2], "b": [None, None, None, "x"]})), schema)
    assert [item.failed for item in report.findings] == [2]
    assert report.failing_rows["row"].to_list() == [2, 3]


def test_a_python_check_falls_back_and_the_report_says_so() -> None:
    def odd(given: pa.PolarsData) -> pl.LazyFrame:
        return given.lazyframe.select(pl.col(given.key) % 2 == 1)

    def broken(given: pa.PolarsData) -> pl.LazyFrame:
        raise RuntimeError("s3cret")

    report = checked("id", pa.Check(odd), pa.Check(broken), pa.Check.ge(2))
    assert {item.rule: item.why for item in report.fallbacks} == dict.fromkeys(
        ("odd", "broken"), "it is a Python function"
    )
    assert {item.rule: (item.failed, item.by) for item in report.findings} == {
        "broken": (4, "pandera"),
        "odd": (3, "pandera"),
        "greater_than_or_equal_to(2)": (1, "compiled"),
    }
    assert "s3cret" not in str(report.findings)
    assert report.failing_rows["row"].to_list() == [1, 2, 3, 4]


def test_shape_environments_and_tiers() -> None:
    label = pa.Column(int, metadata={"secure_ml": {"environments": ("training",)}})
    schema = pa.DataFrameSchema(
        {
            "id": pa.Column(int, pa.Check.ge(2, raise_warning=True)),
            "label": label,
            "maybe": pa.Column(int, required=False),
        },
        strict=True,
        ordered=True,
    )
    table = table_of(pl.DataFrame({"label": [0, 1], "id": [1, 2]}))
    assert [item.sentence for item in validate(table, schema).findings] == [
        "label: column is out of order",
        "id: 1 of 2 rows below 2",
    ]
    serving = validate(table, schema, environment="serving")
    assert [(item.code, item.sentence, item.tier) for item in serving.findings] == [
        ("new_column", "label: column must be absent in serving", "block"),
        ("out_of_range", "id: 1 of 2 rows below 2", "warn"),
    ]
    without = table_of(pl.DataFrame({"id": [2], "extra": [1]}))
    assert [item.sentence for item in validate(without, schema, environment="training").findings] == [
        "label: column is missing",
        "'extra': column is not in the contract",
    ]
    assert validate(table_of(pl.DataFrame({"id": [2]})), schema, environment="serving").accepted


def test_patterns_over_column_names_and_coercion() -> None:
    schema = pa.DataFrameSchema(
        {"^v_.+$": pa.Column(pl.Int64, pa.Check.ge(0), regex=True, coerce=True), "f": pa.Column(float, coerce=True)}
    )
    table = pl.DataFrame({"v_1": [1, -1], "v_2": ["3", "-4"], "f": pl.Series([1, 2], dtype=pl.Int32)})
    report = validate(table_of(table), schema)
    assert {(item.column, item.failed) for item in report.findings} == {("v_1", 1), ("v_2", 1)}
    assert [(item.column, item.why) for item in report.fallbacks] == [("v_2", "it is coerced from String to Int64")]
    wrong = validate(table_of(table.with_columns(v_2=pl.lit("x"))), schema)
    assert ("v_2", "wrong_type") in {(item.column, item.code) for item in wrong.findings}


def test_only_the_first_thousand_failing_rows_are_fetched_and_their_cells_are_cut() -> None:
    table = pl.DataFrame({"s": ["x" * 5000] * 3000})
    report = checked("s", pa.Check.str_length(max_value=1), table=table)
    assert report.findings[0].failed == 3000
    assert report.failing_rows["row"].to_list() == list(range(1, 1001))
    assert report.failing_rows["cell_s"].str.len_chars().max() == 1000


@pytest.mark.parametrize("kind", ["parquet", "csv", "json", "arrow"])
def test_a_file_says_the_same_in_each_format(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "no_telling_name"
    write = {"parquet": TABLE.write_parquet, "csv": TABLE.write_csv, "json": TABLE.write_ndjson}
    write.get(kind, TABLE.write_ipc)(path)
    schema = pa.DataFrameSchema(
        {
            "id": pa.Column(pl.Int64, unique=True),
            "low": pa.Column(pl.Float64, pa.Check.le(4), nullable=True),
            "high": pa.Column(pl.Float64),
            "s": pa.Column(pl.String, pa.Check.isin(["a", "b"])),
        },
        strict=True,
    )
    report = validate(open_table(path), schema)
    assert [item.sentence for item in report.findings] == [
        "id: 2 of 4 rows not unique",
        "low: 1 of 4 rows above 4",
        "s: 1 of 4 rows outside the 2 allowed values",
    ]
    assert report.failing_rows["row"].to_list() == [2, 3]
    assert not report.fallbacks


def test_a_contract_of_a_model_adds_two_rules_as_data() -> None:
    schema = pa.DataFrameSchema({"x": pa.Column(pl.Float64), "y": pa.Column(pl.Float64)}, name="m")
    of_model = replace(Contract.of_schema(schema), of_batch=True, finite=("x",))
    table = table_of(pl.DataFrame({"x": [1.0, INF], "y": [INF, 1.0]}))
    assert validate(table, schema).findings == ()
    assert [(item.column, item.rule, item.failed) for item in validate(table, of_model).findings] == [
        ("x", "finite", 1)
    ]
    wide = table_of(pl.DataFrame({"x": [1.0], "y": [1.0], "z": [1.0]}))
    assert validate(wide, schema).findings == ()
    assert [item.code for item in validate(wide, of_model).findings] == ["new_column"]
    assert validate(table, schema).frame is None
    frame = validate(table, of_model).frame
    assert frame is not None
    assert frame.columns == ["x", "y"]
    assert Contract.of_model(heart_disease).finite == heart_disease.features
