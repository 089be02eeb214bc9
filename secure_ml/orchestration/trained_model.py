"""Asset `trained_model`: the fitted model, past the quality gate."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from secure_ml.orchestration.keys import asset_key
from secure_ml.orchestration.presentation import Shown, gate_of, plot_of, show
from secure_ml.orchestration.resource import InstallationResource
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import TRAINED_MODEL, TRAINING_SET
from secure_ml.stages.trained_model import train

__all__ = ["build"]


def build(model: GuardedModel) -> dg.AssetsDefinition:
    """Make the asset of one model."""

    @dg.asset(
        key=asset_key(model.name, TRAINED_MODEL),
        deps=[asset_key(model.name, TRAINING_SET)],
        check_specs=[gate_of(model.name, TRAINED_MODEL)],
        description="Fitted, evaluated against a dummy baseline, saved as skops and ONNX.",
        group_name=model.name,
        kinds={"scikitlearn", "onnx"},
        owners=list(model.owners),
        code_version=model.code,
        output_required=False,
    )
    def _asset(installation: InstallationResource) -> Iterator[Shown]:
        place = installation.open()
        yield from show(lambda: train(place, model), lambda evidence: plot_of(place.home, evidence))

    return _asset
