"""What is in quarantine, from signed evidence: refusals, what people decided about them, and what is still held.

`quarantine/` in the home is for people. Whoever writes the home writes there too, so nothing here believes it: an
entry is the signed evidence of a refusal, and its state is a signed decision. Rows that were kept aside are read
against the digest in that evidence.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from secure_ml.digests import sha256
from secure_ml.errors import RejectedError
from secure_ml.evidence import Evidence, EvidenceLog
from secure_ml.home import Home
from secure_ml.installation import Installation
from secure_ml.quarantine.folder import ROWS_FILE
from secure_ml.safe_files import read_file
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import DATASET, DRIFT_RESPONSE, QUARANTINE_DECISION, SOURCE_WITHDRAWAL, VALIDATED_DATASET

__all__ = [
    "HELD",
    "REFUSAL",
    "REFUSING_STAGES",
    "ROWS_ASIDE",
    "QuarantineEntry",
    "QuarantineHold",
    "entries",
    "hold",
    "of_version",
    "overruled_by",
    "pair",
    "rows_aside",
    "speaks_against",
]

REFUSAL = "refusal:"
"""How the inputs of a decision begin that name the refusals which it is about."""
HELD = "held"
"""The input of a validation that names the entry which kept back what the contract accepts."""
ROWS_ASIDE = "rows_aside"
"""The input of a validation that names the digest of the rows that it kept aside."""

REFUSING_STAGES = (DATASET, SOURCE_WITHDRAWAL, VALIDATED_DATASET, DRIFT_RESPONSE)
_ARRIVING_STAGES = (DATASET, SOURCE_WITHDRAWAL)
_MAX_ROWS_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """What is, or was, in quarantine: signed evidence of the refusal, and the signed decision where there is one.

    Attributes:
        refusal: The evidence that put it there; its cause is the entry's id.
        decision: What a person decided about it.
        accepted_since: When the same bytes were taken in under the same name afterwards, as the manifest that had been
            missing was there; empty where they were not. What a contract refused waits for a person, always.
    """

    refusal: Evidence
    decision: Evidence | None
    accepted_since: str = ""

    @property
    def state(self) -> Literal["open", "accepted", "released", "discarded"]:
        """What was decided, or that nobody needs to any more."""
        if self.decision is None:
            return "accepted" if self.accepted_since else "open"
        return "released" if self.decision.decision == "accepted" else "discarded"

    @property
    def said(self) -> str:
        """The state, for people."""
        return f"accepted since {self.accepted_since[:16]}" if self.state == "accepted" else self.state

    @property
    def kept(self) -> Literal["batch", "rows", "window"]:
        """What is kept back."""
        if self.refusal.stage == DRIFT_RESPONSE:
            return "window"
        return "rows" if ROWS_ASIDE in self.refusal.inputs else "batch"


@dataclass(frozen=True, slots=True)
class QuarantineHold:
    """What quarantine says about one version of a batch.

    Attributes:
        released: Inputs for the evidence of a validation that rests on decisions: their documents.
        rows: Rows that were set aside and not released, from 1.
        against: Why the whole version may not go on; empty where it may.
        by: The id of the entry that holds it; empty where none does.
    """

    released: Mapping[str, str]
    rows: frozenset[int]
    against: str
    by: str


def entries(log: EvidenceLog) -> list[QuarantineEntry]:
    """Return all that was ever refused, oldest first, from verified evidence.

    Raises:
        SecureMLError: A document does not verify; it is named.
    """
    refusals = [item for stage in REFUSING_STAGES for item in log.history(stage)]
    return pair(refusals, log.history(QUARANTINE_DECISION))


def pair(evidence: Iterable[Evidence], decisions: Iterable[Evidence]) -> list[QuarantineEntry]:
    """Return the entries that verified evidence and decisions make, oldest first."""
    evidence = list(evidence)
    decided = {
        document: decision
        for decision in decisions
        for name, document in decision.inputs.items()
        if name.startswith(REFUSAL)
    }
    refusals = sorted(filter(_keeps_back, evidence), key=lambda item: (item.made_at, item.cause))
    taken: dict[tuple[str | None, str | None], str] = {}
    for item in evidence:
        if item.stage in _ARRIVING_STAGES and item.decision == "accepted":
            of = (item.inputs.get("batch"), item.inputs.get("version"))
            taken[of] = max(taken.get(of, ""), item.made_at)

    def since(refusal: Evidence) -> str:
        at = taken.get((refusal.inputs.get("batch"), refusal.inputs.get("version")), "")
        return at if refusal.stage in _ARRIVING_STAGES and at > refusal.made_at else ""

    return [QuarantineEntry(refusal, decided.get(refusal.document), since(refusal)) for refusal in refusals]


def hold(
    installation: Installation, model: GuardedModel, version: str, found: Sequence[QuarantineEntry]
) -> QuarantineHold:
    """Say what quarantine holds of a version, under the policy of this installation.

    Args:
        installation: Home, trust root and policy.
        model: The model.
        version: Digest of the batch's bytes.
        found: All entries of the model, see `entries`.

    Raises:
        SecureMLError: A decision, a refusal or the rows kept aside do not verify; it is named.
    """
    home = installation.home
    released: dict[str, str] = {}
    rows: set[int] = set()
    against, by, aside = "", "", ""
    for entry in of_version(found, version):
        refusal, decision = entry.refusal, entry.decision
        own = refusal.inputs.get("policy") == installation.policy
        if not own and entry.state != "discarded":
            continue
        if decision is not None and entry.state == "released":
            released[f"evidence:{QUARANTINE_DECISION}:{decision.cause[:16]}"] = decision.document
        elif entry.kept == "rows":
            rows |= rows_aside(home, refusal)
            aside = refusal.cause
        elif entry.state == "discarded":
            against, by = f"discarded, never to go on (quarantine {refusal.cause[:12]})", refusal.cause
        elif not against:
            contract = refusal.inputs["contract"][:12]
            against = (
                f"in quarantine ({refusal.cause[:12]}) since contract {contract} refused the same bytes; decide with "
                f"secure-ml quarantine release (or discard) {model.name} {refusal.cause[:12]} --why REASON"
            )
            by = refusal.cause
    if rows and model.quarantine == "batch" and not against:
        against = f"{len(rows)} of its rows are in quarantine ({aside[:12]}), and whole batches are quarantined now"
        by = aside
    return QuarantineHold(released, frozenset(rows), against, by)


def of_version(found: Sequence[QuarantineEntry], version: str) -> list[QuarantineEntry]:
    """Return the entries of one version of a batch, whatever the batch was called."""
    return [entry for entry in found if entry.refusal.inputs.get("version") == version]


def overruled_by(found: Sequence[QuarantineEntry], accepted: Evidence) -> str:
    """Return the id of the entry whose discard speaks against an older acceptance of the same bytes, empty where none.

    Another contract may have accepted them before. A discarded batch goes on from no acceptance, discarded rows from
    none that did not know of them yet.
    """
    for entry in of_version(found, accepted.inputs["version"]):
        if entry.state == "discarded" and speaks_against(entry, accepted):
            return entry.refusal.cause
    return ""


def speaks_against(entry: QuarantineEntry, accepted: Evidence) -> bool:
    """Say whether a discard of the entry takes this older acceptance of the same bytes back."""
    refusal, decision = entry.refusal, entry.decision
    if refusal.inputs.get("version") != accepted.inputs["version"]:
        return False
    if entry.kept == "batch":
        return True
    known_from = refusal if refusal.inputs.get("policy") == accepted.inputs["policy"] else decision
    return known_from is None or accepted.made_at < known_from.made_at


def rows_aside(home: Home, refusal: Evidence) -> frozenset[int]:
    """Return the numbers of the rows that a validation kept aside, from 1, from bytes that its evidence names.

    Raises:
        RejectedError: They were changed.
        UnavailableError: They are gone.
    """
    where = f"quarantine/{refusal.model}/{refusal.cause}/{ROWS_FILE}"
    content = read_file(home.quarantine / refusal.model / refusal.cause / ROWS_FILE, max_bytes=_MAX_ROWS_BYTES)
    if sha256(content) != refusal.inputs[ROWS_ASIDE]:
        raise RejectedError(f"{where}: changed, expected digest {refusal.inputs[ROWS_ASIDE][:12]}; restore it")
    return frozenset(int(row["row"]) for row in csv.DictReader(io.StringIO(content.decode(), newline="")))


def _keeps_back(evidence: Evidence) -> bool:
    if evidence.stage == DRIFT_RESPONSE:
        return evidence.inputs.get("response") == "quarantine"
    refused = evidence.decision == "rejected" and HELD not in evidence.inputs
    return refused or ROWS_ASIDE in evidence.inputs
