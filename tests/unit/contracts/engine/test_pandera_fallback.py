"""What cannot be compiled is run by pandera over the columns that it needs, as far as they fit into memory."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd
import pandera.pandas as of_pandas
import pandera.polars as pa
import polars as pl
import pytest

from secure_ml.cli import main
from secure_ml.contracts.validate import validate
from secure_ml.errors import PreconditionError
from secure_ml.tables import data_files
from secure_ml.tables.data_files import open_table, table_of
from secure_ml.tables.opened_table import Limits

OWN = pa.Check(lambda data: data.lazyframe.select(pl.col(data.key) != "c"), name="mine")


def test_a_fallback_that_does_not_fit_into_memory_is_refused_before_it_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pl.DataFrame({"s": ["s3cret" * 100_000] * 20, "n": [1] * 20})
    schema = pa.DataFrameSchema({"s": pa.Column(pl.String, OWN), "n": pa.Column(pl.Int64, pa.Check.ge(0))})
    assert validate(table_of(table), schema).accepted
    limits = Limits(frame_bytes=4 << 20)
    with pytest.raises(
        PreconditionError, match=r"^s: a rule that is not compiled would read 11 MiB into memory, at most 4"
    ):
        validate(table_of(table, limits=limits), schema)
    monkeypatch.setattr(data_files, "open_table", partial(open_table, limits=limits))
    table.write_parquet(tmp_path / "table.parquet")
    (tmp_path / "contract.py").write_text(
        "import pandera.polars as pa\n"
        "import polars as pl\n"
        "own = pa.Check(lambda data: data.lazyframe.select(pl.col(data.key) != 'c'))\n"
        "schema = pa.DataFrameSchema({'s': pa.Column(pl.String, own)})\n"
    )
    assert main(["validate", str(tmp_path / "contract.py"), str(tmp_path / "table.parquet")]) == 2
    out, err = capsys.readouterr()
    assert "write it as a rule that compiles" in err
    assert "s3cret" not in out + err


def test_only_the_columns_of_the_rule_count() -> None:
    table = pl.DataFrame({"s": ["a", "c"], "large": ["x" * 5_000_000] * 2})
    schema = pa.DataFrameSchema({"s": pa.Column(pl.String, OWN), "large": pa.Column(pl.String)})
    (finding,) = validate(table_of(table, limits=Limits(frame_bytes=1 << 20)), schema).findings
    assert finding.sentence == "s: 1 of 2 rows do not satisfy mine"


def test_the_python_checks_of_a_pandas_schema_get_pandas() -> None:
    seen: list[type] = []

    def odd(values: pd.Series) -> pd.Series:
        seen.append(type(values))
        return values % 2 == 1

    def rows(frame: pd.DataFrame) -> pd.Series:
        seen.append(type(frame))
        return frame["n"] > frame["m"]

    def breaks(values: pd.Series) -> bool:
        raise ValueError("s3cret")

    schema = of_pandas.DataFrameSchema(
        {
            "n": of_pandas.Column("int64", [of_pandas.Check(odd, name="odd"), of_pandas.Check(breaks, name="breaks")]),
            "m": of_pandas.Column("int64", of_pandas.Check(lambda value: value < 9, element_wise=True, name="small")),
        },
        checks=of_pandas.Check(rows, name="rows"),
    )
    report = validate(table_of(pl.DataFrame({"n": [1, 2, 3, 4], "m": [0, 1, 5, 9]})), schema)
    assert {finding.sentence: finding.first_rows for finding in report.findings} == {
        "n: 4 of 4 rows were not looked at: the rule could not be run (ValueError); mend the contract": (),
        "n: 2 of 4 rows do not satisfy odd": (2, 4),
        "2 of 4 rows do not satisfy rows": (3, 4),
        "m: 1 of 4 rows do not satisfy small": (4,),
    }
    assert set(seen) == {pd.Series, pd.DataFrame}
    assert len(report.fallbacks) == 4


@pytest.mark.parametrize("default", [5, -5])
def test_a_rule_sees_the_default_where_a_cell_is_missing(default: int) -> None:
    own = pa.Check(lambda data: data.lazyframe.select(pl.col(data.key) > 0), name="mine")
    column = pa.Column(pl.Int64, [pa.Check.ge(0), own], default=default)
    report = validate(table_of(pl.DataFrame({"n": [1, None, 3]})), pa.DataFrameSchema({"n": column}))
    assert [fallback.rule for fallback in report.fallbacks] == ["mine"]
    expected = [] if default > 0 else ["n: 1 of 3 rows below 0", "n: 1 of 3 rows do not satisfy mine"]
    assert sorted(finding.sentence for finding in report.findings) == expected
    assert {finding.code for finding in report.findings} <= {"out_of_range", "check"}


def test_a_default_of_another_type_is_left_to_pandera_with_the_real_rule_and_code() -> None:
    column = pa.Column(pl.Float64, pa.Check.ge(10), default=1, nullable=True)
    report = validate(table_of(pl.DataFrame({"n": [11.0, None, 3.0]})), pa.DataFrameSchema({"n": column}))
    assert {(finding.rule, finding.code) for finding in report.findings} == {
        ("greater_than_or_equal_to(10)", "out_of_range")
    }
    assert "coerced" not in report.findings[0].sentence
