"""Asset `signed_model`: the model folder with its OpenSSF Model Signing bundle."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from secure_ml.orchestration.keys import asset_key
from secure_ml.orchestration.presentation import Shown, gate_of, run_link, show
from secure_ml.orchestration.resource import InstallationResource
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import SIGNED_MODEL, TRAINED_MODEL
from secure_ml.stages.signed_model import sign

__all__ = ["build"]


def build(model: GuardedModel) -> dg.AssetsDefinition:
    """Make the asset of one model."""

    @dg.asset(
        key=asset_key(model.name, SIGNED_MODEL),
        deps=[asset_key(model.name, TRAINED_MODEL)],
        check_specs=[gate_of(model.name, SIGNED_MODEL)],
        description="Scanned, signed as an OpenSSF Model Signing bundle, logged in MLflow.",
        group_name=model.name,
        kinds={"mlflow", "sigstore"},
        owners=list(model.owners),
        code_version=model.code,
        output_required=False,
    )
    def _asset(installation: InstallationResource) -> Iterator[Shown]:
        place = installation.open()
        yield from show(lambda: sign(place, model), run_link)

    return _asset
