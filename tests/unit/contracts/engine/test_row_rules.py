"""A finding names the first rows that failed: by number, counted from 1 as the file holds them, and never by value."""

from __future__ import annotations

import json
from pathlib import Path

import pandera.polars as pa
import polars as pl
import pytest

from secure_ml.cli import main
from secure_ml.contracts import checks as ready
from secure_ml.contracts.ci_reports import render_sarif
from secure_ml.contracts.findings import Report
from secure_ml.contracts.validate import validate
from secure_ml.tables.data_files import open_table, table_of

TABLE = pl.DataFrame({"n": [1, 2, 50, 3, -7, 60], "s": ["a", "b", None, "a", "c", "b"]})


def first(report: Report) -> dict[str, tuple[int, ...]]:
    return {finding.sentence: finding.first_rows for finding in report.findings}


def test_each_way_to_fail_names_its_own_rows() -> None:
    checks = [pa.Check.in_range(0, 10), pa.Check.ne(3, raise_warning=True)]
    python = pa.Check(lambda data: data.lazyframe.select(pl.col(data.key) != "c"), name="mine")
    schema = pa.DataFrameSchema({"n": pa.Column(pl.Int64, checks), "s": pa.Column(pl.String, python, unique=True)})
    assert first(validate(table_of(TABLE), schema)) == {
        "n: 1 of 6 rows below 0": (5,),
        "n: 2 of 6 rows above 10": (3, 6),
        "n: 1 of 6 rows equal to 3": (4,),
        "s: 1 of 6 rows null": (3,),
        "s: 4 of 6 rows not unique": (1, 2, 4, 6),
        "s: 1 of 6 rows do not satisfy mine": (5,),
    }


def test_rules_of_a_whole_column_or_table_and_columns_that_are_missing_have_no_rows() -> None:
    schema = pa.DataFrameSchema(
        {"n": pa.Column(pl.Int64, ready.mean_between(100, 200)), "gone": pa.Column(pl.Int64)},
        checks=ready.row_count_between(50, 60),
    )
    found = first(validate(table_of(TABLE), schema))
    assert len(found) == 3
    assert set(found.values()) == {()}


def test_a_repetition_is_named_without_the_first() -> None:
    table = pl.DataFrame({"a": [1, 2, 1, 2, 2], "b": [1, 2, 1, 2, 3]})
    report = validate(table_of(table), pa.DataFrameSchema(checks=ready.no_duplicate_rows()))
    assert list(first(report).values()) == [(3, 4)]


def test_no_more_than_twenty_rows_are_named_and_they_are_the_first(tmp_path: Path) -> None:
    path = tmp_path / "table"
    rows = 300_000
    pl.DataFrame({"n": pl.int_range(rows, eager=True), "k": pl.int_range(rows, eager=True) // 2}).write_parquet(
        path, row_group_size=50_000
    )
    schema = pa.DataFrameSchema({"n": pa.Column(pl.Int64, pa.Check.lt(1000)), "k": pa.Column(pl.Int64, unique=True)})
    assert first(validate(open_table(path), schema)) == {
        f"n: {rows - 1000} of {rows} rows not below 1000": tuple(range(1001, 1021)),
        f"k: {rows} of {rows} rows not unique": tuple(range(1, 21)),
    }


def test_the_command_and_sarif_name_rows_and_no_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "table.csv").write_text('n,s\n1,"a\nb"\n\n7777,c\n2,d\n8888,e\n')
    (tmp_path / "contract.py").write_text(
        "import pandera.polars as pa\n"
        "schema = pa.DataFrameSchema({'n': pa.Column(int, pa.Check.le(10)), 's': pa.Column(str)})\n"
    )
    given = ["validate", str(tmp_path / "contract.py"), str(tmp_path / "table.csv")]
    assert main(given) == 1
    out, _ = capsys.readouterr()
    assert "block: n: 2 of 4 rows above 10 [out_of_range] first at row 2\n" in out
    assert main([*given, "--json", "--sarif", str(tmp_path / "found.sarif")]) == 1
    out, _ = capsys.readouterr()
    assert [finding["first_rows"] for finding in json.loads(out)["findings"]] == [[2, 4]]
    sarif = (tmp_path / "found.sarif").read_text()
    (result,) = json.loads(sarif)["runs"][0]["results"]
    assert result["properties"]["firstRows"] == [2, 4]
    assert "7777" not in out + sarif
    assert render_sarif(Report(0, (), None, TABLE.clear()), "m", "f")
