"""Pending work: new batches in inbox and sources, and accepted batches that no training set holds yet."""

from __future__ import annotations

from dataclasses import dataclass

from secure_ml.digests import Digest, digest_of
from secure_ml.evidence import EvidenceLog
from secure_ml.installation import Installation
from secure_ml.quarantine.entries import entries, hold
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import DATASET, RELEASE, SIGNED_MODEL, TRAINED_MODEL, TRAINING_SET, VALIDATED_DATASET
from secure_ml.stages.dataset import dataset_cause
from secure_ml.stages.incoming import fetch_batch, inbox_batches, source_batches
from secure_ml.stages.training_set import training_set_cause
from secure_ml.stages.validated_dataset import validation_cause

__all__ = [
    "PendingBatch",
    "changed_source_batches",
    "pending_inbox_batches",
    "pending_source_batches",
    "undecided_training_set",
]


@dataclass(frozen=True, slots=True)
class PendingBatch:
    """A batch with new content.

    Attributes:
        batch: Name of the batch.
        cause: Digest of batch, content, contract and provenance. Each cause gets at most one run.
    """

    batch: str
    cause: Digest


def pending_inbox_batches(installation: Installation, model: GuardedModel) -> list[PendingBatch]:
    """Return the batches of the inbox that were not decided yet.

    A batch that cannot be read is pending too. Its run quarantines it with the reason.

    Raises:
        SecureMLError: If evidence of a batch does not verify.
    """
    return _undecided(installation, model, inbox_batches(model, installation.home))


def pending_source_batches(installation: Installation, model: GuardedModel) -> list[PendingBatch]:
    """Return the batches of the model's sources that were never accepted and are not decided yet.

    It lists the sources and fetches only such batches, so it is cheap enough for a short interval.

    Raises:
        UnavailableError: If a source does not answer.
        SecureMLError: If evidence of a batch does not verify.
    """
    accepted = _accepted(EvidenceLog.open(installation, model.name))
    return _undecided(installation, model, [batch for batch in source_batches(model) if batch not in accepted])


def changed_source_batches(installation: Installation, model: GuardedModel) -> list[PendingBatch]:
    """Return the batches of the model's sources that were accepted and have other bytes now.

    It fetches each accepted batch, because times and tags of a source are not trusted.

    Raises:
        UnavailableError: If a source does not answer.
        SecureMLError: If evidence of a batch does not verify.
    """
    accepted = _accepted(EvidenceLog.open(installation, model.name))
    return _undecided(installation, model, [batch for batch in source_batches(model) if batch in accepted])


def _accepted(log: EvidenceLog) -> set[str]:
    return {evidence.inputs["batch"] for evidence in log.history(DATASET) if evidence.decision == "accepted"}


def _undecided(installation: Installation, model: GuardedModel, batches: list[str]) -> list[PendingBatch]:
    log = EvidenceLog.open(installation, model.name)
    quarantined = entries(log)
    pending: list[PendingBatch] = []
    for batch in batches:
        arrived = fetch_batch(model, log, batch)
        taking = dataset_cause(model, arrived)
        taken = log.find(DATASET, taking)
        if taken is not None and taken.decision == "rejected":
            continue
        released = hold(installation, model, arrived.version, quarantined).released
        cause = validation_cause(model, batch, arrived.version, installation.policy, released, arrived.follows)
        if taken is None or log.find(VALIDATED_DATASET, cause) is None:
            pending.append(PendingBatch(batch, digest_of({"dataset": taking, "validated_dataset": cause})))
    return pending


def undecided_training_set(installation: Installation, model: GuardedModel) -> Digest | None:
    """Return the cause of the training set of the accepted batches, or None if a gate decided about it already.

    Raises:
        SecureMLError: If the batches make no training set, or evidence does not verify.
    """
    log = EvidenceLog.open(installation, model.name)
    cause = training_set_cause(installation, log, model)
    training_set = log.find(TRAINING_SET, cause)
    if training_set is None:
        return cause
    decided = [training_set] if training_set.decision == "rejected" else []
    for stage in (TRAINED_MODEL, SIGNED_MODEL, RELEASE):
        decided += [
            evidence
            for evidence in log.history(stage)
            if evidence.inputs["training_set"] == cause and (stage == RELEASE or evidence.decision == "rejected")
        ]
    return None if decided else cause
