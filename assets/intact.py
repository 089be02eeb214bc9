"""The check `intact` of each stage: what nightly validation finds of all that is in use."""

from __future__ import annotations

import dagster as dg

from assets.keys import asset_key
from resources.installation import InstallationResource
from secure_ml.spec import GuardedModel
from secure_ml.stages.validation import check_stage

__all__ = ["INTACT", "build"]

INTACT = "intact"


def build(model: GuardedModel, stage: str) -> dg.AssetChecksDefinition:
    """Make the check of one stage of one model."""

    @dg.asset_check(
        asset=asset_key(model.name, stage),
        name=INTACT,
        description="Bytes against digests, evidence against the trust root, data against the contract.",
    )
    def _check(installation: InstallationResource) -> dg.AssetCheckResult:
        documents, found = check_stage(installation.open(), model, stage)
        return dg.AssetCheckResult(
            passed=not found,
            description="; ".join(found) or f"{documents} documents and all that they are about are intact",
            metadata={"documents": documents, "findings": dg.MetadataValue.json(found)},
        )

    return _check
