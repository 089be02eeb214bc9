"""Open a data file as a table of an engine, by its content and not by its name.

Nothing is guessed, nothing is repaired, and no file is read as a whole. DuckDB reads the file, in memory and locked
down: it loads and fetches no extension, it can open only this one file and a folder for spilling, its configuration is
locked, and its memory is limited. The file is opened once, without following links, and the engine gets the open
descriptor, so no name of a file ever stands in a query.
"""

from __future__ import annotations

import io
import os
import re
import tempfile
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from secure_ml.errors import MalformedError
from secure_ml.safe_files import open_file
from secure_ml.tables.opened_table import DEFAULT_LIMITS, Limits, OpenedTable
from secure_ml.tables.queries import bounded_memory, engine_error
from secure_ml.tables.text_files import MAX_COLUMNS, column_names, inspect_text, require_names, separator_hint
from secure_ml.tables.text_types import readings

if TYPE_CHECKING:
    import duckdb
    import polars as pl

__all__ = ["Kind", "kind_of", "open_bytes", "open_table", "table_of"]

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


@dataclass(frozen=True, slots=True)
class _File:
    """A file that is being opened.

    Attributes:
        con: The engine that will read it.
        stream: The open file.
        source: Name of the file in messages.
        columns: Columns of a CSV file without a header, None if the first line is the header.
        null: Cells of a CSV file that stand for a missing value.
        limits: Bounds on the work.
    """

    con: duckdb.DuckDBPyConnection
    stream: BinaryIO
    source: str
    columns: Sequence[str] | None
    null: Collection[str]
    limits: Limits

    @property
    def path(self) -> str:
        """Path by which the engine opens the file."""
        return _path(self.stream)

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return os.fstat(self.stream.fileno()).st_size


def open_table(
    path: Path,
    *,
    columns: Sequence[str] | None = None,
    null: Collection[str] = ("",),
    limits: Limits = DEFAULT_LIMITS,
) -> OpenedTable:
    """Open a Parquet, Arrow IPC, JSON lines or CSV file as a table of an engine of its own.

    Args:
        path: A regular file.
        columns: The columns of a CSV file without a header. A first line that holds any of them is a header. None if
            the first line is the header.
        null: The cells of a CSV file that stand for a missing value.
        limits: Bounds on the work on this table.

    Returns:
        The table. Columns of a CSV or JSON lines file are all text, stripped in CSV; `validate` types them.

    Raises:
        MalformedError: If the file is of no such format, or decodes to far more than it holds.
        UnavailableError: If the file is missing or unreadable.
    """
    return _open(open_file(path), path.name, columns, null, limits)


def open_bytes(
    content: bytes,
    source: str,
    *,
    columns: Sequence[str] | None = None,
    null: Collection[str] = ("",),
    limits: Limits = DEFAULT_LIMITS,
) -> OpenedTable:
    """Open the bytes of such a file; see `open_table`.

    A caller that verified the bytes knows that no others are read.

    Raises:
        MalformedError: If the bytes are of no such format, or decode to far more than they hold.
    """
    stream = os.fdopen(os.memfd_create(_NAME, os.MFD_CLOEXEC), "w+b")
    stream.write(content)
    stream.seek(0)
    return _open(stream, source, columns, null, limits)


def kind_of(content: bytes, source: str) -> Kind:
    """Return the format of a file's bytes.

    Raises:
        MalformedError: If the file is empty, or of a format that is not read.
    """
    return _kind(io.BytesIO(content[:_HEAD_BYTES]), source)


def _open(
    stream: BinaryIO, source: str, columns: Sequence[str] | None, null: Collection[str], limits: Limits
) -> OpenedTable:
    try:
        kind = _kind(stream, source)
        con = _connect(stream, limits)
        dtypes = _READERS[kind](_File(con, stream, source, columns, null, limits))
    except BaseException:
        stream.close()
        raise
    size_s = os.fstat(stream.fileno()).st_size / _LEAST_BYTES_PER_S
    return _as_table(con, dtypes, source, dtypes is None, replace(limits, query_s=limits.query_s + size_s))


def table_of(
    frame: pl.DataFrame, *, source: str = "table", is_text: bool = False, limits: Limits = DEFAULT_LIMITS
) -> OpenedTable:
    """Return a frame in memory as a table of an engine of its own.

    Args:
        frame: Any columns.
        source: Name of the table in messages.
        is_text: Whether its columns are text that the contract has yet to type.
        limits: Bounds on the work on this table.
    """
    con = _connect(None, limits)
    con.register(_NAME, frame.to_arrow())
    return _as_table(con, dict(frame.schema), source, is_text, limits)


def _as_table(
    con: duckdb.DuckDBPyConnection,
    dtypes: Mapping[str, pl.DataType] | None,
    source: str,
    is_text: bool,
    limits: Limits,
) -> OpenedTable:
    import polars as pl
    from ibis.backends.duckdb import Backend  # not `ibis.duckdb`, which reads the entry points of all packages

    backend = Backend.from_connection(con)
    if is_text:
        con.execute(";".join(readings()))
    con.execute("SET lock_configuration=true")
    table = backend.table(_NAME)
    return OpenedTable(table, dtypes or dict.fromkeys(table.columns, pl.String()), source, is_text, limits)


def _connect(stream: BinaryIO | None, limits: Limits) -> duckdb.DuckDBPyConnection:
    """Start an engine that can open nothing but one stream, which stays open as long as the engine lives."""
    import duckdb

    folder = tempfile.mkdtemp(prefix="secure-ml-")
    con = duckdb.connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "allow_persistent_secrets": "false",
            "memory_limit": limits.memory,
            "max_temp_directory_size": _MAX_SPILL,
            "temp_directory": folder,
            # The statistics in a file must not decide how it is read. A hostile file lies, and every file leaves
            # NaN out of its minimum and maximum.
            "disabled_optimizers": "statistics_propagation,compressed_materialization,filter_pushdown",
            "threads": str(len(os.sched_getaffinity(0))),
        },
    )
    weakref.finalize(con, _release, folder, stream)
    con.execute("SET python_enable_replacements=false")
    if stream is not None:
        con.execute(f"SET allowed_paths=[{_quote(_path(stream))}]")
    con.execute("SET enable_external_access=false")
    return con


def _release(folder: str, stream: BinaryIO | None) -> None:
    import shutil

    if stream is not None:
        stream.close()
    shutil.rmtree(folder, ignore_errors=True)


def _path(stream: BinaryIO) -> str:
    """Return the path by which the engine opens a stream; no name of a user's file stands in a query."""
    return f"/proc/self/fd/{stream.fileno()}"


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _kind(stream: BinaryIO, source: str) -> Kind:
    head = stream.read(_HEAD_BYTES)
    stream.seek(0)
    if not head:
        raise MalformedError(f"{source}: empty file, expected Parquet, Arrow IPC, JSON lines or CSV")
    for magic, kind in _FOREIGN.items():
        if head.startswith(magic):
            raise MalformedError(f"{source}: expected Parquet, Arrow IPC, JSON lines or CSV, found {kind}")
    if head.startswith(b"PAR1"):
        return "Parquet"
    if head.startswith(b"ARROW1"):
        return "Arrow"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if re.match(rb"\[\s*[\[{\]]", text):
        raise MalformedError(f"{source}: a JSON array; write one object a line")
    if re.match(rb"\{[ \t]*\r?\n", text):
        raise MalformedError(f"{source}: a JSON object over several lines; write one object a line")
    return "JSON lines" if text.startswith(b"{") else "CSV"


def _unreadable(file: _File, kind: str, end: bytes) -> MalformedError:
    """Return the error for a file that the engine cannot read; it says whether the last bytes are missing."""
    file.stream.seek(max(0, file.stream.seek(0, os.SEEK_END) - len(end)))
    why = "it is damaged" if file.stream.read() == end else "it has no footer: truncated? send the whole file again"
    return MalformedError(f"{file.source}: expected {kind}, it cannot be read: {why}")


def _parquet(file: _File) -> Mapping[str, pl.DataType]:
    import duckdb
    import polars as pl

    try:
        dtypes = pl.read_parquet_schema(file.path)
        require_names(list(dtypes), file.source)
        (sums,) = file.con.execute(
            "SELECT coalesce(sum(greatest(num_values, total_uncompressed_size)), 0) FROM parquet_metadata(?)",
            [file.path],
        ).fetchall()
        decoded = int(sums[0])
        if decoded > _FREE_CELLS and decoded > file.size_bytes * _MAX_RATIO:
            raise MalformedError(
                f"{file.source}: decodes to more than {_MAX_RATIO} times its {file.size_bytes} bytes; "
                "it may be a decompression bomb and is not read"
            )
        file.con.read_parquet(file.path).create_view(_NAME)
    except (duckdb.Error, pl.exceptions.PolarsError, OSError):
        raise _unreadable(file, "Parquet", b"PAR1") from None
    return dtypes


def _arrow(file: _File) -> Mapping[str, pl.DataType]:
    import duckdb
    import polars as pl
    import pyarrow as pa
    import pyarrow.dataset

    try:
        dtypes = pl.read_ipc_schema(file.path)
        require_names(list(dtypes), file.source)
        # No engine checks offsets, dictionary indices and UTF-8. An index outside the file would be followed.
        with bounded_memory(), pa.OSFile(file.path) as content, pa.ipc.open_file(content) as batches:
            for index in range(batches.num_record_batches):
                batches.get_batch(index).validate(full=True)
        file.con.register(_NAME, pyarrow.dataset.dataset(file.path, format="ipc"))
    except pa.ArrowMemoryError:
        raise MalformedError(f"{file.source}: expected Arrow IPC, it needs more memory than may be taken") from None
    except (pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException, duckdb.Error, OSError):
        raise _unreadable(file, "Arrow IPC", b"ARROW1") from None
    return dtypes


def _json(file: _File) -> None:
    import duckdb

    inspect_text(file.stream, file.source, quoted=False)
    try:
        names = [
            row[0]
            for row in file.con.execute(
                "SELECT k, min((n, i)) AS m FROM (SELECT unnest(json_keys(json)) AS k, "
                "unnest(range(len(json_keys(json)))) AS i, row_number() OVER () AS n "
                "FROM read_ndjson_objects(?, maximum_object_size=1048576)) GROUP BY k ORDER BY m LIMIT ?",
                [file.path, MAX_COLUMNS + 1],
            ).fetchall()
        ]
        require_names(names, file.source)
        shape = ", ".join(f"{_quote(name)}: 'VARCHAR'" for name in names)
        file.con.execute(
            f"CREATE VIEW {_NAME} AS SELECT * FROM read_json({_quote(file.path)}, "  # noqa: S608
            f"format='newline_delimited', records='true', columns={{{shape}}}, maximum_object_size=1048576)"
        )
    except duckdb.Error as error:
        raise engine_error(error, file.source, file.limits) from None


def _csv(file: _File) -> None:
    import duckdb

    inspect_text(file.stream, file.source, quoted=True)
    file.stream.seek(0)
    first = column_names(file.stream, file.source)
    header = file.columns is None or bool(set(first) & set(file.columns))
    names = first if header else list(file.columns or ())
    require_names(names, file.source)
    shape = ", ".join(f"{_quote(f'c{index}')}: 'VARCHAR'" for index in range(len(names)))
    cells = ", ".join(f"{_cell(f'c{index}', file.null)} AS {_identifier(name)}" for index, name in enumerate(names))
    try:
        file.con.execute(
            f"CREATE VIEW {_NAME} AS SELECT {cells} FROM read_csv({_quote(file.path)}, "  # noqa: S608 - names are quoted
            "auto_detect=false, delim=',', quote='\"', "
            f"escape='\"', comment='', header={str(header).lower()}, columns={{{shape}}}, strict_mode=true, "
            "null_padding=false, ignore_errors=false, max_line_size=2097152, "
            "nullstr='', allow_quoted_nulls=false)"
        )
        if not file.con.execute(f"SELECT 1 FROM {_NAME} LIMIT 1").fetchall():  # noqa: S608 - a constant name
            raise MalformedError(f"{file.source}: no rows, expected at least one")
    except duckdb.Error as error:
        refusal = engine_error(error, file.source, file.limits)
        raise type(refusal)(f"{refusal}{separator_hint(first)}") from None


def _cell(name: str, null: Collection[str]) -> str:
    """Return a cell of a CSV file as SQL: stripped, and null if it stands for a missing value."""
    stripped = f"trim({name}, {_SPACE})"
    missing = {text.strip() for text in null}
    cell = stripped if "" in missing else f"coalesce({stripped}, '')"  # the reader gives null for an empty cell
    for text in sorted(missing):
        cell = f"nullif({cell}, {_quote(text)})"
    return cell


_SPACE = "E' \\t\\r\\n\\f\\v'"
_READERS: dict[Kind, Callable[[_File], Mapping[str, pl.DataType] | None]] = {
    "Parquet": _parquet,
    "Arrow": _arrow,
    "JSON lines": _json,
    "CSV": _csv,
}
"""Format to the function that declares the table; it returns the types of its columns, or None if all are text."""
