"""All assets, checks, jobs and sensors of one guarded model."""

from collections.abc import Sequence

import dagster as dg

from secure_ml.operations.drift_response import respond_to_drift
from secure_ml.orchestration import (
    dataset,
    drift_report,
    inference_log,
    integrity_checks,
    release,
    signed_model,
    trained_model,
    training_set,
    validated_dataset,
)
from secure_ml.orchestration.keys import asset_keys, job_name
from secure_ml.orchestration.resource import InstallationResource
from secure_ml.orchestration.sensors import model_sensors
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import (
    DATASET,
    DRIFT_REPORT,
    GRAPH_STAGES,
    INFERENCE_LOG,
    RELEASE,
    SIGNED_MODEL,
    TRAINED_MODEL,
    TRAINING_SET,
    VALIDATED_DATASET,
)

__all__ = ["chain_of", "definitions_of"]

INTAKE = (DATASET, VALIDATED_DATASET)
PROMOTION = (TRAINING_SET, TRAINED_MODEL, SIGNED_MODEL, RELEASE)
MONITORING = (INFERENCE_LOG, DRIFT_REPORT)
_JOBS = (
    ("intake", INTAKE, "One batch, from its bytes to the verdict of its contract."),
    ("promotion", PROMOTION, "All accepted batches, from the training set to the promotion rule."),
    ("monitoring", MONITORING, "Seal the inference log, and compare its newest window with the training set."),
)


def chain_of(model: GuardedModel) -> tuple[dg.AssetsDefinition, ...]:
    """Return the assets of one model, from a batch to the drift report."""
    return (
        dataset.build(model),
        validated_dataset.build(model),
        training_set.build(model),
        trained_model.build(model),
        signed_model.build(model),
        release.build(model),
        inference_log.build(model),
        drift_report.build(model),
    )


def definitions_of(model: GuardedModel, chain: Sequence[dg.AssetsDefinition] | None = None) -> dg.Definitions:
    """Return the assets, checks, jobs and sensors of one model.

    Args:
        model: The model.
        chain: Its assets; by default those of `chain_of`.
    """
    checks = [integrity_checks.build(model, stage) for stage in GRAPH_STAGES]
    return dg.Definitions(
        assets=list(chain_of(model) if chain is None else chain),
        asset_checks=checks,
        sensors=model_sensors(model),
        jobs=[
            *(
                dg.define_asset_job(
                    job_name(model.name, purpose),
                    selection=dg.AssetSelection.assets(*asset_keys(model.name, *stages))
                    - dg.AssetSelection.checks(*checks),
                    description=description,
                )
                for purpose, stages, description in _JOBS
            ),
            dg.define_asset_job(
                job_name(model.name, "nightly_validation"),
                selection=dg.AssetSelection.checks(*checks),
                description="Validate all that is in use.",
            ),
            _response_job(model),
        ],
    )


def _response_job(model: GuardedModel) -> dg.JobDefinition:
    @dg.op(name=job_name(model.name, "answer_drift"), description="Answer the newest drift alarm, once.")
    def answer(context: dg.OpExecutionContext, installation: InstallationResource) -> None:
        evidence = respond_to_drift(installation.open(), model)
        context.log.info(f"{evidence.inputs['response']}: {evidence.path}")

    @dg.job(name=job_name(model.name, "drift_response"), description="Quarantine the window, or retrain a candidate.")
    def response() -> None:
        answer()

    return response
