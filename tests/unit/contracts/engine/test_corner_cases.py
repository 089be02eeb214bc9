"""Names, types and settings of a contract that once gave another verdict than pandera's Polars backend, or none."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandera.pandas as pandas
import pandera.polars as pa
import polars as pl
import pyarrow
import pyarrow.parquet
import pytest
from pandera.config import ValidationDepth, config_context

from secure_ml.contracts import checks as ready
from secure_ml.contracts.validate import validate
from secure_ml.errors import MalformedError, PreconditionError
from secure_ml.tables.data_files import open_table, table_of
from tests.pandera_oracle import by_pandera, of_findings

INT = pl.Int64
STRICT_ORDER = ready.columns_compare("a", "<", "b")
STRICT_ORDER.ignore_na = False
TWICE = pa.Check.in_range(0, 1)
CATEGORY = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
DAY = dt.timedelta(days=1)


def schema(
    *checks: pa.Check, dtype: Any = INT, name: str = "a", unique: bool = False, **rest: Any
) -> pa.DataFrameSchema:
    column = pa.Column(dtype, list(checks), unique=unique, nullable=rest.pop("nullable", False))
    return pa.DataFrameSchema({name: column}, **rest)


def times(*values: int, unit: Any = "us", zone: str | None = None) -> pl.Series:
    return pl.Series("a", values, dtype=INT).cast(pl.Datetime(unit, zone))


CASES: dict[str, tuple[pa.DataFrameSchema, pl.DataFrame]] = {
    "a column named as the engine's own count": (
        schema(name="n_of_key", unique=True),
        pl.DataFrame({"n_of_key": [1, 1, 2]}),
    ),
    "columns named as ours but for the case": (
        pa.DataFrameSchema(
            {
                "T0_row": pa.Column(INT, pa.Check.ge(2)),
                "T0_f0": pa.Column(INT, pa.Check.ge(2)),
                "T0_k0": pa.Column(INT, unique=True),
                "a": pa.Column(INT, pa.Check.ge(2), default=5, nullable=True),
            }
        ),
        pl.DataFrame({"T0_row": [1, 1, 2], "T0_f0": [1, 1, 1], "T0_k0": [1, 1, 2], "a": [3, 1, 1]}),
    ),
    "a comparison that a missing cell fails": (
        pa.DataFrameSchema({"a": pa.Column(INT, nullable=True), "b": pa.Column(INT)}, checks=STRICT_ORDER),
        pl.DataFrame({"a": [None, 2, 11], "b": [9, 10, 10]}),
    ),
    "nanoseconds against microseconds": (
        schema(
            pa.Check.gt(dt.datetime(1970, 1, 1, 0, 0, 0, 1)),
            pa.Check.ge(dt.datetime(1600, 1, 1)),
            dtype=pl.Datetime("ns"),
        ),
        pl.DataFrame({"a": times(1, 1001, 2000, -1, unit="ns")}),
    ),
    "nanoseconds with a zone": (
        schema(
            pa.Check.ge(dt.datetime(1970, 1, 1, tzinfo=dt.UTC)),
            ready.fresh_within(DAY),
            dtype=pl.Datetime("ns", "UTC"),
            unique=True,
        ),
        pl.DataFrame({"a": times(1, 1, -1, unit="ns", zone="UTC")}),
    ),
    "a time of the year 150000": (
        schema(ready.fresh_within(DAY), dtype=pl.Datetime("us")),
        pl.DataFrame({"a": times(2**62)}),
    ),
    "durations": (
        schema(pa.Check.ge(dt.timedelta(2)), dtype=pl.Duration("ms"), unique=True),
        pl.DataFrame({"a": pl.Series([1, 1, 3 * 86_400_000], dtype=INT).cast(pl.Duration("ms"))}),
    ),
    "milliseconds against a microsecond": (
        schema(pa.Check.ge(dt.datetime(1970, 1, 1, 0, 0, 0, 1)), dtype=pl.Datetime("ms")),
        pl.DataFrame({"a": times(0, 1, unit="ms")}),
    ),
    "a figure with more digits than the decimals": (
        schema(pa.Check.gt(Decimal("0.005")), pa.Check.isin([Decimal("0.014")]), dtype=pl.Decimal(10, 2)),
        pl.DataFrame({"a": pl.Series(["0.00", "0.01", "0.02"]).cast(pl.Decimal(10, 2))}),
    ),
    "a figure of 38 digits": (
        schema(pa.Check.lt(10**36 - 1), dtype=pl.Decimal(38, 2)),
        pl.DataFrame({"a": pl.Series([f"{10**36 - 1}.00", "0.01"]).cast(pl.Decimal(38, 2))}),
    ),
    "lists of anything": (
        schema(dtype=pl.List, unique=True),
        pl.DataFrame({"a": [[1], [1], [2]]}),
    ),
    "a share of nulls a little above the bound": (
        schema(ready.null_fraction_at_most(0.1), nullable=True),
        pl.DataFrame({"a": [None] * 21 + [1] * 179}),
    ),
    "shares of no values": (
        schema(
            ready.value_fraction_between("x", 0, 1),
            ready.out_of_vocabulary_at_most(["x"], 1),
            ready.token_fraction_between("x", 0, 1),
            ready.null_fraction_at_most(1),
            dtype=pl.String,
            nullable=True,
        ),
        pl.DataFrame({"a": pl.Series([None, None], dtype=pl.String)}),
    ),
    "a value more than was expected": (schema(pa.Check.unique_values_eq([1, 2])), pl.DataFrame({"a": [1, 2, 3]})),
    "a missing cell beside what was expected": (
        schema(pa.Check.unique_values_eq([1, 2]), nullable=True),
        pl.DataFrame({"a": [1, 2, None]}),
    ),
    "as many different values as the bound says": (
        schema(ready.distinct_at_least(2), ready.distinct_at_most(2), nullable=True),
        pl.DataFrame({"a": [1, 2, 2, None]}),
    ),
    "a column that a filter leaves out": (
        schema(ready.distinct_at_least(2), strict="filter"),
        pl.DataFrame({"a": [1, 1], "b": [1, 2]}),
    ),
    "figures of single precision": (
        schema(
            ready.mean_between(0.1, 0.1), ready.quantile_between(0.5, 0.1, 0.1), pa.Check.ge(1e39), dtype=pl.Float32
        ),
        pl.DataFrame({"a": pl.Series([0.1, 0.1], dtype=pl.Float32)}),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_verdict_is_panderas(case: str, tmp_path: Path) -> None:
    contract, frame = CASES[case]
    path = tmp_path / "table.parquet"
    frame.write_parquet(path)
    expected, cannot = by_pandera(contract, frame)
    assert not cannot
    assert of_findings(validate(open_table(path), contract).findings) == expected


def test_a_check_that_stands_twice_is_said_twice() -> None:
    findings = validate(table_of(pl.DataFrame({"a": [1, 5, -2]})), schema(TWICE, TWICE)).findings
    assert [finding.sentence for finding in findings] == ["a: 1 of 3 rows below 0", "a: 1 of 3 rows above 1"] * 2


def test_a_rule_of_the_table_sees_columns_as_they_are_coerced() -> None:
    columns = {"a": pa.Column(INT, coerce=True), "b": pa.Column(INT, coerce=True)}
    frame = pl.DataFrame({"a": ["10", "010", "2"], "b": ["9", "9", "10"]})
    together = validate(table_of(frame), pa.DataFrameSchema(columns, unique=["a", "b"]))
    assert [(finding.rule[:26], finding.failed) for finding in together.findings] == [("multiple_fields_uniqueness", 2)]
    checks = [ready.columns_compare("a", "<", "b"), ready.no_duplicate_rows(warn=False)]
    report = validate(table_of(frame), pa.DataFrameSchema(columns, checks=checks))
    assert [(finding.code, finding.failed) for finding in report.findings] == [("row_rule", 2), ("duplicates", 1)]
    assert report.failing_rows["row"].to_list() == [1, 2]


def test_a_rule_of_a_coerced_column_keeps_its_name_its_tier_and_its_reason() -> None:
    checks = [pa.Check.ge(2, raise_warning=True), pa.Check.isin([1, 5]), pa.Check.le(3)]
    contract = pa.DataFrameSchema({"^a$": pa.Column(INT, checks, coerce=True, unique=True, regex=True)})
    found = validate(table_of(pl.DataFrame({"a": ["1", "1", "7"]})), contract).findings
    assert [
        (finding.column, finding.rule.split("(")[0], finding.failed, finding.tier, finding.code) for finding in found
    ] == [
        ("a", "field_uniqueness", 2, "block", "duplicates"),
        ("a", "isin", 1, "block", "unexpected_value"),
        ("a", "less_than_or_equal_to", 1, "block", "out_of_range"),
        ("a", "greater_than_or_equal_to", 2, "warn", "out_of_range"),
    ]


def test_patterns_over_names_match_what_polars_matches_and_may_overlap() -> None:
    frame = pl.DataFrame({"ab": [1, 5, -2], "axx": [0, 0, 0]})
    either = pa.DataFrameSchema({"^a|b$": pa.Column(INT, pa.Check.ge(2), regex=True)})
    assert [finding.column for finding in validate(table_of(frame), either).findings] == ["axx", "ab"]
    patterns = {"^a.*$": pa.Column(INT, regex=True), "^.*b$": pa.Column(pl.Float64, regex=True)}
    both = validate(table_of(frame), pa.DataFrameSchema(patterns, ordered=True))
    assert [finding.sentence for finding in both.findings] == ["ab: column is of type Int64, expected Float64"]


@pytest.mark.parametrize(("claimed", "dtype"), [(pyarrow.string(), pl.String), (CATEGORY, pl.Categorical)])
def test_a_parquet_file_that_calls_bytes_text_is_refused(claimed: Any, dtype: Any, tmp_path: Path) -> None:
    path = claim(tmp_path, pyarrow.array([b"s3cret", b"\xff"]), claimed)
    assert pl.read_parquet_schema(path)["a"] == dtype
    with pytest.raises(MalformedError, match="table: a: cannot be read as its type"):
        validate(open_table(path), schema(dtype=dtype))


def test_a_parquet_file_that_tells_engines_of_different_types_is_judged_as_polars_reads_it(tmp_path: Path) -> None:
    path = claim(tmp_path, pyarrow.array([1, -5]), pyarrow.timestamp("us"))
    report = validate(open_table(path), schema(pa.Check.ge(dt.datetime(1970, 1, 1)), dtype=pl.Datetime("us")))
    assert [(finding.code, finding.failed, finding.by) for finding in report.findings] == [
        ("out_of_range", 1, "pandera")
    ]


def claim(folder: Path, cells: Any, claimed: Any) -> Path:
    """Write cells of one type into a Parquet file whose Arrow schema says another."""
    path = folder / "table"
    pyarrow.parquet.write_table(pyarrow.table({"a": pyarrow.array([], claimed)}), path)
    said = pyarrow.parquet.read_metadata(path).metadata
    table = pyarrow.table({"a": cells})
    with pyarrow.parquet.ParquetWriter(path, table.schema, store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({b"ARROW:schema": said[b"ARROW:schema"]})
    return path


@pytest.mark.parametrize(
    ("dtype", "good", "bad"),
    [
        (pl.Enum(["x", "y"]), ["x", "y"], ["z", "X"]),
        (INT, ["9007199254740993", "3.0", "-3e2", "9007199254740991.0"], ["9007199254740993.0", "1e18", "1.5"]),
        (pl.Datetime("us"), ["2026-02-28T23:59", "2026-02-28"], ["2026-02-28T24:00", "2026-02-28T23:59:60"]),
        (pl.Datetime("us", "UTC"), ["2026-02-28T12:00+0530", "2026-02-28T12:00Z"], ["2026-02-28T12:00+99:99"]),
    ],
)
def test_text_that_the_engine_would_take_for_another_value_is_of_the_wrong_type(
    dtype: Any, good: list[str], bad: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["a,b", *(f"{cell},1" for cell in good + bad), ""]))
    (finding,) = validate(open_table(path), schema(dtype=dtype)).findings
    assert (finding.code, finding.failed) == ("wrong_type", len(bad))


@pytest.mark.parametrize("dtype", [pl.Int128, pl.UInt128, pl.Float16, pl.Duration, pl.List(INT)])
def test_a_type_for_which_no_text_stands_is_refused(dtype: Any, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(PreconditionError, match="contract of a: no text stands for type"):
        validate(open_table(path), schema(dtype=dtype))


def test_an_enumeration_of_text_has_the_order_of_its_categories(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b\nlow,1\nhigh,1\n")
    (finding,) = validate(open_table(path), schema(pa.Check.le("low"), dtype=pl.Enum(["low", "high"]))).findings
    assert (finding.code, finding.failed) == ("out_of_range", 1)


def test_the_categories_of_a_file_are_not_said(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    pl.DataFrame({"a": pl.Series(["s3cret"], dtype=pl.Enum(["s3cret"]))}).write_parquet(path)
    report = validate(open_table(path), schema(pa.Check.eq("x"), ready.mean_between(0, 1), dtype=pl.Enum(["x"])))
    assert "wrong_type" in [finding.code for finding in report.findings]
    assert "s3cret" not in str(report.findings) + str(report.fallbacks)


@pytest.mark.parametrize(("least", "accepted"), [(0, True), (5, False)])
def test_a_pandas_check_of_groups_gets_the_column_that_makes_them(least: int, accepted: bool) -> None:
    def mean_is_above(groups: Any) -> bool:
        return bool(groups["u"].mean() > least)

    columns = {
        "a": pandas.Column("Int64", pandas.Check(mean_is_above, groupby="g"), nullable=True),
        "g": pandas.Column(str),
    }
    frame = pl.DataFrame({"a": [1, None, 3], "g": ["u", "u", "v"]})
    report = validate(table_of(frame), pandas.DataFrameSchema(columns))
    assert report.accepted is accepted
    assert "could not be run" not in str(report.findings)


def test_rows_that_only_warn_are_not_kept_for_the_quarantine() -> None:
    checks = [pa.Check(lambda data: data.lazyframe.select(pl.col(data.key) > 5), raise_warning=True)]
    report = validate(table_of(pl.DataFrame({"a": [1]})), schema(*checks, pa.Check.ge(5, raise_warning=True)))
    assert [(finding.tier, finding.failed) for finding in report.findings] == [("warn", 1), ("warn", 1)]
    assert report.failing_rows.height == 0


def test_pandera_that_is_switched_off_judges_all_the_same() -> None:
    check = pa.Check(lambda data: data.lazyframe.select(pl.col(data.key) > 5))
    contract = pa.DataFrameSchema({"a": pa.Column(INT, check), "b": pa.Column(INT, pa.Check.ge(5), coerce=True)})
    frame = pl.DataFrame({"a": [1], "b": ["1"]})
    for settings in ({"validation_enabled": False}, {"validation_depth": ValidationDepth.SCHEMA_ONLY}):
        with config_context(**settings):
            contract.validate(frame.with_columns(pl.col("b").cast(INT)))  # the attack
            assert [finding.column for finding in validate(table_of(frame), contract).findings] == ["a", "b"]


@pytest.mark.parametrize("of", [pa, pandas])
def test_a_schema_of_a_type_alone_is_about_every_column(of: Any) -> None:
    frame = pl.DataFrame({"a": [1, None], "b\n": ["x", "y"], "c": [1, 2]})
    findings = validate(table_of(frame), of.DataFrameSchema(dtype="int64" if of is pandas else INT)).findings
    assert sorted((str(finding.column), finding.code) for finding in findings) == [
        ("a", "missing_values"),
        ("b\n", "wrong_type"),
    ]


@pytest.mark.parametrize("regex", [False, True])
def test_a_column_keeps_its_own_tier_where_the_schema_only_warns(regex: bool) -> None:
    blocks = {"secure_ml": {"tier": "block", "environments": ("training",)}}
    column = pa.Column(required=False, nullable=True, regex=regex, metadata=blocks)
    warns = pa.DataFrameSchema({"^a$" if regex else "a": column}, metadata={"secure_ml": {"tier": "warn"}})
    frame = pl.DataFrame({"a": [1]})
    assert not validate(table_of(frame), warns, environment="serving").accepted
    coerced = pa.Column(INT, coerce=True, regex=regex, metadata={"secure_ml": {"tier": "block"}})
    warns = pa.DataFrameSchema({"^a$" if regex else "a": coerced}, metadata={"secure_ml": {"tier": "warn"}})
    assert not validate(table_of(pl.DataFrame({"a": ["x"]})), warns).accepted


def test_a_time_of_day_is_never_fresh() -> None:
    report = validate(table_of(pl.DataFrame({"a": [dt.time(1)]})), schema(ready.fresh_within(DAY), dtype=pl.Time))
    assert [finding.sentence.partition(":")[2] for finding in report.findings] == [
        " 1 of 1 rows were not looked at: the rule could not be run (InvalidOperationError); mend the contract"
    ]
