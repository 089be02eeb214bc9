"""Provenance, the primary control against poisoning: a source's signed manifest says which bytes come from it.

A manifest is an in-toto statement in a DSSE envelope. Its subjects are the files of one source, such as `january.csv`,
to SHA-256; its predicate names the source. Whose key may sign one is said by the trust root: a key that may sign the
stage `source_manifest` (`policy.json`). Where `sources/SOURCE/keys/*.pem` is there in the trust root, only these keys
sign for this source, and they sign nothing else: that is where a supplier's key belongs.

A batch is accepted when

1. the source has a manifest,
2. its signature holds, by a key that the trust root lets sign for this source,
3. it names this source, and was issued before now,
4. it is not older than the newest one that was seen, so that an older one together with its bytes cannot come back, and
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

__all__ = ["STAGE", "SourceManifest", "open_manifest", "sign_manifest", "verify_provenance"]

STAGE = "source_manifest"
_CLOCKS_DIFFER = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class SourceManifest:
    """A manifest whose signature holds. Made by `open_manifest`, nowhere else.

    Attributes:
        source: Whose it is.
        issued: When it was signed, as its signer says; a later one replaces it.
        files: File name to digest.
        digest: Of the signed document.
    """

    source: str
    issued: datetime
    files: Mapping[str, Digest]
    digest: Digest


def sign_manifest(source: str, files: Mapping[str, Digest], signer: Signer, *, issued: datetime | None = None) -> bytes:
    """Sign the manifest of one source.

    Args:
        source: The source's name in `Batches.sources`, or `inbox.MODEL`.
        files: Name of each batch's file, such as `january.parquet`, to digest of its bytes.
        signer: Whose key the trust root lets sign `source_manifest`.
        issued: With a time zone; now where left out. Who has seen this one takes no earlier one any more.
    """
    made_at = (issued or datetime.now(UTC)).isoformat(timespec="microseconds")
    return sign_statement(STAGE, dict(files), {"source": source, "made_at": made_at}, signer)


def open_manifest(content: bytes | None, *, source: str, batch: str, trust: Trust) -> SourceManifest:
    """Verify the manifest of a source.

    Args:
        content: Its bytes, None where the source has none.
        source: The source's name.
        batch: For which batch, for the error.
        trust: Whose signatures are believed.

    Raises:
        RejectedError: No manifest, a foreign key, a changed or foreign manifest, or one from the future.
        PreconditionError: The source's own part of the trust root is malformed.
    """
    # 1. There is one.
    if content is None:
        switch = "require_inbox_manifest" if source.startswith("inbox.") else "require_manifest"
        raise RejectedError(
            f"{batch}: its source {source} has no signed manifest; sign what it has: secure-ml dataset sign-manifest "
            f"FOLDER --source {source} (or, unsafe, {switch}=False: whoever writes there then decides what is learnt)"
        )
    # 2. Signed by a key that may sign for this source.
    where = f"{batch}: manifest of source {source}"
    own = trust.root / "sources" / source
    if own.is_dir():
        trust = Trust.load(own)
    try:
        subjects, predicate = verify_statement(content, STAGE, trust, where)
        files = {name: parse_digest(digest, where) for name, digest in subjects.items()}
    except MalformedError as error:
        raise RejectedError(str(error)) from None
    # 3. Of this source, and of a time that has come.
    match predicate:
        case {"source": str(of), "made_at": str(made_at), **rest} if not rest:
            if of != source:
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
        given = datetime.fromisoformat(text)
        return given.astimezone(UTC) if given.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def verify_provenance(
    manifest: SourceManifest, *, batch: str, name: str, digest: Digest, newest: datetime | None
) -> None:
    """Refuse a batch whose bytes are not in its source's newest signed manifest.

    Args:
        manifest: The source's.
        batch: What the batch is called, for the error.
        name: What the batch is called inside its source.
        digest: Digest of the bytes that are about to be used.
        newest: When the newest manifest of the source that was ever seen was issued, None where none was.

    Raises:
        RejectedError: It is older than that one, or lists other bytes.
    """
    # 4. Not one that was replaced.
    if newest is not None and manifest.issued < newest:
        raise RejectedError(
            f"{batch}: manifest of source {manifest.source}: was issued {manifest.issued:%Y-%m-%dT%H:%M:%S.%fZ}, and "
            f"one of {newest:%Y-%m-%dT%H:%M:%S.%fZ} was seen before; sign what the source has now"
        )
    # 5. These bytes, under this name.
    if digest not in [manifest.files.get(file) for file in file_names(name)]:
        raise RejectedError(f"{batch}: its digest is not in the source's signed manifest")
