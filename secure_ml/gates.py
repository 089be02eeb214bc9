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

A **release** is the signed, numbered document that allows one model to serve.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from secure_ml.contracts.policy import Policy
from secure_ml.digests import Digest, Json, canonical_json, digest_of, parse_digest, parse_json, sha256
from secure_ml.errors import MalformedError, PreconditionError, RejectedError, UnavailableError
from secure_ml.home import Home, read_file
from secure_ml.signing.envelope import sign_statement, verify_statement
from secure_ml.signing.keys import Signer, Trust

__all__ = [
    "SIGNATURE",
    "Evidence",
    "EvidenceRejectedError",
    "Release",
    "current_release",
    "find",
    "history",
    "latest",
    "model_digest",
    "publish_release",
    "read_released",
    "read_subjects",
    "record",
    "releases",
    "require",
    "require_anew",
    "require_policy",
    "trace",
]

SIGNATURE = "model.sig"
_MAX_DOCUMENT_BYTES = 16 << 20
_RELEASE_NAME = re.compile(r"[0-9]{6}\.json")


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


def require_policy(evidence: Evidence, policy: Policy) -> None:
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
    home: Home, trust: Trust, model: str, stage: str, *, policy: Policy | None = None, **inputs: str
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
    return {name: _read_exactly(folder / name, digest) for name, digest in evidence.subjects.items()}


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


def _read_exactly(path: Path, digest: Digest) -> bytes:
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


@dataclass(frozen=True, slots=True)
class Release:
    """A verified release document. Made by `current_release`, `releases` and `publish_release`, nowhere else.

    Attributes:
        model: The model's name.
        number: Counts up from 1; a lower one than was ever seen is refused.
        model_digest: Digest of the model folder without its signature.
        files: File name to digest of the whole folder, `model.sig` included.
        inputs: Name to digest of the evidence that allowed it.
        document: Digest of the signed document.
        path: Where the document lies.
        made_at: When, RFC 3339 in UTC.
    """

    model: str
    number: int
    model_digest: Digest
    files: Mapping[str, Digest]
    inputs: Mapping[str, str]
    document: Digest
    path: Path
    made_at: str


def releases(home: Home, trust: Trust, model: str) -> list[Release]:
    """Return all releases of a model, lowest number first, each document verified.

    The trust root remembers the newest, where it can be written. A home without any may start anew, see
    `require_anew`.

    Raises:
        RejectedError: A number is missing, or a lower one is the newest than was seen before.
        SecureMLError: A document does not verify; it is named.
    """
    folder = home.releases / model
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    found = [_read_release(path, trust, model) for path in paths]
    for expected, release in enumerate(found, start=1):
        if release.number != expected:
            raise RejectedError(f"releases/{model}: number {expected} is missing; restore it")
    if found:
        seen = _check_witness(trust, model, found)
        if seen is None or seen.number < found[-1].number:
            with contextlib.suppress(OSError):  # a verifier's trust root may be read-only
                _write_witness(trust, found[-1])
    return found


def require_anew(trust: Trust, model: str, steps: Iterable[Evidence]) -> None:
    """Refuse a first release, with no champion to compare with, in a home whose releases were taken away.

    An emptied home starts anew from the data on, so that all evidence is younger than the last release that was seen.

    Raises:
        RejectedError: A step is older.
    """
    seen = _read_witness(trust, model)
    if seen is not None and any(step.made_at <= seen.made_at for step in steps):
        raise RejectedError(
            f"releases/{model}: release {seen.number} was seen before and is gone, and its evidence is still there; "
            "restore it, or empty the whole home to start anew"
        )


def current_release(home: Home, trust: Trust, model: str) -> Release:
    """Return the newest release, verified.

    Raises:
        UnavailableError: Nothing was released yet.
        SecureMLError: A release document does not verify, or a newer one was seen before.
    """
    found = releases(home, trust, model)
    if not found:
        _check_witness(trust, model, found)
        raise UnavailableError(f"{model}: nothing is released; materialize {model}/release first")
    return found[-1]


def publish_release(
    home: Home,
    signer: Signer,
    trust: Trust,
    *,
    model: str,
    number: int,
    model_digest: Digest,
    files: Mapping[str, Digest],
    inputs: Mapping[str, str],
) -> Release:
    """Sign and publish release `number`.

    Raises:
        RejectedError: Another process published this number first; decide again against its release. Or this signer
            may not sign releases.
    """
    trust.key(signer.keyid, "release_document", f"{model}/release")
    predicate: dict[str, Json] = {
        "model": model,
        "number": number,
        "model_digest": model_digest,
        "inputs": dict(inputs),
        "made_at": datetime.now(UTC).isoformat(timespec="microseconds"),
    }
    path = home.releases / model / f"{number:06}.json"
    home.write_file(path, sign_statement("release_document", dict(files), predicate, signer))
    release = _read_release(path, trust, model)
    try:
        _write_witness(trust, release)
    except OSError as error:
        raise PreconditionError(
            f"SECURE_ML_TRUST: release {number} cannot be remembered in {trust.root} ({error.strerror}); "
            "make it writable for whoever publishes"
        ) from None
    return release


def read_released(home: Home, trust: Trust, release: Release) -> dict[str, bytes]:
    """Read the released model's files, once; every byte is verified, and the model's own signature too.

    Raises:
        RejectedError: A file was changed, is missing or is not signed; it is named.
    """
    from secure_ml.signing.model_signature import verify_model

    folder = home.models / release.model / release.model_digest
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    extra = sorted(found - release.files.keys())
    if extra:
        raise RejectedError(f"{folder.name[:12]}/{extra[0]}: is not part of release {release.number}; remove it")
    files = {name: _read_exactly(folder / name, digest) for name, digest in release.files.items()}
    signature = files[SIGNATURE]
    content = {name: files[name] for name in files if name != SIGNATURE}
    if model_digest(content) != release.model_digest:
        raise RejectedError(f"release {release.number} of {release.model}: its files are not those of its model")
    verify_model(content, signature, trust)
    return files


def model_digest(files: Mapping[str, bytes]) -> Digest:
    """Return the digest that names a model: over names and digests of its files, without the signature."""
    return digest_of({name: sha256(content) for name, content in files.items() if name != SIGNATURE})


def _read_release(path: Path, trust: Trust, model: str) -> Release:
    where = f"releases/{model}/{path.name}"
    if not _RELEASE_NAME.fullmatch(path.name):
        raise MalformedError(f"{where}: not a release document; remove it")
    content = read_file(path, max_bytes=_MAX_DOCUMENT_BYTES)
    files, predicate = verify_statement(content, "release_document", trust, where)
    match predicate:
        case {
            "model": str(of_model),
            "number": int(number),
            "model_digest": str(digest),
            "inputs": dict(inputs),
            "made_at": str(made_at),
            **rest,
        } if not rest and SIGNATURE in files:
            if (of_model, f"{number:06}.json") != (model, path.name):
                raise RejectedError(f"{where}: it is another release, put here under another name")
            return Release(
                model=model,
                number=number,
                model_digest=parse_digest(digest, where),
                files={name: parse_digest(value, where) for name, value in files.items()},
                inputs={name: str(value) for name, value in inputs.items()},
                document=sha256(content),
                path=path,
                made_at=made_at,
            )
    raise MalformedError(f"{where}: the predicate is not that of a release")


@dataclass(frozen=True, slots=True)
class _Witness:
    """The newest release that was seen of a model, as the trust root remembers it."""

    number: int
    document: str
    made_at: str


def _read_witness(trust: Trust, model: str) -> _Witness | None:
    path = trust.root / "witness" / f"{model}.json"
    if not path.exists():
        return None
    match parse_json(read_file(path, max_bytes=1 << 16), f"trust root: witness of {model}"):
        case {"number": int(number), "document": str(document), "made_at": str(made_at), **rest} if not rest:
            return _Witness(number, document, made_at)
    raise PreconditionError(f"trust root: the witness of {model} is malformed")


def _check_witness(trust: Trust, model: str, found: list[Release]) -> _Witness | None:
    seen = _read_witness(trust, model)
    if seen is not None and len(found) < seen.number:
        raise RejectedError(
            f"releases/{model}: release {seen.number} was seen before and is gone; this home was rolled back "
            "or emptied; restore it, or empty the whole home to start anew"
        )
    if seen is not None and found[seen.number - 1].document != seen.document:
        raise RejectedError(f"releases/{model}/{seen.number:06}.json: another document than was seen before")
    return seen


def _write_witness(trust: Trust, release: Release) -> None:
    path = trust.root / "witness" / f"{release.model}.json"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    fresh = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    with fresh.open("wb") as stream:
        stream.write(
            canonical_json({"number": release.number, "document": release.document, "made_at": release.made_at})
        )
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)
