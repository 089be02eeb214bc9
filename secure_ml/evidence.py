"""Evidence and gates: what each stage requires of the stage before.

A gate takes **evidence**, a signed in-toto statement, and the bytes that are about to be used. It returns None or
raises. It never reads a check status, a tag or an unsigned flag. Each stage has five steps:

1. `EvidenceLog.latest` finds the newest evidence of the stage before. It verifies every document of that stage against
   the trust root, and raises if one was changed, forged or signed by a foreign key.
2. `require` raises if the decision was a rejection.
3. `read_subjects` reads the files that the evidence is about, once, and raises if one was changed or is missing.
4. The stage does its work on exactly these bytes.
5. `EvidenceLog.append` signs the decision. Evidence is written last, so a stage that was killed leaves none behind.

Evidence is named by its **cause**, the digest of everything that the stage depends on. The same cause is never done
twice: a stage that finds evidence of its cause verifies it and its files instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from secure_ml.digests import Digest, Json, parse_digest, sha256
from secure_ml.errors import MalformedError, RejectedError, SecureMLError, UnavailableError
from secure_ml.home import Home
from secure_ml.installation import Installation
from secure_ml.safe_files import read_file
from secure_ml.signing.envelope import sign_statement, verify_statement
from secure_ml.signing.keys import Signer
from secure_ml.signing.trust import Trust
from secure_ml.tiers import TierRules

__all__ = [
    "Evidence",
    "EvidenceLog",
    "EvidenceRejectedError",
    "read_exactly",
    "read_subjects",
    "require",
    "require_tier_rules",
]

_MAX_DOCUMENT_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Evidence:
    """Verified evidence of one stage. Only `EvidenceLog` creates it.

    Attributes:
        model: Name of the model.
        stage: Stage that decided.
        cause: Digest of everything that the decision depends on, and name of the document.
        decision: Outcome of the stage.
        reasons: Reasons of a rejection, in sentences for people. Empty if accepted, never empty if rejected.
        subjects: Digests of the files that the decision is about, by file name.
        inputs: Digests and names of the stage's inputs, by name.
        facts: Figures and findings for people. No gate reads them.
        made_at: Time of the decision, RFC 3339 in UTC.
        document: Digest of the signed document.
        path: File of the document.
    """

    model: str
    stage: str
    cause: Digest
    decision: Literal["accepted", "rejected"]
    reasons: tuple[str, ...]
    subjects: Mapping[str, Digest]
    inputs: Mapping[str, str]
    facts: Mapping[str, Json]
    made_at: str
    document: Digest
    path: Path


class EvidenceRejectedError(RejectedError):
    """Verified evidence of a rejection, where a stage needs an acceptance.

    Attributes:
        evidence: The evidence, whose findings can be shown.
    """

    def __init__(self, evidence: Evidence) -> None:
        """Name the stage and the batch that were rejected, with the reasons."""
        super().__init__(f"{_subject(evidence)}: rejected: {'; '.join(evidence.reasons)}")
        self.evidence = evidence


def _subject(evidence: Evidence) -> str:
    batch = f" of batch {evidence.inputs['batch']}" if "batch" in evidence.inputs else ""
    return f"{evidence.model}/{evidence.stage}{batch}"


def require(evidence: Evidence) -> None:
    """Require that the decision was an acceptance.

    Raises:
        EvidenceRejectedError: If the decision was a rejection. The error holds the reasons.
    """
    if evidence.decision != "accepted":
        raise EvidenceRejectedError(evidence)


def require_tier_rules(evidence: Evidence, tier_rules: TierRules) -> None:
    """Require that the decision was made under `tier_rules`.

    Raises:
        RejectedError: If it was made under other tier rules, or names none.
    """
    actual = evidence.inputs.get("policy", "none")
    if actual != tier_rules:
        raise RejectedError(
            f"{_subject(evidence)}: decided under another policy, expected {tier_rules}, found {actual}; "
            f"materialize {evidence.model}/{evidence.stage} under policy {tier_rules}"
        )


def read_subjects(evidence: Evidence, folder: Path) -> dict[str, bytes]:
    """Read the files that `evidence` is about from `folder`, once, and verify each digest.

    Returns:
        Content by file name.

    Raises:
        RejectedError: If a file was changed or is missing. The message names it.
    """
    return {name: read_exactly(folder / name, digest) for name, digest in evidence.subjects.items()}


class EvidenceLog:
    """All evidence of one model. Each object verifies a document once, when it first reads it.

    A stage, a command or a sensor tick opens a log of its own, so that no verification outlives the work it was made
    for. A listing always reads the folder again, so documents that other processes append or delete are noticed. The
    log verifies a document again if its file is another one than before (device, inode, size and times of change).
    """

    def __init__(self, home: Home, trust: Trust, model: str) -> None:
        """Open the log of `model` in `home`, verified with the keys of `trust`."""
        self.home = home
        self.trust = trust
        self.model = model
        self._verified: dict[Path, tuple[_FileIdentity | None, Evidence]] = {}

    @classmethod
    def open(cls, installation: Installation, model: str) -> EvidenceLog:
        """Open the log of a model of an installation."""
        return cls(installation.home, installation.trust, model)

    def find(self, stage: str, cause: Digest) -> Evidence | None:
        """Return the evidence of one cause, or None if there is no document of this name.

        Raises:
            SecureMLError: If the document does not verify.
        """
        path = self.home.evidence / self.model / stage / f"{cause}.json"
        return self._read(path, stage) if path.is_symlink() or path.exists() else None

    def history(self, stage: str) -> list[Evidence]:
        """Return all evidence of a stage, oldest first.

        Raises:
            SecureMLError: If a document does not verify. The message names it.
        """
        documents = [self._read(path, stage) for path in self._paths(stage)]
        return sorted(documents, key=lambda evidence: (evidence.made_at, evidence.cause))

    def audit(self, stage: str) -> list[Evidence | SecureMLError]:
        """Verify each document of a stage by itself, so that an invalid one does not hide the others.

        Returns:
            For each file, in the order of the names, the evidence or the reason why it does not verify.
        """
        results: list[Evidence | SecureMLError] = []
        for path in self._paths(stage):
            try:
                if path.suffix != ".json":
                    raise MalformedError(
                        f"evidence/{self.model}/{stage}/{path.name}: not evidence, expected a file named DIGEST.json; "
                        "remove it"
                    )
                results.append(self._read(path, stage))
            except SecureMLError as error:
                results.append(error)
        return results

    def latest(self, stage: str, *, tier_rules: TierRules | None = None, **inputs: str) -> Evidence:
        """Return the newest evidence of a stage with these inputs, whatever its decision.

        A stage asks for evidence of its batch, or of the present contract or code. Evidence of another contract or code
        is stale and does not count.

        Args:
            stage: Stage that decided.
            tier_rules: Tier rules of the decision, or None for any.
            **inputs: Inputs that the evidence must name with these values.

        Raises:
            UnavailableError: If there is no such evidence.
            RejectedError: If all such evidence was made under other tier rules.
            SecureMLError: If a document of the stage does not verify. The message names it.
        """
        matching = [item for item in self.history(stage) if inputs.items() <= item.inputs.items()]
        if not matching:
            batch = f" of batch {inputs.pop('batch')}" if "batch" in inputs else ""
            present = f" of the present {' and '.join(inputs)}" if inputs else ""
            raise UnavailableError(
                f"{self.model}/{stage}{batch}: no evidence{present} found; materialize {self.model}/{stage} first"
            )
        under_rules = [item for item in matching if tier_rules in (None, item.inputs.get("policy"))]
        if not under_rules:
            require_tier_rules(matching[-1], tier_rules or "production")
        return under_rules[-1]

    def append(
        self,
        signer: Signer,
        *,
        stage: str,
        cause: Digest,
        reasons: Iterable[str] = (),
        subjects: Mapping[str, Digest],
        inputs: Mapping[str, str],
        facts: Mapping[str, Json],
    ) -> Evidence:
        """Sign and store a decision: a rejection if there are reasons, otherwise an acceptance.

        If another process recorded the same cause first, its evidence is verified and returned. It came to the same
        decision, and its subjects are the valid ones.

        Args:
            signer: Signer of the stage.
            stage: Stage that decided.
            cause: Digest of everything that the decision depends on.
            reasons: Reasons of a rejection.
            subjects: Digests of the files that the decision is about, by file name.
            inputs: Digests and names of the stage's inputs, by name.
            facts: Figures and findings for people.

        Raises:
            RejectedError: If the same cause was recorded with another outcome, or the signer may not sign the stage.
            MalformedError: If the document would be too large to be read again. It is not written.
        """
        where = f"{self.model}/{stage}"
        self.trust.key(signer.keyid, stage, where)  # a document that every verifier rejects is not written
        reasons = list(reasons)
        predicate: dict[str, Json] = {
            "model": self.model,
            "stage": stage,
            "cause": cause,
            "decision": "rejected" if reasons else "accepted",
            "reasons": list(reasons),
            "inputs": dict(inputs),
            "facts": dict(facts),
            "made_at": datetime.now(UTC).isoformat(timespec="microseconds"),
        }
        content = sign_statement(stage, dict(subjects), predicate, signer)
        if len(content) > _MAX_DOCUMENT_BYTES:
            raise MalformedError(
                f"{where}: evidence is too large, expected at most {_MAX_DOCUMENT_BYTES} bytes, found {len(content)}"
            )
        path = self.home.evidence / self.model / stage / f"{cause}.json"
        try:
            self.home.write_file(path, content)
        except RejectedError:
            recorded = self._read(path, stage)
            if list(recorded.reasons) != reasons:
                raise RejectedError(f"{path}: the same cause was recorded with another outcome") from None
            return recorded
        return self._read(path, stage)

    def chain(self, evidence: Evidence) -> list[Evidence]:
        """Follow `evidence` back to the data, and require that every step was accepted.

        Inputs named `evidence:<stage>:...` are digests of documents of that stage.

        Returns:
            The evidence itself, then every document that it rests on, each once.

        Raises:
            RejectedError: If a step is missing, was replaced or is a rejection.
        """
        by_digest: dict[str, dict[str, Evidence]] = {}
        steps, pending = [evidence], [evidence]
        seen: set[str] = {evidence.document}
        while pending:
            step = pending.pop()
            require(step)
            for name, digest in step.inputs.items():
                if not name.startswith("evidence:") or digest in seen:
                    continue
                stage = name.split(":")[1]
                if stage not in by_digest:
                    by_digest[stage] = {item.document: item for item in self.history(stage)}
                source = by_digest[stage].get(digest)
                if source is None:
                    raise RejectedError(
                        f"{step.model}/{step.stage}: rests on missing evidence of {stage} (document {digest[:12]}); "
                        f"restore it, or materialize {stage} and every later stage again"
                    )
                seen.add(source.document)
                steps.append(source)
                pending.append(source)
        return steps

    def _paths(self, stage: str) -> list[Path]:
        folder = self.home.evidence / self.model / stage
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def _read(self, path: Path, stage: str) -> Evidence:
        identity = _file_identity(path)  # taken before the read, so that a later change gives another identity
        known = self._verified.get(path)
        if known is not None and identity is not None and known[0] == identity:
            return known[1]
        evidence = _read_evidence(path, self.trust, self.model, stage)
        self._verified[path] = (identity, evidence)
        return evidence


_FileIdentity = tuple[int, int, int, int, int]


def _file_identity(path: Path) -> _FileIdentity | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def read_exactly(path: Path, digest: Digest) -> bytes:
    """Read one file, once, and verify its digest.

    Raises:
        RejectedError: If the file was changed or is missing. The message names it.
    """
    where = "/".join(path.parts[-3:])
    try:
        content = read_file(path)
    except UnavailableError:
        raise RejectedError(f"{where}: missing, expected a file of digest {digest[:12]}; restore it") from None
    actual = sha256(content)
    if actual != digest:
        raise RejectedError(
            f"{where}: changed, expected digest {digest[:12]}, found {actual[:12]}; restore it from a good copy"
        )
    return content


def _read_evidence(path: Path, trust: Trust, model: str, stage: str) -> Evidence:
    where = f"evidence {path.parent.parent.name}/{path.parent.name}/{path.name}"
    content = read_file(path, max_bytes=_MAX_DOCUMENT_BYTES)
    subjects, predicate = verify_statement(content, stage, trust, where)
    match predicate:
        case {
            "model": str(of_model),
            "stage": str(of_stage),
            "cause": str(cause),
            "decision": "accepted" | "rejected" as decision,
            "reasons": list(reasons),
            "inputs": dict(inputs),
            "facts": dict(facts),
            "made_at": str(made_at),
            **rest,
        } if not rest and (decision == "rejected") == bool(reasons):
            if (of_model, of_stage, f"{cause}.json") != (model, stage, path.name):
                raise RejectedError(
                    f"{where}: evidence of another model, stage or cause, stored under a wrong name; remove it"
                )
            return Evidence(
                model=model,
                stage=stage,
                cause=parse_digest(cause, where),
                decision="accepted" if decision == "accepted" else "rejected",
                reasons=tuple(str(reason) for reason in reasons),
                subjects={name: parse_digest(digest, where) for name, digest in subjects.items()},
                inputs={name: str(value) for name, value in inputs.items()},
                facts=facts,
                made_at=made_at,
                document=sha256(content),
                path=path,
            )
    raise MalformedError(f"{where}: malformed predicate, expected evidence of a stage")
