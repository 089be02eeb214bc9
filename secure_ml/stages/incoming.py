"""One batch as it comes: where from, which bytes, whether they are proven, and what they follow. Nothing is recorded.

A batch called `SOURCE.NAME` comes from that source of the model's file and from nowhere else; any other comes from the
inbox, or from a file that the model's file names.
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
    """One batch as it was fetched: its bytes, or why they are refused.

    Attributes:
        batch: The batch's name.
        origin: `inbox`, `files`, or the name of a source.
        place: Where it was found, for people.
        content: Its bytes, read once; empty where they could not be read.
        version: Digest of the bytes, or of why there are none.
        unreadable: Why there are no bytes, None where there are.
        manifest: The source's verified manifest, None where none is required or none is believed.
        unproven: Why the bytes are not proven to come from there, None where they are, or need not be.
        follows: The document of the evidence that an accepted version follows which comes a second time, after others
            of this batch; empty for any other.
    """

    batch: str
    origin: str
    place: str
    content: bytes
    version: Digest
    unreadable: str | None
    manifest: SourceManifest | None
    unproven: str | None
    follows: str = ""

    @property
    def proof(self) -> Digest | None:
        """Digest of the signed manifest that lists the bytes, None where none is required or none does."""
        return self.manifest.digest if self.manifest is not None and self.unproven is None else None


def batch_names(model: GuardedModel, home: Home) -> list[str]:
    """Return the batches there are: of the model's own file first, then of its inbox, then of its sources.

    Raises:
        SecureMLError: A source cannot be listed.
    """
    named = list(model.batches.files)
    named += [name for name in inbox_batches(model, home) if name not in named]
    return named + source_batches(model)


def source_batches(model: GuardedModel) -> list[str]:
    """Return the batches in the model's sources; one whose whole name is too long is left alone.

    Raises:
        SecureMLError: A source cannot be listed.
    """
    named = [f"{source}.{name}" for source, found in model.batches.sources.items() for name in found.names()]
    return [name for name in named if BATCH_NAME.fullmatch(name)]


def inbox_batches(model: GuardedModel, home: Home) -> list[str]:
    """Return the batches in the model's inbox; a file whose name is not one of an inbox's batch is left alone.

    So is one that is named as the batch which gives the holdout: who chooses the holdout chooses what is promoted.
    """
    inbox = _inbox(model, home)
    names = inbox.names() if inbox.path.is_dir() else []
    return [name for name in names if _source_of(model, name) is None and name != model.split.batch]


def fetch_batch(model: GuardedModel, log: EvidenceLog, batch: str) -> IncomingBatch:
    """Read a batch once, and hold it against the signed manifest where one is required.

    Args:
        model: The model.
        log: Evidence of the model, in the home that has its inbox.
        batch: Name of the batch.

    Raises:
        PreconditionError: Not a batch name.
        UnavailableError: No such batch, or its source does not answer.
        SecureMLError: Evidence of the model does not verify.
    """
    if not BATCH_NAME.fullmatch(batch):
        raise PreconditionError("batch name: expected at most 100 letters, digits, '_', '.' and '-'")
    origin, place_of, fetch = _origin(model, log.home, batch)
    content, unreadable, manifest, unproven = b"", None, None, None
    try:
        content = fetch()
    except MalformedError as error:
        unreadable = str(error)
    place = place_of()
    version = digest_of({"unread": [unreadable]}) if unreadable else sha256(content)
    if unreadable is None and needs_manifest(model, origin):
        source = _inbox(model, log.home) if origin == "inbox" else model.batches.sources[origin]
        name = batch.removeprefix(f"{origin}.") if origin in model.batches.sources else batch
        try:
            # Each inbox is a source of its own: what one model may learn from is no proof for another.
            of = f"inbox.{model.name}" if origin == "inbox" else origin
            manifest = open_manifest(source.fetch_manifest(), source=of, batch=batch, trust=log.trust)
            seen = newest_seen(log, of)
            verify_provenance(manifest, batch=batch, name=name, digest=version, newest=seen)
        except (RejectedError, MalformedError) as error:
            unproven = str(error)
    arrived = IncomingBatch(batch, origin, place, content, version, unreadable, manifest, unproven)
    return _after(model, arrived, [evidence for evidence in log.history(DATASET) if evidence.inputs["batch"] == batch])


def newest_seen(log: EvidenceLog, source: str) -> datetime | None:
    """Return when the newest manifest of a source was issued that a run of this model saw, None where none was.

    Raises:
        SecureMLError: Evidence of it does not verify.
    """
    seen = [item for item in log.history(SOURCE_MANIFEST_SEEN) if item.inputs["source"] == source]
    return max((datetime.fromisoformat(item.inputs["issued"]) for item in seen), default=None)


def needs_manifest(model: GuardedModel, origin: str) -> bool:
    """Whether a batch from there must be in a signed manifest."""
    if origin in ("inbox", "files"):
        return origin == "inbox" and model.batches.require_inbox_manifest
    return model.batches.sources[origin].require_manifest


def cause_of(model: GuardedModel, arrived: IncomingBatch, unproven: str | None) -> Digest:
    """Return the cause of taking in one version of a batch, were it `unproven` for that reason, or for none."""
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
    """Say what a version follows that was accepted before, and that others of its batch have followed since."""
    if not of_batch:
        return arrived
    newest = of_batch[-1]
    if newest.inputs["version"] == arrived.version:
        return replace(arrived, follows=newest.inputs.get("follows", ""))
    before = cause_of(model, arrived, None)
    came = any(evidence.cause == before and evidence.decision == "accepted" for evidence in of_batch)
    return replace(arrived, follows=newest.document) if came else arrived


def _source_of(model: GuardedModel, batch: str) -> str | None:
    """Return the source that a batch's name begins with."""
    prefix, dot, _ = batch.partition(".")
    return prefix if dot and prefix in model.batches.sources else None


def _origin(model: GuardedModel, home: Home, batch: str) -> tuple[str, Callable[[], str], Callable[[], bytes]]:
    """Return where a batch comes from, what says its place, and what reads it; no inbox gives the holdout."""
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
        raise MalformedError(f"inbox of {model.name}: is reached by a link, and would take in what is not of the home")
    return LocalFolder(path, require_manifest=model.batches.require_inbox_manifest)
