"""Segments: read the log files of services, render records as Parquet, and delete sealed records."""

from __future__ import annotations

import contextlib
import io
import json
import math
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from secure_ml.errors import MalformedError, UnavailableError
from secure_ml.home import Home
from secure_ml.inference_log.records import RECORD_SCHEMA_VERSION, TABLE, Record

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "delete_sealed",
    "logged_requests",
    "newest_records",
    "parse_segment",
    "read_unsealed",
    "render_segment",
    "unsealed_files",
]

_PLAIN = ("id", "time", "model", "release", "model_digest", "request_id", "label", "score", "confidence")
_COLUMNS = "seq, id, time, model, release, model_digest, request_id, input, label, score, confidence"


def unsealed_files(home: Home, model: str) -> list[Path]:
    """Return the log files of all service processes, oldest first."""
    return sorted((home.log / model).glob("*.sqlite"))


def read_unsealed(path: Path, after_seq: int, limit: int) -> list[Record]:
    """Read at most `limit` records after `after_seq`, in order, also while the service runs or after it was killed.

    Raises:
        MalformedError: If the file is not a log file of this schema version.
        UnavailableError: If the file cannot be opened.
    """
    with _open(path) as database:
        rows = database.execute(
            f"select {_COLUMNS} from records where seq > ? order by seq limit ?",  # noqa: S608 (constant columns)
            (after_seq, limit),
        ).fetchall()
    return [_record(row, path.name) for row in rows]


def delete_sealed(path: Path, up_to_seq: int) -> None:
    """Delete the records up to `up_to_seq`, which a signed segment holds.

    Raises:
        UnavailableError: If the file cannot be written.
    """
    if up_to_seq > 0:
        with _open(path) as database:
            database.execute("delete from records where seq <= ?", (up_to_seq,))


def render_segment(records: Sequence[Record], features: Sequence[str]) -> bytes:
    """Render records as Parquet (zstd), with the plain columns and one column `input_<feature>` per feature."""
    import polars as pl

    columns: dict[str, pl.Series] = {
        name: pl.Series(name, [getattr(record, name) for record in records]) for name in _PLAIN
    }
    columns["request_id"] = columns["request_id"].cast(pl.String)
    for index, feature in enumerate(features):
        columns[f"input_{feature}"] = pl.Series(
            f"input_{feature}", [record.input[index] for record in records], dtype=pl.Float64
        )
    columns["record_schema"] = pl.Series("record_schema", [RECORD_SCHEMA_VERSION] * len(records), dtype=pl.Int64)
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer, compression="zstd")
    return buffer.getvalue()


def parse_segment(content: bytes) -> pl.DataFrame:
    """Parse a segment.

    Raises:
        MalformedError: If the content is not Parquet or lacks a column of a record.
    """
    import polars as pl

    try:
        frame = pl.read_parquet(io.BytesIO(content))
        frame.select(_PLAIN)
        return frame
    except pl.exceptions.PolarsError as error:
        raise MalformedError(
            f"segment: malformed ({type(error).__name__}), expected Parquet with the columns of a record"
        ) from None


def newest_records(home: Home, model: str, count: int, segments: Iterable[bytes]) -> list[Record]:
    """Return the newest `count` records from the log files and from verified `segments`, newest first."""
    records: dict[str, Record] = {}
    for path in unsealed_files(home, model):
        with _open(path) as database:
            rows = database.execute(
                f"select {_COLUMNS} from records order by seq desc limit ?",  # noqa: S608 (constant columns)
                (count,),
            ).fetchall()
        records |= {record.id: record for record in (_record(row, path.name) for row in rows)}
    for frame in map(parse_segment, segments):
        names = [name for name in frame.columns if name.startswith("input_")]
        for row in frame.sort("id").tail(count).iter_rows(named=True):
            values = {name: row[name] for name in _PLAIN}
            records.setdefault(row["id"], Record(seq=0, input=tuple(row[name] for name in names), **values))
    return [records[key] for key in sorted(records, reverse=True)[:count]]


def logged_requests(home: Home, model: str, segments: Iterable[bytes]) -> set[str]:
    """Return the request ids of all answered requests, from the log files and from verified `segments`."""
    known: set[str] = set()
    for path in unsealed_files(home, model):
        with _open(path) as database:
            rows = database.execute("select request_id from records where request_id is not null").fetchall()
        known |= {str(row[0]) for row in rows}
    for frame in map(parse_segment, segments):
        known |= set(frame["request_id"].drop_nulls().to_list())
    return known


@contextlib.contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    if not stat.S_ISREG(path.lstat().st_mode):
        raise MalformedError(f"log {path.name}: not a regular file; remove it")
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=30)
        ) as database:
            database.execute("pragma trusted_schema=off")
            database.execute("pragma synchronous=full")
            version = database.execute("pragma user_version").fetchone()[0]
            tables = dict(database.execute("select name, sql from sqlite_master").fetchall())
            if not tables and version in (0, RECORD_SCHEMA_VERSION):
                # The service was killed while it created the file, so it acknowledged nothing.
                database.execute(
                    "create temp table records (seq, id, time, model, release, model_digest, request_id, input, "
                    "label, score, confidence)"
                )
            elif version != RECORD_SCHEMA_VERSION:
                raise MalformedError(
                    f"log {path.name}: unknown record schema, expected {RECORD_SCHEMA_VERSION}, tables {version}; "
                    "install a newer secure-ml"
                )
            elif tables.pop("records", None) != TABLE or tables.keys() != {"sqlite_sequence"}:
                raise MalformedError(
                    f"log {path.name}: unexpected content such as a trigger or a view, expected the table of records; "
                    "remove the file"
                )
            yield database
    except sqlite3.OperationalError as error:
        raise UnavailableError(f"log {path.name}: cannot be read ({error}); retry later") from None
    except sqlite3.DatabaseError as error:
        raise MalformedError(f"log {path.name}: damaged ({type(error).__name__}); keep the file for recovery") from None


def _record(row: tuple[object, ...], where: str) -> Record:
    seq, id_, time, model, release, digest, request_id, values_text, label, score, confidence = row
    try:
        values = tuple(None if value is None else float(value) for value in json.loads(str(values_text)))
        if not all(
            math.isfinite(value) for value in (*values, float(str(score)), float(str(confidence))) if value is not None
        ):
            raise ValueError("record: not a finite number")
        return Record(
            seq=int(str(seq)),
            id=str(id_),
            time=str(time),
            model=str(model),
            release=int(str(release)),
            model_digest=str(digest),
            request_id=None if request_id is None else str(request_id),
            input=values,
            label=str(label),
            score=float(str(score)),
            confidence=float(str(confidence)),
        )
    except (ValueError, TypeError, RecursionError):
        raise MalformedError(f"log {where}: damaged record; keep the file for recovery") from None
