"""An opened table carries what the engine does not know, and any ibis table can become one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ibis
import pandera.polars as pa
import polars as pl

from secure_ml.contracts.validate import validate
from secure_ml.tables.data_files import open_table
from secure_ml.tables.opened_table import DEFAULT_LIMITS, Limits, OpenedTable

SCHEMA = pa.DataFrameSchema({"x": pa.Column(pl.Int64, pa.Check.ge(0))})


def test_two_tables_of_one_engine_keep_their_own_limits() -> None:
    engine = ibis.duckdb.connect()
    engine.con.register("x", pl.DataFrame({"x": [1, -1, -2]}).to_arrow())
    table = engine.table("x")
    wide = OpenedTable.from_table(table)
    narrow = replace(OpenedTable.from_table(table), source="narrow", limits=Limits(failing_cells=1))
    assert wide.limits == DEFAULT_LIMITS
    assert [validate(opened, SCHEMA).failing_rows.height for opened in (wide, narrow)] == [2, 1]
    assert validate(narrow, SCHEMA).findings == validate(wide, SCHEMA).findings == validate(table, SCHEMA).findings


def test_a_text_file_is_typed_by_the_contract_and_keeps_its_source(tmp_path: Path) -> None:
    (tmp_path / "batch.csv").write_text("x\n1\nno\n")
    opened = open_table(tmp_path / "batch.csv")
    assert (opened.source, opened.is_text, opened.columns) == ("batch.csv", True, ("x",))
    assert [finding.code for finding in validate(opened, SCHEMA).findings] == ["wrong_type"]
    # The same cells in an untyped ibis table are text by declaration, so the whole column has the wrong type.
    (finding,) = validate(opened.table, SCHEMA).findings
    assert (finding.code, finding.failed) == ("wrong_type", 2)


def test_an_opened_table_is_not_opened_again(tmp_path: Path) -> None:
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "table.parquet")
    opened = open_table(tmp_path / "table.parquet")
    assert OpenedTable.from_table(opened) is opened
