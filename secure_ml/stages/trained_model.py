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

    What fails the quality gate is recorded, and no model file is written.

    Raises:
        RejectedError: The model failed the quality gate, or the training set does not verify.
        UnavailableError: The present contract has no training set.
    """
    from secure_ml.training.artifacts import render_model
    from secure_ml.training.evaluation import fit, judge, render_roc

    home, log = installation.home, EvidenceLog.of(installation, model.name)
    given = log.latest(TRAINING_SET, tier_rules=installation.policy, contract=model.contract_digest)
    require(given)
    tables = read_subjects(given, dataset_folder(home, model.name, given.cause))
    cause = digest_of(
        {
            "training_set": dict(given.subjects),
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
        files = {} if reasons else render_model(model, fitted, training_set=given.cause, rules=request_rules(model))
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
                "evidence:training_set": given.document,
                "training_set": given.cause,
                "code": model.code,
                "policy": installation.policy,
                **({"model": digest} if files else {}),
            },
            facts={"evaluation": fitted.evaluation.as_json(), "plot": f"roc-{sha256(plot)}.svg"},
        )
    if known.inputs["evidence:training_set"] != given.document:
        raise RejectedError(
            f"{model.name}/trained_model: rests on other evidence of its training set than is there now"
        )
    require(known)
    read_subjects(known, home.models / model.name / Digest(known.inputs["model"]))
    return known


def arrays(model: GuardedModel, table: bytes) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return features (n, d), NaN where missing, and labels (n,), 1 for the positive class, of a Parquet table."""
    import numpy as np
    import polars as pl

    frame = pl.read_parquet(io.BytesIO(table))
    x = frame.select(pl.col(name).cast(pl.Float64) for name in model.features).fill_null(float("nan")).to_numpy()
    y = model.positive(frame[model.label]).cast(pl.Int64).to_numpy()
    return np.ascontiguousarray(x, dtype=np.float64), np.asarray(y, dtype=np.int64)
