"""A Postgres database as a source: tables and queries, read as CSV by `COPY ... TO STDOUT` through psycopg 3.

The session is read-only, sees one snapshot, and renders values the same way on every machine. The server ends a
statement after `timeout_s`. If it does not, the connection is closed 10 s later. psycopg quotes names and binds
parameters. Credentials come from the usual libpq settings (`PGHOST`, `PGUSER`, `PGPASSWORD`, `PGSERVICE`, `~/.pgpass`)
or from the environment variable that `dsn_variable` names. An error names the kind of failure, and never repeats the
text of the server, which may hold cells.
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
        name: Name of the table in the catalogue.
        schema: Schema of the table, by default found by the search path of the session.
        order_by: Columns to sort by, so that the same rows are the same bytes.
    """

    name: str
    schema: str | None = None
    order_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Query:
    """The rows of one `SELECT`. Give it an `ORDER BY`, so that the same rows are the same bytes.

    Attributes:
        text: Statement with placeholders such as `%(month)s`. It is trusted code.
        parameters: Values of the placeholders by name. They are bound, never pasted.
    """

    text: str
    parameters: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Postgres:
    """Tables and queries of one Postgres database.

    Attributes:
        batches: Table or query of each batch, by name.
        dsn_variable: Name of the environment variable with the connection string, by default the usual `PG...`
            variables.
        timeout_s: Time limit of a statement. The connection is closed 10 s later if the server does not keep it.
        manifest: File of the signed manifest, because a database has no place for one.
        require_manifest: Quarantine each batch whose digest is not in the signed manifest.
    """

    batches: Mapping[str, Table | Query]
    dsn_variable: str | None = None
    timeout_s: float = 60.0
    manifest: Path | None = None
    require_manifest: bool = True

    def __post_init__(self) -> None:
        """Reject a definition that can never work, and a connection string instead of the name of a variable."""
        if self.dsn_variable is not None and not _VARIABLE.fullmatch(self.dsn_variable):
            raise PreconditionError("Postgres.dsn_variable: expected an environment variable's name, like SALES_DSN")
        if self.require_manifest and self.manifest is None:
            raise PreconditionError("Postgres: name the manifest's file, or set require_manifest=False")
        if not all(BATCH_NAME.fullmatch(name) for name in self.batches):
            raise PreconditionError("Postgres.batches: expected names of at most 100 letters, digits, '_', '.' and '-'")
        if not 0 < self.timeout_s <= 86_400:
            raise PreconditionError("Postgres.timeout_s: expected more than 0 and at most 86400 seconds")

    def names(self) -> list[str]:
        """Return the names of the batches, without a query to the database."""
        return sorted(self.batches)

    def fetch(self, name: str, *, max_bytes: int) -> bytes:
        """Read one table or query as CSV, in one statement.

        Raises:
            UnavailableError: If the batch or table is missing, the connection fails, or the time limit is exceeded.
            MalformedError: If the batch is larger than `max_bytes`.
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
        """Read the signed manifest, or return None if the source has none.

        Raises:
            UnavailableError: If it cannot be read.
            MalformedError: If it is not a regular file or too large.
        """
        return None if self.manifest is None else read_manifest(self.manifest)

    def location(self, name: str | None = None) -> str:
        """Describe the table or query, for people, without address and user of the database."""
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
    """Shut the connection down after `seconds`, because only the server keeps the timeout of the server."""
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
        # The text is as trusted as the file of the model, which holds it.
        return sql.SQL(copy).format(sql.SQL(wanted.text.strip().removesuffix(";")))
    table = sql.Identifier(wanted.schema, wanted.name) if wanted.schema else sql.Identifier(wanted.name)
    select = sql.SQL("SELECT * FROM {}").format(table)
    if wanted.order_by:
        columns = sql.SQL(", ").join(sql.Identifier(column) for column in wanted.order_by)
        select = sql.SQL("{} ORDER BY {}").format(select, columns)
    return sql.SQL(copy).format(select)
