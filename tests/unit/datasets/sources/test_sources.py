"""A source lists batches and hands out bytes, bounded and once; whatever is wrong is one clear sentence."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from secure_ml.conformance import check_model
from secure_ml.datasets.sources import S3, LocalFolder, Postgres, Table, postgres
from secure_ml.datasets.sources.names import MANIFEST_FILE
from secure_ml.errors import MalformedError, PreconditionError, UnavailableError
from secure_ml.spec import Batches
from tests.sources_support import COLUMNS, GOOD, model_on


def test_a_local_folder_lists_what_is_named_like_a_batch(tmp_path: Path) -> None:
    named = ("january.csv", "2024.csv", "may.parquet", "may.1.arrow", "june.jsonl")
    for name in (*named, ".hidden.csv", "a b.csv", "notes.txt", "manifest.dsse.json"):
        (tmp_path / name).write_text("x\n")
    source = LocalFolder(tmp_path)
    assert source.names() == ["2024", "january", "june", "may", "may.1"]
    assert source.location("may") == str(tmp_path / "may.parquet")
    assert source.fetch("january", max_bytes=2) == b"x\n"
    assert source.location("january") == str(tmp_path / "january.csv")


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "sub/january", "", "..", "january\n"])
def test_a_local_folder_hands_out_nothing_outside_of_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("x\n")
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "january.csv").write_text("x\n")
    with pytest.raises(UnavailableError, match="no such batch"):
        LocalFolder(folder).fetch(name, max_bytes=100)


def test_a_local_folder_hands_out_no_link_no_fifo_and_nothing_too_large(tmp_path: Path) -> None:
    (tmp_path / "link.csv").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "fifo.csv")
    (tmp_path / "large.csv").write_bytes(b"x" * 101)
    source = LocalFolder(tmp_path)
    for name, said in (("link", "found a link"), ("fifo", "found a FIFO"), ("large", "split the file")):
        with pytest.raises(MalformedError, match=said):
            source.fetch(name, max_bytes=100)
    with pytest.raises(UnavailableError, match="february: no such batch"):
        source.fetch("february", max_bytes=100)
    with pytest.raises(UnavailableError, match="cannot be listed"):
        LocalFolder(tmp_path / "gone").names()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"endpoint": "https://key:s3cret@store.example"}, "holds credentials"),
        ({"endpoint": "https://store.example/?X-Amz-Signature=s3cret"}, "holds credentials"),
        ({"endpoint": "store.example:9000"}, "expected http"),
        ({"endpoint": "file:///etc"}, "expected http"),
        ({"bucket": "a/../b"}, "S3.bucket"),
    ],
)
def test_an_s3_source_refuses_credentials_and_what_can_never_work(more: dict[str, str], said: str) -> None:
    with pytest.raises(PreconditionError, match=said) as caught:
        S3(**{"bucket": "sales", **more})  # type: ignore[arg-type]
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["inbox", "files", "Sales", "a.b", ""])
def test_a_source_may_not_be_named_like_a_batch_or_the_inbox(name: str, tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match=r"Batches\.sources"):
        Batches(columns=COLUMNS, sources={name: LocalFolder(tmp_path)})


def test_a_file_may_not_be_named_like_a_batch_of_a_source(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match=r"sales\.january has the name of a batch of a source"):
        Batches(columns=COLUMNS, files={"sales.january": tmp_path}, sources={"sales": LocalFolder(tmp_path)})


def test_the_example_of_the_docs_is_what_a_models_file_may_say() -> None:
    text = (Path(__file__).parents[4] / "docs" / "sources.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    said: dict[str, object] = {}
    exec(block, said)  # it is ours
    batches = said["batches"]
    assert isinstance(batches, Batches)
    assert {name: source.require_manifest for name, source in batches.sources.items()} == {
        "branch": True,
        "cloud": True,
        "shop": False,
        "lab": True,
    }


def test_a_models_check_says_which_source_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "first.csv").write_bytes(GOOD)
    here = model_on(sources={"here": LocalFolder(tmp_path), "gone": LocalFolder(tmp_path / "gone")})
    said = check_model(replace(here, split=replace(here.split, batch="here.first")))
    assert [sentence for sentence in said if "split" in sentence] == []
    assert [sentence for sentence in said if "source gone: " in sentence and "cannot be listed" in sentence]
    assert [sentence for sentence in check_model(here) if "split.batch: first provides the holdout, but" in sentence]


def test_a_models_check_says_which_source_lacks_the_manifest_that_it_requires(tmp_path: Path) -> None:
    (tmp_path / "first.csv").write_bytes(GOOD)

    def said(source: LocalFolder) -> list[str]:
        return [sentence for sentence in check_model(model_on(sources={"here": source})) if "manifest" in sentence]

    assert said(LocalFolder(tmp_path, require_manifest=False)) == []
    (sentence,) = said(LocalFolder(tmp_path))
    assert "source here: no signed manifest" in sentence
    assert "secure-ml dataset sign-manifest FOLDER --source here" in sentence
    assert "unsafe, require_manifest=False" in sentence
    (tmp_path / MANIFEST_FILE).write_bytes(b"{}")
    assert said(LocalFolder(tmp_path)) == []


@contextlib.contextmanager
def silent_postgres() -> Iterator[int]:
    """A server on loopback that lets anybody in, and then never answers a question; yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening, contextlib.ExitStack() as lines:

        def let_in() -> None:
            with contextlib.suppress(OSError):
                while True:
                    line = lines.enter_context(listening.accept()[0])
                    line.recv(4096)
                    line.sendall(b"R" + struct.pack("!II", 8, 0) + b"Z" + struct.pack("!I", 5) + b"I")

        threading.Thread(target=let_in, daemon=True).start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)


def test_a_postgres_server_that_never_answers_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    psycopg = pytest.importorskip("psycopg")
    monkeypatch.setattr(postgres, "_GRACE_S", 0.2)
    with silent_postgres() as port:
        dsn = f"host=127.0.0.1 port={port} user=u dbname=d sslmode=disable gssencmode=disable password=hunter2"
        monkeypatch.setenv("SALES_DSN", dsn)
        with psycopg.connect(dsn, autocommit=True) as plain:

            def ask() -> None:
                with pytest.raises(psycopg.OperationalError):
                    plain.execute("select 1")

            waiting = threading.Thread(target=ask)
            waiting.start()
            source = Postgres({"all": Table("sales")}, dsn_variable="SALES_DSN", timeout_s=0.1, require_manifest=False)
            with pytest.raises(UnavailableError, match="postgres table sales: was not handed out") as caught:
                source.fetch("all", max_bytes=1000)
            assert "hunter2" not in str(caught.value)
            assert waiting.is_alive(), "who does not hang up waits for ever"
            with socket.socket(fileno=os.dup(plain.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)
            waiting.join(timeout=30)
            assert not waiting.is_alive()
