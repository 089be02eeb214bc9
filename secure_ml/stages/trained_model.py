"""Stage `trained_model`: fit, evaluate, save in safe formats. The quality gate decides against a dummy baseline."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from secure_ml.contracts.request_rules import request_rules
from secure_ml.digests import Digest, digest_of, sha256
from secure_ml.errors import RejectedError
from secure_ml.evidence import Evidence, EvidenceLog, read_subjects, require
from secure_ml.installation import Installation
from secure_ml.releases import model_digest
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import TRAINED_MODEL, TRAINING_SET
from secure_ml.stages.dataset import dataset_folder
from secure_ml.stages.training_set import HOLDOUT_FILE, TRAINING_FILE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["arrays", "train"]


def train(installation: Installation, model: GuardedModel) -> Evidence:
    """Train on the newest training set of the present contract.

    A model that fails the quality gate is recorded, and its files are not written.

    Raises:
        RejectedError: If the model fails the quality gate, or the training set does not verify.
        UnavailableError: If the present contract has no training set.
    """
    from secure_ml.training.artifacts import render_model
    from secure_ml.training.evaluation import fit, judge, render_roc

    home, log = installation.home, EvidenceLog.open(installation, model.name)
    training_set = log.latest(TRAINING_SET, tier_rules=installation.policy, contract=model.contract_digest)
    require(training_set)
    tables = read_subjects(training_set, dataset_folder(home, model.name, training_set.cause))
    cause = digest_of(
        {
            "training_set": dict(training_set.subjects),
            "code": model.code,
            "seed": model.seed,
            "policy": installation.policy,
        }
    )
    known = log.find(TRAINED_MODEL, cause)
    if known is None:
        x, y = arrays(model, tables[TRAINING_FILE])
        holdout_x, holdout_y = arrays(model, tables[HOLDOUT_FILE])
        fitted = fit(model, x, y, holdout_x, holdout_y)
        reasons = judge(fitted.evaluation, model.quality)
        files = (
            {} if reasons else render_model(model, fitted, training_set=training_set.cause, rules=request_rules(model))
        )
        digest = model_digest(files)
        if files:
            home.write_folder(home.models / model.name / digest, files)
        plot = render_roc(fitted)
        home.write_file(home.reports / model.name / f"roc-{sha256(plot)}.svg", plot)
        known = log.append(
            installation.signer(),
            stage=TRAINED_MODEL,
            cause=cause,
            reasons=reasons,
            subjects={name: sha256(content) for name, content in files.items()},
            inputs={
                "evidence:training_set": training_set.document,
                "training_set": training_set.cause,
                "code": model.code,
                "policy": installation.policy,
                **({"model": digest} if files else {}),
            },
            facts={"evaluation": fitted.evaluation.as_json(), "plot": f"roc-{sha256(plot)}.svg"},
        )
    if known.inputs["evidence:training_set"] != training_set.document:
        raise RejectedError(
            f"{model.name}/trained_model: rests on other evidence of its training set; restore that evidence"
        )
    require(known)
    read_subjects(known, home.models / model.name / Digest(known.inputs["model"]))
    return known


def arrays(model: GuardedModel, table: bytes) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return features (n, d) and labels (n,) of a Parquet table. A missing feature is NaN, a positive label is 1."""
    import numpy as np
    import polars as pl

    frame = pl.read_parquet(io.BytesIO(table))
    x = frame.select(pl.col(name).cast(pl.Float64) for name in model.features).fill_null(float("nan")).to_numpy()
    y = model.positive(frame[model.label]).cast(pl.Int64).to_numpy()
    return np.ascontiguousarray(x, dtype=np.float64), np.asarray(y, dtype=np.int64)
