"""A Postgres table and query, on a real server that the tests start from Debian's binaries."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from secure_ml.datasets.source_manifest import sign_manifest
from secure_ml.datasets.sources import Postgres, Query, Table
from secure_ml.digests import sha256
from secure_ml.errors import MalformedError, PreconditionError, RejectedError, SecureMLError, UnavailableError
from secure_ml.installation import Installation
from secure_ml.signing.keys import Signer
from secure_ml.stages.dataset import ingest_batch
from secure_ml.stages.incoming import batch_names
from secure_ml.stages.validated_dataset import validate_batch
from tests.postgres_support import BINARIES, PASSWORD, environment_of, postgres_server
from tests.sources_support import follow_changes, model_on

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(BINARIES is None, reason="no Postgres server here (Debian's package postgresql)"),
]

CELL = "s3cretcell"
EVIL = 'sales"; drop table victim; --'
SETUP = f"""
create schema shop;
create table shop.sales (id int primary key, x float8, y float8, target int, bought timestamptz);
insert into shop.sales
  select i, (i % 7) / 3.0, 0.1, i % 2, timestamptz '2024-01-01 00:00+02' from generate_series(1, 50) i;
create table victim (x int);
create table "sales""; drop table victim; --" (x int);
create table notes (note text);
insert into notes values ('{CELL}'), (null), (''), (E'a,"b"\\nc');
create role reader login password '{PASSWORD}';
grant usage on schema shop to reader;
grant select on notes to reader;
"""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    import psycopg

    with postgres_server() as port:
        environment = environment_of(port)
        with psycopg.connect(
            host="127.0.0.1", port=port, user="owner", password=PASSWORD, dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(SETUP)
        assert environment["PGPORT"] == str(port)
        yield port


@pytest.fixture(autouse=True)
def credentials(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment_of(port).items():
        monkeypatch.setenv(name, value)


def open_source(**batches: Table | Query) -> Postgres:
    return Postgres(batches, require_manifest=False)


SALES = Table("sales", "shop", order_by=("id",))


def fetched(wanted: Table | Query, *, max_bytes: int = 1 << 20, timeout_s: float = 60.0) -> bytes:
    return Postgres({"batch": wanted}, require_manifest=False, timeout_s=timeout_s).fetch("batch", max_bytes=max_bytes)


def test_a_table_and_a_query_go_through_both_gates(installation: Installation) -> None:
    text = "select x, y, target from shop.sales where target = %(target)s or id > %(id)s order by id"
    source = open_source(all=Query("select x, y, target from shop.sales"), some=Query(text, {"target": 1, "id": 40}))
    model = model_on(sources={"shop": source})
    assert batch_names(model, installation.home) == ["shop.all", "shop.some"]
    for batch, rows in (("shop.all", 50), ("shop.some", 30)):
        ingest_batch(installation, model, batch)
        assert validate_batch(installation, model, batch).facts["rows"] == rows
    assert ingest_batch(installation, model, "shop.some").facts["source"] == "postgres query some"


def test_a_table_is_the_same_bytes_whatever_the_session_of_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = fetched(SALES)
    assert plain.splitlines()[0] == b"id,x,y,target,bought"
    assert plain.splitlines()[1].endswith(b",2023-12-31 22:00:00+00")
    monkeypatch.setenv("PGOPTIONS", "-c datestyle=German -c timezone=Asia/Tokyo -c extra_float_digits=-3")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    assert fetched(SALES) == plain


def test_changed_rows_of_a_table_are_a_new_version(port: int, installation: Installation) -> None:
    import psycopg

    model = model_on(sources={"shop": open_source(may=Table("may"))})
    with psycopg.connect(
        host="127.0.0.1", port=port, user="owner", password=PASSWORD, dbname="postgres", autocommit=True
    ) as connection:
        connection.execute("create table may (x float8, y float8, target int)")

        def put(content: bytes) -> None:
            connection.execute("truncate may")
            with connection.cursor().copy("copy may from stdin (format csv, header true)") as copy:
                copy.write(content)

        follow_changes(installation, model, "shop.may", put)


def test_a_signed_manifest_lists_a_database_too(installation: Installation, signer: Signer, tmp_path: Path) -> None:
    path = tmp_path / "manifest.dsse.json"
    query = Query("select x, y, target from shop.sales order by id")
    model = model_on(sources={"shop": Postgres({"all": query}, manifest=path)})
    with pytest.raises(RejectedError, match="its source shop has no signed manifest"):
        ingest_batch(installation, model, "shop.all")
    path.write_bytes(sign_manifest("shop", {"all.csv": sha256(fetched(query))}, signer))
    ingest_batch(installation, model, "shop.all")


def test_a_name_is_quoted_and_a_value_is_bound() -> None:
    import psycopg

    assert fetched(Table(EVIL)) == b"x\n"
    assert fetched(Query("select %(value)s::text as x", {"value": "'; drop table victim; --"})) == (
        b"x\n'; drop table victim; --\n"
    )
    with psycopg.connect(autocommit=True) as connection:
        assert connection.execute("select count(*) from victim").fetchone() == (0,)


def test_null_quotes_and_line_ends_in_a_cell_come_through() -> None:
    assert fetched(Table("notes")) == f'note\n{CELL}\n\n""\n"a,""b""\nc"\n'.encode()


@pytest.mark.parametrize(
    "text",
    [
        "insert into victim values (1) returning x",
        "select x from victim for update",
        "select pg_catalog.nextval('counter')",
        "select 1) to stdout; commit; insert into victim values (1); copy (select 1",
    ],
)
def test_the_session_writes_nothing_not_even_by_the_models_own_query(text: str) -> None:
    """The attack first: the same user may write."""
    import psycopg

    with psycopg.connect() as connection:
        connection.execute("create sequence if not exists counter")
        connection.commit()
        connection.execute("insert into victim values (1)")
        connection.rollback()
    with pytest.raises(UnavailableError, match=r"ReadOnlySqlTransaction|FeatureNotSupported|ProgrammingError"):
        fetched(Query(text))
    with psycopg.connect() as connection:
        assert connection.execute("select count(*) from victim").fetchone() == (0,)


def test_a_statement_that_takes_too_long_is_ended_by_the_server() -> None:
    with pytest.raises(UnavailableError, match=r"took longer than 0\.2 s and was ended"):
        fetched(Query("select pg_sleep(600)"), timeout_s=0.2)


def test_more_bytes_than_are_read_end_the_statement_early() -> None:
    with pytest.raises(MalformedError, match="batch: more than 1000 bytes; select fewer rows"):
        fetched(Query("select generate_series(1, 1000000000)"), max_bytes=1000)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Table("nothing"), "postgres table nothing: was not handed out (UndefinedTable)"),
        (Table("sales", "shop", order_by=("nothing",)), "(UndefinedColumn)"),
        (Query("selekt 1"), "postgres query batch: was not handed out (SyntaxError)"),
        (Query("select note::int from notes"), "(InvalidTextRepresentation)"),
        (Query("select %(a)s", {"b": 1}), "(ProgrammingError)"),
        (Query("select 1/0"), "(DivisionByZero)"),
    ],
)
def test_a_failure_is_one_sentence_without_a_cell(wanted: Table | Query, said: str) -> None:
    with pytest.raises(UnavailableError) as caught:
        fetched(wanted)
    assert said in str(caught.value)
    assert_nothing_leaks(caught.value)


def test_a_user_without_the_right_gets_nothing(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGUSER", "reader")
    assert CELL.encode() in fetched(Table("notes"))
    with pytest.raises(UnavailableError, match="InsufficientPrivilege"):
        fetched(SALES)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PGPASSWORD", "s3cretwrong"),
        ("PGUSER", "s3cretnobody"),
        ("PGDATABASE", "s3cretnowhere"),
        ("PGPORT", "1"),
        ("SALES_DSN", f"host=127.0.0.1 s3cret {PASSWORD}"),
        ("SALES_DSN", f"postgresql://owner:{PASSWORD}@127.0.0.1:1/s3cret"),
        ("SALES_DSN", None),
    ],
)
def test_no_credential_stands_in_an_error(variable: str, value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is not None:
        monkeypatch.setenv(variable, value)
    dsn = variable if variable == "SALES_DSN" else None
    source = Postgres({"batch": SALES}, dsn_variable=dsn, require_manifest=False)
    with pytest.raises(UnavailableError) as caught:
        source.fetch("batch", max_bytes=1 << 20)
    assert_nothing_leaks(caught.value)
    assert (dsn or "PGPASSWORD") in str(caught.value)


def test_a_named_variable_holds_the_connection_string(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment_of(port):
        monkeypatch.delenv(name)
    monkeypatch.setenv("SALES_DSN", f"postgresql://owner:{PASSWORD}@127.0.0.1:{port}/postgres")
    source = Postgres({"batch": SALES}, dsn_variable="SALES_DSN", require_manifest=False)
    assert len(source.fetch("batch", max_bytes=1 << 20).splitlines()) == 51
    assert PASSWORD not in repr(source)


def test_what_can_never_work_is_refused_when_the_model_is_made() -> None:
    for make in (
        lambda: Postgres({"batch": SALES}),
        lambda: Postgres({"batch": SALES}, dsn_variable=f"postgresql://owner:{PASSWORD}@db/x", require_manifest=False),
        lambda: Postgres({"../batch": SALES}, require_manifest=False),
        lambda: Postgres({"batch": SALES}, require_manifest=False, timeout_s=0),
    ):
        with pytest.raises(PreconditionError) as caught:
            make()
        assert PASSWORD not in str(caught.value)
    with pytest.raises(UnavailableError, match="february: no such batch in postgres"):
        open_source(january=SALES).fetch("february", max_bytes=1)


def assert_nothing_leaks(error: SecureMLError) -> None:
    said = "".join(traceback.format_exception(error))
    shown = "\n".join(line for line in said.splitlines() if not line.startswith("    "))  # without lines of code
    assert "s3cret" not in shown
    assert len(str(error).splitlines()) == 1
