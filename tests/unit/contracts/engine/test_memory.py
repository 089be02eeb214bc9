"""A table that is several times larger than the engine's memory is held against its contract all the same."""

from __future__ import annotations

from pathlib import Path

import pandera.polars as pa
import polars as pl

from secure_ml.contracts.checks import mean_between
from secure_ml.contracts.validate import validate
from secure_ml.tables.data_files import open_table
from secure_ml.tables.opened_table import Limits

ROWS = 1_000_000
LIMITS = Limits(memory="32MB")
SCHEMA = pa.DataFrameSchema(
    {
        "id": pa.Column(pl.String, unique=True),
        "n": pa.Column(pl.Int64, [pa.Check.in_range(0, ROWS), mean_between(0, ROWS)]),
    }
)


def write(path: Path, again: int | None = None) -> Path:
    n, id_of = pl.int_range(ROWS), pl.int_range(ROWS)
    if again is not None:
        id_of = pl.when(n == ROWS - 1).then(again).otherwise(n)
    made = pl.select(id=pl.format("a rather long identifier of an order, {}", id_of), n=n)
    made.write_parquet(path, row_group_size=20_000)
    assert made.estimated_size() > 1.5 * 32_000_000
    return path


def test_a_table_larger_than_the_memory_passes_and_a_repeated_id_is_found(tmp_path: Path) -> None:
    table = open_table(write(tmp_path / "good"), limits=LIMITS)
    (limit,) = table.table.get_backend().con.execute("SELECT current_setting('memory_limit')").fetchall()
    assert limit == ("30.5 MiB",)
    assert validate(table, SCHEMA).accepted
    report = validate(open_table(write(tmp_path / "bad", again=7), limits=LIMITS), SCHEMA)
    assert {finding.sentence: finding.first_rows for finding in report.findings} == {
        f"id: 2 of {ROWS} rows not unique": (8, ROWS)
    }
