"""All assets, checks and jobs of one guarded model; alone knows the order of the stages."""

import dagster as dg

from assets import (
    dataset,
    drift_report,
    inference_log,
    intact,
    release,
    signed_model,
    trained_model,
    training_set,
    validated_dataset,
)
from assets.keys import (
    DATASET,
    DRIFT_REPORT,
    INFERENCE_LOG,
    RELEASE,
    SIGNED_MODEL,
    STAGES,
    TRAINED_MODEL,
    TRAINING_SET,
    VALIDATED_DATASET,
    asset_keys,
    job_name,
)
from resources.installation import InstallationResource
from secure_ml.spec import GuardedModel
from secure_ml.stages.drift_response import drift_response

__all__ = ["definitions_of"]

INTAKE = (DATASET, VALIDATED_DATASET)
PROMOTION = (TRAINING_SET, TRAINED_MODEL, SIGNED_MODEL, RELEASE)
MONITORING = (INFERENCE_LOG, DRIFT_REPORT)
_JOBS = (
    ("intake", INTAKE, "One batch, from its bytes to the verdict of its contract."),
    ("promotion", PROMOTION, "All accepted batches, from the training set to the promotion rule."),
    ("monitoring", MONITORING, "Seal the inference log, and compare its newest window with the training set."),
)
_STAGES = (
    dataset,
    validated_dataset,
    training_set,
    trained_model,
    signed_model,
    release,
    inference_log,
    drift_report,
)


def definitions_of(model: GuardedModel) -> dg.Definitions:
    """Return the assets, checks and jobs of one model."""
    checks = [intact.build(model, stage) for stage in STAGES]
    return dg.Definitions(
        assets=[stage.build(model) for stage in _STAGES],
        asset_checks=checks,
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
        evidence = drift_response(installation.open(), model)
        context.log.info(f"{evidence.inputs['response']}: {evidence.path}")

    @dg.job(name=job_name(model.name, "drift_response"), description="Quarantine the window, or retrain a candidate.")
    def response() -> None:
        answer()

    return response
