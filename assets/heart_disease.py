"""The deployed model `heart_disease`: its chain of assets, from a batch to the drift report."""

from __future__ import annotations

from secure_ml.models.heart_disease import model
from secure_ml.orchestration import (
    dataset,
    drift_report,
    inference_log,
    release,
    signed_model,
    trained_model,
    training_set,
    validated_dataset,
)

__all__ = ["chain", "model"]

chain = (
    dataset.build(model),  # one batch, byte for byte as it arrived
    validated_dataset.build(model),  # the rows that satisfy the contract
    training_set.build(model),  # a manifest of accepted batches, with the signed holdout
    trained_model.build(model),  # a candidate that beats the baseline
    signed_model.build(model),  # the candidate, scanned and signed
    release.build(model),  # the promotion rule's decision
    inference_log.build(model),  # sealed segments of every served prediction
    drift_report.build(model),  # the newest window of predictions against the training set
)
