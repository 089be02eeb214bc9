"""The data gate against the batch before: which one that is, and what a contract bounds by it."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from pathlib import Path

import pytest

from secure_ml.errors import RejectedError
from secure_ml.evidence import Evidence
from secure_ml.installation import Installation
from secure_ml.operations.quarantine_decisions import discard_entry
from secure_ml.spec import GuardedModel
from secure_ml.stages.dataset import dataset_folder, ingest_batch
from secure_ml.stages.validated_dataset import PROFILE_FILE, validate_batch
from tests.sample_model import guarded_model, put_batch


@pytest.fixture
def model(tmp_path: Path) -> GuardedModel:
    """A model whose batches may have twice the rows of the one before, and half."""
    return bounded(guarded_model(tmp_path / "models"))


def bounded(model: GuardedModel) -> GuardedModel:
    schema = copy(model.schema)
    schema.metadata = {"secure_ml": {"rows_ratio": (0.5, 2)}}
    schema.columns["target"].metadata = {"secure_ml": {"drift": 0.3}}
    return replace(model, contract=schema)


def arrive(installation: Installation, model: GuardedModel, batch: str, rows: int, first: int = 0) -> None:
    lines: list[tuple[object, object, object]] = [
        (round(index / 50, 2), first + index, (index + first) % 2) for index in range(rows)
    ]
    put_batch(installation.home.inbox / model.name, batch, lines)
    ingest_batch(installation, model, batch)


def judge(installation: Installation, model: GuardedModel, batch: str, rows: int, first: int = 0) -> Evidence:
    arrive(installation, model, batch, rows, first)
    return validate_batch(installation, model, batch)


def test_a_batch_is_held_against_the_accepted_batch_before_it(installation: Installation, model: GuardedModel) -> None:
    first = judge(installation, model, "first", 40)
    assert "previous" not in first.inputs
    second = judge(installation, model, "second", 60)
    assert second.inputs["previous"] == first.document
    with pytest.raises(
        RejectedError, match=r"table: 20 rows, 0.333 times the 60 of the previous batch, expected 0.5 to 2"
    ):
        judge(installation, model, "third", 20)
    fourth = judge(installation, model, "fourth", 100)
    assert fourth.inputs["previous"] == second.document, "what was refused is no batch before"


def test_without_the_bound_the_same_batches_pass_and_nothing_is_looked_up(
    installation: Installation, tmp_path: Path
) -> None:
    plain = guarded_model(tmp_path / "models")
    judge(installation, plain, "first", 60)
    assert "previous" not in judge(installation, plain, "second", 20).inputs


def test_a_distribution_that_moved_away_is_refused_too(installation: Installation, model: GuardedModel) -> None:
    judge(installation, model, "first", 40)
    put_batch(installation.home.inbox / model.name, "second", [(index / 50, index, 0) for index in range(40)])
    ingest_batch(installation, model, "second")
    with pytest.raises(RejectedError, match=r"target: L-infinity distance 0.5 from the previous batch"):
        validate_batch(installation, model, "second")


def test_the_batch_before_is_the_one_that_arrived_before_whenever_it_is_validated(
    installation: Installation, model: GuardedModel
) -> None:
    first = judge(installation, model, "first", 40)
    arrive(installation, model, "second", 30)
    third = judge(installation, model, "third", 45)
    assert third.inputs["previous"] == first.document, "the second is not validated yet"
    assert validate_batch(installation, model, "second").inputs["previous"] == first.document
    assert validate_batch(installation, model, "third") == third


def test_slices_that_were_too_small_stand_in_the_evidence(installation: Installation, model: GuardedModel) -> None:
    schema = copy(model.schema)
    schema.metadata = {"secure_ml": {"slices": ("target=1", "y=..10")}}
    evidence = judge(installation, replace(model, contract=schema), "first", 60)
    assert evidence.facts["unjudged"] == [{"slice": "y=..10", "part": "y=..10", "rows": 10}]


def test_another_policy_has_batches_of_its_own(installation: Installation, model: GuardedModel) -> None:
    judge(installation, model, "first", 40)
    arrive(installation, model, "second", 200)
    evidence = validate_batch(replace(installation, policy="experiment"), model, "second")
    assert "previous" not in evidence.inputs


def test_a_discarded_batch_is_no_batch_before(installation: Installation, tmp_path: Path, model: GuardedModel) -> None:
    first = judge(installation, model, "first", 40)
    narrow = bounded(guarded_model(tmp_path / "models", highest=0.5))
    judge(installation, model, "second", 41)
    with pytest.raises(RejectedError) as caught:
        validate_batch(installation, narrow, "second")
    refused = caught.value.evidence.cause  # type: ignore[attr-defined]
    discard_entry(installation, model, refused, decided_by="ada", reason="a test", in_use=True)
    assert judge(installation, model, "third", 42).inputs["previous"] == first.document


def test_a_changed_profile_of_the_batch_before_is_refused_by_name(
    installation: Installation, model: GuardedModel
) -> None:
    first = judge(installation, model, "first", 40)
    path = dataset_folder(installation.home, model.name, first.cause) / PROFILE_FILE
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b'"rows":40', b'"rows":99'))
    with pytest.raises(RejectedError, match=r"profile\.json: changed"):
        judge(installation, model, "second", 100)
