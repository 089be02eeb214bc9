"""Every way in which a file is bad: one clear sentence in bounded time and memory, and never a cell."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandera.polars as pa
import polars as pl
import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest

from secure_ml.cli import main
from secure_ml.contracts.validate import validate
from secure_ml.errors import MalformedError, PreconditionError, SecureMLError
from secure_ml.tables.data_files import open_table

SCHEMA = pa.DataFrameSchema(
    {"a": pa.Column(pl.Int64, pa.Check.in_range(0, 10)), "b": pa.Column(pl.Float64, nullable=True)}, strict=True
)
GOOD = b"a,b\n1,2\n3,4\n"
DROP = '"; drop table batch; --'


def parquet(path: Path, table: pl.DataFrame | None = None) -> bytes:
    (table if table is not None else pl.DataFrame({"a": [1, 2], "b": [1.0, 2.0]})).write_parquet(path)
    return path.read_bytes()


def wide(count: int) -> bytes:
    return b",".join(b"c%d" % index for index in range(count)) + b"\n" + b",".join([b"1"] * count) + b"\n"


TEXT: dict[str, tuple[bytes, str]] = {
    "out of range": (b"a,b\n7777,2\n", "a: 1 of 1 rows above 10"),
    "wrong type": (b"a,b\ns3cret,2\n", "a: 1 of 1 rows not whole numbers such as 1234 (Int64)"),
    "thousands": (b'a,b\n"1,234",2\n', "a: 1 of 1 rows not whole numbers such as 1234 (Int64)"),
    "not finite": (b"a,b\n1,1e400\n", "b: 1 of 1 rows not numbers such as 1234.5"),
    "not a number": (b"a,b\n1,NaN\n", "b: 1 of 1 rows not numbers such as 1234.5"),
    "hexadecimal and underscores": (b"a,b\n0x1,1_000\n", "a: 1 of 1 rows not whole numbers such as 1234 (Int64)"),
    "half an integer": (b"a,b\n1.5,2\n", "a: 1 of 1 rows not whole numbers such as 1234 (Int64)"),
    "an integer too large": (b"a,b\n9223372036854775808,2\n", "a: 1 of 1 rows not whole numbers such as 1234 (Int64)"),
    "missing": (b"a,b\n,2\n", "a: 1 of 1 rows null"),
    "missing column": (b"a\n1\n", "b: column is missing"),
    "extra column": (b"a,b,ssn\n1,2,s3cret\n", "'ssn': column is not in the contract"),
    "a column that would drop the table": (
        b'a,b,"""; drop table batch; --"\n1,2,3\n',
        "'\"; drop table batch; --': column is not in the contract",
    ),
    "a column of a quote": (b"a,b,'); drop view batch; --\n1,2,3\n", "column is not in the contract"),
    "duplicate column names": (b"a,a\n1,2\n", "two columns are named 'a'"),
    "names that differ by case alone": (b"a,A\n1,2\n", "two columns are named 'A'"),
    "a column without a name": (b"a,\n1,2\n", "a column has no name"),
    "50,000 columns": (wide(50_000), "50000 columns, at most 4096 are read"),
    "empty": (b"", "empty file"),
    "only empty lines": (b"\n\n\n", "only empty lines"),
    "an empty line before the names": (b"\n\na,b\n1,2\n", "the first line is empty"),
    "a name with a NUL character": (b'{"a": 1, "b": 1, "a\\u0000": 1}\n', "or one with a NUL character"),
    "header only": (b"a,b\n", "no rows"),
    "truncated in a row": (b"a,b\n1,2\n3", "truncated, or the last line has no line end"),
    "one line of 10 MB": (b"a,b\n" + b"1" * 10_000_000 + b",2\n", "a line of more than 1048576 bytes"),
    "10 MB without an end": (b"s3cret" * 1_700_000, "a line of more than 1048576 bytes"),
    "invalid UTF-8": (GOOD + b"\xff,2\n", f"invalid byte at position {len(GOOD)}"),
    "half a character": (b"a,b\n1,2\n\xc3", "half a character at its end"),
    "NUL byte": (b"a,b\n1,\x002\n", "NUL byte at position 6"),
    "mixed line ends": (b"a,b\r\n1,2\n3,4\r\n", "mixed line ends (2 CR LF, 1 LF, 0 lone CR)"),
    "a lone carriage return": (b"a,b\n1,2\r3,4\n", "mixed line ends (0 CR LF, 2 LF, 1 lone CR)"),
    "a quote that never closes": (b'a,b\n1,"s3cret\n' + b"1,2\n" * 1_000_000, "a quote that does not close"),
    "a quote out of place": (b'a,b\n1,"s3cret"x\n', "line 2: expected CSV, found a quote that does not close"),
    "ragged": (b"a,b\n1,2\ns3cret,4,5\n", "line 3: expected 2 columns, found 3"),
    "too few cells": (b"a,b\n1,2\ns3cret\n", "line 3: expected 2 columns, found 1"),
    "a ZIP archive": (b"PK\x03\x04s3cret", "found a ZIP archive"),
    "gzip": (b"\x1f\x8bs3cret", "found gzip"),
    "not Parquet after all": (b"PAR1s3cretPAR1", "expected Parquet, it cannot be read"),
    "not Arrow after all": (b"ARROW1s3cret", "expected Arrow IPC, it cannot be read"),
    "JSON of another type": (b'{"a": "s3cret", "b": 1}\n', "a: 1 of 1 rows not whole numbers such as 1234 (Int64)"),
    "JSON that is not finite": (
        b'{"a": 1, "b": 1e400}\n{"a": 1, "b": 2}\n',
        "b: 1 of 2 rows not numbers such as 1234.5",
    ),
    "no line of names": (
        b"7777,s3cret\n1,2\n",
        "none of 2 column names is in the contract, expected a, b; is the line of names missing?",
    ),
    "JSON that is nested": (
        b'{"a": {"x": "s3cret"}, "b": 1}\n',
        "a: 1 of 1 rows not whole numbers such as 1234 (Int64)",
    ),
    "JSON cut off": (b'{"a": 1, "b": 2}\n{"a": "s3cret\n', "expected one JSON object a line"),
    "JSON nested 100,000 deep": (
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
        "a: 1 of 1 rows not whole numbers such as 1234 (Int64)",
    ),
    "JSON with a key twice": (b'{"a": 1, "a": 2, "b": 1}\n', "cannot be read to its end"),
    "JSON with 5,000 keys": (b"".join(b'{"k%d": 1}\n' % key for key in range(5_000)), "4097 columns, at most 4096"),
}


def point_outside(path: Path) -> None:
    """Write an Arrow file whose text begins before its first byte: who reads it as it stands reads other memory."""
    offsets = pyarrow.array([0, -4, 4], pyarrow.int32()).buffers()[1]
    table = pyarrow.table({"a": pyarrow.StringArray.from_buffers(2, offsets, pyarrow.py_buffer(b"abcdefgh"))})
    _arrow(path, table)


def bad_index(path: Path) -> None:
    kind = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    cells = pyarrow.DictionaryArray.from_buffers(
        kind, 2, [None, pyarrow.array([0, 1_000_000], pyarrow.int32()).buffers()[1]], pyarrow.array(["x"])
    )
    _arrow(path, pyarrow.table({"a": cells}))


def bad_text(path: Path) -> None:
    cells = pyarrow.Array.from_buffers(
        pyarrow.string(), 1, [None, pyarrow.array([0, 1], pyarrow.int32()).buffers()[1], pyarrow.py_buffer(b"\xff")]
    )
    _arrow(path, pyarrow.table({"a": cells}))


def arrow_bomb(path: Path) -> None:
    batch = pyarrow.record_batch({"a": pyarrow.array(np.zeros(300_000_000, dtype=np.int64))})
    options = pyarrow.ipc.IpcWriteOptions(compression="zstd")
    with pyarrow.ipc.new_file(path, batch.schema, options=options) as file:
        file.write_batch(batch)
    assert path.stat().st_size < 100_000  # the attack: 2.4 GB in 73 kB


def _arrow(path: Path, table: pyarrow.Table) -> None:
    with pyarrow.ipc.new_file(path, table.schema) as file:
        file.write_table(table)


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "link": (lambda path: path.symlink_to("/etc/passwd"), "expected a regular file, found a link"),
    "FIFO": (lambda path: os.mkfifo(path), "expected a regular file, found a FIFO"),
    "folder": (lambda path: path.mkdir(), "expected a regular file, found a folder"),
    "Parquet cut off": (lambda path: path.write_bytes(parquet(path)[:-20]), "expected Parquet, it cannot be read"),
    "Arrow cut off": (
        lambda path: (pl.DataFrame({"a": [1]}).write_ipc(path), path.write_bytes(path.read_bytes()[:-30])),
        "expected Arrow IPC, it cannot be read",
    ),
    "Arrow whose text lies before the file": (point_outside, "expected Arrow IPC, it cannot be read: it is damaged"),
    "Arrow whose category is none": (bad_index, "expected Arrow IPC, it cannot be read: it is damaged"),
    "Arrow whose text is none": (bad_text, "expected Arrow IPC, it cannot be read: it is damaged"),
    "Arrow of no type that is known": (
        lambda path: _arrow(path, pyarrow.table({"a": pyarrow.array([(1, 2, 3)], pyarrow.month_day_nano_interval())})),
        "expected Arrow IPC, it cannot be read: it is damaged",
    ),
    "Arrow bomb": (arrow_bomb, "expected Arrow IPC, it needs more memory"),
    "Parquet with 5,000 columns": (
        lambda path: parquet(path, pl.DataFrame({f"c{index}": [1] for index in range(5_000)})),
        "5000 columns, at most 4096 are read",
    ),
    "Parquet with a column that would drop the table": (
        lambda path: parquet(path, pl.DataFrame({"a": [1], "b": [1.0], DROP: [1]})),
        "column is not in the contract",
    ),
}


@pytest.mark.parametrize("case", [*TEXT, *KINDS])
def test_a_bad_file_gives_one_clear_sentence(case: str, tmp_path: Path) -> None:
    path = tmp_path / "batch"
    if case in KINDS:
        make, expected = KINDS[case]
        make(path)
    else:
        content, expected = TEXT[case]
        path.write_bytes(content)
    started = time.process_time()
    try:
        said = "\n".join(finding.sentence for finding in validate(open_table(path), SCHEMA).findings)
    except SecureMLError as error:
        said = str(error)
        assert len(said) < 300
    assert time.process_time() - started < 10
    assert expected in said
    for cell in ("s3cret", "7777", "1,234", "1e400"):
        assert cell not in said


def test_every_changed_byte_of_a_parquet_file_gives_findings_or_a_clear_error(tmp_path: Path) -> None:
    good = parquet(tmp_path / "good")
    path = tmp_path / "bad"
    refused = 0
    for index in range(0, len(good), 41):
        path.write_bytes(good[:index] + bytes([good[index] ^ 0xFF]) + good[index + 1 :])
        try:
            validate(open_table(path), SCHEMA)
        except MalformedError:
            refused += 1
    assert refused > 5


def test_a_parquet_bomb_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    cells = pyarrow.table({"a": pyarrow.array(["x" * 1_000_000] * 100)})
    with pyarrow.parquet.ParquetWriter(
        path, cells.schema, compression="zstd", use_dictionary=False, write_statistics=False
    ) as writer:
        for _ in range(12):
            writer.write_table(cells)
    assert path.stat().st_size < 100_000  # the attack: 1.2 GB in 60 kB
    assert pyarrow.parquet.read_metadata(path).row_group(0).total_byte_size * 12 > 1_000_000_000
    with pytest.raises(MalformedError, match=r"decodes to more than 1000 times its \d+ bytes"):
        open_table(path)


def test_one_large_cell_that_a_million_rows_refer_to_is_given_up_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    indices = pyarrow.array([0] * 1_000_000, type=pyarrow.int32())
    cells = pyarrow.DictionaryArray.from_arrays(indices, pyarrow.array(["x" * 10_000_000]))
    pyarrow.parquet.write_table(pyarrow.table({"a": cells}), path, compression="zstd")
    assert path.stat().st_size < 20_000  # 20 GB in the hands of an engine that copies each cell of a block
    program = (
        "import sys, pathlib, pandera.polars as pa\n"
        "from secure_ml.contracts.validate import validate\n"
        "from secure_ml.tables.data_files import open_table\n"
        "from secure_ml.errors import MalformedError\n"
        "try:\n"
        "    validate(open_table(pathlib.Path(sys.argv[1])), pa.DataFrameSchema("
        "{'a': pa.Column(None, pa.Check.str_length(1, 5))}))\n"
        "except MalformedError as error:\n"
        "    print(error)\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    found = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=300)
    assert "of memory to be read" in found.stdout, found.stderr[-500:]
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 30
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 4_000_000


def test_a_python_check_does_not_read_more_rows_than_memory_may_hold(tmp_path: Path) -> None:
    path = tmp_path / "long"
    cells = pyarrow.array(np.zeros(135_000_000, dtype=np.bool_))
    pyarrow.parquet.write_table(pyarrow.table({"a": cells}), path)
    assert path.stat().st_size < 2_000_000
    said = "a: a rule that is not compiled would read 2059 MiB into memory, at most 2048"
    check = pa.Check(lambda data: data.lazyframe.select(pl.col(data.key)))
    with pytest.raises(PreconditionError, match=said):
        validate(open_table(path), pa.DataFrameSchema({"a": pa.Column(pl.Boolean, check)}))


def test_statistics_that_lie_hide_no_row(tmp_path: Path) -> None:
    """The attack first: an engine that trusts the file's own figures does not see the row."""
    import duckdb

    path = tmp_path / "lie.parquet"
    table = pl.DataFrame({"a": [7] * 500 + [123456789] * 500, "b": [1.0] * 1000})
    table.write_parquet(path, compression="uncompressed")
    raw = path.read_bytes()
    footer = len(raw) - 8 - struct.unpack("<I", raw[-8:-4])[0]
    true, false = struct.pack("<q", 123456789), struct.pack("<q", 9)
    assert true in raw[footer:]
    path.write_bytes(raw[:footer] + raw[footer:].replace(true, false))
    assert duckdb.sql(f"SELECT count(*) FROM '{path}' WHERE a > 10").fetchall() == [(0,)]
    report = validate(open_table(path), SCHEMA)
    assert [finding.sentence for finding in report.findings] == ["a: 500 of 1000 rows above 10"]
    assert report.failing_rows["row"].to_list() == list(range(501, 1001))
    unique = pa.DataFrameSchema({"a": pa.Column(pl.Int64, unique=True)})
    assert [finding.failed for finding in validate(open_table(path), unique).findings] == [1000]


def test_a_pattern_that_backtracks_in_python_takes_no_time(tmp_path: Path) -> None:
    import re

    path = tmp_path / "batch"
    pl.DataFrame({"s": ["a" * 24 + "!"]}).write_parquet(path)
    started = time.process_time()
    assert re.match(r"(a+)+$", "a" * 24 + "!") is None  # the attack: each further letter doubles the time
    slow = time.process_time() - started
    pl.DataFrame({"s": ["a" * 50_000 + "!"]}).write_parquet(path)
    schema = pa.DataFrameSchema({"s": pa.Column(pl.String, pa.Check.str_matches(r"(a+)+$"))})
    started = time.process_time()
    report = validate(open_table(path), schema)
    assert [finding.failed for finding in report.findings] == [1]
    assert report.fallbacks[0].why.endswith("can backtrack for ever")
    assert time.process_time() - started < 10 * max(slow, 1)


def test_the_engine_behind_a_table_opens_nothing_else(tmp_path: Path) -> None:
    import duckdb

    path = tmp_path / "it's * a [glob]?.csv"
    path.write_bytes(GOOD)
    (tmp_path / "other.csv").write_bytes(b"x\n1\n")
    assert duckdb.sql(f"SELECT * FROM '{tmp_path}/other.csv'").fetchall() == [(1,)]
    table = open_table(path)
    assert validate(table, SCHEMA).accepted
    for query in (
        f"SELECT * FROM '{tmp_path}/other.csv'",
        "SELECT * FROM read_csv('/etc/passwd')",
        f"COPY batch TO '{tmp_path}/out.csv'",
        f"ATTACH '{tmp_path}/x.db'",
        "INSTALL httpfs",
        "SET memory_limit='99GB'",
        "SET enable_external_access=true",
    ):
        with pytest.raises(duckdb.Error):
            table.table.get_backend().raw_sql(query)


def test_a_name_that_is_changed_after_it_was_opened_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "batch"
    parquet(path)
    table = open_table(path)
    parquet(tmp_path / "other", pl.DataFrame({"a": [99], "b": [1.0]}))
    path.unlink()
    path.symlink_to(tmp_path / "other")
    try:
        rows = validate(table, SCHEMA).rows
    except MalformedError:
        rows = 2
    assert rows == 2


@pytest.mark.parametrize("case", ["thousands", "wrong type", "ragged", "a quote that never closes", "missing column"])
def test_the_command_says_so_in_one_sentence_and_with_its_exit_code(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, expected = TEXT[case]
    (tmp_path / "batch").write_bytes(content)
    (tmp_path / "contract.py").write_text(
        "import pandera.polars as pa\n"
        "schema = pa.DataFrameSchema({'a': pa.Column(int, pa.Check.in_range(0, 10)), 'b': pa.Column(float)})\n"
    )
    code = main(["validate", str(tmp_path / "contract.py"), str(tmp_path / "batch")])
    out, err = capsys.readouterr()
    assert code == (1 if out else 2)
    assert expected in out + err
    assert len(err.strip().splitlines()) == 1
    assert "s3cret" not in out + err
