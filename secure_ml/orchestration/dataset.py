"""Asset `dataset`: the bytes of one batch, as they arrived."""

from collections.abc import Iterator

import dagster as dg

from secure_ml.errors import RejectedError
from secure_ml.evidence import Evidence
from secure_ml.orchestration.keys import asset_key, batches_of
from secure_ml.orchestration.presentation import Shown, docs_link, gate_of, make_docs, show
from secure_ml.orchestration.resource import InstallationResource
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import DATASET
from secure_ml.stages.dataset import ingest_batch

__all__ = ["build"]


def build(model: GuardedModel) -> dg.AssetsDefinition:
    """Make the asset of one model."""
    batches = batches_of(model.name)

    @dg.asset(
        key=asset_key(model.name, DATASET),
        partitions_def=batches,
        check_specs=[gate_of(model.name, DATASET, batches)],
        description="One batch as it arrived: read once, kept under its digest.",
        group_name=model.name,
        kinds={"csv", "parquet"},
        owners=list(model.owners),
        code_version=model.contract_digest,
        output_required=False,
    )
    def _asset(context: dg.AssetExecutionContext, installation: InstallationResource) -> Iterator[Shown]:
        place = installation.open()

        def decide() -> Evidence:
            try:
                return ingest_batch(place, model, context.partition_key)
            except RejectedError:  # no further stage of this intake makes the pages
                make_docs(place, context.partition_key)
                raise

        yield from show(decide, both=docs_link)

    return _asset
