"""Names: the asset keys of a model, its batches, its jobs. Sensors know these, and no asset."""

from __future__ import annotations

import dagster as dg

__all__ = ["STAGES", "asset_key", "asset_keys", "batches_of", "job_name"]

DATASET = "dataset"
VALIDATED_DATASET = "validated_dataset"
TRAINING_SET = "training_set"
TRAINED_MODEL = "trained_model"
SIGNED_MODEL = "signed_model"
RELEASE = "release"
INFERENCE_LOG = "inference_log"
DRIFT_REPORT = "drift_report"

STAGES = (
    DATASET,
    VALIDATED_DATASET,
    TRAINING_SET,
    TRAINED_MODEL,
    SIGNED_MODEL,
    RELEASE,
    INFERENCE_LOG,
    DRIFT_REPORT,
)
"""In the order of the way of the data."""


def asset_key(model: str, stage: str) -> dg.AssetKey:
    """Return the key `<model>/<stage>`."""
    return dg.AssetKey([model, stage])


def asset_keys(model: str, *stages: str) -> list[dg.AssetKey]:
    """Return the keys of some stages of a model."""
    return [asset_key(model, stage) for stage in stages]


def batches_of(model: str) -> dg.DynamicPartitionsDefinition:
    """Return the partitions of a model: one a batch."""
    return dg.DynamicPartitionsDefinition(name=f"{model}_batches")


def job_name(model: str, purpose: str) -> str:
    """Return the name of one of a model's jobs, such as `intake`, `promotion`, `monitoring`."""
    return f"{model}_{purpose}"
