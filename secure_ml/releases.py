"""Releases: signed, numbered documents. Only such a document allows a model to serve.

The exclusive creation of its file numbers a release. The trust root remembers the newest release of each model
(`witness/<model>.json`), so that a home that was rolled back is rejected.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from secure_ml.digests import Digest, Json, canonical_json, digest_of, parse_digest, parse_json, sha256
from secure_ml.errors import MalformedError, PreconditionError, RejectedError, UnavailableError
from secure_ml.evidence import Evidence, read_exactly
from secure_ml.home import Home
from secure_ml.safe_files import read_file, replace_file
from secure_ml.signing.envelope import sign_statement, verify_statement
from secure_ml.signing.keys import Signer
from secure_ml.signing.trust import Trust

__all__ = [
    "SIGNATURE",
    "Release",
    "current_release",
    "model_digest",
    "publish_release",
    "read_released",
    "releases",
    "require_fresh_start",
]

SIGNATURE = "model.sig"
_MAX_DOCUMENT_BYTES = 16 << 20
_RELEASE_NAME = re.compile(r"[0-9]{6}\.json")


@dataclass(frozen=True, slots=True)
class Release:
    """A verified release document. Only `current_release`, `releases` and `publish_release` create it.

    Attributes:
        model: Name of the model.
        number: Number of the release, from 1.
        model_digest: Digest of the model folder without its signature.
        files: Digests of all files of the folder by name, including `model.sig`.
        inputs: Digests of the evidence that allowed it, by name.
        document: Digest of the signed document.
        path: File of the document.
        made_at: Time of the release, RFC 3339 in UTC.
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

    The trust root remembers the newest release if it can be written. A home without releases may start again, see
    `require_fresh_start`.

    Raises:
        RejectedError: If a number is missing, or the newest release is older than one seen before.
        SecureMLError: If a document does not verify. The message names it.
    """
    folder = home.releases / model
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    published = [_read_release(path, trust, model) for path in paths]
    for expected, release in enumerate(published, start=1):
        if release.number != expected:
            raise RejectedError(f"releases/{model}: number {expected} is missing; restore it")
    if published:
        seen = _check_witness(trust, model, published)
        if seen is None or seen.number < published[-1].number:
            with contextlib.suppress(OSError):  # a verifier's trust root may be read-only
                _write_witness(trust, published[-1])
    return published


def require_fresh_start(trust: Trust, model: str, steps: Iterable[Evidence]) -> None:
    """Require that a home without releases was emptied completely, so that no champion was removed.

    In an emptied home all evidence is younger than the last release that was seen.

    Raises:
        RejectedError: If a step is older than that release.
    """
    seen = _read_witness(trust, model)
    if seen is not None and any(step.made_at <= seen.made_at for step in steps):
        raise RejectedError(
            f"releases/{model}: release {seen.number} was seen before and is missing, but its evidence is still there; "
            "restore it, or empty the whole home to start again"
        )


def current_release(home: Home, trust: Trust, model: str) -> Release:
    """Return the newest release, verified.

    Raises:
        UnavailableError: If no model was released yet.
        SecureMLError: If a release document does not verify, or a newer one was seen before.
    """
    published = releases(home, trust, model)
    if not published:
        _check_witness(trust, model, published)
        raise UnavailableError(f"{model}: nothing is released; materialize {model}/release first")
    return published[-1]


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
        RejectedError: If another process published this number first, or the signer may not sign releases.
        PreconditionError: If the trust root cannot remember the release.
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
            "make it writable for the publishing process"
        ) from None
    return release


def read_released(home: Home, trust: Trust, release: Release) -> dict[str, bytes]:
    """Read the files of the released model once, and verify every byte and the signature of the model.

    Raises:
        RejectedError: If a file was changed, is missing or is not signed. The message names it.
    """
    from secure_ml.signing.model_signature import verify_model

    folder = home.models / release.model / release.model_digest
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    extra = sorted(names - release.files.keys())
    if extra:
        raise RejectedError(f"{folder.name[:12]}/{extra[0]}: not part of release {release.number}; remove it")
    files = {name: read_exactly(folder / name, digest) for name, digest in release.files.items()}
    signature = files[SIGNATURE]
    content = {name: files[name] for name in files if name != SIGNATURE}
    if model_digest(content) != release.model_digest:
        raise RejectedError(f"release {release.number} of {release.model}: its files are not those of its model")
    verify_model(content, signature, trust)
    return files


def model_digest(files: Mapping[str, bytes]) -> Digest:
    """Return the digest that names a model, over names and digests of its files without the signature."""
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
                raise RejectedError(f"{where}: another release under a wrong name; restore the right file")
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
    raise MalformedError(f"{where}: malformed predicate, expected a release")


@dataclass(frozen=True, slots=True)
class _Witness:
    """The newest release of a model that the trust root remembers."""

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


def _check_witness(trust: Trust, model: str, published: list[Release]) -> _Witness | None:
    seen = _read_witness(trust, model)
    if seen is not None and len(published) < seen.number:
        raise RejectedError(
            f"releases/{model}: release {seen.number} was seen before and is missing; this home was rolled back, "
            "emptied, or is not the home of this trust root; restore it, or start again in an empty home from the data"
        )
    if seen is not None and published[seen.number - 1].document != seen.document:
        raise RejectedError(
            f"releases/{model}/{seen.number:06}.json: not the document that was seen before; restore it"
        )
    return seen


def _write_witness(trust: Trust, release: Release) -> None:
    witness = {"number": release.number, "document": release.document, "made_at": release.made_at}
    replace_file(trust.root / "witness" / f"{release.model}.json", canonical_json(witness), durable=True)
