"""What the tests of sources share: a small guarded model on any `Batches`, rows, changes, and a real S3 server."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pandera.polars as pa
import polars as pl
import pytest

from secure_ml.errors import RejectedError
from secure_ml.installation import Installation
from secure_ml.operations.pending_work import changed_source_batches, pending_source_batches
from secure_ml.spec import Batches, GuardedModel, Quality, Split
from secure_ml.stages.dataset import ingest_batch
from secure_ml.stages.validated_dataset import validate_batch
from tests.readme_model import rows

COLUMNS = ("x", "y", "target")
GOOD = rows(60, seed=3).encode()
# The poison satisfies the contract: the label of every row is turned round.
POISON = (
    "\n".join(
        line if line.startswith("x") else f"{line.rsplit(',', 1)[0]},{1 - int(line[-1])}"
        for line in GOOD.decode().splitlines()
    ).encode()
    + b"\n"
)


def parquet() -> bytes:
    """Return the good rows as a typed file."""
    buffer = io.BytesIO()
    pl.read_csv(GOOD).write_parquet(buffer)
    return buffer.getvalue()


BROKEN = rows(60, seed=9, shift=90.0).encode()


def _trainer(seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(random_state=seed)


def model_on(**batches: Any) -> GuardedModel:
    return GuardedModel(
        name="tiny",
        description="Does x + y exceed its noise?",
        batches=Batches(columns=COLUMNS, **batches),
        contract=pa.DataFrameSchema(
            {
                "x": pa.Column(pl.Float64, pa.Check.in_range(-10, 10)),
                "y": pa.Column(pl.Float64, pa.Check.in_range(-10, 10)),
                "target": pa.Column(pl.Int64, pa.Check.isin([0, 1])),
            }
        ),
        features=("x", "y"),
        label="target",
        positive=lambda column: column == 1,
        trainer=_trainer,
        artifact_types=("numpy.ndarray",),
        split=Split("first"),
        quality=Quality(min_roc_auc=0.7, min_gain_over_dummy=0.1, reason="chance is 0.5"),
    )


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """Run moto's server as a process of its own on loopback, and yield its address."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if found := re.search(r"Running on (http://127\.0\.0\.1:\d+)", line):
                    break
            else:
                raise AssertionError("the S3 server did not start")
            # Its log of requests goes nowhere, and must not fill the pipe.
            with subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL) as drain:
                try:
                    yield found[1]
                finally:
                    process.terminate()
                    process.wait(timeout=30)
                    drain.wait(timeout=30)
        finally:
            process.kill()


def s3_client(address: str) -> Any:
    import boto3

    return boto3.client("s3", endpoint_url=address, region_name="us-east-1")


AWS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "s3cretwJalrXUtnFEMI",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_REGION": "us-east-1",
}


def follow_changes(installation: Installation, model: GuardedModel, batch: str, put: Callable[[bytes], object]) -> None:
    """Change what a source has under one name, three times; what looks for new names only sees nothing of it."""
    put(GOOD)
    first = ingest_batch(installation, model, batch)
    validate_batch(installation, model, batch)
    for content in (rows(70, seed=8).encode(), BROKEN, GOOD):
        assert changed_source_batches(installation, model) == []
        put(content)
        assert pending_source_batches(installation, model) == []
        assert [arrival.batch for arrival in changed_source_batches(installation, model)] == [batch]
        given = ingest_batch(installation, model, batch)
        if content == GOOD:
            assert given.inputs["version"] == first.inputs["version"]
            assert given.document != first.document, "it came again, and that is on record"
        if content == BROKEN:
            with pytest.raises(RejectedError, match="x: 60 of 60 rows above 10"):
                validate_batch(installation, model, batch)
            assert list(installation.home.quarantine.glob("tiny/*/failing_rows.csv"))
        else:
            assert validate_batch(installation, model, batch).inputs["version"] == given.inputs["version"]
    assert changed_source_batches(installation, model) == []
