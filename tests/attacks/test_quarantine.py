"""What is in quarantine goes on by a signed decision only, and by none that the adversary can write."""

from __future__ import annotations

import base64
import inspect
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from secure_ml.digests import canonical_json, digest_of
from secure_ml.errors import RejectedError, SecureMLError
from secure_ml.evidence import Evidence, EvidenceLog, EvidenceRejectedError, read_subjects
from secure_ml.installation import Installation
from secure_ml.models.heart_disease import model as heart_disease
from secure_ml.operations.quarantine_decisions import discard_entry, release_entry
from secure_ml.quarantine.entries import entries
from secure_ml.signing.envelope import sign_statement, verify_statement
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import QUARANTINE_DECISION
from secure_ml.stages.dataset import dataset_folder, ingest_batch
from secure_ml.stages.release import decide_release as promote
from secure_ml.stages.signed_model import sign
from secure_ml.stages.trained_model import train
from secure_ml.stages.training_set import build_training_set
from secure_ml.stages.validated_dataset import check_newest_version, validate_batch
from tests.installed_home import environment_in
from tests.sample_model import guarded_model, load, put_batch

ROWS = [(1.5, 2.5, 1), (20, 0.5, 0), (3.25, -1, 1), (4, 0, 0)]
WHY = "the sensor was replaced, it measures up to 30"


@pytest.fixture
def strict(tmp_path: Path) -> GuardedModel:
    return guarded_model(tmp_path / "models")


@pytest.fixture
def wide(tmp_path: Path) -> GuardedModel:
    """The same model after an edit of its contract that lets the refused batch pass."""
    return guarded_model(tmp_path / "models", highest=30)


@pytest.fixture
def refused(installation: Installation, strict: GuardedModel) -> Evidence:
    put_batch(installation.home.inbox / strict.name, "first", ROWS)
    ingest_batch(installation, strict, "first")
    with pytest.raises(RejectedError, match="x: 1 of 4 rows above 10"):
        validate_batch(installation, strict, "first")
    return EvidenceLog.open(installation, strict.name).latest("validated_dataset")


def released_beside(installation: Installation, wide: GuardedModel, refused: Evidence) -> Path:
    """Make a good decision, and take it away again; return where it lay, its bytes beside it."""
    decision = release_entry(installation, wide, refused.cause[:12], decided_by="ada", reason=WHY)
    good = decision.path.read_bytes()
    decision.path.unlink()
    for path in decision.path.parent.parent.joinpath("validated_dataset").iterdir():
        if path != refused.path:
            path.unlink()
    decision.path.with_suffix(".kept").write_bytes(good)
    return decision.path


def test_a_changed_contract_alone_takes_nothing_out_of_quarantine(
    installation: Installation, wide: GuardedModel, refused: Evidence
) -> None:
    """Without the hold the attack works: the contract accepts the very bytes that were refused."""
    _, split = check_newest_version(installation, wide, "first")
    assert split.report.accepted
    with pytest.raises(RejectedError, match=r"since contract .* refused the same bytes"):
        validate_batch(installation, wide, "first")
    found = EvidenceLog.open(installation, wide.name).history("validated_dataset")
    assert [item.decision for item in found] == ["rejected", "rejected"]
    (entry,) = entries(EvidenceLog.open(installation, wide.name))
    assert entry.refusal == refused, "what is held makes no entry of its own"


def test_the_same_bytes_under_another_name_are_held_too(
    installation: Installation, wide: GuardedModel, refused: Evidence
) -> None:
    put_batch(installation.home.inbox / wide.name, "second", ROWS)
    ingest_batch(installation, wide, "second")
    with pytest.raises(RejectedError, match=r"since contract .* refused the same bytes"):
        validate_batch(installation, wide, "second")


def test_a_release_names_both_contracts_and_the_way_back_goes_through_it(
    installation: Installation, strict: GuardedModel, wide: GuardedModel, refused: Evidence
) -> None:
    decision = release_entry(installation, wide, refused.cause[:12], decided_by="ada", reason=WHY)
    assert decision.inputs["refused_under"] == strict.contract_digest
    assert decision.inputs["released_under"] == wide.contract_digest
    assert (decision.inputs["by"], decision.inputs["why"]) == ("ada", WHY)
    accepted = EvidenceLog.open(installation, wide.name).latest("validated_dataset", batch="first")
    assert accepted.decision == "accepted"
    assert accepted.facts["rows"] == 4
    assert read_subjects(accepted, dataset_folder(installation.home, wide.name, accepted.cause))
    steps = [step.stage for step in EvidenceLog.open(installation, accepted.model).chain(accepted)]
    assert sorted(steps) == ["dataset", "quarantine_decision", "validated_dataset"]
    decision.path.unlink()
    with pytest.raises(RejectedError, match="rests on missing evidence of quarantine_decision"):
        EvidenceLog.open(installation, accepted.model).chain(accepted)


def forged(content: bytes) -> bytes:
    """Change what was signed, and leave the signature."""
    envelope = json.loads(content)
    statement = json.loads(base64.b64decode(envelope["payload"]))
    statement["predicate"]["inputs"]["by"] = "eve"
    envelope["payload"] = base64.b64encode(canonical_json(statement)).decode()
    return canonical_json(envelope)


def unsigned(content: bytes) -> bytes:
    return canonical_json({**json.loads(content), "signatures": []})


def bare(content: bytes) -> bytes:
    """Only the statement, as if nobody asked for an envelope."""
    return base64.b64decode(json.loads(content)["payload"])


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (forged, "invalid signature"),
        (unsigned, "expected a DSSE envelope with one signature"),
        (bare, "expected a DSSE envelope with one signature"),
        (lambda content: content[:-40], "not a JSON document"),
        (lambda _: b"", "not a JSON document"),
    ],
)
def test_a_decision_that_nobody_signed_releases_nothing_and_is_named(
    forge: Callable[[bytes], bytes],
    said: str,
    installation: Installation,
    wide: GuardedModel,
    refused: Evidence,
) -> None:
    path = released_beside(installation, wide, refused)
    kept = path.with_suffix(".kept")
    good = kept.read_bytes()
    kept.unlink()
    path.write_bytes(forge(good))
    with pytest.raises(SecureMLError, match=said) as caught:
        validate_batch(installation, wide, "first")
    assert path.name in str(caught.value)
    # The same bytes as they were signed do release it: it was the forgery that was refused.
    path.write_bytes(good)
    assert validate_batch(installation, wide, "first").decision == "accepted"


def test_a_decision_that_a_foreign_key_signed_releases_nothing(
    installation: Installation, wide: GuardedModel, refused: Evidence, tmp_path: Path
) -> None:
    path = released_beside(installation, wide, refused)
    kept = path.with_suffix(".kept")
    subjects, predicate = verify_statement(kept.read_bytes(), QUARANTINE_DECISION, installation.trust, kept.name)
    kept.unlink()
    foreign = Installation.from_environment(environment_in(tmp_path / "foreign"))
    path.write_bytes(sign_statement(QUARANTINE_DECISION, subjects, predicate, foreign.signer()))
    # To whoever trusts that key it is a good decision; here it is not.
    verify_statement(path.read_bytes(), QUARANTINE_DECISION, foreign.trust, path.name)
    with pytest.raises(RejectedError, match="signed by a key that is not in the trust root"):
        validate_batch(installation, wide, "first")


def test_a_good_decision_about_something_else_releases_nothing(
    installation: Installation, wide: GuardedModel, refused: Evidence
) -> None:
    """Signed by the right key, about another refusal: replayed under this one's name, or left where it is.

    That this refusal's digest stands in it elsewhere, as in a reason that somebody was given to type, is no decision.
    """
    other = EvidenceLog.open(installation, wide.name).append(
        installation.signer(),
        stage=QUARANTINE_DECISION,
        cause=digest_of({"of": "something else"}),
        subjects={},
        inputs={**refused.inputs, "action": "release", "by": "ada", "why": refused.document, "refusal:0": "0" * 64},
        facts={},
    )
    with pytest.raises(RejectedError, match=r"since contract .* refused the same bytes"):
        validate_batch(installation, wide, "first")
    other.path.rename(other.path.with_name(f"{refused.cause}.json"))
    with pytest.raises(RejectedError, match="stored under a wrong name"):
        validate_batch(installation, wide, "first")


def test_what_the_adversary_writes_into_the_quarantine_folder_counts_for_nothing(
    installation: Installation, wide: GuardedModel, refused: Evidence
) -> None:
    folder = installation.home.quarantine / wide.name / refused.cause
    (folder / "findings.json").write_text('{"decision": "released", "reasons": [], "findings": []}')
    (entry,) = entries(EvidenceLog.open(installation, wide.name))
    assert entry.state == "open"
    assert entry.refusal.reasons == ("x: 1 of 4 rows above 10",)
    with pytest.raises(RejectedError, match=r"since contract .* refused the same bytes"):
        validate_batch(installation, wide, "first")


def test_a_discarded_batch_is_released_by_no_contract(
    installation: Installation, wide: GuardedModel, refused: Evidence
) -> None:
    discard_entry(installation, wide, refused.cause, decided_by="ada", reason="a test export")
    with pytest.raises(RejectedError, match="was discarded already, by ada"):
        release_entry(installation, wide, refused.cause, decided_by="eve", reason="please")
    with pytest.raises(RejectedError, match="discarded, never to go on"):
        validate_batch(installation, wide, "first")


def with_holdout(model: GuardedModel, folder: Path) -> GuardedModel:
    put_batch(folder, "other", [(index / 10, index, index % 2) for index in range(40)])
    return replace(model, batches=replace(model.batches, files={"other": folder / "other.csv"}))


@pytest.mark.parametrize("keeps", ["batch", "rows"])
def test_what_was_discarded_goes_on_from_no_older_acceptance(
    keeps: str, installation: Installation, tmp_path: Path
) -> None:
    """A contract is tightened, what it refuses is discarded as poison, and the change of the contract is taken back."""
    old = with_holdout(guarded_model(tmp_path / "models", highest=30, keeps=keeps), tmp_path / "files")
    tight = guarded_model(tmp_path / "models", keeps=keeps)
    put_batch(installation.home.inbox / old.name, "first", ROWS)
    for batch in ("first", "other"):
        ingest_batch(installation, old, batch)
        validate_batch(installation, old, batch)
    if keeps == "rows":
        refusal = validate_batch(installation, tight, "first")
    else:
        with pytest.raises(RejectedError, match="x: 1 of 4 rows above 10"):
            validate_batch(installation, tight, "first")
        refusal = EvidenceLog.open(installation, tight.name).latest("validated_dataset")
    # While nobody decided, the older acceptance under the very same contract stands.
    assert validate_batch(installation, old, "first").facts["rows"] == 4
    assert build_training_set(installation, old).facts["batches"] == {"first": 4, "other": 40}
    discard_entry(installation, tight, refusal.cause, decided_by="ada", reason="poison", in_use=True)
    with pytest.raises(RejectedError, match=r"were discarded .*a discard is final"):
        validate_batch(installation, old, "first")
    made = build_training_set(installation, old)
    assert made.facts["batches"] == {"other": 40}
    assert made.facts["left_out"] == {"first": [f"discarded since (quarantine {refusal.cause[:12]})"]}
    if keeps == "rows":  # what was accepted without these rows goes on
        assert validate_batch(installation, tight, "first") == refusal


def test_changed_rows_that_were_kept_aside_are_named(installation: Installation, tmp_path: Path) -> None:
    """Row numbers that the adversary takes out of the file would let these rows pass the next contract."""
    narrow = guarded_model(tmp_path / "models", keeps="rows")
    put_batch(installation.home.inbox / narrow.name, "first", ROWS)
    ingest_batch(installation, narrow, "first")
    first = validate_batch(installation, narrow, "first")
    rows = installation.home.quarantine / narrow.name / first.cause / "failing_rows.csv"
    rows.write_text(rows.read_text().splitlines()[0] + "\n")
    with pytest.raises(RejectedError, match=r"failing_rows\.csv: changed"):
        validate_batch(installation, guarded_model(tmp_path / "models", highest=30, keeps="rows"), "first")


def edited_heart_disease(folder: Path) -> GuardedModel:
    """Return heart_disease after an edit that takes cholesterol of 0 and a missing blood sugar for measured."""
    source = Path(inspect.getfile(heart_disease.trainer))
    text = source.read_text()
    for old, new in (
        ("pa.Check.in_range(50, 1000)", "pa.Check.in_range(0, 1000)"),
        ('"fbs": _measured(', '"fbs": _optional('),
        ("Path(__file__).parent", f"Path({str(source.parent)!r})"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = folder / "edited.py"
    path.write_text(text)
    return load(path)


def test_no_model_is_released_on_a_quarantined_batch_whose_decision_is_gone_or_forged(
    installation: Installation, tmp_path: Path
) -> None:
    """From the data to the release of a model, through a decision of quarantine."""
    ingest_batch(installation, heart_disease, "switzerland")
    with pytest.raises(RejectedError, match="chol: 123 of 123 rows below 50"):
        validate_batch(installation, heart_disease, "switzerland")
    refused = EvidenceLog.open(installation, heart_disease.name).latest("validated_dataset")
    edited = edited_heart_disease(tmp_path)
    decision = release_entry(
        installation, edited, refused.cause, decided_by="ada", reason="the laboratory writes 0 for not measured"
    )
    ingest_batch(installation, edited, "cleveland")
    validate_batch(installation, edited, "cleveland")
    for stage in (build_training_set, train, sign):
        evidence = stage(installation, edited)
    good = decision.path.read_bytes()
    decision.path.write_bytes(forged(good))
    with pytest.raises(RejectedError, match=f"{decision.path.name}.*invalid signature"):
        promote(installation, edited)
    decision.path.unlink()
    with pytest.raises(RejectedError, match="rests on missing evidence of quarantine_decision"):
        promote(installation, edited)
    decision.path.write_bytes(good)
    assert promote(installation, edited)[1].number == 1
    steps = [step.stage for step in EvidenceLog.open(installation, evidence.model).chain(evidence)]
    assert steps.count("quarantine_decision") == 1


def test_what_was_discarded_in_production_is_held_in_experiment_too(
    installation: Installation, strict: GuardedModel, wide: GuardedModel, refused: Evidence
) -> None:
    """What is only refused in production goes on in experiment, with a warning; a discard is final for both."""
    experiment = replace(installation, policy="experiment")
    assert validate_batch(experiment, strict, "first").decision == "accepted"
    discard_entry(installation, strict, refused.cause, decided_by="ada", reason="poison", in_use=True)
    with pytest.raises(EvidenceRejectedError, match="discarded, never to go on"):
        validate_batch(experiment, wide, "first")
    with pytest.raises(RejectedError, match=r"were discarded .*a discard is final"):
        validate_batch(experiment, strict, "first")


def test_no_further_refusal_of_discarded_bytes_is_released(
    installation: Installation, wide: GuardedModel, refused: Evidence, tmp_path: Path
) -> None:
    between = guarded_model(tmp_path / "models", highest=15)
    with pytest.raises(EvidenceRejectedError, match="x: 1 of 4 rows above 15"):
        validate_batch(installation, between, "first")
    (_, second) = entries(EvidenceLog.open(installation, between.name))
    discard_entry(installation, wide, refused.cause, decided_by="ada", reason="poison")
    with pytest.raises(RejectedError, match="the same bytes were discarded before; a discard is final"):
        release_entry(installation, wide, second.refusal.cause, decided_by="eve", reason="please")


def test_a_refusal_is_released_under_its_own_policy_only(installation: Installation, strict: GuardedModel) -> None:
    """A missing label is refused in experiment too: there are two entries, and a release is of one of them."""
    experiment = replace(installation, policy="experiment")
    put_batch(installation.home.inbox / strict.name, "first", [*ROWS[:1], (2, 2, ""), *ROWS[2:]])
    ingest_batch(installation, strict, "first")
    for place in (experiment, installation):
        with pytest.raises(EvidenceRejectedError, match="target: 1 of 4 rows null"):
            validate_batch(place, strict, "first")
    path = Path(inspect.getfile(strict.trainer))
    lenient = path.with_name("lenient.py")
    lenient.write_text(path.read_text().replace("pa.Check.isin([0, 1])", "pa.Check.isin([0, 1]), nullable=True"))
    wider = load(lenient)
    of_experiment, of_production = entries(EvidenceLog.open(installation, strict.name))
    with pytest.raises(RejectedError, match="was refused under policy experiment, and this is production"):
        release_entry(installation, wider, of_experiment.refusal.cause, decided_by="ada", reason=WHY)
    release_entry(installation, wider, of_production.refusal.cause, decided_by="ada", reason=WHY)
    states = [entry.state for entry in entries(EvidenceLog.open(installation, strict.name))]
    assert states == ["open", "released"]
    with pytest.raises(EvidenceRejectedError, match=f"in quarantine .{of_experiment.refusal.cause[:12]}"):
        validate_batch(experiment, wider, "first")
