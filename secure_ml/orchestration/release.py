"""Asset `release`: the signed, numbered document that allows one model to serve."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg

from secure_ml.evidence import Evidence
from secure_ml.orchestration.keys import asset_key
from secure_ml.orchestration.presentation import Shown, gate_of, show
from secure_ml.orchestration.resource import InstallationResource
from secure_ml.releases import current_release
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import RELEASE, SIGNED_MODEL
from secure_ml.stages.release import decide_release

__all__ = ["build"]


def build(model: GuardedModel) -> dg.AssetsDefinition:
    """Make the asset of one model."""

    @dg.asset(
        key=asset_key(model.name, RELEASE),
        deps=[asset_key(model.name, SIGNED_MODEL)],
        check_specs=[gate_of(model.name, RELEASE)],
        description="The promotion rule's decision, and the release that is current after it.",
        group_name=model.name,
        kinds={"json"},
        owners=list(model.owners),
        code_version=model.code,
        output_required=False,
    )
    def _asset(installation: InstallationResource) -> Iterator[Shown]:
        place = installation.open()

        def current(_: Evidence) -> dict[str, Any]:
            now = current_release(place.home, place.trust, model.name)
            return {
                "current_release": now.number,
                "current_model_digest": now.model_digest,
                "release_document": dg.MetadataValue.path(str(now.path)),
                "release_document_digest": now.document,
                "promotion_rule": f"holdout ROC AUC at most {model.quality.promotion_margin} below the champion's",
            }

        yield from show(lambda: decide_release(place, model)[0], current)

    return _asset
