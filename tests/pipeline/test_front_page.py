"""The front page of the report server: each fact of a model, what needs a person, and links that lead to a page."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import dagster as dg
import pytest
from dagster_shared.check import CheckError

from assets.__main__ import prepare_dagster
from assets.front_page import UiAddresses, render_front_page, render_report_list
from assets.integrity_history import load_integrity_results
from assets.report_server import find_page
from secure_ml.errors import RejectedError, UnavailableError
from secure_ml.evidence import EvidenceLog
from secure_ml.home import Home
from secure_ml.installation import Installation
from secure_ml.models.heart_disease import model
from secure_ml.operations.drift_response import respond_to_drift
from secure_ml.orchestration.integrity_checks import INTACT
from secure_ml.orchestration.keys import asset_key, job_name
from secure_ml.quarantine.entries import entries
from secure_ml.releases import current_release
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import GRAPH_STAGES
from secure_ml.stages.dataset import ingest_batch
from secure_ml.stages.validated_dataset import validate_batch
from tests.installed_home import flip
from tests.pages import HOSTILE, Page, hostile_evidence, require_inert
from tests.sample_model import guarded_model

ADDRESSES = UiAddresses(dagster="http://127.0.0.1:3000", mlflow="http://127.0.0.1:3002")
HEALTHY = "✓ Nothing needs a person"


def page_of(
    installation: Installation, now: datetime | None = None, models: tuple[GuardedModel, ...] = (model,)
) -> Page:
    """Render the front page, require that it is harmless and that each of its local links leads to a page."""
    page = require_inert(render_front_page(installation, models, ADDRESSES, now))
    by_name = {item.name: item for item in models}
    for name, url in page.attributes:
        if name == "href" and not url.startswith(("http://127.0.0.1:3000/", "http://127.0.0.1:3002/")):
            assert url.startswith("/"), url
            path = unescape(url).partition("#")[0].removeprefix("/")
            assert find_page(installation, by_name, path, ADDRESSES) is not None, url
    return page


def links_of(page: Page) -> list[str]:
    return [value for name, value in page.attributes if name == "href"]


@pytest.fixture
def released(ready: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Installation:
    """An installation with a release, a log segment, a drift report and an empty Dagster history."""
    for name, value in ready.items():
        monkeypatch.setenv(name, value)
    installation = Installation.from_environment(os.environ)
    monkeypatch.setenv("DAGSTER_HOME", str(installation.home.dagster))
    return installation


@pytest.fixture
def dagster_home(released: Installation) -> Installation:
    prepare_dagster(released)
    return released


def report_checks(passed: Mapping[str, bool]) -> None:
    """Record results in Dagster's history, as a run of the check does."""
    with dg.DagsterInstance.get() as instance:
        for stage, result in passed.items():
            instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(
                    asset_key=asset_key(model.name, stage), check_name=INTACT, passed=result, metadata={}
                )
            )


def test_each_fact_of_a_healthy_model_is_on_the_page(released: Installation) -> None:
    home, trust = released.home, released.trust
    release = current_release(home, trust, model.name)
    report = EvidenceLog.open(released, model.name).latest("drift_report")
    segment = EvidenceLog.open(released, model.name).latest("inference_log")
    page = page_of(released)
    for fact in (
        HEALTHY,
        "✓ release 1",
        f"model {release.model_digest[:12]}",
        "version 1 in MLflow",
        f"{release.made_at[:10]} {release.made_at[11:16]} UTC",
        "✓ nothing waiting",
        "✓ no alarm",
        str(report.facts["sentence"]),
        f"✓ segment {segment.cause[:8]}",
        f"{segment.facts['rows']} records",
        "– has not run yet",
        "which is not signed",
    ):
        assert fact in page.text, fact
    (name,) = report.subjects
    for url in (
        "http://127.0.0.1:3000/assets/heart_disease/release?view=overview",
        "http://127.0.0.1:3000/assets/heart_disease/inference_log?view=overview",
        "http://127.0.0.1:3000/assets/heart_disease/release?view=checks&checkDetail=intact",
        f"/heart_disease/{name}",
        "/validation/index.html",
        "/reports.html",
    ):
        assert url in links_of(page), url
    assert any(url.startswith("http://127.0.0.1:3002/#/experiments/") for url in links_of(page))


def test_the_list_of_reports_names_each_report_by_its_digest(released: Installation) -> None:
    report = EvidenceLog.open(released, model.name).latest("drift_report")
    page = require_inert(render_report_list(released, [model.name]))
    (name,) = report.subjects
    assert name in page.text
    assert f"/heart_disease/{name}" in links_of(page)
    assert name not in page_of(released).text, "the front page shows no file named by a digest"


def test_a_model_without_a_release_needs_a_person(installation: Installation) -> None:
    page = page_of(installation)
    assert "✕" not in page.text
    for fact in ("1 thing needs a person", "! nothing released", "no report yet", "no segment yet"):
        assert fact in page.text, fact


def test_a_rejected_batch_needs_a_decision_and_links_to_its_page(released: Installation) -> None:
    ingest_batch(released, model, "switzerland")
    with pytest.raises(RejectedError, match="chol: 123 of 123 rows below 50"):
        validate_batch(released, model, "switzerland")
    (entry,) = entries(EvidenceLog.open(released, model.name))
    page = page_of(released)
    for fact in ("✕ 1 waiting", "1 thing needs a person", "1 batch in quarantine needs a decision", "\nswitzerland\n"):
        assert fact in page.text, fact
    assert f"/validation/home/heart_disease/{entry.refusal.cause}.html" in links_of(page)
    assert HEALTHY not in page.text


def test_a_failed_integrity_check_names_the_document_and_its_stage(dagster_home: Installation) -> None:
    from assets.definitions import defs

    job = defs.resolve_job_def(job_name(model.name, "nightly_validation"))
    with dg.DagsterInstance.get() as instance:
        assert job.execute_in_process(instance=instance).success
    page = page_of(dagster_home)
    for fact in (HEALTHY, "✓ passed", "8 of 8 stages passed"):
        assert fact in page.text, fact
    release = current_release(dagster_home.home, dagster_home.trust, model.name)
    flip(dagster_home.home.models / model.name / release.model_digest / "model.onnx")
    with dg.DagsterInstance.get() as instance:
        job.execute_in_process(instance=instance, raise_on_error=False)
    page = page_of(dagster_home)
    for fact in ("✕ failed", "The integrity check of signed_model failed", "model.onnx", "person"):
        assert fact in page.text, fact
    assert "8 of 8" not in page.text
    assert "http://127.0.0.1:3000/assets/heart_disease/signed_model?view=checks&checkDetail=intact" in links_of(page)


def test_a_stage_that_was_never_checked_does_not_count_as_passed(dagster_home: Installation) -> None:
    report_checks({"dataset": True, "release": True})
    page = page_of(dagster_home)
    assert "2 of 8 stages passed" in page.text
    assert "! passed in part" in page.text


def test_the_newest_result_of_a_stage_counts(dagster_home: Installation) -> None:
    report_checks(dict.fromkeys(GRAPH_STAGES, True))
    assert "✓ passed" in page_of(dagster_home).text
    report_checks({"release": False})
    assert "✕ failed" in page_of(dagster_home).text
    report_checks({"release": True})
    assert "✓ passed" in page_of(dagster_home).text


@pytest.mark.parametrize("checked", [False, True])
def test_an_overdue_integrity_check_needs_a_person(checked: bool, dagster_home: Installation) -> None:
    if checked:
        report_checks(dict.fromkeys(GRAPH_STAGES, True))
    tomorrow = datetime.now(UTC) + timedelta(hours=25)
    assert HEALTHY in page_of(dagster_home, tomorrow).text
    page = page_of(dagster_home, tomorrow + timedelta(hours=2))
    assert "No complete integrity check has run since" in page.text
    assert "1 thing needs a person" in page.text
    assert "http://127.0.0.1:3000/automation" in links_of(page)


def test_a_history_that_cannot_be_read_is_not_shown_as_passed(dagster_home: Installation, tmp_path: Path) -> None:
    report_checks(dict.fromkeys(GRAPH_STAGES, True))
    database = dagster_home.home.dagster / "history" / "runs" / "index.db"
    good = database.read_bytes()
    database.write_bytes(b"not a database" * 999)
    page = page_of(dagster_home)
    assert "! unknown" in page.text
    assert "Dagster's history: cannot be read" in page.text
    database.unlink()
    (tmp_path / "elsewhere.db").write_bytes(good)
    database.symlink_to(tmp_path / "elsewhere.db")
    assert "is a link, expected a file or folder" in page_of(dagster_home).text


def test_settings_in_the_home_name_no_module_to_import(
    dagster_home: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "planted.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    settings = dagster_home.home.dagster / "dagster.yaml"
    settings.write_text("run_launcher:\n  module: planted\n  class: Launcher\n")
    load_integrity_results(dagster_home.home, [model.name])
    assert "planted" not in sys.modules
    with pytest.raises(CheckError), dg.DagsterInstance.from_config(str(dagster_home.home.dagster)) as instance:
        assert instance.run_launcher
    assert sys.modules.pop("planted"), "the attack works on whoever reads the settings of the home"


def test_a_home_without_a_history_has_no_results(home: Home) -> None:
    assert load_integrity_results(home, [model.name]) == {}
    assert not (home.dagster / "history").exists(), "reading makes no database"


def test_a_linked_history_is_refused(home: Home, tmp_path: Path) -> None:
    home.dagster.symlink_to(tmp_path)
    with pytest.raises(UnavailableError, match="is a link"):
        load_integrity_results(home, [model.name])


def test_a_document_that_does_not_verify_hides_no_other_fact(released: Installation) -> None:
    flip(EvidenceLog.open(released, model.name).latest("drift_report").path)
    flip(EvidenceLog.open(released, model.name).latest("training_set").path)
    page = page_of(released)
    for fact in ("✕ does not verify", "Drift: ", "Does not verify: ", "2 things need a person", "✓ release 1"):
        assert fact in page.text, fact


def test_a_drift_alarm_needs_a_person_until_somebody_decides(
    released: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from secure_ml.operations.quarantine_decisions import discard_entry
    from secure_ml.stages.drift_report import report_drift

    strict = replace(model, drift=replace(model.drift, alpha=0.999999, min_effect=0.0, response="quarantine"))
    report = report_drift(released, strict)
    assert report.decision == "rejected", "these settings make an alarm of any two windows"
    page = page_of(released)
    for fact in ("✕ alarm", "Drift alarm: ", "No response is recorded yet."):
        assert fact in page.text, fact
    response = respond_to_drift(released, strict)
    page = page_of(released)
    for fact in ("The window is in quarantine.", "1 window in quarantine needs a decision"):
        assert fact in page.text, fact
    discard_entry(released, strict, response.cause, decided_by="ada", reason="a test")
    page = page_of(released)
    for fact in ("! alarm, decided", HEALTHY):
        assert fact in page.text, fact


def test_hostile_names_stay_text(installation: Installation, tmp_path: Path) -> None:
    guarded = guarded_model(tmp_path / "models")
    for text in HOSTILE[:4]:
        hostile_evidence(installation, text)
    page = page_of(installation, models=(guarded,))
    assert "4 waiting" in page.text
    for text in HOSTILE[:4]:
        assert text in page.text
