"""Provenance against poisoning: first the poisoned batch goes through, then its source's signed manifest stops it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from secure_ml.datasets.source_manifest import sign_manifest
from secure_ml.datasets.sources import LocalFolder
from secure_ml.datasets.sources.names import MANIFEST_FILE
from secure_ml.digests import sha256
from secure_ml.errors import PreconditionError, RejectedError
from secure_ml.evidence import Evidence, EvidenceLog
from secure_ml.installation import Installation
from secure_ml.operations.pending_work import pending_inbox_batches
from secure_ml.orchestration.resource import InstallationResource
from secure_ml.orchestration.sensors import model_sensors
from secure_ml.signing.envelope import sign_statement, verify_statement
from secure_ml.signing.key_ids import keyid_of
from secure_ml.signing.keys import Signer
from secure_ml.signing.trust import Trust
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import SOURCE_MANIFEST
from secure_ml.stages.dataset import ingest_batch
from secure_ml.stages.incoming import batch_names
from secure_ml.stages.validated_dataset import validate_batch
from tests.installed_home import environment_in, flip
from tests.sources_support import GOOD, POISON, model_on


def take_in(installation: Installation, model: GuardedModel, batch: str) -> Evidence:
    ingest_batch(installation, model, batch)
    return validate_batch(installation, model, batch)


@pytest.fixture
def foreign(tmp_path: Path) -> Signer:
    return Installation.from_environment(environment_in(tmp_path / "foreign")).signer()


def sign(folder: Path, signer: Signer, source: str = "sales") -> None:
    batches = {path.name: sha256(path.read_bytes()) for path in folder.glob("*.csv")}
    (folder / MANIFEST_FILE).write_bytes(sign_manifest(source, batches, signer))


def refused(installation: Installation, model: GuardedModel, batch: str = "sales.january") -> str:
    """Take a batch in, which must be refused; return why, as the quarantine has it too."""
    with pytest.raises(RejectedError) as caught:
        ingest_batch(installation, model, batch)
    entries = [
        json.loads(path.read_text()) for path in installation.home.quarantine.glob(f"{model.name}/*/findings.json")
    ]
    said = [entry for entry in entries if entry["reasons"][0] in str(caught.value)]
    assert said, "it is not in quarantine"
    assert {finding["code"] for entry in said for finding in entry["findings"]} == {"provenance"}
    return str(caught.value)


def test_a_poisoned_batch_goes_through_without_the_control_and_is_quarantined_with_it(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer
) -> None:
    sign(folder, signer)
    (folder / "january.csv").write_bytes(POISON)
    open_model = model_on(sources={"sales": LocalFolder(folder, require_manifest=False)})
    assert take_in(installation, open_model, "sales.january").decision == "accepted"

    assert "sales.january: its digest is not in the source's signed manifest" in refused(installation, guarded)
    newest = EvidenceLog.open(installation, "tiny").latest("dataset", batch="sales.january")
    assert newest.decision == "rejected"
    with pytest.raises(RejectedError, match="its digest is not in"):
        validate_batch(installation, guarded, "sales.january")

    (folder / "january.csv").write_bytes(GOOD)
    assert take_in(installation, guarded, "sales.january").decision == "accepted"


def test_a_poisoned_batch_in_the_inbox_likewise(installation: Installation, signer: Signer) -> None:
    inbox = installation.home.inbox / "tiny"
    inbox.mkdir(parents=True)
    (inbox / "january.csv").write_bytes(GOOD)
    sign(inbox, signer, "inbox.tiny")
    (inbox / "january.csv").write_bytes(POISON)
    assert take_in(installation, model_on(), "january").decision == "accepted"

    guarded = model_on(require_inbox_manifest=True)
    assert "january: its digest is not in the source's signed manifest" in refused(installation, guarded, "january")
    (inbox / "january.csv").write_bytes(GOOD)
    (arrival,) = pending_inbox_batches(installation, guarded)
    assert arrival.batch == "january"
    take_in(installation, guarded, "january")
    assert pending_inbox_batches(installation, guarded) == []


def test_the_sensors_take_a_batch_in_once_its_manifest_came(
    folder: Path, guarded: GuardedModel, environment: dict[str, str], signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the batch came first and was refused: Dagster makes one run at most for each key."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    installation = Installation.from_environment(environment)
    inbox = installation.home.inbox / "tiny"
    inbox.mkdir(parents=True)
    (inbox / "own.csv").write_bytes(GOOD)
    model = replace(guarded, batches=replace(guarded.batches, require_inbox_manifest=True))
    with dg.DagsterInstance.ephemeral() as instance:
        asked = sensed(model, instance)
        assert {request.partition_key for request in asked} == {"own", "sales.january"}
        for batch in ("own", "sales.january"):
            assert "has no signed manifest" in refused(installation, model, batch)
        assert sensed(model, instance) == []

        sign(folder, signer)
        sign(inbox, signer, "inbox.tiny")
        again = sensed(model, instance)
        assert {request.partition_key for request in again} == {"own", "sales.january"}
        assert not {request.run_key for request in again} & {request.run_key for request in asked}
        for batch in ("own", "sales.january"):
            take_in(installation, model, batch)
        assert sensed(model, instance) == []
    assert not [sensor for sensor in model_sensors(model_on()) if "source" in sensor.name]


def sensed(model: GuardedModel, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    found: list[dg.RunRequest] = []
    for sensor in model_sensors(model):
        if sensor.name.endswith("arrival"):
            resources = {"installation": InstallationResource()}
            context = dg.build_sensor_context(instance=instance, resources=resources)
            result = sensor(context)
            assert isinstance(result, dg.SensorResult)
            found += result.run_requests or []
    return found


def test_what_was_taken_in_before_a_manifest_was_required_is_not_validated_afterwards(
    installation: Installation,
) -> None:
    inbox = installation.home.inbox / "tiny"
    inbox.mkdir(parents=True)
    (inbox / "january.csv").write_bytes(POISON)
    ingest_batch(installation, model_on(), "january")
    with pytest.raises(RejectedError, match="ingested without a signed manifest, which is required now"):
        validate_batch(installation, model_on(require_inbox_manifest=True), "january")


def test_a_batch_whose_source_is_no_longer_one_of_the_models_is_not_validated(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer
) -> None:
    sign(folder, signer)
    ingest_batch(installation, guarded, "sales.january")
    with pytest.raises(RejectedError, match="unknown source"):
        validate_batch(installation, model_on(), "sales.january")


def test_the_inbox_cannot_pretend_to_be_a_source(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer
) -> None:
    sign(folder, signer)
    inbox = installation.home.inbox / "tiny"
    inbox.mkdir(parents=True)
    (inbox / "sales.january.csv").write_bytes(POISON)
    assert batch_names(model_on(), installation.home) == ["sales.january"], "without the source it is a batch"
    assert pending_inbox_batches(installation, guarded) == []
    assert batch_names(guarded, installation.home) == ["sales.january"]
    taken = ingest_batch(installation, guarded, "sales.january")
    assert taken.inputs["version"] == sha256(GOOD)


def test_a_manifest_of_a_foreign_key_refuses(
    folder: Path, guarded: GuardedModel, installation: Installation, foreign: Signer
) -> None:
    sign(folder, foreign)
    assert "signed by a key that is not in the trust root" in refused(installation, guarded)


def test_a_removed_manifest_refuses_also_what_was_accepted_before_until_it_is_back(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer
) -> None:
    assert "sales.january: its source sales has no signed manifest" in refused(installation, guarded)
    sign(folder, signer)
    take_in(installation, guarded, "sales.january")
    manifest = (folder / MANIFEST_FILE).read_bytes()
    (folder / MANIFEST_FILE).unlink()
    assert "its source sales has no signed manifest" in refused(installation, guarded)
    (folder / MANIFEST_FILE).write_bytes(manifest)
    take_in(installation, guarded, "sales.january")


def test_a_manifest_that_no_longer_lists_an_accepted_batch_refuses_it(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer
) -> None:
    sign(folder, signer)
    take_in(installation, guarded, "sales.january")
    (folder / MANIFEST_FILE).write_bytes(sign_manifest("sales", {}, signer))
    assert "its digest is not in the source's signed manifest" in refused(installation, guarded)


def test_a_manifest_that_lists_a_further_batch_takes_nothing_in_twice(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer
) -> None:
    sign(folder, signer)
    before = take_in(installation, guarded, "sales.january")
    (folder / "february.csv").write_bytes(GOOD + b"1,1,1\n")
    sign(folder, signer)
    assert take_in(installation, guarded, "sales.january").document == before.document
    take_in(installation, guarded, "sales.february")


def test_the_bytes_of_one_batch_under_the_name_of_another_refuse(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer
) -> None:
    (folder / "february.csv").write_bytes(GOOD + b"1,1,1\n")
    sign(folder, signer)
    (folder / "january.csv").write_bytes(GOOD + b"1,1,1\n")
    assert "its digest is not in the source's signed manifest" in refused(installation, guarded)


def test_the_manifest_of_another_source_refuses(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer
) -> None:
    sign(folder, signer, "marketing")
    assert "it is the manifest of another source" in refused(installation, guarded)


def test_evidence_of_another_kind_is_no_manifest(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer
) -> None:
    other = sign_statement("dataset", {"january.csv": sha256(GOOD)}, {"source": "sales", "made_at": "now"}, signer)
    (folder / MANIFEST_FILE).write_bytes(other)
    assert f"evidence of another stage, expected {SOURCE_MANIFEST}" in refused(installation, guarded)


def test_one_flipped_bit_anywhere_in_the_manifest_refuses(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer
) -> None:
    sign(folder, signer)
    path = folder / MANIFEST_FILE
    good = path.read_bytes()
    for position in range(0, len(good), 7):
        flip(path, position)
        assert "sales" in refused(installation, guarded)
        path.write_bytes(good)
    take_in(installation, guarded, "sales.january")


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff\xfe", b'{"payload":"","payloadType":"","signatures":[]}']
)
def test_what_is_no_manifest_at_all_refuses(
    content: bytes, folder: Path, guarded: GuardedModel, installation: Installation
) -> None:
    (folder / MANIFEST_FILE).write_bytes(content)
    assert "manifest of source sales" in refused(installation, guarded)


def test_a_link_as_manifest_refuses(folder: Path, guarded: GuardedModel, installation: Installation) -> None:
    (folder / MANIFEST_FILE).symlink_to("/dev/zero")
    assert "found a link" in refused(installation, guarded)


def opened(installation: Installation) -> Installation:
    """The installation as a new process sees it."""
    return Installation(installation.home, Trust.load(installation.trust.root), installation.signer_uri)


def test_the_policy_says_whose_key_may_sign_a_manifest(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer, foreign: Signer
) -> None:
    root = installation.trust.root
    (root / "keys" / "supplier.pem").write_bytes(_pem(foreign))
    sign(folder, foreign)
    take_in(opened(installation), guarded, "sales.january")
    (root / "policy.json").write_text(json.dumps({"stages": {SOURCE_MANIFEST: [signer.keyid]}}))
    assert "its key may not sign source_manifest" in refused(opened(installation), guarded)
    (root / "policy.json").write_text(json.dumps({"stages": {SOURCE_MANIFEST: [keyid_of(foreign.public_key)]}}))
    take_in(opened(installation), guarded, "sales.january")


def test_a_suppliers_own_key_signs_for_its_source_and_for_nothing_else(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer, foreign: Signer
) -> None:
    """The attack first: a key among those of the installation signs evidence of every stage that no policy names."""
    root = installation.trust.root
    ours = root / "keys" / "supplier.pem"
    ours.write_bytes(_pem(foreign))
    forged = sign_statement("dataset", {}, {}, foreign)
    verify_statement(forged, "dataset", Trust.load(root), "it")
    ours.unlink()

    keys = root / "sources" / "sales" / "keys"
    keys.mkdir(parents=True)
    (keys / "supplier.pem").write_bytes(_pem(foreign))
    with pytest.raises(RejectedError, match="not in the trust root"):
        verify_statement(forged, "dataset", Trust.load(root), "it")
    sign(folder, foreign)
    take_in(installation, guarded, "sales.january")
    sign(folder, signer)
    assert "not in the trust root" in refused(installation, guarded), "ours signs for this source no more"

    other = model_on(sources={"marketing": LocalFolder(folder)})
    sign(folder, foreign, "marketing")
    assert "not in the trust root" in refused(installation, other, "marketing.january")
    sign(folder, signer, "marketing")
    take_in(installation, other, "marketing.january")


def test_a_source_whose_part_of_the_trust_root_is_empty_believes_nobody(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer
) -> None:
    (installation.trust.root / "sources" / "sales" / "keys").mkdir(parents=True)
    sign(folder, signer)
    with pytest.raises(PreconditionError, match="no public key in"):
        ingest_batch(installation, guarded, "sales.january")


def _pem(signer: Signer) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return signer.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
