"""Batches in Postgres: tables and queries, read as CSV by `COPY ... TO STDOUT` through psycopg 3.

The session reads only, sees one snapshot, renders values the same way on every machine, and is ended by the server
after `timeout_s`; where the server does not, the line is hung up 10 s later. Names are quoted and parameters bound by
psycopg. Credentials come the usual libpq way (`PGHOST`, `PGUSER`, `PGPASSWORD`, `PGSERVICE`, `~/.pgpass`) or stand in
the environment variable that `dsn_variable` names. An error names the kind of failure, and never repeats the server's
text, which may hold cells.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from secure_ml.datasets.sources.names import BATCH_NAME, missing, read_manifest
from secure_ml.errors import MalformedError, PreconditionError, UnavailableError

if TYPE_CHECKING:
    from psycopg import Connection, sql

__all__ = ["Postgres", "Query", "Table"]

_CONNECT_S = 10
_GRACE_S = 10.0
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_SETTINGS = {
    "default_transaction_read_only": "on",
    "datestyle": "ISO, YMD",
    "intervalstyle": "iso_8601",
    "timezone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
}


@dataclass(frozen=True, slots=True)
class Table:
    """All rows of one table or view.

    Attributes:
        name: Its name, as it stands in the catalogue.
        schema: The schema that holds it; the session's search path decides where left out.
        order_by: Columns to sort by, so that the same rows are the same bytes.
    """

    name: str
    schema: str | None = None
    order_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Query:
    """The rows of one `SELECT`; give it an `ORDER BY`, so that the same rows are the same bytes.

    Attributes:
        text: The statement, with placeholders such as `%(month)s`; it is code of yours.
        parameters: What the placeholders stand for; values are bound, never pasted.
    """

    text: str
    parameters: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Postgres:
    """Tables and queries of one Postgres database.

    Attributes:
        batches: Batch name to what is read.
        dsn_variable: Name of the environment variable that holds the connection string; the usual `PG...` variables
            where left out.
        timeout_s: The server ends a statement that takes longer; one that does not is hung up on 10 s later.
        manifest: File of the signed manifest; a database has no place for one.
        require_manifest: Quarantine each batch whose digest is not in the signed manifest.
    """

    batches: Mapping[str, Table | Query]
    dsn_variable: str | None = None
    timeout_s: float = 60.0
    manifest: Path | None = None
    require_manifest: bool = True

    def __post_init__(self) -> None:
        """Refuse what can never work, and a connection string in place of a variable's name."""
        if self.dsn_variable is not None and not _VARIABLE.fullmatch(self.dsn_variable):
            raise PreconditionError("Postgres.dsn_variable: expected an environment variable's name, like SALES_DSN")
        if self.require_manifest and self.manifest is None:
            raise PreconditionError("Postgres: name the manifest's file, or set require_manifest=False")
        if not all(BATCH_NAME.fullmatch(name) for name in self.batches):
            raise PreconditionError("Postgres.batches: expected names of at most 100 letters, digits, '_', '.' and '-'")
        if not 0 < self.timeout_s <= 86_400:
            raise PreconditionError("Postgres.timeout_s: expected more than 0 and at most 86400 seconds")

    def names(self) -> list[str]:
        """Return the batches that are named; the database is not asked."""
        return sorted(self.batches)

    def fetch(self, name: str, *, max_bytes: int) -> bytes:
        """Read one table or query as CSV, in one statement.

        Raises:
            UnavailableError: No such batch or table, no connection, no right, or it took longer than `timeout_s`.
            MalformedError: Larger than `max_bytes`.
        """
        import psycopg

        if name not in self.batches:
            raise missing(name, self.location())
        wanted = self.batches[name]
        parts: list[bytes] = []
        size = 0
        try:
            with self._connected() as connection, connection.cursor() as cursor:
                parameters = dict(wanted.parameters) if isinstance(wanted, Query) else None
                with cursor.copy(_statement(wanted), parameters or None) as copy:
                    for part in copy:
                        size += len(part)
                        if size > max_bytes:
                            raise MalformedError(f"{name}: more than {max_bytes} bytes; select fewer rows")
                        parts.append(bytes(part))
        except psycopg.errors.QueryCanceled:
            raise UnavailableError(
                f"{self.location(name)}: took longer than {self.timeout_s:g} s and was ended; select fewer rows"
            ) from None
        except psycopg.Error as error:
            raise UnavailableError(
                f"{self.location(name)}: was not handed out ({type(error).__name__}); see its name, the rights, and "
                f"{self.dsn_variable or 'PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD'}"
            ) from None
        return b"".join(parts)

    def fetch_manifest(self) -> bytes | None:
        """Read the signed manifest, None where there is none.

        Raises:
            UnavailableError: It is there and cannot be read.
            MalformedError: Not a regular file, or too large.
        """
        return None if self.manifest is None else read_manifest(self.manifest)

    def location(self, name: str | None = None) -> str:
        """Return what is read, for people; never where the database is or who asks."""
        match self.batches.get(name) if name is not None else None:
            case Table(table, schema):
                return f"postgres table {schema}.{table}" if schema else f"postgres table {table}"
            case Query():
                return f"postgres query {name}"
        return "postgres"

    @contextmanager
    def _connected(self) -> Iterator[Connection[tuple[object, ...]]]:
        import psycopg

        dsn = os.environ.get(self.dsn_variable) if self.dsn_variable else ""
        if dsn is None:
            raise UnavailableError(f"postgres: the environment variable {self.dsn_variable} is not set")
        connection = psycopg.connect(
            dsn, autocommit=True, connect_timeout=_CONNECT_S, client_encoding="UTF8", application_name="secure-ml"
        )
        settings = {**_SETTINGS, "statement_timeout": f"{max(1, round(self.timeout_s * 1000))}ms"}
        with _hung_up_after(self.timeout_s + _GRACE_S, connection.fileno()), connection:
            for setting, value in settings.items():
                connection.execute("select pg_catalog.set_config(%s, %s, false)", (setting, value))
            connection.set_autocommit(False)
            connection.set_read_only(True)
            yield connection


@contextmanager
def _hung_up_after(seconds: float, descriptor: int) -> Iterator[None]:
    """Shut a line down where the work takes longer; a timeout of the server's is kept by the server alone."""
    with socket.socket(fileno=os.dup(descriptor)) as line:

        def hang_up() -> None:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(seconds, hang_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def _statement(wanted: Table | Query) -> sql.Composed:
    from psycopg import sql

    copy = "COPY ({}) TO STDOUT (FORMAT csv, HEADER true, ENCODING 'UTF8')"
    if isinstance(wanted, Query):
        # The text is code of the model's file, as the model's file itself is.
        return sql.SQL(copy).format(sql.SQL(wanted.text.strip().removesuffix(";")))
    of = sql.Identifier(wanted.schema, wanted.name) if wanted.schema else sql.Identifier(wanted.name)
    select = sql.SQL("SELECT * FROM {}").format(of)
    if wanted.order_by:
        columns = sql.SQL(", ").join(sql.Identifier(column) for column in wanted.order_by)
        select = sql.SQL("{} ORDER BY {}").format(select, columns)
    return sql.SQL(copy).format(select)
