"""New content in a model's inbox or sources: what was not decided on yet, under the present contract."""

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
    """A batch whose content is new.

    Attributes:
        batch: Its name.
        cause: Digest of batch, content, contract, and whether its source's manifest lists it; one run at most is made.
    """

    batch: str
    cause: Digest


def pending_inbox_batches(installation: Installation, model: GuardedModel) -> list[PendingBatch]:
    """Return the batches of the inbox on which nothing was decided yet.

    A batch that cannot be read is an arrival too: its run quarantines it, with the reason.

    Raises:
        SecureMLError: Evidence of a batch does not verify.
    """
    return _undecided(installation, model, inbox_batches(model, installation.home))


def pending_source_batches(installation: Installation, model: GuardedModel) -> list[PendingBatch]:
    """Return the batches of the model's sources that were never accepted, and on which nothing was decided yet.

    Sources are listed, and only such batches are fetched, so this can be asked often; see `changed_source_batches`.

    Raises:
        UnavailableError: A source does not answer.
        SecureMLError: Evidence of a batch does not verify.
    """
    accepted = _accepted(EvidenceLog.open(installation, model.name))
    return _undecided(installation, model, [batch for batch in source_batches(model) if batch not in accepted])


def changed_source_batches(installation: Installation, model: GuardedModel) -> list[PendingBatch]:
    """Return the batches of the model's sources that were accepted, and under whose name other bytes lie now.

    Each accepted batch is fetched: what a source says of its own objects, such as a time or a tag, is not believed.

    Raises:
        UnavailableError: A source does not answer.
        SecureMLError: Evidence of a batch does not verify.
    """
    accepted = _accepted(EvidenceLog.open(installation, model.name))
    return _undecided(installation, model, [batch for batch in source_batches(model) if batch in accepted])


def _accepted(log: EvidenceLog) -> set[str]:
    return {evidence.inputs["batch"] for evidence in log.history(DATASET) if evidence.decision == "accepted"}


def _undecided(installation: Installation, model: GuardedModel, batches: list[str]) -> list[PendingBatch]:
    log = EvidenceLog.open(installation, model.name)
    quarantined = entries(log)
    found: list[PendingBatch] = []
    for batch in batches:
        arrived = fetch_batch(model, log, batch)
        taking = dataset_cause(model, arrived)
        taken = log.find(DATASET, taking)
        if taken is not None and taken.decision == "rejected":
            continue
        released = hold(installation, model, arrived.version, quarantined).released
        cause = validation_cause(model, batch, arrived.version, installation.policy, released, arrived.follows)
        if taken is None or log.find(VALIDATED_DATASET, cause) is None:
            found.append(PendingBatch(batch, digest_of({"dataset": taking, "validated_dataset": cause})))
    return found


def undecided_training_set(installation: Installation, model: GuardedModel) -> Digest | None:
    """Return the cause of the training set that the accepted batches make now, where no gate decided on it yet.

    Raises:
        SecureMLError: The batches make no training set, or evidence does not verify.
    """
    log = EvidenceLog.open(installation, model.name)
    cause = training_set_cause(installation, log, model)
    made = log.find(TRAINING_SET, cause)
    if made is None:
        return cause
    decided = [made] if made.decision == "rejected" else []
    for stage in (TRAINED_MODEL, SIGNED_MODEL, RELEASE):
        decided += [
            evidence
            for evidence in log.history(stage)
            if evidence.inputs["training_set"] == cause and (stage == RELEASE or evidence.decision == "rejected")
        ]
    return None if decided else cause
