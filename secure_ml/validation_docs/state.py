"""Validation state of one or several homes, read from signed evidence: what passed, what warned and what blocked.

Each document is verified by itself. A document that does not verify does not hide the others. It becomes an
`UnverifiedDocument`, which the pages show above everything else, and none of its content is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

from secure_ml.digests import Json, sha256
from secure_ml.errors import RejectedError, SecureMLError
from secure_ml.evidence import Evidence, EvidenceLog
from secure_ml.home import Home
from secure_ml.profiles.document import Profile, parse
from secure_ml.quarantine.entries import HELD, ROWS_ASIDE, QuarantineEntry, pair
from secure_ml.safe_files import read_file
from secure_ml.signing.trust import Trust
from secure_ml.stage_names import DATASET, QUARANTINE_DECISION, SOURCE_WITHDRAWAL, TRAINING_SET, VALIDATED_DATASET
from secure_ml.validation_docs.charts import TrendBar, Verdict

__all__ = [
    "NamedHome",
    "UnverifiedDocument",
    "Validation",
    "ValidationState",
    "count_in",
    "load_profile",
    "load_state",
    "newest_of_each_batch",
]

PROFILE_FILE = "profile.json"
_STAGES = (DATASET, SOURCE_WITHDRAWAL, VALIDATED_DATASET, TRAINING_SET)
_TRAINING_ROWS = "training.parquet"
_DECISION_INPUTS = ("action", "by", "why", "refused_under", "released_under")

Environment = tuple[str, str, str]
"""Subject, home and policy."""


@dataclass(frozen=True, slots=True)
class NamedHome:
    """A home, and its name on the pages."""

    name: str
    home: Home


@dataclass(frozen=True, slots=True)
class UnverifiedDocument:
    """A document that does not verify.

    Attributes:
        home: Name of its home.
        model: Name of its model.
        problem: The reason, which names the document.
    """

    home: str
    model: str
    problem: str


@dataclass(frozen=True)
class Validation:
    """The decision about one version of a batch, or about a training set, which is a dataset version too.

    Attributes:
        home: Name of the home.
        evidence: The signed decision.
        entry: The quarantine entry. None if nothing is in quarantine.
    """

    home: str
    evidence: Evidence
    entry: QuarantineEntry | None

    @property
    def batch(self) -> str:
        """Name of the batch. A training set has no name."""
        return "training set" if self.evidence.stage == TRAINING_SET else self.evidence.inputs.get("batch", "")

    @property
    def subject(self) -> str:
        """Heading in the index: the batches of a model, or its training sets."""
        return f"{self.evidence.model}: training sets" if self.evidence.stage == TRAINING_SET else self.evidence.model

    @property
    def policy(self) -> str:
        """Policy of the decision. Bytes that are not a table are rejected under any policy."""
        return self.evidence.inputs.get("policy", "any")

    @cached_property
    def findings(self) -> tuple[dict[str, Json], ...]:
        """Findings: blocking ones first, then by the number of failed rows."""
        recorded = self.evidence.facts.get("findings")
        findings = [item for item in recorded if isinstance(item, dict)] if isinstance(recorded, list) else []
        return tuple(sorted(findings, key=lambda item: (item.get("tier") != "block", -count_in(item, "failed"))))

    @property
    def verdict(self) -> Verdict:
        """Blocked, warned (with findings, or with rows in quarantine) or passed."""
        if self.evidence.decision == "rejected":
            return "blocked"
        return "warned" if self.findings or ROWS_ASIDE in self.evidence.inputs else "passed"

    @property
    def rows(self) -> int:
        """Number of accepted rows, or of all rows of a rejected batch."""
        rows = self.evidence.facts.get("rows")
        if isinstance(rows, dict):
            rows = rows.get(_TRAINING_ROWS)
        return rows if isinstance(rows, int) else 0

    @property
    def rejected_rows(self) -> int:
        """Number of rejected rows."""
        rejected = self.evidence.facts.get("refused_rows")
        return rejected if isinstance(rejected, int) else self.rows if self.verdict == "blocked" else 0

    @property
    def failed_fraction(self) -> float:
        """Largest fraction of rows that violated one rule. It is 1 for bytes that are not a table."""
        if not self.findings:
            return 1.0 if self.verdict == "blocked" else 0.0
        return max(count_in(item, "failed") / max(count_in(item, "rows"), 1) for item in self.findings)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Reasons for the rejection, or the sentences of the findings."""
        return self.evidence.reasons or tuple(str(item.get("sentence")) for item in self.findings)

    @property
    def trend_bar(self) -> TrendBar:
        """Bar of this validation in a trend."""
        tooltip = f"{self.evidence.made_at[:10]} {self.batch}: {self.verdict}"
        if self.reasons:
            tooltip += f"; {self.reasons[0]}"
        name = self.evidence.cause[:8] if self.evidence.stage == TRAINING_SET else self.batch
        return TrendBar(name, self.verdict, self.failed_fraction, tooltip)

    @property
    def page(self) -> str:
        """Path of the page from the index, without the suffix `.html` or `.json`."""
        return f"{self.home}/{self.evidence.model}/{self.evidence.cause}"

    @property
    def link(self) -> str:
        """Relative URL of the page from the index."""
        return f"{quote(self.page)}.html"

    def as_json(self) -> dict[str, Any]:
        """Return the content of the page as JSON."""
        evidence, decision = self.evidence, self.entry.decision if self.entry else None
        return {
            "home": self.home,
            "model": evidence.model,
            "stage": evidence.stage,
            "policy": self.policy,
            "batch": self.batch,
            "version": evidence.inputs.get("version"),
            "contract": evidence.inputs.get("contract"),
            "verdict": self.verdict,
            "rows": self.rows,
            "refused_rows": self.rejected_rows,
            "reasons": list(evidence.reasons),
            "findings": list(self.findings),
            "quarantine": self.entry.state if self.entry else None,
            "decision": {name: decision.inputs.get(name) for name in _DECISION_INPUTS} if decision else None,
            "made_at": evidence.made_at,
            "evidence": f"evidence/{evidence.model}/{evidence.stage}/{evidence.path.name}",
            "evidence_digest": evidence.document,
            "page": self.link,
        }


@dataclass(frozen=True)
class ValidationState:
    """All validations of all homes.

    Attributes:
        homes: Names of the homes.
        validations: Validations of all homes and models, oldest first.
        unverified: Documents that do not verify.
    """

    homes: tuple[str, ...]
    validations: tuple[Validation, ...]
    unverified: tuple[UnverifiedDocument, ...]

    @cached_property
    def histories(self) -> dict[Environment, list[Validation]]:
        """Validations of each subject, home and policy, oldest first."""
        policies: dict[tuple[str, str], set[str]] = {}
        for item in self.validations:
            if item.policy != "any":
                policies.setdefault((item.subject, item.home), set()).add(item.policy)
        histories: dict[Environment, list[Validation]] = {}
        for item in self.validations:
            known = policies.get((item.subject, item.home), {"any"})
            for policy in sorted(known) if item.policy == "any" else [item.policy]:
                histories.setdefault((item.subject, item.home, policy), []).append(item)
        return dict(sorted(histories.items()))

    @cached_property
    def _positions(self) -> dict[tuple[str, str], tuple[Environment, int]]:
        return {
            (item.home, item.evidence.cause): (environment, index)
            for environment, history in self.histories.items()
            for index, item in enumerate(history)
        }

    def history_until(self, validation: Validation, most: int) -> list[Validation]:
        """Return at most `most` validations of the same subject and environment, up to and with this one."""
        environment, index = self._positions[validation.home, validation.evidence.cause]
        return self.histories[environment][max(0, index + 1 - most) : index + 1]


def newest_of_each_batch(history: Sequence[Validation]) -> list[Validation]:
    """Return the newest validation of each batch, newest first."""
    newest = {item.batch: item for item in history}
    return sorted(newest.values(), key=lambda item: item.evidence.made_at, reverse=True)


def count_in(finding: dict[str, Json], name: str) -> int:
    """Return a count of a finding, or 0 if the finding has no such count."""
    count = finding.get(name)
    return count if isinstance(count, int) else 0


def load_state(homes: Sequence[NamedHome], trust: Trust) -> ValidationState:
    """Read and verify all evidence of validations. A document that does not verify raises no error."""
    validations: list[Validation] = []
    unverified: list[UnverifiedDocument] = []
    for home in homes:
        for model in sorted(path.name for path in home.home.evidence.glob("*") if path.is_dir()):
            stages = (*_STAGES, QUARANTINE_DECISION)
            log = EvidenceLog(home.home, trust, model)
            verified = {stage: _load_stage(log, stage, home.name, unverified) for stage in stages}
            evidence = [item for stage in _STAGES for item in verified[stage]]
            entries = {str(entry.refusal.cause): entry for entry in pair(evidence, verified[QUARANTINE_DECISION])}
            validations += [
                Validation(home.name, item, entries.get(item.inputs.get(HELD, item.cause)))
                for item in evidence
                if _is_validation(item, entries.get(item.cause))
            ]
    validations.sort(key=lambda item: (item.evidence.made_at, item.home, item.evidence.cause))
    return ValidationState(tuple(home.name for home in homes), tuple(validations), tuple(unverified))


def load_profile(home: Home, evidence: Evidence) -> Profile | None:
    """Return the profile that was signed with a validation, or None if the validation has no profile.

    Raises:
        SecureMLError: If the file was changed, is missing or is not a profile.
    """
    expected = evidence.subjects.get(PROFILE_FILE)
    if expected is None:
        return None
    content = read_file(home.datasets / evidence.model / evidence.cause / PROFILE_FILE)
    digest = sha256(content)
    if digest != expected:
        raise RejectedError(
            f"datasets/{evidence.model}/{evidence.cause[:12]}/{PROFILE_FILE}: changed, expected digest "
            f"{expected[:12]}, found {digest[:12]}; restore the file"
        )
    return parse(content)


def _is_validation(evidence: Evidence, entry: QuarantineEntry | None) -> bool:
    """Leave out accepted intakes, and withdrawals that were taken back."""
    if evidence.stage == SOURCE_WITHDRAWAL:
        return entry is not None and entry.state != "accepted"
    return evidence.stage != DATASET or evidence.decision == "rejected"


def _load_stage(log: EvidenceLog, stage: str, home: str, unverified: list[UnverifiedDocument]) -> list[Evidence]:
    """Return the verified evidence of a stage, and append each document that does not verify to `unverified`."""
    verified: list[Evidence] = []
    for document in log.audit(stage):
        if isinstance(document, SecureMLError):
            unverified.append(UnverifiedDocument(home, log.model, str(document)))
        else:
            verified.append(document)
    return verified
