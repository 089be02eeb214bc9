"""The lake: DuckDB views over files of record. It holds no state and can be rebuilt at any time.

Views over files block no writer, and a reader may keep the lake open while a newer one replaces it.
"""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from secure_ml.errors import UnavailableError
from secure_ml.home import Home
from secure_ml.inference_log.segments import render_segment
from secure_ml.safe_files import replace_file

if TYPE_CHECKING:
    import duckdb

__all__ = ["rebuild"]

_CONFIGURATION: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
}
_ENVELOPE = "{payload: 'VARCHAR', payloadType: 'VARCHAR'}"
_STATEMENT = """
    create view {name} as
    with decoded as (
        select filename, decode(from_base64(payload))::json as statement
        from read_json({files}, columns = {envelope}, filename = true, format = 'unstructured',
            maximum_object_size = 16777216)
        where payload is not null
    )
    select {columns}, statement->'$.subject' as subjects, filename as path from decoded
"""
_EVIDENCE = (
    ", ".join(
        f"statement->>'$.predicate.{name}' as {name}" for name in ("model", "stage", "cause", "decision", "made_at")
    )
    + ", statement->'$.predicate.reasons' as reasons, statement->'$.predicate.inputs' as inputs, "
    + ("statement->'$.predicate.facts' as facts")
)
_RELEASES = (
    "statement->>'$.predicate.model' as model, (statement->>'$.predicate.number')::integer as number, "
    "statement->>'$.predicate.model_digest' as model_digest, statement->>'$.predicate.made_at' as made_at, "
    "statement->'$.predicate.inputs' as inputs"
)


def rebuild(home: Home) -> Path:
    """Rebuild `lake/lake.duckdb` with the views `records`, `evidence`, `releases` and `quarantine`.

    The views read files without verifying them. They answer questions of people, and gates verify files themselves.

    Raises:
        UnavailableError: If the views cannot be created.
    """
    import duckdb

    empty = home.lake / "empty"
    empty.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in (
        ("envelope.json", b"{}"),
        ("findings.json", b"{}"),
        ("records.parquet", render_segment([], [])),
    ):
        replace_file(empty / name, content)
    draft = home.lake / f".{secrets.token_hex(8)}.duckdb"
    try:
        with contextlib.closing(duckdb.connect(str(draft), config=_CONFIGURATION)) as database:
            records = _files(home, "log/*/segments/*.parquet", empty / "records.parquet")
            database.execute(f"create view records as select * from read_parquet({records}, union_by_name = true)")  # noqa: S608
            for name, pattern, columns in (
                ("evidence", "evidence/*/*/*.json", _EVIDENCE),
                ("releases", "releases/*/*.json", _RELEASES),
            ):
                files = _files(home, pattern, empty / "envelope.json")
                database.execute(_STATEMENT.format(name=name, files=files, envelope=_ENVELOPE, columns=columns))
            _quarantine(database, _files(home, "quarantine/*/*/findings.json", empty / "findings.json"))
        draft.replace(home.lake / "lake.duckdb")
    except duckdb.Error as error:
        draft.unlink(missing_ok=True)
        raise UnavailableError(
            f"lake: the views cannot be created ({type(error).__name__}: {error}); remove the folder lake and retry"
        ) from None
    return home.lake / "lake.duckdb"


def _quarantine(database: duckdb.DuckDBPyConnection, files: str) -> None:
    columns = "{model: 'VARCHAR', stage: 'VARCHAR', batch: 'VARCHAR', dataset: 'VARCHAR', reasons: 'VARCHAR[]'}"
    database.execute(
        f"create view quarantine as select * from read_json({files}, columns = {columns}, filename = true, "  # noqa: S608
        "format = 'unstructured') where model is not null"
    )


def _files(home: Home, pattern: str, empty: Path) -> str:
    """Return an SQL list of the glob and one empty file, because a view over a glob without files raises."""
    names = [str(empty)]
    if next(home.root.glob(pattern), None) is not None:
        names.append(f"{_escape_glob(str(home.root))}/{pattern}")
    return "[" + ", ".join("'" + name.replace("'", "''") + "'" for name in names) + "]"


def _escape_glob(path: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in path)
