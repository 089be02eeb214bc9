"""A contract over very many columns is run some columns at a time, and says what it says in one pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandera.polars as pa
import polars as pl
import pytest

from secure_ml.contracts import checks as ready
from secure_ml.contracts.findings import Report
from secure_ml.contracts.validate import validate
from secure_ml.profiles.document import Profile
from secure_ml.profiles.profiling import profile_table
from secure_ml.tables.data_files import open_table
from secure_ml.tables.opened_table import Limits
from secure_ml.tables.type_inference import infer_types


def small_contract() -> pa.DataFrameSchema:
    columns: dict[str, Any] = {
        "n0": pa.Column(pl.Int64, pa.Check.in_range(0, 3)),
        "n1": pa.Column(pl.Int64, [pa.Check.ge(0), ready.mean_between(0, 1)], nullable=True),
        "n2": pa.Column(pl.Int64, unique=True),
        "n3": pa.Column(pl.Float64, pa.Check(lambda data: data.lazyframe.select(pl.col(data.key) > 0)), nullable=True),
        "n4": pa.Column(pl.String, pa.Check.isin(["a", "b"]), metadata={"secure_ml": {"tier": "warn"}}),
        "n5": pa.Column(pl.String, unique=True, nullable=True),
        "n6": pa.Column(pl.Int64, pa.Check.lt(9), required=False),
    }
    checks = [
        ready.columns_compare("n0", "<=", "n2"),
        ready.row_count_between(100, 200),
        ready.no_duplicate_rows(),
    ]
    return pa.DataFrameSchema(columns, checks=checks, unique=["n0", "n4"])


ROWS = pl.DataFrame(
    {
        "n0": [1, 2, 7, -1, 1, 1],
        "n1": [1, None, 9, -4, 5, 1],
        "n2": [1, 2, 3, 4, 0, 1],
        "n3": [0.5, -1.0, None, 2.0, -3.0, 0.5],
        "n4": ["a", "b", "c", "a", "c", "a"],
        "n5": ["x", "y", "x", None, None, "x"],
        "extra": [1, 2, 3, 4, 5, 1],
    }
)


def said(report: Report) -> tuple[Any, ...]:
    reasons = report.failing_rows.with_columns(pl.col("reasons").str.split("; ").list.sort())
    return (
        sorted(map(str, report.findings)),
        sorted(map(str, report.fallbacks)),
        reasons.drop("reasons").rows(),
        reasons["reasons"].to_list(),
    )


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("at_once", [1, 3])
def test_some_columns_at_a_time_give_the_report_of_one_pass(kind: str, at_once: int, tmp_path: Path) -> None:
    path = tmp_path / "table"
    ROWS.write_csv(path) if kind == "csv" else ROWS.write_parquet(path)
    whole = validate(open_table(path), small_contract())
    assert len(whole.findings) > 9
    assert whole.failing_rows.height == 6
    narrow = open_table(path, limits=Limits(columns_at_once=at_once))
    assert said(validate(narrow, small_contract())) == said(whole)


def test_a_file_of_text_with_300_columns_is_held_against_all_of_them(tmp_path: Path) -> None:
    names = [f"c{index}" for index in range(300)]
    path = tmp_path / "wide.csv"
    row = ",".join("7" if index % 2 else "ab" for index in range(300))
    path.write_text(",".join(names) + "\n" + f"{row}\n" * 50 + row.replace("7", "s3cret", 1) + "\n")
    schema = pa.DataFrameSchema(
        {
            name: pa.Column(pl.Int64, pa.Check.in_range(0, 9))
            if index % 2
            else pa.Column(pl.String, pa.Check.isin(["ab"]))
            for index, name in enumerate(names)
        },
        strict=True,
    )
    report = validate(open_table(path), schema)
    assert [finding.sentence for finding in report.findings] == [
        "c1: 1 of 51 rows not whole numbers such as 1234 (Int64)"
    ]
    assert report.failing_rows["row"].to_list() == [51]
    assert report.failing_rows["cell_c1"].to_list() == ["s3cret"]


def test_fewer_failing_rows_are_kept_of_a_table_with_more_columns(
    tmp_path: Path,
) -> None:
    path = tmp_path / "table"
    pl.DataFrame({"a": range(100), "b": range(100)}).write_parquet(path)
    schema = pa.DataFrameSchema({"a": pa.Column(pl.Int64, pa.Check.lt(0))})
    assert validate(open_table(path), schema).failing_rows.height == 100
    few = open_table(path, limits=Limits(failing_cells=20))
    assert validate(few, schema).failing_rows["row"].to_list() == list(range(1, 11))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_types_and_profile_are_the_same_for_some_columns_at_a_time(tmp_path: Path, kind: str) -> None:
    rows = range(300)
    frame = pl.DataFrame(
        {
            "whole": list(rows),
            "part": [row / 7 for row in rows],
            "day": ["2026-01-31"] * 300,
            "said": [f"text {row % 5}" for row in rows],
            "zip": [f"0{row:04}" for row in rows],
            "true": ["true", "false", None] * 100,
            "nothing": pl.Series([None] * 300, dtype=pl.String),
        }
    )
    getattr(frame, f"write_{kind}")(tmp_path / "table")

    def seen(limits: Limits) -> tuple[object, Profile]:
        opened = infer_types(open_table(tmp_path / "table", limits=limits))
        return opened.dtypes, profile_table(opened, personal=["said"])

    assert seen(Limits(columns_at_once=3)) == seen(Limits())
