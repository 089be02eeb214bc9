"""A file as an ibis table: by content, not by name; nothing is guessed, nothing repaired, nothing read as a whole.

DuckDB reads it, in memory and shut in: no extension is loaded or fetched, only this one file (and a folder for
spilling) can be opened, the configuration is locked, memory is limited. The file is opened once without following
links, and the engine is given the open descriptor, so no name ever stands in a query.
"""

from __future__ import annotations

import io
import os
import re
import tempfile
import weakref
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from secure_ml.errors import MalformedError
from secure_ml.safe_files import open_file
from secure_ml.tables.queries import LIMIT_S, MEMORY, Opened, bounded_memory, said
from secure_ml.tables.text_files import MAX_COLUMNS, column_names, inspect_text, refuse_names, separated_by
from secure_ml.tables.text_types import readings

if TYPE_CHECKING:
    import duckdb
    import ibis
    import polars as pl

__all__ = ["Kind", "dtypes_of", "is_text", "kind_of", "open_bytes", "open_table", "table_of"]

_MAX_SPILL = "50GB"
_NAME = "batch"
_HEAD_BYTES = 4096
_MAX_RATIO = 1000
_LEAST_BYTES_PER_S = 2 << 20
_FREE_CELLS = 1 << 30

Kind = Literal["Parquet", "Arrow", "JSON lines", "CSV"]
_FOREIGN = {
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"SQLite format 3": "SQLite",
    b"\x89PNG": "a PNG image",
    b"\x89HDF": "HDF5",
    b"%PDF": "PDF",
    b"ORC": "ORC",
    b"Obj\x01": "Avro",
}


def open_table(path: Path, *, columns: Sequence[str] | None = None, null: Collection[str] = ("",)) -> ibis.Table:
    """Open a Parquet, Arrow IPC, JSON lines or CSV file as a table of an engine of its own.

    Args:
        path: A regular file.
        columns: The columns of a CSV file that has no line of names; a first line that holds any of them is one.
            None where the first line holds the names.
        null: The cells of a CSV file that stand for a missing value.

    Returns:
        Columns of a CSV or JSON lines file are all text, stripped in CSV; `check_table` types them after the contract.

    Raises:
        MalformedError: It is no such file, or one that decodes to a great deal more than it holds.
        UnavailableError: Missing or unreadable.
    """
    return _open(open_file(path), path.name, columns, null)


def open_bytes(
    content: bytes, where: str, *, columns: Sequence[str] | None = None, null: Collection[str] = ("",)
) -> ibis.Table:
    """Open the bytes of such a file: who verified them knows that no others are read; see `open_table`.

    Raises:
        MalformedError: They are no such file, or one that decodes to a great deal more than it holds.
    """
    stream = os.fdopen(os.memfd_create(_NAME, os.MFD_CLOEXEC), "w+b")
    stream.write(content)
    stream.seek(0)
    return _open(stream, where, columns, null)


def kind_of(content: bytes, where: str) -> Kind:
    """Tell what kind of file some bytes are.

    Raises:
        MalformedError: Empty, or of a kind that is not read.
    """
    return _kind(io.BytesIO(content[:_HEAD_BYTES]), where)


def _open(stream: BinaryIO, where: str, columns: Sequence[str] | None, null: Collection[str]) -> ibis.Table:
    try:
        kind = _kind(stream, where)
        con = _connect(f"/proc/self/fd/{stream.fileno()}")
        given = _READERS[kind](con, stream, where, columns, null)
    except BaseException:
        stream.close()
        raise
    limit_s = LIMIT_S + os.fstat(stream.fileno()).st_size / _LEAST_BYTES_PER_S
    return _as_table(con, replace(given, limit_s=limit_s), stream)


def table_of(frame: pl.DataFrame, *, where: str = "table", text: bool = False) -> ibis.Table:
    """Return a frame in memory as a table of an engine of its own.

    Args:
        frame: Any columns.
        where: What to call it in an error.
        text: Whether its columns are text that is yet to be typed.
    """
    con = _connect(None)
    con.register(_NAME, frame.to_arrow())
    return _as_table(con, Opened(where, text, dict(frame.schema)), frame)


def _as_table(con: duckdb.DuckDBPyConnection, opened: Opened, source: Any) -> ibis.Table:
    from ibis.backends.duckdb import Backend  # not `ibis.duckdb`, which reads the entry points of all packages

    backend = Backend.from_connection(con)
    if opened.text:
        con.execute(";".join(readings()))
    con.execute("SET lock_configuration=true")
    backend._secure_ml = opened, source  # the source stays open as long as the engine lives
    return backend.table(_NAME)


def _opened(table: ibis.Table) -> Opened | None:
    known = getattr(table.get_backend(), "_secure_ml", None)
    return known[0] if known is not None and table.op().name == _NAME else None


def is_text(table: ibis.Table) -> bool:
    """Whether the columns of a table are text that is yet to be typed."""
    known = _opened(table)
    return known is not None and known.text


def dtypes_of(table: ibis.Table) -> dict[str, pl.DataType]:
    """Return the columns of a table as Polars would read them."""
    known = _opened(table)
    if known is not None and known.dtypes is not None:
        return dict(known.dtypes)
    dtypes = {name: _polars(dtype) for name, dtype in table.schema().items()}
    return {**dtypes, **_spark_times(table)}


def _spark_times(table: ibis.Table) -> dict[str, pl.DataType]:
    """Return the times of a Spark table, whose unit and zone ibis does not tell: microseconds, in UTC or in none."""
    import polars as pl

    engine = table.get_backend()
    if engine.name != "pyspark":
        return {}
    zones = {"timestamp": "UTC", "timestamp_ntz": None}
    found = {name: kind for name, kind in engine.raw_sql(engine.compile(table)).dtypes if kind in zones}
    return {name: pl.Datetime("us", zones[kind]) for name, kind in found.items()}


def _polars(dtype: Any) -> pl.DataType:
    import polars as pl
    from ibis.common.exceptions import IbisError

    try:
        made: pl.DataType = dtype.to_polars()
    except (NotImplementedError, IbisError, KeyError):
        return pl.Unknown()
    return made


def _connect(path: str | None) -> duckdb.DuckDBPyConnection:
    import duckdb

    folder = tempfile.mkdtemp(prefix="secure-ml-")
    con = duckdb.connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "allow_persistent_secrets": "false",
            "memory_limit": MEMORY,
            "max_temp_directory_size": _MAX_SPILL,
            "temp_directory": folder,
            # What a file says of its own figures must not decide how it is read: a hostile one lies, and every one
            # leaves NaN out of its largest and smallest.
            "disabled_optimizers": "statistics_propagation,compressed_materialization,filter_pushdown",
            "threads": str(len(os.sched_getaffinity(0))),
        },
    )
    weakref.finalize(con, _remove, folder)
    con.execute("SET python_enable_replacements=false")
    if path is not None:
        con.execute(f"SET allowed_paths=[{_quote(path)}]")
    con.execute("SET enable_external_access=false")
    return con


def _remove(folder: str) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _kind(stream: BinaryIO, where: str) -> Kind:
    head = stream.read(_HEAD_BYTES)
    stream.seek(0)
    if not head:
        raise MalformedError(f"{where}: empty file, expected Parquet, Arrow IPC, JSON lines or CSV")
    for magic, kind in _FOREIGN.items():
        if head.startswith(magic):
            raise MalformedError(f"{where}: expected Parquet, Arrow IPC, JSON lines or CSV, found {kind}")
    if head.startswith(b"PAR1"):
        return "Parquet"
    if head.startswith(b"ARROW1"):
        return "Arrow"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if re.match(rb"\[\s*[\[{\]]", text):
        raise MalformedError(f"{where}: a JSON array; write one object a line")
    if re.match(rb"\{[ \t]*\r?\n", text):
        raise MalformedError(f"{where}: a JSON object over several lines; write one object a line")
    return "JSON lines" if text.startswith(b"{") else "CSV"


def _unread(stream: BinaryIO, where: str, kind: str, end: bytes) -> MalformedError:
    """Say that the engine cannot read a file, and whether its last bytes are missing."""
    stream.seek(max(0, stream.seek(0, os.SEEK_END) - len(end)))
    why = "it is damaged" if stream.read() == end else "it has no footer: truncated? send the whole file again"
    return MalformedError(f"{where}: expected {kind}, it cannot be read: {why}")


def _parquet(con: duckdb.DuckDBPyConnection, stream: BinaryIO, where: str, _: Any, __: Any) -> Opened:
    import duckdb
    import polars as pl

    source = f"/proc/self/fd/{stream.fileno()}"
    size = os.fstat(stream.fileno()).st_size
    try:
        dtypes = pl.read_parquet_schema(source)
        refuse_names(list(dtypes), where)
        (found,) = con.execute(
            "SELECT coalesce(sum(greatest(num_values, total_uncompressed_size)), 0) FROM parquet_metadata(?)", [source]
        ).fetchall()
        decoded = int(found[0])
        if decoded > _FREE_CELLS and decoded > size * _MAX_RATIO:
            raise MalformedError(
                f"{where}: decodes to more than {_MAX_RATIO} times its {size} bytes; a bomb is not read"
            )
        con.read_parquet(source).create_view(_NAME)
    except (duckdb.Error, pl.exceptions.PolarsError, OSError):
        raise _unread(stream, where, "Parquet", b"PAR1") from None
    return Opened(where, text=False, dtypes=dtypes)


def _arrow(con: duckdb.DuckDBPyConnection, stream: BinaryIO, where: str, _: Any, __: Any) -> Opened:
    import duckdb
    import polars as pl
    import pyarrow as pa
    import pyarrow.dataset

    path = f"/proc/self/fd/{stream.fileno()}"
    try:
        dtypes = pl.read_ipc_schema(path)
        refuse_names(list(dtypes), where)
        # No engine looks at offsets, dictionary indices and UTF-8: what points outside of the file would be read.
        with bounded_memory(), pa.OSFile(path) as file, pa.ipc.open_file(file) as batches:
            for index in range(batches.num_record_batches):
                batches.get_batch(index).validate(full=True)
        con.register(_NAME, pyarrow.dataset.dataset(path, format="ipc"))
    except pa.ArrowMemoryError:
        raise MalformedError(f"{where}: expected Arrow IPC, it needs more memory than may be taken") from None
    except (pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException, duckdb.Error, OSError):
        raise _unread(stream, where, "Arrow IPC", b"ARROW1") from None
    return Opened(where, text=False, dtypes=dtypes)


def _json(con: duckdb.DuckDBPyConnection, stream: BinaryIO, where: str, _: Any, __: Any) -> Opened:
    import duckdb

    inspect_text(stream, where, quoted=False)
    source = f"/proc/self/fd/{stream.fileno()}"
    try:
        names = [
            row[0]
            for row in con.execute(
                "SELECT k, min((n, i)) AS m FROM (SELECT unnest(json_keys(json)) AS k, "
                "unnest(range(len(json_keys(json)))) AS i, row_number() OVER () AS n "
                "FROM read_ndjson_objects(?, maximum_object_size=1048576)) GROUP BY k ORDER BY m LIMIT ?",
                [source, MAX_COLUMNS + 1],
            ).fetchall()
        ]
        refuse_names(names, where)
        shape = ", ".join(f"{_quote(name)}: 'VARCHAR'" for name in names)
        con.execute(
            f"CREATE VIEW {_NAME} AS SELECT * FROM read_json({_quote(source)}, format='newline_delimited', "  # noqa: S608
            f"records='true', columns={{{shape}}}, maximum_object_size=1048576)"
        )
    except duckdb.Error as error:
        raise said(error, where) from None
    return Opened(where, text=True)


def _csv(
    con: duckdb.DuckDBPyConnection,
    stream: BinaryIO,
    where: str,
    columns: Sequence[str] | None,
    null: Collection[str],
) -> Opened:
    import duckdb

    inspect_text(stream, where, quoted=True)
    stream.seek(0)
    first = column_names(stream, where)
    header = columns is None or bool(set(first) & set(columns))
    names = first if header else list(columns or ())
    refuse_names(names, where)
    source = _quote(f"/proc/self/fd/{stream.fileno()}")
    shape = ", ".join(f"{_quote(f'c{index}')}: 'VARCHAR'" for index in range(len(names)))
    cells = ", ".join(f"{_cell(f'c{index}', null)} AS {_identifier(name)}" for index, name in enumerate(names))
    try:
        con.execute(
            f"CREATE VIEW {_NAME} AS SELECT {cells} FROM read_csv({source}, "  # noqa: S608 - all names are quoted
            "auto_detect=false, delim=',', quote='\"', "
            f"escape='\"', comment='', header={str(header).lower()}, columns={{{shape}}}, strict_mode=true, "
            "null_padding=false, ignore_errors=false, max_line_size=2097152, "
            "nullstr='', allow_quoted_nulls=false)"
        )
        if not con.execute(f"SELECT 1 FROM {_NAME} LIMIT 1").fetchall():  # noqa: S608 - a name of ours
            raise MalformedError(f"{where}: no rows, expected at least one")
    except duckdb.Error as error:
        refusal = said(error, where)
        raise type(refusal)(f"{refusal}{separated_by(first)}") from None
    return Opened(where, text=True)


def _cell(name: str, null: Collection[str]) -> str:
    """Return a cell of a CSV file as SQL: stripped, null where it stands for a missing value."""
    stripped = f"trim({name}, {_SPACE})"
    missing = {text.strip() for text in null}
    cell = stripped if "" in missing else f"coalesce({stripped}, '')"  # the reader gives null for an empty cell
    for text in sorted(missing):
        cell = f"nullif({cell}, {_quote(text)})"
    return cell


_SPACE = "E' \\t\\r\\n\\f\\v'"
_READERS = {"Parquet": _parquet, "Arrow": _arrow, "JSON lines": _json, "CSV": _csv}
