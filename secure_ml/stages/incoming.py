"""An incoming batch: its origin, its bytes, their provenance, and the version that they follow. Records nothing.

A batch called `SOURCE.NAME` comes only from that source of the model. Any other batch comes from the inbox, or from a
file that the model names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from secure_ml.datasets.source_manifest import SourceManifest, open_manifest, verify_provenance
from secure_ml.datasets.sources import LocalFolder
from secure_ml.datasets.sources.names import BATCH_NAME
from secure_ml.digests import Digest, digest_of, sha256
from secure_ml.errors import MalformedError, PreconditionError, RejectedError, UnavailableError
from secure_ml.evidence import Evidence, EvidenceLog
from secure_ml.home import Home
from secure_ml.safe_files import read_file
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import DATASET, SOURCE_MANIFEST_SEEN

__all__ = [
    "IncomingBatch",
    "batch_names",
    "cause_of",
    "fetch_batch",
    "inbox_batches",
    "needs_manifest",
    "newest_seen",
    "source_batches",
]


@dataclass(frozen=True, slots=True)
class IncomingBatch:
    """A batch as it was fetched: its bytes, or the reason why it is rejected.

    Attributes:
        batch: Name of the batch.
        origin: `inbox`, `files`, or the name of a source.
        location: Location of the batch, for people.
        content: Bytes of the batch, read once. Empty if they could not be read.
        version: Digest of the bytes, or of the reason why they could not be read.
        unreadable: Reason why the bytes could not be read, or None.
        manifest: Verified manifest of the source, or None if none is required or it does not verify.
        unproven: Reason why the provenance is not proven, or None if it is proven or need not be.
        follows: Digest of the newest intake evidence if this version was accepted before and arrived again after newer
            ones. Otherwise empty.
    """

    batch: str
    origin: str
    location: str
    content: bytes
    version: Digest
    unreadable: str | None
    manifest: SourceManifest | None
    unproven: str | None
    follows: str = ""

    @property
    def proof(self) -> Digest | None:
        """Digest of the signed manifest that lists the bytes, or None."""
        return self.manifest.digest if self.manifest is not None and self.unproven is None else None


def batch_names(model: GuardedModel, home: Home) -> list[str]:
    """Return the names of all batches: of the model's files, then of its inbox, then of its sources.

    Raises:
        SecureMLError: If a source cannot be listed.
    """
    named = list(model.batches.files)
    named += [name for name in inbox_batches(model, home) if name not in named]
    return named + source_batches(model)


def source_batches(model: GuardedModel) -> list[str]:
    """Return the names of the batches in the model's sources. A batch with too long a name is ignored.

    Raises:
        SecureMLError: If a source cannot be listed.
    """
    named = [f"{source}.{name}" for source, batches in model.batches.sources.items() for name in batches.names()]
    return [name for name in named if BATCH_NAME.fullmatch(name)]


def inbox_batches(model: GuardedModel, home: Home) -> list[str]:
    """Return the names of the batches in the model's inbox. A file without a valid batch name is ignored.

    The batch that provides the holdout is ignored too, because the holdout decides about every promotion.
    """
    inbox = _inbox(model, home)
    names = inbox.names() if inbox.path.is_dir() else []
    return [name for name in names if _source_of(model, name) is None and name != model.split.batch]


def fetch_batch(model: GuardedModel, log: EvidenceLog, batch: str) -> IncomingBatch:
    """Read a batch once, and verify it against the signed manifest if one is required.

    Args:
        model: The model.
        log: Evidence of the model, in the home that has its inbox.
        batch: Name of the batch.

    Raises:
        PreconditionError: If it is not a batch name.
        UnavailableError: If the batch is missing, or its source does not answer.
        SecureMLError: If evidence of the model does not verify.
    """
    if not BATCH_NAME.fullmatch(batch):
        raise PreconditionError("batch name: invalid, expected at most 100 letters, digits, '_', '.' and '-'")
    origin, locate, fetch = _origin(model, log.home, batch)
    content, unreadable, manifest, unproven = b"", None, None, None
    try:
        content = fetch()
    except MalformedError as error:
        unreadable = str(error)
    location = locate()
    version = digest_of({"unread": [unreadable]}) if unreadable else sha256(content)
    if unreadable is None and needs_manifest(model, origin):
        source = _inbox(model, log.home) if origin == "inbox" else model.batches.sources[origin]
        name = batch.removeprefix(f"{origin}.") if origin in model.batches.sources else batch
        try:
            # Each inbox is a separate source, so a manifest for one model proves nothing for another.
            source_name = f"inbox.{model.name}" if origin == "inbox" else origin
            manifest = open_manifest(source.fetch_manifest(), source=source_name, batch=batch, trust=log.trust)
            seen = newest_seen(log, source_name)
            verify_provenance(manifest, batch=batch, name=name, digest=version, newest=seen)
        except (RejectedError, MalformedError) as error:
            unproven = str(error)
    arrived = IncomingBatch(batch, origin, location, content, version, unreadable, manifest, unproven)
    return _after(model, arrived, [evidence for evidence in log.history(DATASET) if evidence.inputs["batch"] == batch])


def newest_seen(log: EvidenceLog, source: str) -> datetime | None:
    """Return the time of issue of the newest manifest of a source that this model saw, or None.

    Raises:
        SecureMLError: If its evidence does not verify.
    """
    seen = [item for item in log.history(SOURCE_MANIFEST_SEEN) if item.inputs["source"] == source]
    return max((datetime.fromisoformat(item.inputs["issued"]) for item in seen), default=None)


def needs_manifest(model: GuardedModel, origin: str) -> bool:
    """Return whether a signed manifest must list the batches of this origin."""
    if origin in ("inbox", "files"):
        return origin == "inbox" and model.batches.require_inbox_manifest
    return model.batches.sources[origin].require_manifest


def cause_of(model: GuardedModel, arrived: IncomingBatch, unproven: str | None) -> Digest:
    """Return the cause of ingesting one version of a batch that is `unproven` for this reason, or proven if None."""
    document: dict[str, object] = {
        "batch": arrived.batch,
        "version": arrived.version,
        "columns": list(model.batches.columns),
        "null": list(model.batches.null),
    }
    if arrived.proof or arrived.unproven:
        document["provenance"] = {"origin": arrived.origin, "unproven": unproven}
    if arrived.follows:
        document["follows"] = arrived.follows
    return digest_of(document)


def _after(model: GuardedModel, arrived: IncomingBatch, of_batch: Sequence[Evidence]) -> IncomingBatch:
    """Set `follows` of a version that was accepted before and that other versions of its batch followed."""
    if not of_batch:
        return arrived
    newest = of_batch[-1]
    if newest.inputs["version"] == arrived.version:
        return replace(arrived, follows=newest.inputs.get("follows", ""))
    before = cause_of(model, arrived, None)
    came = any(evidence.cause == before and evidence.decision == "accepted" for evidence in of_batch)
    return replace(arrived, follows=newest.document) if came else arrived


def _source_of(model: GuardedModel, batch: str) -> str | None:
    """Return the source in the prefix of a batch name, or None."""
    prefix, dot, _ = batch.partition(".")
    return prefix if dot and prefix in model.batches.sources else None


def _origin(model: GuardedModel, home: Home, batch: str) -> tuple[str, Callable[[], str], Callable[[], bytes]]:
    """Return the origin of a batch and functions that locate and read it. The inbox never provides the holdout."""
    limit = model.batches.max_bytes
    origin = _source_of(model, batch)
    if origin is not None:
        source, name = model.batches.sources[origin], batch.removeprefix(f"{origin}.")
        return origin, lambda: source.location(name), lambda: source.fetch(name, max_bytes=limit)
    inbox = _inbox(model, home)
    if batch != model.split.batch and inbox.files(batch):
        return "inbox", lambda: Path(inbox.location(batch)).name, lambda: inbox.fetch(batch, max_bytes=limit)
    if batch in model.batches.files:
        path = model.batches.files[batch]
        return "files", lambda: path.name, lambda: read_file(path, max_bytes=limit)
    raise UnavailableError(
        f"{model.name}: no batch {batch}; put {batch}.csv (.parquet, .arrow, .jsonl) into {inbox.path}, "
        "name it in batches.files, or name its source in batches.sources"
    )


def _inbox(model: GuardedModel, home: Home) -> LocalFolder:
    path = home.inbox / model.name
    if path.resolve() != path:
        raise MalformedError(
            f"inbox of {model.name}: reached through a link, expected a folder of the home; remove the link"
        )
    return LocalFolder(path, require_manifest=model.batches.require_inbox_manifest)
