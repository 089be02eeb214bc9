"""Stage `dataset`: ingest the bytes of one batch as they arrived, and store them under their digest.

If a signed manifest is required, bytes that it does not list are quarantined unparsed. Equal bytes are stored once,
under any batch name. A batch has versions in time, and the version that was ingested last is the newest. If the same
bytes came before and other versions followed, the evidence holds a warning.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from secure_ml.contracts.findings import Finding, Report, refusal, unreadable
from secure_ml.datasets.version_manifest import Manifest, render_manifest
from secure_ml.digests import Digest, digest_of, parse_digest, sha256
from secure_ml.errors import MalformedError, RejectedError
from secure_ml.evidence import Evidence, EvidenceLog, read_subjects, require
from secure_ml.home import Home
from secure_ml.installation import Installation
from secure_ml.quarantine.folder import BYTES_FILE, MAX_KEPT_BYTES, render_quarantine
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import DATASET, SOURCE_MANIFEST_SEEN, SOURCE_WITHDRAWAL
from secure_ml.stages.incoming import IncomingBatch, cause_of, fetch_batch, needs_manifest, newest_seen
from secure_ml.tables.batch_files import count_rows, open_batch
from secure_ml.tables.data_files import kind_of

__all__ = [
    "BATCH_FILES",
    "accepted_intake",
    "dataset_cause",
    "dataset_folder",
    "find_batch",
    "ingest_batch",
    "is_manifest",
    "read_batch",
]

BATCH_FILES = {"Parquet": "batch.parquet", "Arrow": "batch.arrow", "JSON lines": "batch.jsonl", "CSV": "batch.csv"}
"""Name of the file with the bytes of a version, by format."""
_MANIFEST = "manifest"
_MAX_KEPT_IN_ALL = 1 << 30


def dataset_cause(model: GuardedModel, arrived: IncomingBatch) -> Digest:
    """Return the cause of ingesting one version of a batch."""
    return cause_of(model, arrived, arrived.unproven)


def dataset_folder(home: Home, model: str, version: str) -> Path:
    """Return the folder of one dataset version."""
    return home.datasets / model / version


def is_manifest(file: str) -> bool:
    """Return whether a file of a version is its manifest."""
    return file.startswith(_MANIFEST)


def read_batch(evidence: Evidence, folder: Path) -> bytes:
    """Read and verify all files of a version, and return the bytes of the batch.

    Raises:
        RejectedError: If a file was changed or is missing. The message names it.
    """
    (content,) = [content for file, content in read_subjects(evidence, folder).items() if not is_manifest(file)]
    return content


def find_batch(folder: Path) -> Path:
    """Return the file with the bytes of a batch in the folder of a version, whatever their format."""
    paths = [path for path in (folder / file for file in BATCH_FILES.values()) if path.exists()]
    return paths[0] if paths else folder / BATCH_FILES["CSV"]


def ingest_batch(installation: Installation, model: GuardedModel, batch: str) -> Evidence:
    """Ingest one batch: read it once, and store it under its digest if its provenance is proven and it is a table.

    Raises:
        RejectedError: If the provenance is not proven, or the batch is not a table. The batch is quarantined.
        UnavailableError: If the batch is missing, or its source does not answer.
    """
    home, log = installation.home, EvidenceLog.open(installation, model.name)
    arrived = fetch_batch(model, log, batch)
    seen = _remember_manifest(installation, log, arrived)
    cause = dataset_cause(model, arrived)
    folder = dataset_folder(home, model.name, arrived.version)
    known = log.find(DATASET, cause)
    if arrived.unproven and log.find(DATASET, cause_of(model, arrived, None)) is not None:
        # The manifest may list the bytes again, so an acceptance stands until a person discards it.
        _withdraw(installation, log, arrived, refusal("signed_manifest", arrived.unproven, "provenance"), cause)
        raise RejectedError(f"{model.name}/dataset of batch {batch}: rejected: {arrived.unproven}")
    if known is None:
        rows, refused = _look(model, arrived)
        findings = (*_sent_again(arrived), *(refused.findings if refused else ()))
        files: dict[str, bytes] = {}
        if refused:
            _quarantine(home, model.name, arrived, cause, refused)
        else:
            file = BATCH_FILES[kind_of(arrived.content, batch)]
            home.write_folder(folder, {file: arrived.content})
            manifest = render_manifest(_manifest(log, arrived, file, rows))
            name = f"{_MANIFEST}-{sha256(manifest)[:16]}.json"
            home.write_file(folder / name, manifest)
            files = {file: arrived.content, name: manifest}
        known = log.append(
            installation.signer(),
            stage=DATASET,
            cause=cause,
            reasons=[finding.sentence for finding in refused.findings] if refused else [],
            subjects={name: sha256(content) for name, content in files.items()},
            inputs={
                "batch": batch,
                "version": arrived.version,
                "origin": arrived.origin,
                **({"manifest": arrived.proof} if arrived.proof else {}),
                **({"follows": arrived.follows} if arrived.follows else {}),
                **({f"evidence:{SOURCE_MANIFEST_SEEN}": seen.document} if seen is not None else {}),
            },
            facts={
                "rows": rows,
                "bytes": len(arrived.content),
                "source": arrived.location,
                "columns": list(model.batches.columns),
                **({"findings": [asdict(finding) for finding in findings]} if findings else {}),
            },
        )
    require(known)
    read_subjects(known, folder)
    if arrived.proof:
        _take_back_withdrawal(installation, log, arrived)
    return known


def accepted_intake(log: EvidenceLog, model: GuardedModel, batch: str) -> Evidence:
    """Return the newest evidence of a batch, if it is accepted and its source is still valid.

    Raises:
        RejectedError: If it was rejected, its source is no longer one of the model, or it was ingested before a signed
            manifest was required.
        UnavailableError: If the batch was not ingested yet.
    """
    evidence = log.latest(DATASET, batch=batch)
    require(evidence)
    origin = evidence.inputs.get("origin") or ("files" if batch in model.batches.files else "inbox")
    where = f"{model.name}/dataset of batch {batch}"
    if origin not in ("inbox", "files") and origin not in model.batches.sources:
        raise RejectedError(f"{where}: rejected: unknown source; add {origin} to batches.sources")
    if needs_manifest(model, origin) and "manifest" not in evidence.inputs:
        raise RejectedError(
            f"{where}: rejected: ingested without a signed manifest, which is required now; "
            f"materialize {model.name}/dataset for it again"
        )
    return evidence


def _look(model: GuardedModel, arrived: IncomingBatch) -> tuple[int, Report | None]:
    """Return the number of rows, or the report of a rejection. Bytes without provenance are not parsed."""
    if arrived.unproven:
        return 0, refusal("signed_manifest", arrived.unproven, "provenance")
    if arrived.unreadable:
        return 0, unreadable(arrived.unreadable)
    try:
        return count_rows(open_batch(arrived.content, model.batches, arrived.batch)), None
    except MalformedError as error:
        return 0, unreadable(str(error))


def _manifest(log: EvidenceLog, arrived: IncomingBatch, file: str, rows: int) -> Manifest:
    """Describe this version. Equal bytes of another batch have another manifest beside this one."""
    before = [
        evidence.inputs["version"]
        for evidence in log.history(DATASET)
        if evidence.inputs["batch"] == arrived.batch and evidence.decision == "accepted"
    ]
    parents = [parse_digest(version, arrived.batch) for version in before[-1:] if version != arrived.version]
    return Manifest(
        model=log.model,
        stage=DATASET,
        batch=arrived.batch,
        files={file: arrived.version},
        rows=rows,
        profile=None,
        contract=None,
        parents=tuple(parents),
        origin=arrived.origin,
        location=arrived.location,
        proof=arrived.proof,
    )


def _sent_again(arrived: IncomingBatch) -> tuple[Finding, ...]:
    if not arrived.follows:
        return ()
    sentence = f"{arrived.batch}: version {arrived.version[:12]} was ingested before, and arrives again after others"
    return (Finding(None, "sent_again", 0, 0, "warn", sentence, "provenance", "screen"),)


def _remember_manifest(installation: Installation, log: EvidenceLog, arrived: IncomingBatch) -> Evidence | None:
    """Record that a manifest was seen if it is the newest of its source, and return the evidence."""
    manifest = arrived.manifest
    if manifest is None:
        return None
    cause = digest_of({"source": manifest.source, "manifest": manifest.digest})
    known = log.find(SOURCE_MANIFEST_SEEN, cause)
    newest = newest_seen(log, manifest.source)
    if known is not None or (newest is not None and manifest.issued < newest):
        return known
    return log.append(
        installation.signer(),
        stage=SOURCE_MANIFEST_SEEN,
        cause=cause,
        subjects={},
        inputs={"source": manifest.source, "manifest": manifest.digest, "issued": manifest.issued.isoformat()},
        facts={"files": len(manifest.files)},
    )


def _last_withdrawal(log: EvidenceLog, arrived: IncomingBatch) -> Evidence | None:
    version = (arrived.batch, arrived.version)
    withdrawals = reversed(log.history(SOURCE_WITHDRAWAL))
    return next((item for item in withdrawals if (item.inputs["batch"], item.inputs["version"]) == version), None)


def _withdraw(
    installation: Installation, log: EvidenceLog, arrived: IncomingBatch, refused: Report, cause: Digest
) -> None:
    """Quarantine ingested bytes that are no longer proven. They get one entry until they are proven again."""
    last = _last_withdrawal(log, arrived)
    if last is not None and last.decision == "rejected":
        return
    cause = digest_of({"withdrawn": cause, "after": last.document if last is not None else ""})
    _quarantine(log.home, log.model, arrived, cause, refused)
    _record_withdrawal(installation, log, arrived, cause, refused)


def _take_back_withdrawal(installation: Installation, log: EvidenceLog, arrived: IncomingBatch) -> None:
    last = _last_withdrawal(log, arrived)
    if last is not None and last.decision == "rejected":
        _record_withdrawal(installation, log, arrived, digest_of({"proven_again": last.document}), None)


def _record_withdrawal(
    installation: Installation, log: EvidenceLog, arrived: IncomingBatch, cause: Digest, refused: Report | None
) -> None:
    findings = refused.findings if refused is not None else ()
    log.append(
        installation.signer(),
        stage=SOURCE_WITHDRAWAL,
        cause=cause,
        reasons=[finding.sentence for finding in findings],
        subjects={},
        inputs={"batch": arrived.batch, "version": arrived.version, "origin": arrived.origin},
        facts={
            "bytes": len(arrived.content),
            "source": arrived.location,
            "findings": [asdict(finding) for finding in findings],
        },
    )


def _quarantine(home: Home, model: str, arrived: IncomingBatch, cause: Digest, refused: Report) -> None:
    """Store the reasons and the first bytes. All rejected bytes of one model are bounded in size."""
    document = {"model": model, "stage": DATASET, "batch": arrived.batch, "dataset": arrived.version}
    files = render_quarantine(refused, document)
    folder = home.quarantine / model / cause
    stored_bytes = sum(path.lstat().st_size for path in folder.parent.glob(f"*/{BYTES_FILE}"))
    content = arrived.content[:MAX_KEPT_BYTES]
    if content and not folder.exists() and stored_bytes + len(content) <= _MAX_KEPT_IN_ALL:
        files[BYTES_FILE] = content
    home.write_folder(folder, files)
