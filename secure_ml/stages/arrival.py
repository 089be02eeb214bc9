"""New content in a model's inbox: what was neither accepted nor rejected before, under the present contract."""

from __future__ import annotations

from dataclasses import dataclass

from secure_ml.digests import Digest
from secure_ml.gates import find, history
from secure_ml.installation import Installation
from secure_ml.lineage.quarantine_entries import entries, hold
from secure_ml.spec import GuardedModel
from secure_ml.stages.dataset import dataset_cause, fetch_batch, inbox_batches
from secure_ml.stages.training_set import training_set_cause
from secure_ml.stages.validated_dataset import validation_cause

__all__ = ["Arrival", "arrivals", "undecided_training_set"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A batch whose content is new.

    Attributes:
        batch: Its name, the file's name without `.csv`.
        cause: Digest of batch, content and contract; one run at most is made for it.
    """

    batch: str
    cause: Digest


def arrivals(installation: Installation, model: GuardedModel) -> list[Arrival]:
    """Return the batches of the inbox on which nothing was decided yet.

    A batch that cannot be read is an arrival too: its run quarantines it, with the reason.

    Raises:
        SecureMLError: Evidence of a batch does not verify.
    """
    home, trust = installation.home, installation.trust
    quarantined = entries(home, trust, model.name)
    found: list[Arrival] = []
    for batch in inbox_batches(model, home):
        arrived = fetch_batch(model, home, trust, batch)
        taken = find(home, trust, model.name, "dataset", dataset_cause(model, arrived))
        if taken is not None and taken.decision == "rejected":
            continue
        released = hold(installation, model, arrived.version, quarantined).released
        cause = validation_cause(model, batch, arrived.version, installation.policy, released)
        if taken is None or find(home, trust, model.name, "validated_dataset", cause) is None:
            found.append(Arrival(batch, cause))
    return found


def undecided_training_set(installation: Installation, model: GuardedModel) -> Digest | None:
    """Return the cause of the training set that the accepted batches make now, where no gate decided on it yet.

    Raises:
        SecureMLError: The batches make no training set, or evidence does not verify.
    """
    home, trust = installation.home, installation.trust
    cause = training_set_cause(installation, model)
    made = find(home, trust, model.name, "training_set", cause)
    if made is None:
        return cause
    decided = [made] if made.decision == "rejected" else []
    for stage in ("trained_model", "signed_model", "release"):
        decided += [
            evidence
            for evidence in history(home, trust, model.name, stage)
            if evidence.inputs["training_set"] == cause and (stage == "release" or evidence.decision == "rejected")
        ]
    return None if decided else cause
