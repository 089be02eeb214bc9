"""What watches a model: new and changed batches in inbox and sources, newly accepted ones, unanswered drift alarms.

Each is idempotent by content. The cause of a run is the digest of what is there; where evidence of this cause is
there too, nothing is launched, also after Dagster's run history was deleted.
"""

from collections.abc import Callable

import dagster as dg

from secure_ml.errors import RejectedError, SecureMLError, UnavailableError
from secure_ml.installation import Installation
from secure_ml.operations.drift_response import unanswered_alarm
from secure_ml.operations.pending_work import (
    PendingBatch,
    changed_source_batches,
    pending_inbox_batches,
    pending_source_batches,
    undecided_training_set,
)
from secure_ml.orchestration.keys import batches_of, job_name
from secure_ml.orchestration.resource import InstallationResource
from secure_ml.spec import GuardedModel

__all__ = ["model_sensors"]

_INTERVAL_S = 10
_SOURCE_INTERVAL_S = 300
_CHANGE_INTERVAL_S = 3600


def model_sensors(model: GuardedModel) -> list[dg.SensorDefinition]:
    """Return the sensors of one model; they run unless someone stops them."""
    inbox = _arrival(model, "arrival", pending_inbox_batches, _INTERVAL_S, "A new file in the inbox")
    sensors = [inbox, _acceptance(model), _drift(model)]
    if model.batches.sources:
        said = "A batch in a source that was never accepted"
        sensors.append(_arrival(model, "source_arrival", pending_source_batches, _SOURCE_INTERVAL_S, said))
        said = "Other bytes in a source under the name of an accepted batch"
        sensors.append(_arrival(model, "source_change", changed_source_batches, _CHANGE_INTERVAL_S, said))
    return sensors


def _arrival(
    model: GuardedModel,
    name: str,
    find: Callable[[Installation, GuardedModel], list[PendingBatch]],
    interval_s: int,
    said: str,
) -> dg.SensorDefinition:
    @dg.sensor(
        name=job_name(model.name, name),
        job_name=job_name(model.name, "intake"),
        minimum_interval_seconds=interval_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"{said}: its partition is added and materialized.",
    )
    def arrival(context: dg.SensorEvaluationContext, installation: InstallationResource) -> dg.SensorResult:
        place = installation.open()
        requests, fresh = [], []
        for found in find(place, model):
            fresh.append(found.batch)
            context.log.info(f"batch {found.batch}: new content")
            requests.append(
                dg.RunRequest(
                    run_key=found.cause, partition_key=found.batch, tags={"secure_ml/cause": found.cause[:16]}
                )
            )
        partitions = batches_of(model.name)
        return dg.SensorResult(
            run_requests=requests,
            dynamic_partitions_requests=[partitions.build_add_request(fresh)] if fresh else [],
        )

    return arrival


def _acceptance(model: GuardedModel) -> dg.SensorDefinition:
    @dg.sensor(
        name=job_name(model.name, "acceptance"),
        job_name=job_name(model.name, "promotion"),
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="A new set of accepted batches: a candidate is trained, and the promotion rule decides.",
    )
    def acceptance(installation: InstallationResource) -> dg.SensorResult | dg.SkipReason:
        try:
            cause = undecided_training_set(installation.open(), model)
        except RejectedError as error:
            return dg.SkipReason(str(error))
        if cause is None:
            return dg.SkipReason("the accepted batches were decided on")
        return dg.SensorResult(run_requests=[dg.RunRequest(run_key=cause)])

    return acceptance


def _drift(model: GuardedModel) -> dg.SensorDefinition:
    @dg.sensor(
        name=job_name(model.name, "drift"),
        job_name=job_name(model.name, "drift_response"),
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"A drift alarm: {model.drift.response} (the model's own setting).",
    )
    def drift(installation: InstallationResource) -> dg.SensorResult | dg.SkipReason:
        try:
            cause = unanswered_alarm(installation.open(), model)
        except UnavailableError as error:
            return dg.SkipReason(str(error))
        except SecureMLError as error:
            raise dg.Failure(description=str(error)) from None
        if cause is None:
            return dg.SkipReason("no drift alarm is unanswered")
        return dg.SensorResult(run_requests=[dg.RunRequest(run_key=cause)])

    return drift
