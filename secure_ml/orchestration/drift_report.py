"""Asset `drift_report`: the current window of the log against the training set of the released model."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from secure_ml.orchestration.keys import asset_key
from secure_ml.orchestration.presentation import Shown, gate_of, plot_of, report_link, show
from secure_ml.orchestration.resource import InstallationResource
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import DRIFT_REPORT, INFERENCE_LOG
from secure_ml.stages.drift_report import report_drift

__all__ = ["build"]


def build(model: GuardedModel) -> dg.AssetsDefinition:
    """Make the asset of one model."""

    @dg.asset(
        key=asset_key(model.name, DRIFT_REPORT),
        deps=[asset_key(model.name, INFERENCE_LOG)],
        check_specs=[gate_of(model.name, DRIFT_REPORT, blocking=False)],
        description="Drift of each feature and of the prediction: effect size, test, correction; an HTML report.",
        group_name=model.name,
        kinds={"scipy", "evidently"},
        owners=list(model.owners),
        code_version=model.code,
        output_required=False,
    )
    def _asset(installation: InstallationResource) -> Iterator[Shown]:
        place = installation.open()
        yield from show(
            lambda: report_drift(place, model),
            lambda evidence: {**plot_of(place.home, evidence), **report_link(evidence)},
            rejected_is=dg.AssetCheckSeverity.ERROR,
        )

    return _asset
