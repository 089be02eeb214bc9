"""Whoever writes the home, and holds no key: each way in which that could move something on, or make us look away."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from secure_ml.digests import sha256
from secure_ml.errors import MalformedError, RejectedError, SecureMLError, UnavailableError
from secure_ml.evidence import EvidenceLog
from secure_ml.home import Home
from secure_ml.installation import Installation
from secure_ml.models.heart_disease import model
from secure_ml.releases import current_release, releases
from secure_ml.signing.envelope import PAYLOAD_TYPE
from secure_ml.signing.keys import signer_path
from secure_ml.spec import GuardedModel
from secure_ml.stages.dataset import ingest_batch
from secure_ml.stages.incoming import batch_names
from secure_ml.stages.release import decide_release
from secure_ml.stages.signed_model import sign
from secure_ml.stages.trained_model import train
from secure_ml.stages.training_set import build_training_set
from secure_ml.stages.validated_dataset import validate_batch
from tests.installed_home import PATIENT, environment_in, flip, replace_file, run_to_release, serving
from tests.wait import until

ROOT = Path(__file__).parents[2]
LINES = model.batches.files["cleveland"].read_text().splitlines()

NO_DOCUMENTS = {
    "not ASCII": '{"payload": "\u00e9", "payloadType": "%s", "signatures": [{"keyid": "x", "sig": "y"}]}',
    "half a surrogate": '{"payload":"aa==","payloadType":"%s","signatures":[{"keyid":"\\ud800","sig":"aa=="}]}',
    "deep": "[" * 100_000 + "%s",
    "not base64": '{"payload":"a","payloadType":"%s","signatures":[{"keyid":"x","sig":"a"}]}',
}


@pytest.fixture
def place(ready: dict[str, str]) -> Installation:
    return Installation.from_environment(ready)


def with_other_code() -> GuardedModel:
    """The same model after its file was edited, as a stricter contract would have it."""
    edited = dataclasses.replace(model)
    edited.__dict__["code"] = sha256(b"edited")
    return edited


def arrive(home: Home, batch: str, lines: list[str]) -> None:
    inbox = home.inbox / model.name
    inbox.mkdir(parents=True, exist_ok=True)
    (inbox / f"{batch}.csv").write_text("\n".join(lines) + "\n")


def flipped_labels() -> list[str]:
    rows = [line.rsplit(",", 1) for line in LINES]
    return [f"{features},{int(label == '0')}" for features, label in rows]


@pytest.mark.parametrize("case", NO_DOCUMENTS)
def test_a_document_that_is_none_is_malformed_and_named(case: str, place: Installation) -> None:
    (place.home.releases / model.name / "000002.json").write_text(NO_DOCUMENTS[case] % PAYLOAD_TYPE)
    with pytest.raises(MalformedError, match=r"000002\.json"):
        current_release(place.home, place.trust, model.name)


@pytest.mark.parametrize("case", NO_DOCUMENTS)
def test_no_document_ends_the_watch_over_the_released_files(case: str, ready: dict[str, str]) -> None:
    place = Installation.from_environment(ready)
    now = current_release(place.home, place.trust, model.name)
    with serving(ready) as service:
        hostile = now.path.with_name("000002.json")
        hostile.write_text(NO_DOCUMENTS[case] % PAYLOAD_TYPE)
        until(lambda: service.get("/v2/health/ready")[0] == 503)
        hostile.unlink()
        until(lambda: service.get("/v2/health/ready")[0] == 200)
        flip(place.home.models / model.name / now.model_digest / "model.onnx")
        until(lambda: service.get("/v2/health/ready")[0] == 503)
        assert service.post("/predict", PATIENT)[0] == 503


def test_releases_that_are_taken_away_do_not_skip_the_promotion_rule(place: Installation) -> None:
    run_to_release(place, model, "hungarian")
    assert decide_release(place, model)[0].decision == "rejected", "the rule says no to this candidate"
    shutil.rmtree(place.home.releases / model.name)
    for path in (place.home.evidence / model.name / "release").iterdir():
        path.unlink()
    with pytest.raises(
        RejectedError, match="release 1 was seen before and is missing, but its evidence is still there"
    ):
        decide_release(place, model)
    assert not (place.home.releases / model.name).exists()


def test_the_holdout_cannot_be_replaced_through_the_inbox(place: Installation) -> None:
    arrive(place.home, "cleveland", flipped_labels())
    assert batch_names(model, place.home).count("cleveland") == 1
    run_to_release(place, model, "cleveland")
    now = current_release(place.home, place.trust, model.name)
    assert now.number == 1, "a model of flipped labels was promoted on a holdout of flipped labels"
    arrive(place.home, "poison", flipped_labels())
    with pytest.raises(RejectedError, match=r"holdout ROC AUC 0\.\d+ is below"):
        run_to_release(place, model, "poison")


@pytest.mark.parametrize("stage", ["trained_model", "signed_model", "release"])
def test_no_stage_alone_goes_on_from_evidence_of_an_older_contract_or_code(stage: str, place: Installation) -> None:
    edited = with_other_code()
    run = {"trained_model": train, "signed_model": sign, "release": decide_release}[stage]
    with pytest.raises(UnavailableError, match="no evidence"):
        run(place, edited)
    run(place, model)


def test_a_batch_must_be_validated_again_under_another_contract(place: Installation) -> None:
    edited = with_other_code()
    with pytest.raises(RejectedError, match="cleveland was validated under another version of the model"):
        build_training_set(place, edited)
    run_to_release(place, edited, "cleveland")
    run_to_release(place, model, "cleveland")


def test_a_batch_that_the_present_contract_refuses_is_left_out(place: Installation) -> None:
    validate_batch(place, model, "cleveland")
    ingest_batch(place, model, "hungarian")
    validate_batch(place, model, "hungarian")
    edited = with_other_code()
    edited.__dict__["contract"] = _narrower()
    validate_batch(place, edited, "cleveland")
    with pytest.raises(RejectedError, match="thalach"):
        validate_batch(place, edited, "hungarian")
    made = build_training_set(place, edited)
    assert [name for name in made.inputs if name.startswith("evidence:")] == ["evidence:validated_dataset:cleveland"]
    assert list(made.facts["left_out"]) == ["hungarian"]  # type: ignore[arg-type]


def _narrower() -> object:
    import copy

    import pandera.polars as pa

    contract = copy.deepcopy(model.contract)
    lowest = min(float(line.split(",")[model.batches.columns.index("thalach")]) for line in LINES)
    contract.columns["thalach"].checks.append(pa.Check.ge(lowest))
    contract.columns["chol"].nullable = False
    contract.columns["thalach"].nullable = False
    return contract


def test_a_release_that_was_only_seen_is_remembered_too(place: Installation) -> None:
    """The publisher was killed between the document and the witness; whoever verifies next makes up for it."""
    witness = place.trust.root / "witness" / f"{model.name}.json"
    seen = witness.read_bytes()
    witness.unlink()
    releases(place.home, place.trust, model.name)
    assert witness.read_bytes() == seen
    current_release(place.home, place.trust, model.name).path.unlink()
    with pytest.raises(RejectedError, match="rolled back"):
        current_release(place.home, place.trust, model.name)


def test_a_trust_root_that_cannot_be_written_still_verifies(place: Installation) -> None:
    shutil.rmtree(place.trust.root / "witness")
    (place.trust.root / "witness").write_text("")
    assert current_release(place.home, place.trust, model.name).number == 1


def test_only_the_files_that_a_release_names_are_read(place: Installation) -> None:
    from secure_ml.releases import read_released

    now = current_release(place.home, place.trust, model.name)
    with (place.home.models / model.name / now.model_digest / "bomb").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(RejectedError, match="bomb: not part of release 1"):
        read_released(place.home, place.trust, now)


@contextlib.contextmanager
def reports(environment: dict[str, str]) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "assets.report_server", str(port)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: get(f"http://127.0.0.1:{port}/")[0] == 200)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


def test_the_report_server_serves_no_key_through_a_link_and_nothing_unsigned(ready: dict[str, str]) -> None:
    place = Installation.from_environment(ready)
    key = signer_path(place.signer_uri)
    folder = place.home.reports / model.name
    (folder / "key").symlink_to(key)
    (place.home.reports / "all").symlink_to(key.parent)
    (folder / "forged.html").write_text("<script>")
    (name,) = EvidenceLog.open(place, model.name).history("drift_report")[-1].subjects
    with reports(ready) as address:
        code, page = get(f"{address}/{model.name}/{name}")
        assert code == 200
        assert b"distributions compared" in page
        for path in ("key", "forged.html", f"../{model.name}/key", "%2e%2e/all/signer.pem", "..//all/signer.pem"):
            assert get(f"{address}/{model.name}/{path}")[0] == 404, path
        assert get(f"{address}/all/signer.pem")[0] == 404
        good = (folder / name).read_bytes()
        (folder / name).unlink()
        (folder / name).symlink_to(key)
        code, page = get(f"{address}/{model.name}/{name}")
        assert code == 500
        assert b"PRIVATE" not in page
        (folder / name).unlink()
        replace_file(folder / name, good + b"<script>")
        assert get(f"{address}/{model.name}/{name}")[0] == 500


def test_a_link_in_the_home_is_not_written_through(ready: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    from assets.__main__ import prepare_dagster
    from secure_ml.lineage.lake import rebuild

    place = Installation.from_environment(ready)
    key = signer_path(place.signer_uri)
    before = key.read_bytes()
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setenv("SECURE_ML_HOME", "")
    for path in (
        place.home.dagster / "dagster.yaml",
        place.home.lake / "empty" / "envelope.json",
        place.home.lake / "empty" / "findings.json",
        place.home.lake / "empty" / "records.parquet",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(key)
    prepare_dagster(place)
    rebuild(place.home)
    assert key.read_bytes() == before


@pytest.mark.parametrize("way", ["database", "link"])
def test_mlflow_is_not_led_out_of_the_home(way: str, ready: dict[str, str], tmp_path: Path) -> None:
    import sqlite3

    from secure_ml.lineage.mlflow_registry import log_model

    place = Installation.from_environment(ready)
    outside = tmp_path / "outside"
    outside.mkdir()
    if way == "database":
        with contextlib.closing(sqlite3.connect(place.home.mlflow / "mlflow.db")) as database, database:
            database.execute("update experiments set artifact_location = ?", (outside.as_uri(),))
    else:
        shutil.rmtree(place.home.mlflow / "artifacts" / model.name)
        (place.home.mlflow / "artifacts" / model.name).symlink_to(outside)
    with pytest.raises(UnavailableError, match="artifacts would go elsewhere"):
        log_model(place.home, model.name, "0" * 64, {"model.json": b"{}"}, params={}, metrics={})
    assert list(outside.iterdir()) == []


def test_a_key_that_may_not_sign_releases_releases_nothing(tmp_path: Path) -> None:
    """Separation of duties: the training host's key is trusted, for all but the release."""
    environment = environment_in(tmp_path)
    place = Installation.from_environment(environment)
    policy = json.dumps({"stages": {"release": [], "signed_model": [place.signer().keyid]}})
    (place.trust.root / "policy.json").write_text(policy)
    narrowed = Installation.from_environment(environment)
    for batch_stage in (ingest_batch, validate_batch):
        batch_stage(narrowed, model, "cleveland")
    for stage in (build_training_set, train, sign):
        stage(narrowed, model)
    with pytest.raises(RejectedError, match="may not sign release"):
        decide_release(narrowed, model)
    assert EvidenceLog.open(narrowed, model.name).history("release") == [], "the refusal left a document behind"
    decide_release(place, model)
    with pytest.raises(RejectedError, match="may not sign release"):
        current_release(narrowed.home, narrowed.trust, model.name)


def test_a_policy_for_a_stage_that_there_is_not_is_refused(place: Installation, ready: dict[str, str]) -> None:
    (place.trust.root / "policy.json").write_text('{"stages": {"relaese": []}}')
    with pytest.raises(SecureMLError, match="unknown stage"):
        Installation.from_environment(ready)


def test_a_plot_that_was_replaced_is_not_shown(place: Installation) -> None:
    from secure_ml.orchestration.presentation import plot_of

    evidence = EvidenceLog.open(place, model.name).history("drift_report")[-1]
    path = place.home.reports / model.name / str(evidence.facts["plot"])
    good = path.read_bytes()
    assert "plot" in plot_of(place.home, evidence)
    path.unlink()
    assert plot_of(place.home, evidence) == {}
    replace_file(path, good.replace(b"</svg>", b"<a/></svg>"))
    assert plot_of(place.home, evidence) == {}
    replace_file(path, good + bytes(1 << 20))
    assert plot_of(place.home, evidence) == {}
    path.unlink()
    path.symlink_to(signer_path(place.signer_uri))
    assert plot_of(place.home, evidence) == {}


def test_an_inbox_that_leads_out_of_the_home_is_not_read(place: Installation, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "secret.csv").write_text("\n".join(LINES) + "\n")
    place.home.inbox.mkdir()
    (place.home.inbox / model.name).symlink_to(tmp_path / "private")
    for take in (lambda: ingest_batch(place, model, "secret"), lambda: batch_names(model, place.home)):
        with pytest.raises(MalformedError, match="reached through a link"):
            take()


def test_a_file_name_does_not_reach_the_terminal_as_it_is(ready: dict[str, str]) -> None:
    place = Installation.from_environment(ready)
    (place.home.releases / model.name / "\x1b[2J\rall is well").write_text("{}")
    shown = subprocess.run(
        [sys.executable, "-m", "secure_ml.cli", "verify", model.name],
        env={**os.environ, **ready},
        capture_output=True,
    )
    assert shown.returncode != 0
    assert b"all is well" in shown.stderr
    assert b"\x1b" not in shown.stderr
    assert b"\r" not in shown.stderr
