"""Stage `dataset`: the bytes of one batch, as they arrived, kept under their digest.

A batch called `SOURCE.NAME` comes from that source of the model's file and from nowhere else; any other comes from the
inbox, or from a file that the model's file names. Where a signed manifest is required, bytes that it does not list are
quarantined unparsed. Equal bytes are kept once, whatever they are called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from secure_ml.contracts.findings import Report, refusal, unreadable
from secure_ml.contracts.reading import count_rows, open_batch
from secure_ml.contracts.tables import kind_of
from secure_ml.datasets.provenance import verify_provenance
from secure_ml.datasets.quarantine import render_quarantine
from secure_ml.datasets.sources import LocalFolder
from secure_ml.datasets.sources.names import BATCH_NAME
from secure_ml.datasets.versions import Manifest, render_manifest
from secure_ml.digests import Digest, digest_of, parse_digest, sha256
from secure_ml.errors import MalformedError, PreconditionError, RejectedError, UnavailableError
from secure_ml.gates import Evidence, find, history, latest, read_subjects, record, require
from secure_ml.home import Home, read_file
from secure_ml.installation import Installation
from secure_ml.signing.keys import Trust
from secure_ml.spec import GuardedModel

__all__ = [
    "BATCH_FILES",
    "Arrived",
    "batch_names",
    "dataset",
    "dataset_cause",
    "dataset_folder",
    "fetch_batch",
    "find_batch",
    "inbox_batches",
    "is_manifest",
    "read_batch",
    "source_batches",
    "taken_in",
]

BATCH_FILES = {"Parquet": "batch.parquet", "Arrow": "batch.arrow", "JSON lines": "batch.jsonl", "CSV": "batch.csv"}
"""What the bytes of a version are called in its folder, by their kind."""
_MANIFEST = "manifest"


@dataclass(frozen=True, slots=True)
class Arrived:
    """One batch as it was fetched: its bytes, or why they are refused.

    Attributes:
        batch: The batch's name.
        origin: `inbox`, `files`, or the name of a source.
        place: Where it was found, for people.
        content: Its bytes, read once; empty where they could not be read.
        version: Digest of the bytes, or of why there are none.
        unreadable: Why there are no bytes, None where there are.
        proof: Digest of the signed manifest that lists the bytes, None where none is required or none does.
        unproven: Why the bytes are not proven to come from there, None where they are, or need not be.
    """

    batch: str
    origin: str
    place: str
    content: bytes
    version: Digest
    unreadable: str | None
    proof: Digest | None
    unproven: str | None


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


def dataset_cause(model: GuardedModel, arrived: Arrived) -> Digest:
    """Return the cause of taking in one version of a batch."""
    return _cause(model, arrived, arrived.unproven)


def dataset_folder(home: Home, model: str, version: str) -> Path:
    """Return the folder of one dataset version."""
    return home.datasets / model / version


def is_manifest(file: str) -> bool:
    """Tell the manifest among the files of a version."""
    return file.startswith(_MANIFEST)


def read_batch(evidence: Evidence, folder: Path) -> bytes:
    """Read all files of a version against its evidence, and return the bytes of the batch.

    Raises:
        RejectedError: A file was changed or is missing; it is named.
    """
    (content,) = [content for file, content in read_subjects(evidence, folder).items() if not is_manifest(file)]
    return content


def find_batch(folder: Path) -> Path:
    """Return where the batch's bytes lie in the folder of a version, for who knows their digest but not their kind."""
    found = [path for path in (folder / file for file in BATCH_FILES.values()) if path.exists()]
    return found[0] if found else folder / BATCH_FILES["CSV"]


def fetch_batch(model: GuardedModel, home: Home, trust: Trust, batch: str) -> Arrived:
    """Read a batch once, and hold it against the signed manifest where one is required.

    Raises:
        PreconditionError: Not a batch name.
        UnavailableError: No such batch, or its source does not answer.
    """
    if not BATCH_NAME.fullmatch(batch):
        raise PreconditionError("batch name: expected at most 100 letters, digits, '_', '.' and '-'")
    origin, place_of, fetch = _origin(model, home, batch)
    content, unreadable, proof, unproven = b"", None, None, None
    try:
        content = fetch()
    except MalformedError as error:
        unreadable = str(error)
    place = place_of()
    version = digest_of({"unread": [unreadable]}) if unreadable else sha256(content)
    if unreadable is None and _needs_manifest(model, origin):
        source = _inbox(model, home) if origin == "inbox" else model.batches.sources[origin]
        name = batch.removeprefix(f"{origin}.") if origin in model.batches.sources else batch
        try:
            manifest = source.fetch_manifest()
            # Each inbox is a source of its own: what one model may learn from is no proof for another.
            of = f"inbox.{model.name}" if origin == "inbox" else origin
            verify_provenance(manifest, source=of, batch=batch, name=name, digest=version, trust=trust)
            proof = sha256(manifest or b"")
        except (RejectedError, MalformedError) as error:
            unproven = str(error)
    return Arrived(batch, origin, place, content, version, unreadable, proof, unproven)


def dataset(installation: Installation, model: GuardedModel, batch: str) -> Evidence:
    """Take one batch in: read once, kept under its digest if it comes from where it must and is a table at all.

    Raises:
        RejectedError: It is not proven to come from its source, or is no table (or was found so before); it is
            quarantined.
        UnavailableError: No such batch, or its source does not answer.
    """
    home, trust = installation.home, installation.trust
    arrived = fetch_batch(model, home, trust, batch)
    cause = dataset_cause(model, arrived)
    folder = dataset_folder(home, model.name, arrived.version)
    known = find(home, trust, model.name, "dataset", cause)
    if known is None:
        rows, refused = _look(model, arrived)
        files: dict[str, bytes] = {}
        if refused:
            _quarantine(home, model, arrived, cause, refused)
            if find(home, trust, model.name, "dataset", _cause(model, arrived, None)) is not None:
                # These bytes were proven before. The manifest may come back, so no evidence speaks against them.
                raise RejectedError(f"{model.name}/dataset of batch {batch}: rejected: {refused.findings[0].sentence}")
        else:
            file = BATCH_FILES[kind_of(arrived.content, batch)]
            home.write_folder(folder, {file: arrived.content})
            manifest = render_manifest(_manifest(installation, model, arrived, file, rows))
            name = f"{_MANIFEST}-{sha256(manifest)[:16]}.json"
            home.write_file(folder / name, manifest)
            files = {file: arrived.content, name: manifest}
        known = record(
            home,
            installation.signer(),
            trust,
            model=model.name,
            stage="dataset",
            cause=cause,
            reasons=[finding.sentence for finding in refused.findings] if refused else [],
            subjects={name: sha256(content) for name, content in files.items()},
            inputs={
                "batch": batch,
                "version": arrived.version,
                "origin": arrived.origin,
                **({"manifest": arrived.proof} if arrived.proof else {}),
            },
            facts={
                "rows": rows,
                "bytes": len(arrived.content),
                "source": arrived.place,
                "columns": list(model.batches.columns),
                **({"findings": [asdict(finding) for finding in refused.findings]} if refused else {}),
            },
        )
    require(known)
    read_subjects(known, folder)
    return known


def taken_in(installation: Installation, model: GuardedModel, batch: str) -> Evidence:
    """Return the newest evidence of a batch: accepted, and from where a batch may still come from.

    Raises:
        RejectedError: It was refused, its source is no longer one of the model's, or it was taken in before a signed
            manifest was required.
        UnavailableError: The batch was not taken in yet.
    """
    given = latest(installation.home, installation.trust, model.name, "dataset", batch=batch)
    require(given)
    origin = given.inputs.get("origin") or ("files" if batch in model.batches.files else "inbox")
    where = f"{model.name}/dataset of batch {batch}"
    if origin not in ("inbox", "files") and origin not in model.batches.sources:
        raise RejectedError(f"{where}: rejected: it comes from an unknown source; name {origin} in batches.sources")
    if _needs_manifest(model, origin) and "manifest" not in given.inputs:
        raise RejectedError(
            f"{where}: rejected: it was taken in without a signed manifest, and one is required now; "
            f"materialize {model.name}/dataset for it again"
        )
    return given


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
        return origin, lambda: source.place(name), lambda: source.fetch(name, max_bytes=limit)
    inbox = _inbox(model, home)
    if batch != model.split.batch and inbox.files(batch):
        return "inbox", lambda: Path(inbox.place(batch)).name, lambda: inbox.fetch(batch, max_bytes=limit)
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


def _needs_manifest(model: GuardedModel, origin: str) -> bool:
    if origin in ("inbox", "files"):
        return origin == "inbox" and model.batches.require_inbox_manifest
    return model.batches.sources[origin].require_manifest


def _cause(model: GuardedModel, arrived: Arrived, unproven: str | None) -> Digest:
    document: dict[str, object] = {
        "batch": arrived.batch,
        "version": arrived.version,
        "columns": list(model.batches.columns),
        "null": list(model.batches.null),
    }
    if arrived.proof or arrived.unproven:
        document["provenance"] = {"origin": arrived.origin, "unproven": unproven}
    return digest_of(document)


def _look(model: GuardedModel, arrived: Arrived) -> tuple[int, Report | None]:
    """Return how many rows there are, or why the batch is refused; what is not proven is not even parsed."""
    if arrived.unproven:
        return 0, refusal("signed_manifest", arrived.unproven, "provenance")
    if arrived.unreadable:
        return 0, unreadable(arrived.unreadable)
    try:
        return count_rows(open_batch(arrived.content, model.batches, arrived.batch)), None
    except MalformedError as error:
        return 0, unreadable(str(error))


def _manifest(installation: Installation, model: GuardedModel, arrived: Arrived, file: str, rows: int) -> Manifest:
    """Say what this version is made of. Equal bytes of another batch have a manifest of their own beside it."""
    before = [
        evidence.inputs["version"]
        for evidence in history(installation.home, installation.trust, model.name, "dataset")
        if evidence.inputs["batch"] == arrived.batch and evidence.decision == "accepted"
    ]
    parents = [parse_digest(version, arrived.batch) for version in before[-1:] if version != arrived.version]
    return Manifest(
        model=model.name,
        stage="dataset",
        batch=arrived.batch,
        files={file: arrived.version},
        rows=rows,
        profile=None,
        contract=None,
        parents=tuple(parents),
        origin=arrived.origin,
        place=arrived.place,
        proof=arrived.proof,
    )


def _quarantine(home: Home, model: GuardedModel, arrived: Arrived, cause: Digest, refused: Report) -> None:
    document = {"model": model.name, "stage": "dataset", "batch": arrived.batch, "dataset": arrived.version}
    files = render_quarantine(refused, document)
    home.write_folder(home.quarantine / model.name / cause, files)
