"""Provenance, the primary control against poisoning: a source's signed manifest says which bytes come from it.

A manifest is an in-toto statement in a DSSE envelope. Its subjects are the files of one source, such as `january.csv`,
to SHA-256; its predicate names the source. Whose key may sign one is said by the trust root: a key that may sign the
stage `source_manifest` (`policy.json`). Where `sources/SOURCE/keys/*.pem` is there in the trust root, only these keys
sign for this source, and they sign nothing else: that is where a supplier's key belongs.

A batch is accepted when

1. the source has a manifest,
2. its signature holds, by a key that the trust root lets sign for this source,
3. it names this source, and
4. it lists this batch with the digest of the bytes that are about to be used.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from secure_ml.datasets.sources.names import file_names
from secure_ml.digests import Digest
from secure_ml.errors import MalformedError, RejectedError
from secure_ml.signing.envelope import sign_statement, verify_statement
from secure_ml.signing.keys import Signer, Trust

__all__ = ["STAGE", "sign_manifest", "verify_provenance"]

STAGE = "source_manifest"


def sign_manifest(source: str, files: Mapping[str, Digest], signer: Signer) -> bytes:
    """Sign the manifest of one source.

    Args:
        source: The source's name in `Batches.sources`, or `inbox.MODEL`.
        files: Name of each batch's file, such as `january.parquet`, to digest of its bytes.
        signer: Whose key the trust root lets sign `source_manifest`.
    """
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    return sign_statement(STAGE, dict(files), {"source": source, "made_at": made_at}, signer)


def verify_provenance(
    manifest: bytes | None, *, source: str, batch: str, name: str, digest: Digest, trust: Trust
) -> None:
    """Refuse a batch whose bytes are not in its source's signed manifest.

    Args:
        manifest: The manifest's bytes, None where the source has none.
        source: The source's name.
        batch: What the batch is called, for the error.
        name: What the batch is called inside its source.
        digest: Digest of the bytes that are about to be used.
        trust: Whose signatures are believed.

    Raises:
        RejectedError: No manifest, a foreign key, a changed or foreign manifest, or one that lists other bytes.
        PreconditionError: The source's own part of the trust root is malformed.
    """
    # 1. There is one.
    if manifest is None:
        raise RejectedError(f"{batch}: its source {source} has no signed manifest")
    # 2. Signed by a key that may sign for this source.
    where = f"{batch}: manifest of source {source}"
    own = trust.root / "sources" / source
    if own.is_dir():
        trust = Trust.load(own)
    try:
        subjects, predicate = verify_statement(manifest, STAGE, trust, where)
    except MalformedError as error:
        raise RejectedError(str(error)) from None
    # 3. Of this source.
    match predicate:
        case {"source": str(of), "made_at": str(), **rest} if not rest:
            if of != source:
                raise RejectedError(f"{where}: it is the manifest of another source")
        case _:
            raise RejectedError(f"{where}: its predicate is not that of a manifest")
    # 4. These bytes, under this name.
    if digest not in [subjects.get(file) for file in file_names(name)]:
        raise RejectedError(f"{batch}: its digest is not in the source's signed manifest")
