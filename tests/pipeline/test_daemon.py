"""Sensors and schedule through a running daemon, not by calling a function."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import InstigatorState, ScheduleInstigatorData

from assets.__main__ import prepare_dagster
from secure_ml.errors import UnavailableError
from secure_ml.evidence import Evidence, EvidenceLog
from secure_ml.installation import Installation
from secure_ml.models.heart_disease import model
from secure_ml.releases import current_release
from secure_ml.stages.drift_report import report_drift
from secure_ml.stages.inference_log import seal_log
from tests.installed_home import flip, serving
from tests.wait import until

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def daemon(environment: dict[str, str]) -> Iterator[None]:
    """Run `dagster-daemon` on the workspace."""
    home = Path(environment["SECURE_ML_HOME"])
    command = [str(Path(sys.executable).parent / "dagster-daemon"), "run", "-w", str(ROOT / "workspace.yaml")]
    settings = {**os.environ, **environment, "DAGSTER_HOME": str(home / "dagster"), "TZ": "UTC"}
    with (home / "daemon.log").open("a") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=settings, stdout=log, stderr=log, start_new_session=True)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def place(ready: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Installation:
    for name, value in ready.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DAGSTER_HOME", "")
    installation = Installation.from_environment(ready)
    prepare_dagster(installation)
    return installation


def newest(place: Installation, stage: str, batch: str | None = None) -> Evidence | None:
    found = [
        item
        for item in EvidenceLog.open(place, model.name).history(stage)
        if batch is None or item.inputs.get("batch") == batch
    ]
    return found[-1] if found else None


def runs() -> list[dg.DagsterRun]:
    with dg.DagsterInstance.get() as instance:
        return list(instance.get_runs())


def ticks() -> int:
    """How many sensor ticks were evaluated to their end."""
    with dg.DagsterInstance.get() as instance:
        states = instance.all_instigator_state()
        return sum(
            len(
                [
                    tick
                    for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id)
                    if tick.end_timestamp
                ]
            )
            for state in states
        )


def arrive(place: Installation, hospital: str) -> None:
    inbox = place.home.inbox / model.name
    inbox.mkdir(parents=True, exist_ok=True)
    shutil.copy(model.batches.files[hospital], inbox / f"{hospital}_new.csv")


def test_a_new_file_is_taken_in_and_a_bad_one_is_quarantined_once(ready: dict[str, str], place: Installation) -> None:
    with daemon(ready):
        arrive(place, "hungarian")
        until(lambda: newest(place, "validated_dataset", "hungarian_new") is not None, seconds=150)
        until(lambda: (found := newest(place, "release")) is not None and "champion" in found.inputs, seconds=150)
        arrive(place, "switzerland")
        until(lambda: newest(place, "validated_dataset", "switzerland_new") is not None, seconds=150)
        until(lambda: all(run.is_finished for run in runs()), seconds=100)
    accepted = newest(place, "validated_dataset", "hungarian_new")
    assert accepted is not None
    assert accepted.decision == "accepted"
    refused = newest(place, "validated_dataset", "switzerland_new")
    assert refused is not None
    assert refused.decision == "rejected"
    entry = place.home.quarantine / model.name / refused.cause
    assert "chol: 123 of 123 rows below 50" in (entry / "findings.json").read_text()
    assert len((entry / "failing_rows.csv").read_text().splitlines()) == 124
    with dg.DagsterInstance.get() as instance:
        assert {"hungarian_new", "switzerland_new"} <= set(instance.get_dynamic_partitions(f"{model.name}_batches"))
    assert sorted(run.job_name for run in runs()) == [
        *[f"{model.name}_intake"] * 2,
        f"{model.name}_promotion",
    ]

    # The same causes again, after Dagster forgot everything: ticks pass, and nothing is launched.
    shutil.rmtree(place.home.dagster)
    prepare_dagster(place)
    with daemon(ready):
        until(lambda: ticks() >= 9, seconds=150)
    assert runs() == []


def test_a_drift_alarm_is_answered_once(ready: dict[str, str], place: Installation) -> None:
    _, (_, rows) = _va_first(place)
    with serving(ready) as service:
        statuses = [service.post("/predict", row)[0] for row in rows]
    assert set(statuses) == {200, 400}
    seal_log(place, model)
    assert report_drift(place, model).decision == "rejected"
    with daemon(ready):
        until(lambda: newest(place, "drift_response") is not None, seconds=150)
        until(lambda: all(run.is_finished for run in runs()), seconds=60)
    (answer,) = EvidenceLog.open(place, model.name).history("drift_response")
    assert answer.inputs["response"] == "quarantine"
    assert "drift alarm" in (place.home.quarantine / model.name / answer.cause / "findings.json").read_text()
    assert [run.job_name for run in runs()] == [f"{model.name}_drift_response"]


def _va_first(place: Installation) -> list[tuple[str, list[dict[str, float | None]]]]:
    from assets.live_traffic import live_rows
    from secure_ml.stages.dataset import ingest_batch

    ingest_batch(place, model, "va")
    windows = live_rows(place, model, warn=pytest.fail)
    assert len(windows) == 2
    return windows


def test_the_validation_missed_at_two_is_made_up_for_and_names_a_changed_file(
    ready: dict[str, str], place: Installation
) -> None:
    """The daemon was down at 02:00, as on a machine that sleeps at night."""
    now = current_release(place.home, place.trust, model.name)
    flip(place.home.models / model.name / now.model_digest / "model.onnx")
    with daemon(ready):
        until(lambda: nightly_state() is not None, seconds=100)
    assert runs() == []
    state = nightly_state()
    assert state is not None
    yesterday = (datetime.now(UTC) - timedelta(days=1)).timestamp()
    with dg.DagsterInstance.get() as instance:
        instance.update_instigator_state(state.with_data(ScheduleInstigatorData("0 2 * * *", yesterday)))
    with daemon(ready):
        until(lambda: any(run.is_finished for run in runs()), seconds=200)
    (run,) = runs()
    assert run.job_name == f"{model.name}_nightly_validation"
    with dg.DagsterInstance.get() as instance:
        (tick,) = instance.get_ticks(state.instigator_origin_id, state.selector_id)
        assert datetime.fromtimestamp(tick.timestamp, UTC).strftime("%H:%M:%S") == "02:00:00"
        records = instance.get_records_for_run(run.run_id).records
    said = [
        evaluation.description
        for record in records
        if (event := record.event_log_entry.dagster_event) is not None
        and event.event_type_value == "ASSET_CHECK_EVALUATION"
        and not (evaluation := event.asset_check_evaluation_data).passed
    ]
    assert any("model.onnx: changed" in str(text) for text in said), said


def nightly_state() -> InstigatorState | None:
    with dg.DagsterInstance.get() as instance:
        states = instance.all_instigator_state(instigator_type=InstigatorType.SCHEDULE)
    return states[0] if states else None


def test_there_is_nothing_to_answer_before_a_report(installation: Installation) -> None:
    from secure_ml.operations.drift_response import unanswered_alarm

    with pytest.raises(UnavailableError, match="no evidence"):
        unanswered_alarm(installation, model)
