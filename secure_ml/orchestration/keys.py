"""Names: the asset keys of a model, its batches, its jobs. Sensors know these, and no asset."""

from __future__ import annotations

import dagster as dg

__all__ = ["asset_key", "asset_keys", "batches_of", "job_name"]


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
