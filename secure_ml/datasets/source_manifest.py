"""Provenance, the primary control against poisoning: a signed manifest lists the bytes of a source.

A manifest is an in-toto statement in a DSSE envelope. Its subjects are the files of one source, such as `january.csv`,
with their SHA-256, and its predicate names the source. The trust root decides which keys may sign it: the keys that
may sign the stage `source_manifest` (`policy.json`). If the trust root holds `sources/SOURCE/keys/*.pem`, only these
keys sign for this source, and they sign nothing else. Put the key of a supplier there.

A batch is accepted if

1. the source has a manifest,
2. a key that may sign for this source signed it,
3. it names this source and was not issued in the future,
4. it is not older than the newest manifest seen, so that an older one cannot be replayed together with its bytes, and
5. it lists this batch with the digest of the bytes that are about to be used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from secure_ml.datasets.sources.names import file_names
from secure_ml.digests import Digest, parse_digest, sha256
from secure_ml.errors import MalformedError, RejectedError
from secure_ml.signing.envelope import sign_statement, verify_statement
from secure_ml.signing.keys import Signer
from secure_ml.signing.trust import Trust
from secure_ml.stage_names import SOURCE_MANIFEST

__all__ = ["SourceManifest", "open_manifest", "sign_manifest", "verify_provenance"]

_CLOCKS_DIFFER = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class SourceManifest:
    """A manifest with a valid signature. Only `open_manifest` creates it.

    Attributes:
        source: Name of the source.
        issued: Time of the signature, as stated by the signer. A later manifest supersedes it.
        files: Digests by file name.
        digest: Digest of the signed document.
    """

    source: str
    issued: datetime
    files: Mapping[str, Digest]
    digest: Digest


def sign_manifest(source: str, files: Mapping[str, Digest], signer: Signer, *, issued: datetime | None = None) -> bytes:
    """Sign the manifest of one source.

    Args:
        source: Name of the source in `Batches.sources`, or `inbox.MODEL`.
        files: Digest of each file by name, such as `january.parquet`.
        signer: Signer whose key may sign `source_manifest`.
        issued: Time of issue with a time zone, by default now. A verifier that saw it rejects earlier manifests.
    """
    made_at = (issued or datetime.now(UTC)).isoformat(timespec="microseconds")
    return sign_statement(SOURCE_MANIFEST, dict(files), {"source": source, "made_at": made_at}, signer)


def open_manifest(content: bytes | None, *, source: str, batch: str, trust: Trust) -> SourceManifest:
    """Verify the manifest of a source.

    Args:
        content: Bytes of the manifest, or None if the source has none.
        source: Name of the source.
        batch: Name of the batch, for messages.
        trust: Trust root that verifies the signature.

    Raises:
        RejectedError: If there is no manifest, or it was changed, names another source, was signed by a foreign key or
            was issued in the future.
        PreconditionError: If the part of the trust root for this source is malformed.
    """
    # 1. The manifest exists.
    if content is None:
        switch = "require_inbox_manifest" if source.startswith("inbox.") else "require_manifest"
        raise RejectedError(
            f"{batch}: its source {source} has no signed manifest; sign what it has: secure-ml dataset sign-manifest "
            f"FOLDER --source {source} (or, unsafe, {switch}=False: whoever writes there then decides what is learnt)"
        )
    # 2. A key that may sign for this source signed it.
    where = f"{batch}: manifest of source {source}"
    supplier = trust.root / "sources" / source
    if supplier.is_dir():
        trust = Trust.load(supplier)
    try:
        subjects, predicate = verify_statement(content, SOURCE_MANIFEST, trust, where)
        files = {name: parse_digest(digest, where) for name, digest in subjects.items()}
    except MalformedError as error:
        raise RejectedError(str(error)) from None
    # 3. It names this source and was not issued in the future.
    match predicate:
        case {"source": str(name), "made_at": str(made_at), **rest} if not rest:
            if name != source:
                raise RejectedError(f"{where}: it is the manifest of another source")
        case _:
            raise RejectedError(f"{where}: its predicate is not that of a manifest")
    issued = _time(made_at)
    if issued is None:
        raise RejectedError(f"{where}: does not say when it was issued, in RFC 3339 with an offset")
    if issued > datetime.now(UTC) + _CLOCKS_DIFFER:
        raise RejectedError(f"{where}: was issued in the future; set the clock of who signs it, and sign it again")
    return SourceManifest(source, issued, files, sha256(content))


def _time(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def verify_provenance(
    manifest: SourceManifest, *, batch: str, name: str, digest: Digest, newest: datetime | None
) -> None:
    """Require that the newest signed manifest of the source lists the bytes of a batch.

    Args:
        manifest: Verified manifest of the source.
        batch: Name of the batch, for messages.
        name: Name of the batch inside its source.
        digest: Digest of the bytes that are about to be used.
        newest: Time of issue of the newest manifest seen before, or None.

    Raises:
        RejectedError: If the manifest is older than `newest`, or does not list these bytes.
    """
    # 4. It was not superseded.
    if newest is not None and manifest.issued < newest:
        raise RejectedError(
            f"{batch}: manifest of source {manifest.source}: was issued {manifest.issued:%Y-%m-%dT%H:%M:%S.%fZ}, and "
            f"one of {newest:%Y-%m-%dT%H:%M:%S.%fZ} was seen before; sign what the source has now"
        )
    # 5. It lists these bytes under this name.
    if digest not in [manifest.files.get(file) for file in file_names(name)]:
        raise RejectedError(f"{batch}: its digest is not in the source's signed manifest")
