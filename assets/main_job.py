"""The main job of one model: from its batches to a release, then live traffic, the sealed log and the drift report.

The order of the stages:

1. Each batch goes through the job `intake`. Batches of an older definition of the model go first.
2. The job `promotion` trains, signs and decides about the release after each accepted batch, as soon as no batch of an
   older definition is left.
3. The released model is served on loopback. Live rows are sent to it, and after each window the job `monitoring` seals
   the inference log and reports drift.
4. The job `drift_response` answers an alarm.

This file decides nothing: each stage has its own gate. `progress` and `summary` show what happens.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import dagster as dg

from assets.live_traffic import Traffic, live_rows, send, service, unanswered
from assets.progress import JobProgress
from assets.summary import BatchOutcome, Stop, Summary, print_experiment, print_summary
from secure_ml.commands.output import plain
from secure_ml.errors import SecureMLError, UnavailableError
from secure_ml.evidence import EvidenceLog
from secure_ml.installation import Installation
from secure_ml.orchestration.keys import job_name
from secure_ml.releases import current_release
from secure_ml.spec import GuardedModel, find_model
from secure_ml.stage_names import DRIFT_REPORT, TRAINED_MODEL, VALIDATED_DATASET
from secure_ml.stages.incoming import batch_names

if TYPE_CHECKING:
    from dagster_shared.error import SerializableErrorInfo

__all__ = ["run_model"]

_MAX_CAUSE = 200
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}  # the event log in the UI has it all


def run_model(installation: Installation, name: str) -> int:
    """Run the main job of one model and print a summary.

    Returns:
        0 if a release serves, a batch was accepted and everything refused was refused by a gate, 1 otherwise.

    Raises:
        UnavailableError: If nothing is released, or nothing trained under a policy that releases nothing. The message
            gives the reason.
    """
    model = find_model(name)
    with dg.DagsterInstance.get() as instance, JobProgress() as progress:
        summary = Summary(_run_batches(instance, installation, model, progress))
        if not any(outcome.accepted for outcome in summary.batches):
            summary.failures.append("intake: no batch was accepted; fix the batches, or the contract")
        try:
            _require_result(installation, model)
        except UnavailableError as error:
            stopped = [f"batch {outcome.name}: {stop}" for outcome in summary.batches for stop in outcome.stops]
            if not stopped:
                raise
            result = "released" if installation.policy == "production" else "trained"
            raise UnavailableError(
                f"{model.name}: nothing is {result}; the last that stopped it: {stopped[-1]}"
            ) from error
        if installation.policy == "production":
            _monitor(instance, installation, model, progress, summary)
    if installation.policy != "production":
        return print_experiment(installation, model, summary)
    print_summary(installation, model, summary)
    return 1 if summary.failed else 0


def _require_result(installation: Installation, model: GuardedModel) -> None:
    """Raise UnavailableError if nothing is released, or nothing trained under a policy that releases nothing."""
    if installation.policy == "production":
        current_release(installation.home, installation.trust, model.name)
    else:
        EvidenceLog.open(installation, model.name).latest(TRAINED_MODEL, tier_rules=installation.policy)


def _run_batches(
    instance: dg.DagsterInstance, installation: Installation, model: GuardedModel, progress: JobProgress
) -> list[BatchOutcome]:
    """Take in each batch, and promote after each accepted one."""
    names = batch_names(model, installation.home)
    outdated = _outdated(installation, model, progress) & set(names)
    outcomes = []
    waiting = False
    progress.phase("batches", total=len(names))
    for index, batch in enumerate(sorted(names, key=lambda name: name not in outdated), start=1):
        progress.activity(f"batch {batch}: intake, and promotion if it is accepted")
        stops = _execute(instance, model, "intake", progress, "batches", batch)
        accepted = not stops
        waiting |= accepted
        if waiting and index >= len(outdated):
            stops += _execute(instance, model, "promotion", progress, "batches", batch, partitioned=False)
            waiting = False
        outcomes.append(BatchOutcome(batch, accepted, tuple(stops)))
        for stop in stops:
            progress.message(f"batch {batch}: {stop}", style="red")
        if not stops:
            progress.message(f"batch {batch}: accepted", style="green")
        progress.advance("batches")
    progress.finish("batches")
    return outcomes


def _outdated(installation: Installation, model: GuardedModel, progress: JobProgress) -> set[str]:
    """Return the batches that were accepted under an older definition of the model, and not validated since.

    No training set is built before all of them are validated again. So they go first, and promotion waits for the last.
    """
    try:
        known = EvidenceLog.open(installation, model.name).history(VALIDATED_DATASET)
    except SecureMLError as error:
        progress.message(f"batches are taken in the order of their names: {error}")  # each stage refuses it for itself
        return set()
    decisions = [evidence for evidence in known if evidence.inputs.get("policy") == installation.policy]
    current = {item.inputs["batch"] for item in decisions if item.inputs["contract"] == model.contract_digest}
    return {item.inputs["batch"] for item in decisions if item.decision == "accepted"} - current


def _monitor(
    instance: dg.DagsterInstance,
    installation: Installation,
    model: GuardedModel,
    progress: JobProgress,
    summary: Summary,
) -> None:
    """Serve the release, send live rows, seal the log and report drift after each window, and answer an alarm."""
    release = current_release(installation.home, installation.trust, model.name)
    progress.activity(f"release {release.number}: starting the service on loopback")
    progress.phase("service")
    progress.detail("service", f"release {release.number}: starting the service")
    with service(model) as address:
        windows = live_rows(installation, model, progress.message)
        for index, (title, rows) in enumerate(windows):
            requests = unanswered(installation, model, release.number, rows)
            traffic = Traffic(title, answered_before=len(rows) - len(requests))
            summary.traffic.append(traffic)
            progress.activity(f"{title}: sending {len(requests)} of {len(rows)} rows over HTTP")
            progress.detail("service", f"release {release.number}: serving on {address}")
            progress.phase(title, total=len(requests))
            send(address, traffic, requests, lambda title=title: progress.advance(title))  # type: ignore[misc]
            progress.finish(title)
            if not traffic.answered and index < len(windows) - 1:
                continue
            progress.activity("sealing the inference log, comparing its window with the training set")
            for stop in _execute(instance, model, "monitoring", progress, "service"):
                summary.failures.append(f"{stop.stage}: {stop.reason}")
            report = EvidenceLog.open(installation, model.name).latest(DRIFT_REPORT)
            traffic.drift = str(report.facts.get("sentence"))
    for stop in _execute(instance, model, "drift_response", progress, "service"):
        summary.failures.append(f"drift_response: {stop.reason}")
    progress.finish("service")


def _execute(
    instance: dg.DagsterInstance,
    model: GuardedModel,
    purpose: str,
    progress: JobProgress,
    phase: str,
    batch: str | None = None,
    *,
    partitioned: bool = True,
) -> list[Stop]:
    """Execute one of a model's jobs in this process, and return the stages that stopped it."""
    from assets.definitions import defs

    def show_stage(entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if event is not None and event.is_step_start:
            stage = (event.step_key or "").removeprefix(f"{model.name}__")
            progress.detail(phase, f"batch {batch}: {stage}" if batch else stage)

    run_id = str(uuid.uuid4())
    instance.add_event_listener(run_id, show_stage)
    result = defs.resolve_job_def(job_name(model.name, purpose)).execute_in_process(
        instance=instance,
        run_id=run_id,
        partition_key=batch if partitioned else None,
        raise_on_error=False,
        run_config=_QUIET,
    )
    stops = []
    for event in result.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data
            stage = (event.step_key or "").removeprefix(f"{model.name}__")
            description = failure.user_failure_data.description if failure.user_failure_data else None
            stops.append(Stop(stage, description or _cause(failure.error), raised=description is None))
    if not result.success and not stops:
        stops.append(Stop(purpose, "the run failed; its log in the UI gives the reason", raised=True))
    return stops


def _cause(error: SerializableErrorInfo | None) -> str:
    """Return the type and first line of an error that a model's own code or a library under it raised, cut short.

    The text comes from the author of that code. It goes to the terminal and Dagster's log only, never into evidence.
    """
    while error is not None and error.cause is not None:
        error = error.cause
    lines = error.message.strip().splitlines() if error is not None else []
    cause = plain(lines[0].strip()) if lines else "it gave no reason"
    return cause if len(cause) <= _MAX_CAUSE else cause[:_MAX_CAUSE] + "..."
