"""Asset `training_set`: a manifest of accepted batches."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from secure_ml.evidence import Evidence
from secure_ml.orchestration.keys import asset_key
from secure_ml.orchestration.presentation import Shown, docs_link, gate_of, make_docs, show
from secure_ml.orchestration.resource import InstallationResource
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import TRAINING_SET, VALIDATED_DATASET
from secure_ml.stages.training_set import build_training_set

__all__ = ["build"]


def build(model: GuardedModel) -> dg.AssetsDefinition:
    """Make the asset of one model."""

    @dg.asset(
        key=asset_key(model.name, TRAINING_SET),
        deps=[dg.AssetDep(asset_key(model.name, VALIDATED_DATASET), partition_mapping=dg.AllPartitionMapping())],
        check_specs=[gate_of(model.name, TRAINING_SET)],
        description="Accepted batches, split into training rows, a fixed signed holdout, and live rows.",
        group_name=model.name,
        kinds={"parquet"},
        owners=list(model.owners),
        code_version=model.code,
        output_required=False,
    )
    def _asset(installation: InstallationResource) -> Iterator[Shown]:
        place = installation.open()

        def decide() -> Evidence:
            try:
                return build_training_set(place, model)
            finally:
                make_docs(place, "training set")

        yield from show(decide, both=docs_link)

    return _asset
