"""Quarantine entries, from signed evidence: rejections, decisions about them, and the bytes that are still held.

The folder `quarantine/` is for people, and nothing here trusts it. An entry is the signed evidence of a rejection, and
its
state is a signed decision. Rows that were set aside are verified against the digest in that evidence.
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
"""Prefix of the inputs of a decision that name the rejections it is about."""
HELD = "held"
"""Input of a validation that names the entry which holds a batch that the contract accepts."""
ROWS_ASIDE = "rows_aside"
"""Input of a validation that holds the digest of the rows it set aside."""

REFUSING_STAGES = (DATASET, SOURCE_WITHDRAWAL, VALIDATED_DATASET, DRIFT_RESPONSE)
_ARRIVING_STAGES = (DATASET, SOURCE_WITHDRAWAL)
_MAX_ROWS_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """One quarantine entry: signed evidence of a rejection, and the signed decision about it.

    Attributes:
        refusal: Evidence of the rejection. Its cause is the id of the entry.
        decision: Decision of a person, or None.
        accepted_since: Time at which the same bytes were ingested later under the same name, because the missing
            manifest arrived. Otherwise empty. A rejection by a contract always waits for a person.
    """

    refusal: Evidence
    decision: Evidence | None
    accepted_since: str = ""

    @property
    def state(self) -> Literal["open", "accepted", "released", "discarded"]:
        """State of the entry. An accepted entry needs no decision."""
        if self.decision is None:
            return "accepted" if self.accepted_since else "open"
        return "released" if self.decision.decision == "accepted" else "discarded"

    @property
    def state_text(self) -> str:
        """State of the entry, for people."""
        return f"accepted since {self.accepted_since[:16]}" if self.state == "accepted" else self.state

    @property
    def scope(self) -> Literal["batch", "rows", "window"]:
        """Extent of the rejection."""
        if self.refusal.stage == DRIFT_RESPONSE:
            return "window"
        return "rows" if ROWS_ASIDE in self.refusal.inputs else "batch"


@dataclass(frozen=True, slots=True)
class QuarantineHold:
    """The state of one version of a batch in quarantine.

    Attributes:
        released: Inputs for the evidence of a validation that rests on decisions.
        rows: Numbers of the rows that were set aside and not released, from 1.
        against: Reason why the whole version may not go on, or empty.
        entry: Id of the entry that holds the version, or empty.
    """

    released: Mapping[str, str]
    rows: frozenset[int]
    against: str
    entry: str


def entries(log: EvidenceLog) -> list[QuarantineEntry]:
    """Return every entry, oldest first, from verified evidence.

    Raises:
        SecureMLError: If a document does not verify. The message names it.
    """
    refusals = [item for stage in REFUSING_STAGES for item in log.history(stage)]
    return pair(refusals, log.history(QUARANTINE_DECISION))


def pair(evidence: Iterable[Evidence], decisions: Iterable[Evidence]) -> list[QuarantineEntry]:
    """Pair verified rejections with decisions, and return the entries, oldest first."""
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
            version = (item.inputs.get("batch"), item.inputs.get("version"))
            taken[version] = max(taken.get(version, ""), item.made_at)

    def since(refusal: Evidence) -> str:
        at = taken.get((refusal.inputs.get("batch"), refusal.inputs.get("version")), "")
        return at if refusal.stage in _ARRIVING_STAGES and at > refusal.made_at else ""

    return [QuarantineEntry(refusal, decided.get(refusal.document), since(refusal)) for refusal in refusals]


def hold(
    installation: Installation, model: GuardedModel, version: str, quarantined: Sequence[QuarantineEntry]
) -> QuarantineHold:
    """Return what quarantine holds of a version under the tier rules of this installation.

    Args:
        installation: Installation with home, trust root and tier rules.
        model: Model of the batch.
        version: Digest of the bytes of the batch.
        quarantined: All entries of the model, see `entries`.

    Raises:
        SecureMLError: If the rows that were set aside do not verify. The message names them.
    """
    home = installation.home
    released: dict[str, str] = {}
    rows: set[int] = set()
    against, holding, aside = "", "", ""
    for entry in of_version(quarantined, version):
        refusal, decision = entry.refusal, entry.decision
        same_rules = refusal.inputs.get("policy") == installation.policy
        if not same_rules and entry.state != "discarded":
            continue
        if decision is not None and entry.state == "released":
            released[f"evidence:{QUARANTINE_DECISION}:{decision.cause[:16]}"] = decision.document
        elif entry.scope == "rows":
            rows |= rows_aside(home, refusal)
            aside = refusal.cause
        elif entry.state == "discarded":
            against, holding = f"discarded, never to go on (quarantine {refusal.cause[:12]})", refusal.cause
        elif not against:
            contract = refusal.inputs["contract"][:12]
            against = (
                f"in quarantine ({refusal.cause[:12]}) since contract {contract} refused the same bytes; decide with "
                f"secure-ml quarantine release (or discard) {model.name} {refusal.cause[:12]} --why REASON"
            )
            holding = refusal.cause
    if rows and model.quarantine == "batch" and not against:
        against = f"{len(rows)} of its rows are in quarantine ({aside[:12]}), and whole batches are quarantined now"
        holding = aside
    return QuarantineHold(released, frozenset(rows), against, holding)


def of_version(quarantined: Sequence[QuarantineEntry], version: str) -> list[QuarantineEntry]:
    """Return the entries of one version, under any batch name."""
    return [entry for entry in quarantined if entry.refusal.inputs.get("version") == version]


def overruled_by(quarantined: Sequence[QuarantineEntry], accepted: Evidence) -> str:
    """Return the id of the discarded entry that overrules an older acceptance of the same bytes, or empty.

    Another contract may have accepted the bytes before. A discarded batch goes on from no acceptance. Discarded rows
    go on
    from no acceptance that was made before they were known.
    """
    for entry in of_version(quarantined, accepted.inputs["version"]):
        if entry.state == "discarded" and speaks_against(entry, accepted):
            return entry.refusal.cause
    return ""


def speaks_against(entry: QuarantineEntry, accepted: Evidence) -> bool:
    """Return whether a discard of the entry overrules this older acceptance of the same bytes."""
    refusal, decision = entry.refusal, entry.decision
    if refusal.inputs.get("version") != accepted.inputs["version"]:
        return False
    if entry.scope == "batch":
        return True
    known_from = refusal if refusal.inputs.get("policy") == accepted.inputs["policy"] else decision
    return known_from is None or accepted.made_at < known_from.made_at


def rows_aside(home: Home, refusal: Evidence) -> frozenset[int]:
    """Return the numbers of the rows that a validation set aside, from 1, and verify their digest.

    Raises:
        RejectedError: If the rows were changed.
        UnavailableError: If the rows are missing.
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
