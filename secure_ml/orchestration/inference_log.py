"""Asset `inference_log`: acknowledged predictions, sealed into signed Parquet segments."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from secure_ml.lineage.lake import rebuild
from secure_ml.orchestration.keys import asset_key
from secure_ml.orchestration.presentation import Shown, gate_of, show
from secure_ml.orchestration.resource import InstallationResource
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import INFERENCE_LOG, RELEASE
from secure_ml.stages.inference_log import NothingLoggedError, seal_log

__all__ = ["build"]


def build(model: GuardedModel) -> dg.AssetsDefinition:
    """Make the asset of one model."""

    @dg.asset(
        key=asset_key(model.name, INFERENCE_LOG),
        deps=[asset_key(model.name, RELEASE)],
        check_specs=[gate_of(model.name, INFERENCE_LOG)],
        description="Acknowledged predictions, sealed into signed Parquet segments; queried through the lake.",
        group_name=model.name,
        kinds={"parquet", "duckdb"},
        owners=list(model.owners),
        code_version=model.code,
        output_required=False,
    )
    def _asset(installation: InstallationResource) -> Iterator[Shown]:
        place = installation.open()
        yield from show(
            lambda: seal_log(place, model),
            lambda _: {"lake": dg.MetadataValue.path(str(rebuild(place.home)))},
            nothing_to_do=NothingLoggedError,
        )

    return _asset
