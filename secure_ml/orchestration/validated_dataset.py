"""Asset `validated_dataset`: the data gate, one partition a batch."""

from collections.abc import Iterator

import dagster as dg

from secure_ml.evidence import Evidence
from secure_ml.orchestration.keys import asset_key, batches_of
from secure_ml.orchestration.presentation import Shown, docs_link, gate_of, make_docs, show
from secure_ml.orchestration.resource import InstallationResource
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import DATASET, VALIDATED_DATASET
from secure_ml.stages.validated_dataset import validate_batch

__all__ = ["build"]


def build(model: GuardedModel) -> dg.AssetsDefinition:
    """Make the asset of one model."""
    batches = batches_of(model.name)

    @dg.asset(
        key=asset_key(model.name, VALIDATED_DATASET),
        deps=[asset_key(model.name, DATASET)],
        partitions_def=batches,
        check_specs=[gate_of(model.name, VALIDATED_DATASET, batches)],
        description="The batch held against its pandera contract; a broken contract quarantines it.",
        group_name=model.name,
        kinds={"pandera", "parquet"},
        owners=list(model.owners),
        code_version=model.contract_digest,
        output_required=False,
    )
    def _asset(context: dg.AssetExecutionContext, installation: InstallationResource) -> Iterator[Shown]:
        place = installation.open()

        def decide() -> Evidence:
            try:
                return validate_batch(place, model, context.partition_key)
            finally:
                make_docs(place, context.partition_key)

        yield from show(decide, both=docs_link)

    return _asset
