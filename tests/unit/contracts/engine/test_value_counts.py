"""Text columns with few different values: counted by value, with the verdict that counting by row gives."""

from __future__ import annotations

from pathlib import Path

import pandera.polars as pa
import polars as pl
import pytest

from secure_ml.contracts.engine import aggregate_pass, value_counts
from secure_ml.contracts.findings import Report
from secure_ml.contracts.validate import validate
from secure_ml.tables.data_files import open_table
from secure_ml.tables.opened_table import Limits

ROWS = 60_000
VALUES = ["new", "paid", "", "Zürich", "e\u0301", "XX", None]
C = pa.Check
SCHEMA = pa.DataFrameSchema(
    {
        "few": pa.Column(
            pl.String,
            [
                C.isin(["new", "paid", ""]),
                C.notin(["XX"]),
                C.str_matches(r"[a-z]+"),
                C.str_contains("a"),
                C.str_startswith("n"),
                C.str_endswith("d"),
                C.str_length(1, 4),
                C.unique_values_eq(["new", "paid"]),
                C.isin(["new"], ignore_na=False, raise_warning=True),
            ],
            nullable=True,
        ),
        "many": pa.Column(pl.String, C.str_startswith("1"), nullable=False),
    }
)


def write(path: Path, few: list[str | None]) -> Path:
    pl.DataFrame({"few": few, "many": [str(row) for row in range(len(few))]}).write_parquet(path, row_group_size=20_000)
    return path


def seen(report: Report) -> dict[str, int]:
    assert report.fallbacks == ()
    return {f"{finding.column} {finding.rule} {finding.tier}": finding.failed for finding in report.findings}


@pytest.fixture
def by_value(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which columns were counted by value."""
    asked: list[str] = []
    real = value_counts.count_few_values

    def spy(*given: object) -> dict[str, dict[str | None, int]]:
        found = real(*given)  # type: ignore[arg-type]
        asked.extend(found)
        return found

    monkeypatch.setattr(aggregate_pass, "count_few_values", spy)
    return asked


def test_the_verdict_by_value_is_the_verdict_by_row(tmp_path: Path, by_value: list[str]) -> None:
    path = write(tmp_path / "t.parquet", [VALUES[row % len(VALUES)] for row in range(ROWS)])
    found = seen(validate(open_table(path), SCHEMA))
    assert by_value == ["few"]
    assert seen(validate(open_table(path, limits=Limits(distinct_values=0)), SCHEMA)) == found
    assert by_value == ["few"], "the second time, rows were counted"
    assert found["few str_startswith(n) block"] == 42_857
    assert found["few notin(['XX']) block"] == 8_571
    assert found["few isin(['new']) warn"] == 51_428, "where nulls are not ignored, they fail"
    assert len(found) == 10


def test_rows_that_the_first_ones_say_nothing_of_are_counted_too(tmp_path: Path, by_value: list[str]) -> None:
    few: list[str | None] = ["new"] * 50_000 + [f"later {row}" for row in range(10_000)]
    found = seen(validate(open_table(write(tmp_path / "t.parquet", few)), SCHEMA))
    assert by_value == ["few"]
    assert found["few str_startswith(n) block"] == 10_000


def test_where_the_later_values_take_too_much_memory_rows_are_counted(tmp_path: Path, by_value: list[str]) -> None:
    few: list[str | None] = ["new"] * 50_000 + [f"later {row:0300}" for row in range(200_000)]
    path = write(tmp_path / "t.parquet", few)
    found = seen(validate(open_table(path, limits=Limits(memory="60MB")), SCHEMA))
    assert by_value == [], "the pass over the values ran out of memory"
    assert found["few str_startswith(n) block"] == 200_000


def test_a_column_of_nulls_is_counted_by_value_and_a_small_table_by_row(tmp_path: Path, by_value: list[str]) -> None:
    nothing: list[str | None] = [None] * ROWS
    schema = pa.DataFrameSchema(
        {"few": pa.Column(pl.String, C.isin(["new"]), nullable=True), "many": pa.Column(pl.String)}
    )
    frame = pl.DataFrame({"few": pl.Series(nothing, dtype=pl.String), "many": ["x"] * ROWS})
    frame.write_parquet(tmp_path / "nulls.parquet")
    assert seen(validate(open_table(tmp_path / "nulls.parquet"), schema)) == {}
    assert by_value == ["few"]
    small = seen(validate(open_table(write(tmp_path / "small.parquet", ["new", "odd"])), schema))
    assert list(small.values()) == [1]
    assert by_value == ["few"], "a small table is counted by row"
