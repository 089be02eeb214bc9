"""The gates: what each stage demands of the stage before, in one place.

A gate takes **evidence**, a signed in-toto statement, and the bytes that are about to be used. It returns None or
raises; it never reads a check status, a tag or an unsigned flag. Each step of a stage is:

1. *latest* finds the newest evidence of the stage before. Every document of that stage is verified against the
   trust root on the way; one that is forged, foreign-signed or changed stops the stage and is named.
2. *require* refuses evidence whose decision was a rejection.
3. *read_subjects* reads the files that the evidence is about, once, and refuses a changed or missing one by name.
4. The stage does its work on exactly these bytes.
5. *record* signs what was decided. Evidence is written last, so a stage that was killed left nothing behind.

Evidence is named by its **cause**, the digest of everything the stage depends on. The same cause is never done
twice: a stage that finds evidence of its cause verifies it, and the bytes that it is about, instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from secure_ml.digests import Digest, Json, parse_digest, sha256
from secure_ml.errors import MalformedError, RejectedError, UnavailableError
from secure_ml.home import Home, read_file
from secure_ml.signing.envelope import sign_statement, verify_statement
from secure_ml.signing.keys import Signer
from secure_ml.signing.trust import Trust
from secure_ml.tiers import TierRules

__all__ = [
    "Evidence",
    "EvidenceRejectedError",
    "find",
    "history",
    "latest",
    "read_exactly",
    "read_subjects",
    "record",
    "require",
    "require_policy",
    "trace",
]

_MAX_DOCUMENT_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Evidence:
    """Verified evidence of one stage. Made by `find`, `history`, `latest` and `record`, nowhere else.

    Attributes:
        model: The model's name.
        stage: The stage that decided.
        cause: Digest of everything that the decision depends on; the document's name.
        decision: What was decided.
        reasons: Why, in sentences for people; never empty where rejected.
        subjects: File name to digest: the bytes that the decision is about.
        inputs: Name to digest of what the stage was given.
        facts: Figures and findings for people; no gate reads them.
        made_at: When, RFC 3339 in UTC.
        document: Digest of the signed document.
        path: Where the document lies.
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
    """Verified evidence says that the decision was a rejection.

    Attributes:
        evidence: The evidence, for whoever shows the findings.
    """

    def __init__(self, evidence: Evidence) -> None:
        """Say which stage rejected what, and why."""
        of = f" of batch {evidence.inputs['batch']}" if "batch" in evidence.inputs else ""
        super().__init__(f"{evidence.model}/{evidence.stage}{of}: rejected: {'; '.join(evidence.reasons)}")
        self.evidence = evidence


def require(evidence: Evidence) -> None:
    """Refuse evidence of a rejection.

    Raises:
        EvidenceRejectedError: With the reasons.
    """
    if evidence.decision != "accepted":
        raise EvidenceRejectedError(evidence)


def require_policy(evidence: Evidence, policy: TierRules) -> None:
    """Refuse evidence that was not made under `policy`.

    Raises:
        RejectedError: It was made under another one, or under none.
    """
    made_under = evidence.inputs.get("policy", "none")
    if made_under != policy:
        of = f" of batch {evidence.inputs['batch']}" if "batch" in evidence.inputs else ""
        raise RejectedError(
            f"{evidence.model}/{evidence.stage}{of}: was decided under policy {made_under}, expected {policy}; "
            f"materialize {evidence.model}/{evidence.stage} under policy {policy}"
        )


def find(home: Home, trust: Trust, model: str, stage: str, cause: Digest) -> Evidence | None:
    """Return the verified evidence of one cause, or None where there is none.

    Raises:
        SecureMLError: There is one, and it does not verify.
    """
    path = home.evidence / model / stage / f"{cause}.json"
    return _read_evidence(path, trust, model, stage) if path.is_symlink() or path.exists() else None


def history(home: Home, trust: Trust, model: str, stage: str) -> list[Evidence]:
    """Return all evidence of a stage, oldest first, each document verified.

    Raises:
        SecureMLError: A document does not verify; it is named.
    """
    folder = home.evidence / model / stage
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    found = [_read_evidence(path, trust, model, stage) for path in paths]
    return sorted(found, key=lambda evidence: (evidence.made_at, evidence.cause))


def latest(
    home: Home, trust: Trust, model: str, stage: str, *, policy: TierRules | None = None, **inputs: str
) -> Evidence:
    """Return the newest evidence of a stage that was given `inputs` and made under `policy`, whatever its decision.

    A stage asks for evidence of its batch, or of the present contract or code: what was decided under another one is
    stale, and no input.

    Raises:
        UnavailableError: There is none.
        RejectedError: All there is was made under another policy.
        SecureMLError: A document of the stage does not verify; it is named.
    """
    found = [evidence for evidence in history(home, trust, model, stage) if inputs.items() <= evidence.inputs.items()]
    if not found:
        of = f" of batch {inputs.pop('batch')}" if "batch" in inputs else ""
        under = f" under the present {' and '.join(inputs)}" if inputs else ""
        raise UnavailableError(f"{model}/{stage}{of}: there is no evidence{under}; materialize {model}/{stage} first")
    own = [evidence for evidence in found if policy in (None, evidence.inputs.get("policy"))]
    if not own:
        require_policy(found[-1], policy or "production")
    return own[-1]


def read_subjects(evidence: Evidence, folder: Path) -> dict[str, bytes]:
    """Read the files that `evidence` is about from `folder`, once, each against its digest.

    Raises:
        RejectedError: A file was changed or is missing; it is named.
    """
    return {name: read_exactly(folder / name, digest) for name, digest in evidence.subjects.items()}


def record(
    home: Home,
    signer: Signer,
    trust: Trust,
    *,
    model: str,
    stage: str,
    cause: Digest,
    reasons: Iterable[str] = (),
    subjects: Mapping[str, Digest],
    inputs: Mapping[str, str],
    facts: Mapping[str, Json],
) -> Evidence:
    """Sign and store evidence: rejected where there is any reason against, accepted otherwise.

    Where another process recorded the same cause first, its evidence is verified and returned: it came to the same
    decision, and its subjects are the ones that count.

    Raises:
        RejectedError: The same cause was recorded with another outcome, or this signer may not sign the stage.
        MalformedError: There is more to say than a document may hold; none is written that nobody could read again.
    """
    trust.key(signer.keyid, stage, f"{model}/{stage}")  # what everybody would refuse is not written at all
    against = list(reasons)
    predicate: dict[str, Json] = {
        "model": model,
        "stage": stage,
        "cause": cause,
        "decision": "rejected" if against else "accepted",
        "reasons": list(against),
        "inputs": dict(inputs),
        "facts": dict(facts),
        "made_at": datetime.now(UTC).isoformat(timespec="microseconds"),
    }
    content = sign_statement(stage, dict(subjects), predicate, signer)
    if len(content) > _MAX_DOCUMENT_BYTES:
        raise MalformedError(
            f"{model}/{stage}: evidence of {len(content)} bytes, at most {_MAX_DOCUMENT_BYTES} are kept"
        )
    path = home.evidence / model / stage / f"{cause}.json"
    try:
        home.write_file(path, content)
    except RejectedError:
        other = _read_evidence(path, trust, model, stage)
        if list(other.reasons) != against:
            raise RejectedError(f"{path}: the same cause was recorded with another outcome") from None
        return other
    return _read_evidence(path, trust, model, stage)


def trace(home: Home, trust: Trust, evidence: Evidence) -> list[Evidence]:
    """Follow `evidence` back to the data; every step is verified and accepted.

    Inputs named `evidence:<stage>:...` are digests of documents of that stage.

    Returns:
        The evidence that was passed, then what it rests on.

    Raises:
        RejectedError: A step is missing, was replaced or was a rejection.
    """
    chain, todo = [evidence], [evidence]
    while todo:
        step = todo.pop()
        require(step)
        for name, digest in step.inputs.items():
            if not name.startswith("evidence:"):
                continue
            stage = name.split(":")[1]
            found = [item for item in history(home, trust, step.model, stage) if item.document == digest]
            if not found:
                raise RejectedError(
                    f"{step.model}/{step.stage}: rests on evidence of {stage} that is no longer there "
                    f"(document {digest[:12]}); restore it, or materialize {stage} and what follows again"
                )
            chain += found
            todo += found
    return chain


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
                raise RejectedError(f"{where}: it is evidence of something else, put here under another name")
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
    raise MalformedError(f"{where}: the predicate is not that of evidence")


def read_exactly(path: Path, digest: Digest) -> bytes:
    """Read one file, once, against its digest.

    Raises:
        RejectedError: It was changed or is missing; it is named.
    """
    where = "/".join(path.parts[-3:])
    try:
        content = read_file(path)
    except UnavailableError:
        raise RejectedError(f"{where}: missing, expected a file of digest {digest[:12]}; restore it") from None
    found = sha256(content)
    if found != digest:
        raise RejectedError(
            f"{where}: changed, expected digest {digest[:12]}, found {found[:12]}; restore it from a good copy"
        )
    return content
