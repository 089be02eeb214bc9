"""Each stage launched alone, through Dagster, in a later run: on bad evidence it fails with the reason.

Dagster's own blocking checks are no help here: an earlier run is over, and the asset is launched by itself.
"""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest

from secure_ml.digests import canonical_json
from secure_ml.installation import Installation
from secure_ml.models.heart_disease import model
from secure_ml.orchestration.guarded_model import definitions_of
from secure_ml.orchestration.keys import asset_key, batches_of
from secure_ml.orchestration.resource import InstallationResource
from secure_ml.signing.envelope import sign_statement, verify_statement
from secure_ml.signing.keys import Signer
from secure_ml.stage_names import (
    DATASET,
    DRIFT_REPORT,
    INFERENCE_LOG,
    RELEASE,
    SIGNED_MODEL,
    TRAINED_MODEL,
    TRAINING_SET,
    VALIDATED_DATASET,
)
from tests.installed_home import environment_in, flip, replace_file

UPSTREAM = {
    VALIDATED_DATASET: DATASET,
    TRAINING_SET: VALIDATED_DATASET,
    TRAINED_MODEL: TRAINING_SET,
    SIGNED_MODEL: TRAINED_MODEL,
    RELEASE: SIGNED_MODEL,
    DRIFT_REPORT: INFERENCE_LOG,
}


def launch(
    stage: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, *, batch: str = "cleveland"
) -> str:
    """Materialize one stage alone; return its failure's description, empty where it succeeded."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    definitions = definitions_of(model)
    (asset,) = (
        item
        for item in definitions.assets or []
        if isinstance(item, dg.AssetsDefinition) and item.key == asset_key(model.name, stage)
    )
    with dg.DagsterInstance.ephemeral() as instance:
        partitioned = stage in (DATASET, VALIDATED_DATASET)
        if partitioned:
            instance.add_dynamic_partitions(str(batches_of(model.name).name), [batch])
        result = dg.materialize(
            [asset],
            partition_key=batch if partitioned else None,
            resources={"installation": InstallationResource()},
            instance=instance,
            raise_on_error=False,
        )
    if result.success:
        assert result.asset_materializations_for_node(f"{model.name}__{stage}")
        return ""
    assert not result.asset_materializations_for_node(f"{model.name}__{stage}"), "a refusal materialized something"
    (check,) = result.get_asset_check_evaluations()
    assert not check.passed, "a refusal must show red"
    failure = result.failure_data_for_node(f"{model.name}__{stage}")
    assert failure is not None
    assert failure.user_failure_data is not None, failure.error
    return str(failure.user_failure_data.description)


def documents(environment: dict[str, str], stage: str) -> list[Path]:
    return sorted((Path(environment["SECURE_ML_HOME"]) / "evidence" / model.name / stage).iterdir())


def resign(path: Path, stage: str, environment: dict[str, str], signer: Signer, **changes: object) -> None:
    """Write a document again, changed and signed by `signer`."""
    trust = Installation.for_verification(environment).trust
    subjects, predicate = verify_statement(path.read_bytes(), stage, trust, path.name)
    replace_file(path, sign_statement(stage, subjects, {**predicate, **changes}, signer))  # type: ignore[dict-item]


@pytest.fixture
def foreign(ready: dict[str, str], tmp_path: Path) -> Signer:
    return Installation.from_environment(
        {**environment_in(tmp_path / "foreign"), "SECURE_ML_HOME": ready["SECURE_ML_HOME"]}
    ).signer()


@pytest.mark.parametrize("stage", [DATASET, *UPSTREAM, INFERENCE_LOG])
def test_each_stage_alone_succeeds_on_good_evidence(
    stage: str, ready: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert launch(stage, ready, monkeypatch) == ""


@pytest.mark.parametrize("stage", UPSTREAM)
def test_each_stage_alone_refuses_a_rejected_input(
    stage: str, ready: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = Installation.from_environment(ready).signer()
    for path in documents(ready, UPSTREAM[stage]):
        resign(path, UPSTREAM[stage], ready, signer, decision="rejected", reasons=["age: 3 of 303 rows null"])
    assert "age: 3 of 303 rows null" in launch(stage, ready, monkeypatch)


@pytest.mark.parametrize("stage", UPSTREAM)
def test_each_stage_alone_refuses_a_missing_input(
    stage: str, ready: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in documents(ready, UPSTREAM[stage]):
        path.unlink()
    said = launch(stage, ready, monkeypatch)
    assert "no evidence found" in said or "no evidence of the present" in said or "none was validated yet" in said


@pytest.mark.parametrize("stage", UPSTREAM)
def test_each_stage_alone_refuses_changed_bytes_and_names_the_file(
    stage: str, ready: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trust = Installation.for_verification(ready).trust
    (path,) = documents(ready, UPSTREAM[stage])
    subjects, predicate = verify_statement(path.read_bytes(), UPSTREAM[stage], trust, path.name)
    name = sorted(subjects)[0]
    (changed,) = {
        found
        for found in Path(ready["SECURE_ML_HOME"]).rglob(name)
        if found.parent.name
        in (predicate["cause"], predicate["inputs"].get("version"), predicate["inputs"].get("model"))  # type: ignore[union-attr]
        or found.parent.name == "segments"
    }
    flip(changed)
    said = launch(stage, ready, monkeypatch)
    assert name in said
    assert "changed" in said


@pytest.mark.parametrize("stage", UPSTREAM)
def test_each_stage_alone_refuses_forged_evidence_and_names_the_document(
    stage: str, ready: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import base64

    path = documents(ready, UPSTREAM[stage])[0]
    envelope = json.loads(path.read_bytes())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    statement["predicate"]["facts"]["forged"] = True
    envelope["payload"] = base64.b64encode(canonical_json(statement)).decode()
    replace_file(path, canonical_json(envelope))
    said = launch(stage, ready, monkeypatch)
    assert path.name in said
    assert "invalid signature" in said


@pytest.mark.parametrize("stage", UPSTREAM)
def test_each_stage_alone_refuses_foreign_evidence_and_names_the_document(
    stage: str, ready: dict[str, str], foreign: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = documents(ready, UPSTREAM[stage])[0]
    resign(path, UPSTREAM[stage], ready, foreign)
    said = launch(stage, ready, monkeypatch)
    assert path.name in said
    assert "not in the trust root" in said


@pytest.mark.parametrize("stage", UPSTREAM)
def test_each_stage_alone_refuses_good_evidence_put_under_another_name(
    stage: str, ready: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = documents(ready, UPSTREAM[stage])[0]
    other = path.with_name("0" * 64 + ".json")
    path.rename(other)
    assert other.name in launch(stage, ready, monkeypatch)


@pytest.mark.parametrize("case", ["missing", "changed", "forged", "foreign"])
def test_the_log_is_sealed_under_a_good_release_only(
    case: str, ready: dict[str, str], foreign: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = (Path(ready["SECURE_ML_HOME"]) / "releases" / model.name).iterdir()
    expected = path.name
    match case:
        case "missing":
            path.unlink()
            expected = "rolled back"
        case "changed":
            flip(path)
        case "forged":
            envelope = json.loads(path.read_bytes())
            envelope["signatures"][0]["sig"] = envelope["signatures"][0]["sig"][:-8] + "AAAAAAA="
            replace_file(path, canonical_json(envelope))
        case "foreign":
            resign(path, "release_document", ready, foreign)
    assert expected in launch(INFERENCE_LOG, ready, monkeypatch)


@pytest.mark.parametrize("stage", [DATASET, VALIDATED_DATASET, TRAINING_SET, TRAINED_MODEL, SIGNED_MODEL])
def test_a_release_refuses_a_change_anywhere_on_the_way_back_to_the_data(
    stage: str, ready: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = documents(ready, stage)[0]
    flip(path)
    assert path.name in launch(RELEASE, ready, monkeypatch)


def test_a_batch_that_lost_its_source_file_is_refused(
    ready: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Path(ready["SECURE_ML_HOME"]) / "inbox" / model.name
    inbox.mkdir(parents=True)
    (inbox / "hungarian.csv").symlink_to(tmp_path / "elsewhere.csv")
    assert "found a link" in launch(DATASET, ready, monkeypatch, batch="hungarian")
