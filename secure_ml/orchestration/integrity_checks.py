"""The check `intact` of each stage: what nightly validation finds of all that is in use."""

from __future__ import annotations

from typing import Any

import dagster as dg

from secure_ml.operations.integrity_check import check_stage
from secure_ml.orchestration.keys import asset_key
from secure_ml.orchestration.presentation import docs_index_link, make_docs
from secure_ml.orchestration.resource import InstallationResource
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import (
    DATASET,
    QUARANTINE_DECISION,
    SOURCE_MANIFEST_SEEN,
    SOURCE_WITHDRAWAL,
    VALIDATED_DATASET,
)

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
        place = installation.open()
        documents, found = check_stage(place, model, stage)
        links: dict[str, Any] = {}
        if stage == DATASET:  # what manifests were seen, and withdrew: no assets of their own
            for further in (SOURCE_MANIFEST_SEEN, SOURCE_WITHDRAWAL):
                more, forged = check_stage(place, model, further)
                documents, found = documents + more, found + forged
        if stage == VALIDATED_DATASET:  # what it rests on, and no asset: a person made it
            decisions, forged = check_stage(place, model, QUARANTINE_DECISION)
            documents, found = documents + decisions, found + forged
            make_docs(place)
            links = docs_index_link()
        return dg.AssetCheckResult(
            passed=not found,
            description="; ".join(found) or f"{documents} documents and all that they are about are intact",
            metadata={"documents": documents, "findings": dg.MetadataValue.json(found), **links},
        )

    return _check
