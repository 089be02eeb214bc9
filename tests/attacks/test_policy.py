"""A batch with a broken rule goes through `experiment`; nothing that was only warned about there reaches production."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from assets.summary import BatchOutcome, Stop, Summary, print_experiment
from secure_ml.errors import RejectedError, UnavailableError
from secure_ml.evidence import EvidenceLog
from secure_ml.installation import Installation
from secure_ml.models.heart_disease import model
from secure_ml.operations.integrity_check import check_stage
from secure_ml.releases import current_release
from secure_ml.signing.envelope import sign_statement, verify_statement
from secure_ml.stage_names import RELEASE, SIGNED_MODEL, TRAINED_MODEL, TRAINING_SET, VALIDATED_DATASET
from secure_ml.stages.dataset import ingest_batch
from secure_ml.stages.release import decide_release
from secure_ml.stages.signed_model import sign
from secure_ml.stages.trained_model import train
from secure_ml.stages.training_set import build_training_set
from secure_ml.stages.validated_dataset import validate_batch
from tests.attacks.test_gates import documents, launch
from tests.installed_home import copy_home, environment_in, replace_file, run_to_release

BROKEN_RULE = "chol: 30 of 303 rows below 50"


@pytest.fixture(scope="module")
def experimented(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A home on which cleveland, with 30 impossible cholesterols, went through `experiment` as far as it goes."""
    folder = tmp_path_factory.mktemp("experimented")
    environment = environment_in(folder)
    place = Installation.from_environment({**environment, "SECURE_ML_POLICY": "experiment"})
    lines = (model.batches.files["cleveland"]).read_text().splitlines()
    spoilt = [line.split(",") for line in lines]
    for cells in spoilt[:300:10]:
        cells[4] = "0"
    path = folder / "cleveland.csv"
    path.write_text("\n".join(",".join(cells) for cells in spoilt) + "\n")
    ingest_batch(place, replace(model, batches=replace(model.batches, files={"cleveland": path})), "cleveland")
    validate_batch(place, model, "cleveland")
    build_training_set(place, model)
    train(place, model)
    return environment


@pytest.fixture
def home_after(experimented: dict[str, str], tmp_path: Path) -> dict[str, str]:
    return copy_home(experimented, tmp_path)


def in_experiment(environment: dict[str, str]) -> Installation:
    return Installation.from_environment({**environment, "SECURE_ML_POLICY": "experiment"})


def test_experiment_trains_on_a_broken_batch_and_warns(home_after: dict[str, str]) -> None:
    place = in_experiment(home_after)
    validated = EvidenceLog.open(place, model.name).latest("validated_dataset")
    assert validated.decision == "accepted"
    assert validated.inputs["policy"] == "experiment"
    findings = validated.facts["findings"]
    assert isinstance(findings, list)
    said = [(item["tier"], item["sentence"]) for item in findings if isinstance(item, dict)]
    assert ("warn", f"{BROKEN_RULE} (blocks in production)") in said
    assert EvidenceLog.open(place, model.name).latest("trained_model").decision == "accepted"
    assert check_stage(place, model, "validated_dataset") == (1, [])


def test_the_main_job_under_experiment_says_what_was_trained_and_that_nothing_was_released(
    home_after: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    summary = Summary([BatchOutcome("cleveland", accepted=True, stops=(Stop("signed_model", "no"),))])
    assert print_experiment(in_experiment(home_after), model, summary) == 0
    said = capsys.readouterr().out
    assert "accepted by the quality gate, under policy experiment" in said
    assert "cleveland  accepted  signed_model: no" in said


@pytest.mark.parametrize("stage", [SIGNED_MODEL, RELEASE])
def test_experiment_neither_signs_nor_releases(
    stage: str, home_after: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = launch(stage, {**home_after, "SECURE_ML_POLICY": "experiment"}, monkeypatch)
    assert "nothing is signed or released under policy experiment" in said
    place = Installation.from_environment(home_after)
    with pytest.raises(UnavailableError, match="nothing is released"):
        current_release(place.home, place.trust, model.name)
    assert not list(place.home.models.rglob("model.sig"))


def test_production_validates_afresh_and_refuses(home_after: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECURE_ML_POLICY", raising=False)
    assert BROKEN_RULE in launch(VALIDATED_DATASET, home_after, monkeypatch)
    assert BROKEN_RULE in launch(TRAINING_SET, home_after, monkeypatch)
    place = Installation.from_environment(home_after)
    newest = EvidenceLog.open(place, model.name).latest("validated_dataset", tier_rules="production")
    assert (newest.decision, newest.reasons) == ("rejected", (BROKEN_RULE,))
    kept = EvidenceLog.open(place, model.name).latest("validated_dataset", tier_rules="experiment")
    assert kept.decision == "accepted"


@pytest.mark.parametrize("stage", [TRAINING_SET, TRAINED_MODEL])
def test_each_stage_alone_in_production_refuses_what_only_experiment_let_pass(
    stage: str, home_after: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SECURE_ML_POLICY", raising=False)
    assert launch(stage, {**home_after, "SECURE_ML_POLICY": "experiment"}, monkeypatch) == ""
    said = launch(stage, {**home_after, "SECURE_ML_POLICY": "production"}, monkeypatch)
    assert "decided under another policy, expected production, found experiment" in said


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (SIGNED_MODEL, "trained_model: decided under another policy, expected production, found experiment"),
        (RELEASE, "signed_model: no evidence"),
    ],
)
def test_later_stages_alone_in_production_refuse_too(
    stage: str, expected: str, home_after: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert expected in launch(stage, {**home_after, "SECURE_ML_POLICY": "production"}, monkeypatch)


@pytest.mark.parametrize("policy", ["experiment", None])
@pytest.mark.parametrize("stage", [VALIDATED_DATASET, TRAINING_SET, TRAINED_MODEL, SIGNED_MODEL])
def test_a_release_refuses_a_chain_in_which_one_step_is_not_of_production(
    stage: str, policy: str | None, ready: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole chain is signed by the trusted signer and holds; only one step says another policy, or none."""
    place = Installation.from_environment(ready)
    order = [VALIDATED_DATASET, TRAINING_SET, TRAINED_MODEL, SIGNED_MODEL]
    renamed: dict[str, str] = {}
    for name in order[order.index(stage) :]:
        (path,) = documents(ready, name)
        before = EvidenceLog.open(place, model.name).latest(name)
        subjects, predicate = verify_statement(path.read_bytes(), name, place.trust, path.name)
        inputs = {key: renamed.get(value, value) for key, value in before.inputs.items()}
        if name == stage:
            inputs.pop("policy")
            inputs |= {"policy": policy} if policy else {}
        replace_file(path, sign_statement(name, subjects, {**predicate, "inputs": dict(inputs)}, place.signer()))
        renamed[before.document] = EvidenceLog.open(place, model.name).latest(name).document
    assert f"decided under another policy, expected production, found {policy or 'none'}" in launch(
        RELEASE, ready, monkeypatch
    )


def test_a_good_batch_goes_both_ways_and_neither_hides_the_other(tmp_path: Path) -> None:
    environment = environment_in(tmp_path)
    place, trial = Installation.from_environment(environment), in_experiment(environment)
    for at in (trial, place, trial):
        ingest_batch(at, model, "cleveland")
        validate_batch(at, model, "cleveland")
        build_training_set(at, model)
        train(at, model)
    assert len(EvidenceLog.open(place, model.name).history("trained_model")) == 2
    assert EvidenceLog.open(place, model.name).latest("trained_model").inputs["policy"] == "production"
    run_to_release(place, model, "cleveland")
    assert current_release(place.home, place.trust, model.name).number == 1
    train(trial, model)
    _, released = decide_release(place, model)
    assert released.number == 1


def test_a_changed_policy_is_another_cause(home_after: dict[str, str]) -> None:
    """Evidence of one policy cannot be put under the name that it would have under the other."""
    place = Installation.from_environment(home_after)
    (path,) = documents(home_after, VALIDATED_DATASET)
    with pytest.raises(RejectedError, match=BROKEN_RULE):
        validate_batch(place, model, "cleveland")
    (other,) = [found for found in documents(home_after, VALIDATED_DATASET) if found != path]
    path.replace(other)
    with pytest.raises(RejectedError, match=other.name):
        validate_batch(place, model, "cleveland")


def test_a_signer_that_records_under_experiment_makes_no_release(home_after: dict[str, str]) -> None:
    """Even where the stage of signing is stepped over, the release finds the policy on the way back to the data."""
    place = Installation.from_environment(home_after)
    trained = EvidenceLog.open(place, model.name).latest("trained_model")
    EvidenceLog.open(place, model.name).append(
        place.signer(),
        stage="signed_model",
        cause=trained.cause,
        subjects=trained.subjects,
        inputs={
            "evidence:trained_model": trained.document,
            "training_set": trained.inputs["training_set"],
            "model": trained.inputs["model"],
            "policy": "production",
            "code": model.code,
        },
        facts={},
    )
    assert EvidenceLog.open(place, model.name).find("signed_model", trained.cause) is not None
    with pytest.raises(RejectedError, match="trained_model: decided under another policy"):
        decide_release(place, model)
    with pytest.raises(RejectedError, match="trained_model: decided under another policy"):
        sign(replace(place, policy="production"), model)
