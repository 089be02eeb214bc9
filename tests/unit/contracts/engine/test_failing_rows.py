"""The failing rows that go to the quarantine: the first of the file, in its order, however many threads read it."""

from __future__ import annotations

from pathlib import Path

import pandera.polars as pa
import polars as pl
import pytest

from secure_ml.contracts.engine.failing_rows import MAX_FAILING_ROWS
from secure_ml.contracts.validate import validate
from secure_ml.tables.data_files import open_table

ROWS = 400_000
SCHEMA = pa.DataFrameSchema({"x": pa.Column(pl.Int64, pa.Check.gt(0)), "s": pa.Column(pl.String)})


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_the_first_failing_rows_are_kept(tmp_path: Path, kind: str) -> None:
    frame = pl.DataFrame(
        {"x": [(row * 7919) % 101 for row in range(ROWS)], "s": [f"text {row}" for row in range(ROWS)]}
    )
    path = tmp_path / f"table.{kind}"
    if kind == "parquet":
        frame.write_parquet(path, row_group_size=10_000)
    else:
        frame.write_csv(path)
    failing = frame.with_row_index("row", offset=1).filter(pl.col("x") == 0)
    report = validate(open_table(path), SCHEMA)
    assert [finding.failed for finding in report.findings] == [failing.height]
    assert failing.height > MAX_FAILING_ROWS
    assert report.failing_rows is not None
    assert report.failing_rows["row"].to_list() == failing["row"].head(MAX_FAILING_ROWS).to_list()
    assert report.failing_rows["cell_s"].to_list() == failing["s"].head(MAX_FAILING_ROWS).to_list()
