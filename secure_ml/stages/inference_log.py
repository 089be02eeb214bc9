"""Stage `inference_log`: acknowledged records are sealed into signed, immutable Parquet segments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from secure_ml.digests import Digest, digest_of, sha256
from secure_ml.errors import MalformedError, RejectedError, UnavailableError
from secure_ml.evidence import Evidence, EvidenceLog, read_subjects, require
from secure_ml.inference_log.records import RECORD_SCHEMA_VERSION, Record
from secure_ml.inference_log.segments import delete_sealed, read_unsealed, render_segment, unsealed_files
from secure_ml.installation import Installation
from secure_ml.releases import current_release, releases
from secure_ml.safe_files import lock_folder
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import INFERENCE_LOG

__all__ = ["NothingLoggedError", "seal_log", "sealed_segments", "segment_folder"]

_SEGMENT_RECORDS = 100_000


class NothingLoggedError(UnavailableError):
    """A model is released, but no prediction was requested yet."""


def segment_folder(installation: Installation, model: GuardedModel) -> Path:
    """Return the folder of a model's sealed segments."""
    return installation.home.log / model.name / "segments"


def sealed_segments(installation: Installation, model: str) -> Iterator[bytes]:
    """Yield the verified content of each sealed segment. Files that no evidence names are ignored.

    Raises:
        SecureMLError: If evidence or a segment does not verify. The message names it.
    """
    home = installation.home
    for evidence in EvidenceLog.open(installation, model).history(INFERENCE_LOG):
        require(evidence)
        yield from read_subjects(evidence, home.log / model / "segments").values()


def seal_log(installation: Installation, model: GuardedModel) -> Evidence:
    """Seal the records that services logged, and verify the segments that were sealed before.

    A record is deleted from the file of its service only after its segment was signed. One process seals at a time,
    because two would seal the same records twice.

    Returns:
        Evidence of the newest segment.

    Raises:
        RejectedError: If a record names a model that was never released, or a sealed segment does not verify.
        NothingLoggedError: If no prediction was logged yet.
        UnavailableError: If no model is released.
    """
    with lock_folder(installation.home.log / model.name):
        return _seal_all(installation, model)


def _seal_all(installation: Installation, model: GuardedModel) -> Evidence:
    home, trust = installation.home, installation.trust
    log = EvidenceLog.open(installation, model.name)
    current_release(home, trust, model.name)
    released = {(item.model, item.number, str(item.model_digest)) for item in releases(home, trust, model.name)}
    folder = segment_folder(installation, model)
    sealed = log.history(INFERENCE_LOG)
    for evidence in sealed:
        require(evidence)
        read_subjects(evidence, folder)
    for path in unsealed_files(home, model.name):
        after = max((int(item.inputs["last"]) for item in sealed if item.inputs["file"] == path.stem), default=0)
        delete_sealed(path, after)
        while records := read_unsealed(path, after, _SEGMENT_RECORDS):
            evidence = _seal(installation, log, model, path, records, released)
            sealed.append(evidence)
            after = int(evidence.inputs["last"])
            delete_sealed(path, after)
    if not sealed:
        raise NothingLoggedError(
            f"{model.name}: no prediction was logged yet; start secure-ml serve {model.name} and send a request"
        )
    return max(sealed, key=lambda evidence: evidence.made_at)


def _seal(
    installation: Installation,
    log: EvidenceLog,
    model: GuardedModel,
    path: Path,
    records: list[Record],
    released: set[tuple[str, int, str]],
) -> Evidence:
    home = installation.home
    unknown = sum((item.model, item.release, item.model_digest) not in released for item in records)
    if unknown:
        raise RejectedError(
            f"log/{model.name}/{path.name}: {unknown} of {len(records)} records name a model that was never released"
        )
    damaged = sum(len(item.input) != len(model.features) for item in records)
    if damaged:
        raise MalformedError(
            f"log/{model.name}/{path.name}: {damaged} of {len(records)} records have another number of features "
            f"than {len(model.features)}; keep the file for recovery"
        )
    content = render_segment(records, model.features)
    inputs = {"file": path.stem, "first": str(records[0].seq), "last": str(records[-1].seq)}
    cause = digest_of({"model": model.name, **inputs})
    name = f"{cause}.parquet"
    known = log.find(INFERENCE_LOG, cause)
    if known is not None:
        return known
    home.write_file(segment_folder(installation, model) / name, content)
    versions: dict[str, int] = {}
    for item in records:
        versions[str(item.release)] = versions.get(str(item.release), 0) + 1
    return log.append(
        installation.signer(),
        stage=INFERENCE_LOG,
        cause=Digest(cause),
        subjects={name: sha256(content)},
        inputs=inputs,
        facts={
            "rows": len(records),
            "record_schema": RECORD_SCHEMA_VERSION,
            "from": records[0].time,
            "to": records[-1].time,
            "records_by_release": dict(versions),
        },
    )
