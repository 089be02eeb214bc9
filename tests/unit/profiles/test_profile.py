"""The profile of a table: its figures, its odd values, and its document."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pandera.polars as pandera
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secure_ml.contracts.engine.declared_profiles import profile_frame
from secure_ml.digests import canonical_json
from secure_ml.errors import MalformedError, PreconditionError
from secure_ml.profiles.document import ColumnProfile, Profile, parse, render
from secure_ml.profiles.profiling import profile_batches, profile_table
from secure_ml.tables.data_files import open_table


def profile_of(columns: dict[str, Any], **settings: Any) -> Profile:
    table = pa.table(columns)
    return profile_batches(table.schema, table.to_batches(), **settings)


def column_of(values: Any, **settings: Any) -> ColumnProfile:
    return profile_of({"x": values}, **settings).columns[0]


def test_a_small_column_of_numbers_has_exact_figures() -> None:
    column = column_of([3.0, 1.0, None, 0.0, 1.0])
    assert (column.kind, column.dtype, column.count, column.missing) == ("number", "double", 4, 1)
    assert (column.distinct, column.distinct_exact, column.approximate) == (3, True, ())
    assert (column.minimum, column.maximum, column.mean) == (0.0, 3.0, 1.25)
    assert column.std == pytest.approx(np.std([3, 1, 0, 1], ddof=1))
    assert column.missing_fraction == 0.2
    assert column.zero_fraction == 0.25
    assert column.top[0] == (1.0, 2)
    assert dict(column.quantiles)[0.5] == 1.0
    assert sum(count for _, _, count in column.histogram) == 4


def test_profile_table_reads_an_ibis_table_of_duckdb() -> None:
    table = ibis.memtable({"a": [1, 2, 2], '"; drop table x': ["x", None, ""]})
    profile = profile_table(table)
    assert profile.rows == 3
    text = profile.column('"; drop table x')
    assert text is not None
    assert (text.count, text.missing, text.zeros, text.distinct) == (2, 1, 1, 2)


def test_a_document_survives_the_way_out_and_in() -> None:
    generator = np.random.default_rng(1)
    profile = profile_of(
        {
            "number": generator.normal(size=3000),
            "text": [f"user {i}" for i in range(3000)],
            "big": pa.array([2**64 - 1 - i for i in range(3000)], pa.uint64()),
            "flag": [True, False, None] * 1000,
        }
    )
    content = render(profile)
    assert parse(content) == profile
    assert parse(content).digest == profile.digest


def test_nan_and_infinities_are_counted_beside_the_finite_figures() -> None:
    column = column_of([math.nan, math.inf, -math.inf, -math.inf, -0.0, 0.0, 2.0, None])
    assert (column.nan, column.positive_infinite, column.negative_infinite) == (1, 1, 2)
    assert (column.minimum, column.maximum, column.mean, column.zeros) == (0.0, 2.0, 2 / 3, 2)
    assert (column.count, column.missing, column.distinct) == (7, 1, 5)


@pytest.mark.parametrize("dtype", [pa.int64(), pa.float64(), pa.string(), pa.bool_(), pa.null(), pa.timestamp("us")])
def test_empty_tables_and_all_null_columns_have_profiles(dtype: pa.DataType) -> None:
    for values in ([], [None, None]):
        profile = profile_of({"x": pa.array(values, dtype)})
        column = profile.columns[0]
        assert parse(render(profile)) == profile
        assert (profile.rows, column.count, column.missing) == (len(values), 0, len(values))
        assert (column.minimum, column.mean, column.quantiles, column.histogram, column.top) == (None, None, (), (), ())


def test_times_are_microseconds_of_utc_whatever_their_unit_and_zone() -> None:
    moment = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    microseconds = int(moment.timestamp()) * 1_000_000
    for unit in ("s", "ms", "us", "ns"):
        column = column_of(pa.array([moment], pa.timestamp(unit, "Asia/Kolkata")))
        assert column.dtype == f"timestamp[{unit}, tz=Asia/Kolkata]"
        assert column.minimum == microseconds
    assert column_of([date(1970, 1, 3)]).minimum == 2 * 86_400_000_000
    assert column_of([time(0, 0, 1)]).minimum == 1_000_000


def test_times_that_do_not_fit_are_infinite() -> None:
    column = column_of(pa.array([2**62, -(2**62), 0], pa.timestamp("s")))
    assert (column.positive_infinite, column.negative_infinite, column.maximum) == (1, 1, 0)


def test_decimals_are_the_nearest_double() -> None:
    column = column_of([Decimal("1.10"), Decimal("-0.30"), None])
    assert (column.kind, column.dtype, column.minimum) == ("number", "decimal128(3, 2)", -0.3)


def test_huge_text_is_measured_and_not_kept() -> None:
    column = column_of(["é" * 1_000_000, "a b  c", ""])
    assert column.lengths is not None
    assert column.tokens is not None
    assert (column.lengths.maximum, column.tokens.maximum, column.zeros) == (1_000_000, 3, 1)
    assert len(str(column.last)) == 128
    assert {value for value, _ in column.top} == {"a b  c", ""}
    assert (column.distinct, column.approximate, column.tally.error) == (3, ("distinct", "top"), 1)


def test_numbers_whose_sum_is_no_double_have_no_mean() -> None:
    column = column_of([1.7e308, 1.7e308])
    assert (column.mean, column.std, column.maximum) == (None, None, 1.7e308)


def test_a_personal_column_keeps_counts_only() -> None:
    names = [f"Ada Lovelace {i}" for i in range(2000)]
    secret = canonical_json(json.loads(render(profile_of({"x": names}))))
    assert b"Ada" in secret
    profile = profile_of({"x": names, "age": list(range(2000))}, personal=["x", "age"])
    assert b"Ada" not in render(profile)
    text, number = profile.columns
    assert (text.count, text.minimum, text.top, text.registers) == (2000, None, (), None)
    assert (number.minimum, number.mean, number.quantiles, number.top) == (None, None, (), ())
    assert number.distinct is not None
    assert abs(number.distinct - 2000) < 200
    assert parse(render(profile)) == profile


def test_a_file_that_breaks_off_is_refused_without_its_cells(tmp_path: Path) -> None:
    path = tmp_path / "batch.csv"
    path.write_text("a,b\n" + "1,x\n" * 200_000 + "5,hush,3\n")
    with pytest.raises(MalformedError, match=r"line 200002: expected 2 columns, found 3") as caught:
        profile_table(open_table(path))
    assert "hush" not in str(caught.value)
    pq.write_table(pa.table({"x": list(range(200_000))}), tmp_path / "batch.parquet")
    content = bytearray((tmp_path / "batch.parquet").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 3000] = b"\xff" * 3000
    (tmp_path / "batch.parquet").write_bytes(content)
    with pytest.raises(MalformedError, match="cannot be read to its end"):
        profile_table(open_table(tmp_path / "batch.parquet"))


def test_columns_that_a_contract_marks_or_a_screen_found_are_personal() -> None:
    mark = {"secure_ml": {"personal": True}}
    schema = pandera.DataFrameSchema(
        {
            "a": pandera.Column(str, metadata=mark),
            "b_.*": pandera.Column(str, regex=True, metadata=mark),
            "c": pandera.Column(str),
            "d": pandera.Column(str, metadata={"secure_ml": {"personal": False}}),
        }
    )
    frame = pl.DataFrame({name: ["Ada", None] for name in ("a", "b_1", "b_2", "c", "d")})
    profile = profile_frame(frame, schema, found=["c"])
    assert [column.name for column in profile.columns if column.personal] == ["a", "b_1", "b_2", "c"]
    assert b"Ada" in render(profile_frame(frame, schema))
    assert all(column.dtype == "string" for column in profile.columns)


def test_a_personal_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(PreconditionError, match="1 columns named as personal"):
        profile_of({"x": [1]}, personal=["y"])


def test_where_batches_end_changes_nothing() -> None:
    values = np.random.default_rng(0).normal(size=300_000)
    table = pa.table({"x": values})
    found = {
        profile_batches(table.schema, table.to_batches(max_chunksize=size)).digest for size in (1_000, 131_072, 300_000)
    }
    assert len(found) == 1


def test_parse_refuses_what_render_does_not_write() -> None:
    content = render(profile_of({"x": [1, 2, 2], "t": ["a", "b", None]}))
    document = json.loads(content)
    assert parse(content)

    def changed(**changes: Any) -> bytes:
        return canonical_json(document | {"columns": [document["columns"][0] | changes, document["columns"][1]]})

    bad = [
        content + b"\n",
        content.replace(b":", b": ", 1),
        canonical_json(document | {"rows": 4}),
        canonical_json(document | {"rows": True}),
        canonical_json(document | {"extra": 1}),
        canonical_json(document | {"format": "secure-ml profile 2"}),
        canonical_json(document | {"columns": [document["columns"][0]] * 2}),
        changed(count=-1, missing=4),
        changed(kind="number"),
        changed(kind="text"),
        changed(zeros=1.0),
        changed(extra=1),
        changed(approximate=["distinct"]),
        changed(tally={"values": [1, 2], "counts": [1, 2], "error": 0}),
        changed(tally={"values": [2, 1], "counts": [2, 0], "error": 0}),
        changed(tally={"values": [2, "1"], "counts": [2, 1], "error": 0}),
        changed(tally={"values": [2, 1 << 80], "counts": [2, 1], "error": 0}),
        changed(registers="AAAA"),
        changed(moments=None),
        changed(personal=True),
        changed(counted=1),
        changed(nan=1 << 70, count=(1 << 70) + 3),
        changed(moments=document["columns"][0]["moments"] | {"maximum": 3}),
        changed(lengths={"count": 3, "mean": 1.0, "squares": 0.0, "minimum": 1.5, "maximum": 2}),
        changed(lengths={"count": 3, "mean": 1.0, "squares": 0.0, "minimum": 1, "maximum": 10**400}),
        b"[]",
        b'{"format":"secure-ml profile 1"}',
    ]
    for mutated in bad:
        with pytest.raises(MalformedError):
            parse(mutated)


def test_parse_survives_any_byte_put_in_place_of_another() -> None:
    content = render(profile_of({"x": [1.5, None], "t": ["a", "é"]}))
    for place in range(len(content)):
        for byte in (0x00, 0x22, 0x2D, 0x39, 0x65, 0x7D, 0xFF):
            mutated = content[:place] + bytes([byte]) + content[place + 1 :]
            try:
                found = parse(mutated)
            except MalformedError:
                continue
            assert render(found) == mutated


@pytest.mark.parametrize(
    ("sql", "kind", "minimum"),
    [
        ("170141183460469231731687303715884105727::hugeint", "number", 1.7014118346046923e38),
        ("18446744073709551615::ubigint", "integer", 2**64 - 1),
        ("99999999999999999999999999999999999.999::decimal(38, 3)", "number", 1e35),
        ("'infinity'::timestamp", "time", None),
        ("'1969-12-31 23:00:00-01'::timestamptz", "time", 0),
        ("'00:00:02'::time", "time", 2_000_000),
        ("'2024-02-29'::date", "time", 1_709_164_800_000_000),
        ("'red'::enum('red', 'blue')", "text", "red"),
        ("'5aa5a55a-0000-4000-8000-000000000000'::uuid", "text", "5aa5a55a-0000-4000-8000-000000000000"),
        ("'\\xAA'::blob", "other", None),
        ("[1, 2]", "other", None),
        ("{'a': 1}", "other", None),
        ("interval 3 months", "other", None),
        ("1.5::float", "number", 1.5),
    ],
)
def test_each_type_of_the_engine_has_a_profile(sql: str, kind: str, minimum: object) -> None:
    con = ibis.duckdb.connect()
    con.raw_sql(f"create table t as select {sql} as x union all select null")
    profile = profile_table(con.table("t"))
    (column,) = profile.columns
    assert (column.kind, column.count, column.missing, column.minimum) == (kind, 1, 1, minimum)
    assert parse(render(profile)) == profile
