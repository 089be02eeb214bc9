"""A home with many accepted batches, whose evidence is signed without running the data gate for each batch."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from pathlib import Path

import polars as pl

from secure_ml.digests import digest_of, sha256
from secure_ml.evidence import EvidenceLog
from secure_ml.installation import Installation
from secure_ml.spec import GuardedModel
from secure_ml.stages.validated_dataset import TABLE_FILE
from tests.sample_model import guarded_model

HOLDOUT = "other"
_ROWS = 40


def model_to_train(folder: Path) -> GuardedModel:
    """Return the small model with the artifact types of its estimator, so that it can be signed."""
    types = ("numpy.ndarray", "sklearn.linear_model._logistic.LogisticRegression")
    return replace(guarded_model(folder), artifact_types=types)


def accept_batches(installation: Installation, model: GuardedModel, count: int) -> None:
    """Store `count` accepted batches of the small model. The first of them gives the holdout."""
    log = EvidenceLog(installation.home, installation.trust, model.name)
    for number in range(count):
        _accept(installation, model, log, HOLDOUT if number == 0 else f"batch_{number:05}", seed=number)


def write_batch(inbox: Path, batch: str, seed: int) -> None:
    """Write one more batch of the same shape into an inbox."""
    inbox.mkdir(parents=True, exist_ok=True)
    _table(seed, 400).write_csv(inbox / f"{batch}.csv")


def _accept(installation: Installation, model: GuardedModel, log: EvidenceLog, batch: str, seed: int) -> None:
    home, signer = installation.home, installation.signer()
    table = _table(seed, 400 if batch == HOLDOUT else _ROWS)
    content, buffer = table.write_csv().encode(), io.BytesIO()
    table.write_parquet(buffer)
    version, cause = sha256(content), digest_of({"accepted": batch})
    home.write_folder(home.datasets / model.name / version, {"batch.csv": content})
    home.write_folder(home.datasets / model.name / cause, {TABLE_FILE: buffer.getvalue()})
    arrival = log.append(
        signer,
        stage="dataset",
        cause=digest_of({"arrived": batch}),
        subjects={"batch.csv": version},
        inputs={"batch": batch, "version": version, "origin": "inbox"},
        facts={"rows": table.height, "source": f"{batch}.csv"},
    )
    log.append(
        signer,
        stage="validated_dataset",
        cause=cause,
        subjects={TABLE_FILE: sha256(buffer.getvalue())},
        inputs={
            "batch": batch,
            "version": version,
            "contract": model.contract_digest,
            "policy": installation.policy,
            "evidence:dataset": arrival.document,
        },
        facts={"rows": table.height, "refused_rows": 0, "findings": []},
    )


def _table(seed: int, rows: int) -> pl.DataFrame:
    draw = random.Random(seed)
    points = [(draw.gauss(0, 1), draw.gauss(0, 1)) for _ in range(rows)]
    labels = [int(x + y + draw.gauss(0, 0.5) > 0) for x, y in points]
    return pl.DataFrame({"x": [x for x, _ in points], "y": [y for _, y in points], "target": labels})
