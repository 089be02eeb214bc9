"""The validation state of one or several homes, from signed evidence: what passed, what warned, what blocked.

Each document is verified by itself. One that does not verify is no reason to show nothing: it becomes a *trouble*,
which stands above all else, and what it said is not shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

from secure_ml.digests import Digest, Json, sha256
from secure_ml.errors import MalformedError, RejectedError, SecureMLError
from secure_ml.evidence import Evidence, find
from secure_ml.home import Home, read_file
from secure_ml.profiles.document import Profile, parse
from secure_ml.quarantine.entries import DECISION_STAGE, HELD, ROWS_ASIDE, WITHDRAWAL_STAGE, Entry, pair
from secure_ml.signing.keys import Trust
from secure_ml.validation_docs.charts import Bar, Verdict

__all__ = ["TRAINING_SET", "Place", "State", "Trouble", "Validation", "count_of", "current", "gather", "profile_of"]

PROFILE_FILE = "profile.json"
TRAINING_SET = "training_set"
_STAGES = ("dataset", WITHDRAWAL_STAGE, "validated_dataset", TRAINING_SET)
_TRAINING_ROWS = "training.parquet"


@dataclass(frozen=True, slots=True)
class Place:
    """A home, by the name that it has on the pages."""

    name: str
    home: Home


@dataclass(frozen=True, slots=True)
class Trouble:
    """A document that does not verify, or a file that is not the one it should be."""

    place: str
    model: str
    sentence: str


@dataclass(frozen=True)
class Validation:
    """What was decided about one version of a batch, or about a training set, which is a dataset version too.

    Attributes:
        place: The home's name.
        evidence: The signed decision.
        entry: What quarantine says about it; None where nothing is kept back.
    """

    place: str
    evidence: Evidence
    entry: Entry | None

    @property
    def batch(self) -> str:
        """The batch's name; training sets have none of their own."""
        return "training set" if self.evidence.stage == TRAINING_SET else self.evidence.inputs.get("batch", "")

    @property
    def subject(self) -> str:
        """What it is about, in the index: the batches of a model, or its training sets."""
        return f"{self.evidence.model}: training sets" if self.evidence.stage == TRAINING_SET else self.evidence.model

    @property
    def policy(self) -> str:
        """The policy under which it was decided; bytes that are no table are refused under any."""
        return self.evidence.inputs.get("policy", "any")

    @cached_property
    def findings(self) -> tuple[dict[str, Json], ...]:
        """The findings, blocking ones first, then by failed rows."""
        given = self.evidence.facts.get("findings")
        found = [item for item in given if isinstance(item, dict)] if isinstance(given, list) else []
        return tuple(sorted(found, key=lambda item: (item.get("tier") != "block", -count_of(item, "failed"))))

    @property
    def verdict(self) -> Verdict:
        """Blocked, passed with warnings or rows kept aside, or passed."""
        if self.evidence.decision == "rejected":
            return "blocked"
        return "warned" if self.findings or ROWS_ASIDE in self.evidence.inputs else "passed"

    @property
    def rows(self) -> int:
        """Rows that go on, or rows of the batch where none do."""
        rows = self.evidence.facts.get("rows")
        if isinstance(rows, dict):
            rows = rows.get(_TRAINING_ROWS)
        return rows if isinstance(rows, int) else 0

    @property
    def refused_rows(self) -> int:
        """Rows that do not go on."""
        refused = self.evidence.facts.get("refused_rows")
        return refused if isinstance(refused, int) else self.rows if self.verdict == "blocked" else 0

    @property
    def failed_share(self) -> float:
        """The largest share of rows that broke one rule; 1 for what is no table."""
        if not self.findings:
            return 1.0 if self.verdict == "blocked" else 0.0
        return max(count_of(item, "failed") / max(count_of(item, "rows"), 1) for item in self.findings)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it was blocked, or what was found."""
        return self.evidence.reasons or tuple(str(item.get("sentence")) for item in self.findings)

    @property
    def bar(self) -> Bar:
        """Its bar in a trend."""
        said = f"{self.evidence.made_at[:10]} {self.batch}: {self.verdict}"
        name = self.evidence.cause[:8] if self.evidence.stage == TRAINING_SET else self.batch
        return Bar(name, self.verdict, self.failed_share, f"{said}; {self.reasons[0]}" if self.reasons else said)

    @property
    def address(self) -> str:
        """Where its page lies, from the index; `.html` and `.json` follow."""
        return f"{self.place}/{self.evidence.model}/{self.evidence.cause}"

    @property
    def link(self) -> str:
        """The relative URL of its page, from the index."""
        return f"{quote(self.address)}.html"

    def as_json(self) -> dict[str, Any]:
        """Return what the pages show, as JSON."""
        evidence, decision = self.evidence, self.entry.decision if self.entry else None
        names = ("action", "by", "why", "refused_under", "released_under")
        return {
            "home": self.place,
            "model": evidence.model,
            "stage": evidence.stage,
            "policy": self.policy,
            "batch": self.batch,
            "version": evidence.inputs.get("version"),
            "contract": evidence.inputs.get("contract"),
            "verdict": self.verdict,
            "rows": self.rows,
            "refused_rows": self.refused_rows,
            "reasons": list(evidence.reasons),
            "findings": list(self.findings),
            "quarantine": self.entry.state if self.entry else None,
            "decision": {name: decision.inputs.get(name) for name in names} if decision else None,
            "made_at": evidence.made_at,
            "evidence": f"evidence/{evidence.model}/{evidence.stage}/{evidence.path.name}",
            "evidence_digest": evidence.document,
            "page": self.link,
        }


@dataclass(frozen=True)
class State:
    """All that is known, oldest validation first.

    Attributes:
        places: Names of the homes.
        validations: Of all homes and models.
        troubles: What does not verify.
    """

    places: tuple[str, ...]
    validations: tuple[Validation, ...]
    troubles: tuple[Trouble, ...]

    @cached_property
    def lines(self) -> dict[tuple[str, str, str], list[Validation]]:
        """The validations of each subject in each environment: by subject, home and policy, oldest first."""
        found: dict[tuple[str, str, str], list[Validation]] = {}
        policies: dict[tuple[str, str], set[str]] = {}
        for item in self.validations:
            if item.policy != "any":
                policies.setdefault((item.subject, item.place), set()).add(item.policy)
        for item in self.validations:
            known = policies.get((item.subject, item.place), {"any"})
            for policy in sorted(known) if item.policy == "any" else [item.policy]:
                found.setdefault((item.subject, item.place, policy), []).append(item)
        return dict(sorted(found.items()))

    @cached_property
    def _places_in_lines(self) -> dict[tuple[str, str], tuple[tuple[str, str, str], int]]:
        return {
            (item.place, item.evidence.cause): (key, index)
            for key, line in self.lines.items()
            for index, item in enumerate(line)
        }

    def line_of(self, validation: Validation, most: int) -> list[Validation]:
        """Return the newest validations of the same model in the same environment up to this one, at most `most`."""
        key, index = self._places_in_lines[validation.place, validation.evidence.cause]
        return self.lines[key][max(0, index + 1 - most) : index + 1]


def current(line: Sequence[Validation]) -> list[Validation]:
    """Return the newest validation of each batch, newest first."""
    newest = {item.batch: item for item in line}
    return sorted(newest.values(), key=lambda item: item.evidence.made_at, reverse=True)


def count_of(finding: dict[str, Json], name: str) -> int:
    """Return a count of a finding, 0 where it has none."""
    found = finding.get(name)
    return found if isinstance(found, int) else 0


def gather(places: Sequence[Place], trust: Trust) -> State:
    """Read and verify all evidence of validations; nothing is raised for a document that does not verify."""
    validations: list[Validation] = []
    troubles: list[Trouble] = []
    for place in places:
        folder = place.home.evidence
        for model in sorted(path.name for path in folder.glob("*") if path.is_dir()):
            found = {stage: _verified(place, trust, model, stage, troubles) for stage in (*_STAGES, DECISION_STAGE)}
            evidence = [item for stage in _STAGES for item in found[stage]]
            held: dict[str, Entry] = {entry.refusal.cause: entry for entry in pair(evidence, found[DECISION_STAGE])}
            validations += [
                Validation(place.name, item, held.get(item.inputs.get(HELD, item.cause)))
                for item in evidence
                if _is_shown(item, held.get(item.cause))
            ]
    validations.sort(key=lambda item: (item.evidence.made_at, item.place, item.evidence.cause))
    return State(tuple(place.name for place in places), tuple(validations), tuple(troubles))


def _is_shown(evidence: Evidence, entry: Entry | None) -> bool:
    """Leave out what was taken in without a refusal, and a withdrawal that was taken back: neither is a validation."""
    if evidence.stage == WITHDRAWAL_STAGE:
        return entry is not None and entry.state != "accepted"
    return evidence.stage != "dataset" or evidence.decision == "rejected"


def _verified(place: Place, trust: Trust, model: str, stage: str, troubles: list[Trouble]) -> list[Evidence]:
    found: list[Evidence] = []
    for path in sorted((place.home.evidence / model / stage).glob("*")):
        try:
            evidence = find(place.home, trust, model, stage, Digest(path.name.removesuffix(".json")))
            if evidence is None:
                raise MalformedError(f"evidence/{model}/{stage}/{path.name}: is not evidence; remove it")
        except SecureMLError as error:
            troubles.append(Trouble(place.name, model, str(error)))
        else:
            found.append(evidence)
    return found


def profile_of(home: Home, evidence: Evidence) -> Profile | None:
    """Return the profile that was signed with a validation; None where it has none.

    Raises:
        SecureMLError: It was changed, is missing or is no profile.
    """
    expected = evidence.subjects.get(PROFILE_FILE)
    if expected is None:
        return None
    content = read_file(home.datasets / evidence.model / evidence.cause / PROFILE_FILE)
    if sha256(content) != expected:
        raise RejectedError(f"datasets/{evidence.model}/{evidence.cause[:12]}/{PROFILE_FILE}: changed; restore it")
    return parse(content)
