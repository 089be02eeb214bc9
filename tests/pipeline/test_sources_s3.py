"""An S3-compatible store, moto's server as a process of its own on loopback."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from secure_ml.datasets.source_manifest import sign_manifest
from secure_ml.datasets.sources import S3
from secure_ml.datasets.sources.names import MANIFEST_FILE
from secure_ml.digests import sha256
from secure_ml.errors import MalformedError, RejectedError, UnavailableError
from secure_ml.installation import Installation
from secure_ml.signing.keys import Signer
from secure_ml.stages.dataset import ingest_batch
from secure_ml.stages.incoming import batch_names
from secure_ml.stages.validated_dataset import validate_batch
from tests.sources_support import AWS, GOOD, POISON, follow_changes, model_on, parquet, s3_client, s3_server

pytestmark = pytest.mark.s3


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, s3_server() as address:
        for name, value in AWS.items():
            patch.setenv(name, value)
        client = s3_client(address)
        client.create_bucket(Bucket="sales")
        client.put_object(Bucket="sales", Key="2024/january.csv", Body=GOOD)
        client.put_object(Bucket="sales", Key="2024/may.parquet", Body=parquet())
        client.put_object(Bucket="sales", Key="2024/large.csv", Body=b"x" * 2_000)
        client.put_object(Bucket="sales", Key="2024/notes.txt", Body=b"no batch")
        client.put_object(Bucket="sales", Key="2024/old/december.csv", Body=GOOD)
        yield address


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("credentials")
def test_a_batch_of_a_bucket_goes_through_both_gates(server: str, installation: Installation) -> None:
    source = S3("sales", "2024", endpoint=server, require_manifest=False)
    model = model_on(sources={"sales": source})
    assert batch_names(model, installation.home) == ["sales.january", "sales.large", "sales.may"]
    taken = ingest_batch(installation, model, "sales.january")
    assert taken.facts["source"] == "s3://sales/2024/january"
    typed = ingest_batch(installation, model, "sales.may")
    assert typed.subjects["batch.parquet"] == sha256(parquet())
    for batch in ("sales.january", "sales.may"):
        assert validate_batch(installation, model, batch).facts["rows"] == 60
    said = "".join(path.read_text() for path in installation.home.evidence.rglob("*.json"))
    assert not any(secret in said for secret in ("AKIAIOSFODNN7EXAMPLE", "s3cret"))


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize(
    ("source", "name", "error", "said"),
    [
        ({}, "february", UnavailableError, "february: no such batch in s3://sales/2024/"),
        ({}, "../2024/january", UnavailableError, "no such batch"),
        ({}, "old/december", UnavailableError, "no such batch"),
        ({}, "large", MalformedError, "large.csv: 2000 bytes, at most 1000 are read"),
        ({"bucket": "nobody"}, "january", UnavailableError, "no such batch in s3://nobody/2024/"),
    ],
)
def test_what_a_store_does_not_have_is_one_clear_sentence(
    source: dict[str, str], name: str, error: type[Exception], said: str, server: str
) -> None:
    given: dict[str, Any] = {"bucket": "sales", "prefix": "2024/", "endpoint": server, **source}
    with pytest.raises(error) as caught:
        S3(**given).fetch(name, max_bytes=1_000)
    assert said in str(caught.value)


@pytest.mark.usefixtures("credentials")
def test_a_poisoned_object_goes_through_without_the_control_and_is_quarantined_with_it(
    server: str, installation: Installation, signer: Signer
) -> None:
    client = s3_client(server)
    client.put_object(Bucket="sales", Key="2025/january.csv", Body=POISON)
    place = {"bucket": "sales", "prefix": "2025", "endpoint": server}
    trusting = model_on(sources={"sales": S3(**place, require_manifest=False)})  # type: ignore[arg-type]
    ingest_batch(installation, trusting, "sales.january")
    assert validate_batch(installation, trusting, "sales.january").decision == "accepted"

    guarded = model_on(sources={"sales": S3(**place)})
    with pytest.raises(RejectedError, match="its source sales has no signed manifest"):
        ingest_batch(installation, guarded, "sales.january")
    manifest = sign_manifest("sales", {"january.csv": sha256(GOOD)}, signer)
    client.put_object(Bucket="sales", Key=f"2025/{MANIFEST_FILE}", Body=manifest)
    with pytest.raises(RejectedError, match="its digest is not in the source's signed manifest"):
        ingest_batch(installation, guarded, "sales.january")
    client.put_object(Bucket="sales", Key="2025/january.csv", Body=GOOD)
    ingest_batch(installation, guarded, "sales.january")


@pytest.mark.usefixtures("credentials")
def test_changed_bytes_of_an_object_are_a_new_version(server: str, installation: Installation) -> None:
    client = s3_client(server)
    model = model_on(sources={"sales": S3("sales", "2026", endpoint=server, require_manifest=False)})

    def put(content: bytes) -> None:
        client.put_object(Bucket="sales", Key="2026/january.csv", Body=content)

    follow_changes(installation, model, "sales.january", put)


class Deceiver(BaseHTTPRequestHandler):
    """A store whose object changes between two requests, is shorter than it says, or is refused with many words."""

    asked = 0

    def do_HEAD(self) -> None:
        if not self.path.endswith(".csv") and "refused" not in self.path:
            self.send_error(404)
            return
        type(self).asked += 1
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(b"x,y\n1,2\n")

    def _answer(self, content: bytes) -> None:
        if "refused" in self.path:
            self.send_response(403)
            content = b"<Error><Code>InvalidAccessKeyId</Code><Message>s3cret AKIAIOSFODNN7EXAMPLE</Message></Error>"
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content if self.command == "GET" else b"")
            return
        self.send_response(200 if self.command == "HEAD" else 206)
        short = "short" in self.path
        self.send_header("Content-Length", str(len(content)) if content else "100" if short else "8")
        self.send_header("ETag", f'"{self.asked if "changing" in self.path else 1}"')
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def deceiver() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Deceiver) as store:
        thread = threading.Thread(target=store.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{store.server_address[1]}"
        store.shutdown()
        thread.join()


@pytest.mark.usefixtures("credentials")
def test_an_object_that_changes_while_it_is_read_is_no_batch(deceiver: str) -> None:
    store = S3("sales", endpoint=deceiver)
    assert store.fetch("steady", max_bytes=100) == b"x,y\n1,2\n"
    with pytest.raises(UnavailableError, match=r"s3://sales/changing\.csv: changed while it was read"):
        store.fetch("changing", max_bytes=100)
    with pytest.raises(UnavailableError, match=r"s3://sales/short\.csv: "):
        store.fetch("short", max_bytes=100)


@pytest.mark.usefixtures("credentials")
def test_a_refusal_of_the_store_repeats_none_of_its_words(deceiver: str) -> None:
    store = S3("sales", "refused", endpoint=deceiver)
    for ask in (lambda: store.fetch("january", max_bytes=100), store.names):
        with pytest.raises(UnavailableError, match="the store did not deliver it") as caught:
            ask()
        said = "".join(traceback.format_exception(caught.value))
        shown = "\n".join(line for line in said.splitlines() if not line.startswith("    "))
        assert "s3cret" not in shown
        assert "AKIA" not in shown


@pytest.mark.usefixtures("credentials")
def test_listing_what_is_not_there_says_so(server: str) -> None:
    with pytest.raises(UnavailableError, match="NO_SUCH_BUCKET"):
        S3("nobody", endpoint=server).names()
    with pytest.raises(UnavailableError, match="s3://sales/2023/: the store did not deliver it"):
        S3("sales", "2023", endpoint=server).names()


@pytest.mark.usefixtures("credentials")
def test_a_store_that_does_not_answer_is_unavailable_and_no_yes(installation: Installation) -> None:
    with s3_server() as address:
        pass  # its port is closed now
    model = model_on(sources={"sales": S3("sales", endpoint=address)})
    with pytest.raises(UnavailableError, match="NETWORK_CONNECTION"):
        ingest_batch(installation, model, "sales.january")
    assert not installation.home.quarantine.exists()
