"""The evidence log: each document is verified once, and a changed file is verified again."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from secure_ml.digests import digest_of
from secure_ml.errors import MalformedError, RejectedError, SecureMLError
from secure_ml.evidence import Evidence, EvidenceLog
from secure_ml.installation import Installation
from secure_ml.operations.pending_work import undecided_training_set
from secure_ml.signing.trust import Trust
from secure_ml.spec import GuardedModel
from secure_ml.stages.dataset import ingest_batch
from secure_ml.stages.release import decide_release
from secure_ml.stages.signed_model import sign
from secure_ml.stages.trained_model import train
from secure_ml.stages.training_set import build_training_set
from secure_ml.stages.validated_dataset import validate_batch
from tests.installed_home import flip
from tests.many_batches import accept_batches, model_to_train, write_batch

MODEL = "guarded"


@dataclass(frozen=True)
class CountingTrust(Trust):
    """A trust root that counts how often each document is verified with its keys."""

    verified: Counter[str] = field(default_factory=Counter)

    def key(self, keyid: str, stage: str, where: str) -> ec.EllipticCurvePublicKey:
        self.verified[where] += 1
        return super().key(keyid, stage, where)


@dataclass
class Counted:
    installation: Installation
    verified: Counter[str]

    def evidence(self, work: Callable[[], object]) -> Counter[str]:
        """Do the work, and return how often it verified each evidence document."""
        self.verified.clear()
        work()
        return Counter({name: count for name, count in self.verified.items() if name.startswith("evidence ")})


@pytest.fixture
def counted(installation: Installation) -> Counted:
    trust = CountingTrust(installation.trust.root, installation.trust.keys, installation.trust.stages)
    return Counted(replace(installation, trust=trust), trust.verified)


@pytest.fixture
def model(tmp_path: Path) -> GuardedModel:
    return model_to_train(tmp_path / "models")


@pytest.fixture
def log(counted: Counted) -> EvidenceLog:
    return EvidenceLog(counted.installation.home, counted.installation.trust, MODEL)


def append(installation: Installation, log: EvidenceLog, stage: str, number: int, **inputs: str) -> Evidence:
    return log.append(installation.signer(), stage=stage, cause=digest_of(number), subjects={}, inputs=inputs, facts={})


def test_a_release_verifies_each_document_once(counted: Counted, model: GuardedModel) -> None:
    installation = counted.installation
    accept_batches(installation, model, 8)
    for stage in (build_training_set, train, sign):
        verified = counted.evidence(lambda stage=stage: stage(installation, model))  # type: ignore[misc]
        assert set(verified.values()) == {1}, stage.__name__
    verified = counted.evidence(lambda: decide_release(installation, model))
    assert set(verified.values()) == {1}
    assert sum("/dataset/" in name for name in verified) == 8
    assert sum("/validated_dataset/" in name for name in verified) == 8
    again = counted.evidence(lambda: decide_release(installation, model))
    assert set(again.values()) == {1}


def test_an_intake_verifies_each_document_once(counted: Counted, model: GuardedModel) -> None:
    installation = counted.installation
    accept_batches(installation, model, 5)
    write_batch(installation.home.inbox / model.name, "next", seed=9)
    for stage in (ingest_batch, validate_batch):
        verified = counted.evidence(lambda stage=stage: stage(installation, model, "next"))  # type: ignore[misc]
        assert set(verified.values()) == {1}, stage.__name__


def test_a_sensor_reads_no_table(counted: Counted, model: GuardedModel) -> None:
    installation = counted.installation
    accept_batches(installation, model, 3)
    cause = build_training_set(installation, model).cause
    for table in (installation.home.datasets / model.name).glob("*/table.parquet"):
        table.unlink()
    assert undecided_training_set(installation, model) == cause
    with pytest.raises(RejectedError, match=r"table\.parquet: missing"):
        build_training_set(installation, model)


def test_a_changed_document_is_verified_again(counted: Counted, log: EvidenceLog) -> None:
    evidence = append(counted.installation, log, "dataset", 1)
    status = evidence.path.stat()
    assert log.history("dataset") == [evidence]
    flip(evidence.path)
    os.utime(evidence.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    for read in (
        lambda: log.history("dataset"),
        lambda: log.find("dataset", evidence.cause),
        lambda: log.latest("dataset"),
    ):
        with pytest.raises(SecureMLError, match=r"evidence guarded/dataset/"):
            read()


def test_a_replaced_document_is_verified_again(counted: Counted, log: EvidenceLog) -> None:
    first, second = (append(counted.installation, log, "dataset", number) for number in (1, 2))
    content = second.path.read_bytes()
    first.path.unlink()
    first.path.write_bytes(content)
    with pytest.raises(RejectedError, match="stored under a wrong name"):
        log.history("dataset")


def test_deleted_and_new_documents_are_noticed(counted: Counted, log: EvidenceLog) -> None:
    first = append(counted.installation, log, "dataset", 1)
    assert log.history("dataset") == [first]
    other = EvidenceLog(log.home, log.trust, log.model)
    second = append(counted.installation, other, "dataset", 2)
    assert log.history("dataset") == [first, second]
    first.path.unlink()
    assert log.history("dataset") == [second]
    assert log.find("dataset", first.cause) is None


def test_a_chain_is_linear_and_names_each_document_once(counted: Counted, log: EvidenceLog) -> None:
    installation = counted.installation
    shared = append(installation, log, "source_manifest_seen", 0)
    sources = [
        append(installation, log, "dataset", number, **{"evidence:source_manifest_seen": shared.document})
        for number in range(4)
    ]
    top = append(
        installation,
        log,
        "training_set",
        9,
        **{f"evidence:dataset:{number}": source.document for number, source in enumerate(sources)},
    )
    fresh = EvidenceLog(log.home, log.trust, log.model)
    verified = counted.evidence(lambda: fresh.chain(top))
    assert set(verified.values()) == {1}
    assert sorted(step.document for step in fresh.chain(top)) == sorted(
        item.document for item in (top, shared, *sources)
    )


def test_a_chain_with_a_missing_document_is_rejected(counted: Counted, log: EvidenceLog) -> None:
    source = append(counted.installation, log, "dataset", 1)
    top = append(counted.installation, log, "training_set", 2, **{"evidence:dataset": source.document})
    assert log.chain(top) == [top, source]
    source.path.unlink()
    with pytest.raises(RejectedError, match="rests on missing evidence of dataset"):
        log.chain(top)


def test_an_audit_does_not_stop_at_an_invalid_document(counted: Counted, log: EvidenceLog) -> None:
    evidence = [append(counted.installation, log, "dataset", number) for number in range(3)]
    flip(evidence[1].path)
    stray = evidence[0].path.with_name("notes.txt")
    stray.write_text("notes")
    results = {
        item.path.name if isinstance(item, Evidence) else str(item).split(":")[0]: item for item in log.audit("dataset")
    }
    assert len(results) == 4
    assert results[evidence[0].path.name] == evidence[0]
    assert results[evidence[2].path.name] == evidence[2]
    assert isinstance(results[f"evidence guarded/dataset/{evidence[1].path.name}"], SecureMLError)
    assert isinstance(results["evidence/guarded/dataset/notes.txt"], MalformedError)
