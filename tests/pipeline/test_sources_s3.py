"""An S3-compatible store, moto's server as a process of its own on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from secure_ml.datasets.sources import S3
from secure_ml.errors import MalformedError, UnavailableError
from secure_ml.installation import Installation
from secure_ml.stages.dataset import batch_names, dataset
from secure_ml.stages.validated_dataset import validated_dataset
from tests.sources_support import AWS, GOOD, model_on, s3_client, s3_server


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, s3_server() as address:
        for name, value in AWS.items():
            patch.setenv(name, value)
        client = s3_client(address)
        client.create_bucket(Bucket="sales")
        client.put_object(Bucket="sales", Key="2024/january.csv", Body=GOOD)
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
    assert batch_names(model, installation.home) == ["sales.january", "sales.large"]
    taken = dataset(installation, model, "sales.january")
    assert taken.facts["source"] == "s3://sales/2024/january.csv"
    assert validated_dataset(installation, model, "sales.january").facts["rows"] == 60
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
def test_listing_what_is_not_there_says_so(server: str) -> None:
    with pytest.raises(UnavailableError, match="NO_SUCH_BUCKET"):
        S3("nobody", endpoint=server).names()
    with pytest.raises(UnavailableError, match="s3://sales/2023/: the store did not hand it out"):
        S3("sales", "2023", endpoint=server).names()


@pytest.mark.usefixtures("credentials")
def test_a_store_that_does_not_answer_is_unavailable_and_no_yes(installation: Installation) -> None:
    with s3_server() as address:
        pass  # its port is closed now
    model = model_on(sources={"sales": S3("sales", endpoint=address)})
    with pytest.raises(UnavailableError, match="NETWORK_CONNECTION"):
        dataset(installation, model, "sales.january")
    assert not installation.home.quarantine.exists()
