"""Stage `training_set`: an immutable manifest of accepted batches, split into training, holdout and live rows."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, cast

from secure_ml.batch_validation import personal_columns
from secure_ml.contracts.engine.declared_profiles import profile_frame
from secure_ml.contracts.findings import Finding
from secure_ml.digests import Digest, Json, canonical_json, digest_of, sha256
from secure_ml.errors import RejectedError
from secure_ml.evidence import Evidence, EvidenceLog, read_subjects, require, require_tier_rules
from secure_ml.installation import Installation
from secure_ml.profiles.document import render
from secure_ml.quarantine.entries import entries, overruled_by
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import TRAINING_SET, VALIDATED_DATASET
from secure_ml.stages.dataset import dataset_folder
from secure_ml.stages.validated_dataset import PROFILE_FILE, TABLE_FILE

if TYPE_CHECKING:
    import polars as pl

__all__ = ["HOLDOUT_FILE", "LIVE_FILE", "TRAINING_FILE", "build_training_set", "training_set_cause"]

TRAINING_FILE, HOLDOUT_FILE, LIVE_FILE = "training.parquet", "holdout.parquet", "live.parquet"
_MANIFEST_FILE = "manifest.json"
_BUCKETS = 1 << 32


def build_training_set(installation: Installation, model: GuardedModel) -> Evidence:
    """Build the training set from the newest accepted version of each batch.

    Raises:
        RejectedError: If no batch is accepted under these tier rules, the batch of the holdout is not accepted, a batch
            was validated under another version of the model's definition, or evidence or bytes do not verify.
    """
    home, log = installation.home, EvidenceLog.open(installation, model.name)
    accepted, refused = _accepted(installation, log, model)
    tables = _tables(log, accepted)
    cause = _cause(installation, model, accepted)
    folder = dataset_folder(home, model.name, cause)
    known = log.find(TRAINING_SET, cause)
    if known is None:
        batches = _rows(model, tables)
        frames = _split(model, batches)
        files = {name: _render(frame) for name, frame in frames.items()}
        personal = _found_personal(accepted.values())
        files[PROFILE_FILE] = render(profile_frame(frames[TRAINING_FILE], model.schema, found=personal))
        files[_MANIFEST_FILE] = canonical_json(
            {
                "batches": {batch: accepted[batch].inputs["version"] for batch in batches},
                "split": _split_document(model),
                "files": {name: sha256(content) for name, content in files.items()},
            }
        )
        home.write_folder(folder, files)
        positives = model.positive(frames[TRAINING_FILE][model.label])
        share = float(positives.mean() or 0.0) if positives.len() else 0.0  # type: ignore[arg-type]
        known = log.append(
            installation.signer(),
            stage=TRAINING_SET,
            cause=cause,
            reasons=[] if 0.0 < share < 1.0 else ["training rows of both classes are needed, found one class"],
            subjects={name: sha256(content) for name, content in files.items()},
            inputs={
                "policy": installation.policy,
                "contract": model.contract_digest,
                **{f"evidence:validated_dataset:{batch}": accepted[batch].document for batch in batches},
            },
            facts={
                "batches": {batch: accepted[batch].facts["rows"] for batch in batches},
                "left_out": {batch: list(item.reasons) for batch, item in refused.items() if batch not in accepted},
                "rows": {name: frame.height for name, frame in frames.items()},
                "positive_fraction": share,
                "findings": [asdict(finding) for finding in _suspicious(model, batches)],
                "columns": [[name, str(dtype)] for name, dtype in frames[TRAINING_FILE].schema.items()],
            },
        )
    require(known)
    read_subjects(known, folder)
    return known


def training_set_cause(installation: Installation, log: EvidenceLog, model: GuardedModel) -> Digest:
    """Return the cause of the training set of the batches that are accepted now. Reads evidence, and no table.

    Raises:
        RejectedError: If they make no training set, see `training_set`.
    """
    return _cause(installation, model, _accepted(installation, log, model)[0])


def _cause(installation: Installation, model: GuardedModel, accepted: dict[str, Evidence]) -> Digest:
    return digest_of(
        {
            "tables": {batch: accepted[batch].subjects[TABLE_FILE] for batch in sorted(accepted)},
            "split": _split_document(model),
            "contract": model.contract_digest,
            "policy": installation.policy,
        }
    )


def _tables(log: EvidenceLog, accepted: dict[str, Evidence]) -> dict[str, bytes]:
    """Read the table of each accepted batch, and verify every file that its evidence is about."""
    return {
        batch: read_subjects(accepted[batch], dataset_folder(log.home, log.model, accepted[batch].cause))[TABLE_FILE]
        for batch in sorted(accepted)
    }


def _accepted(
    installation: Installation, log: EvidenceLog, model: GuardedModel
) -> tuple[dict[str, Evidence], dict[str, Evidence]]:
    """Return the newest accepted and refused evidence of each batch.

    Only decisions under the present contract count, and a batch without such a decision stops the stage. A discarded
    batch counts as rejected.
    """
    accepted: dict[str, Evidence] = {}
    refused: dict[str, Evidence] = {}
    validated = log.history(VALIDATED_DATASET)
    current = [evidence for evidence in validated if evidence.inputs.get("policy") == installation.policy]
    if validated and not current:
        require_tier_rules(validated[-1], installation.policy)
    stale: set[str] = set()
    quarantined = entries(log)
    for evidence in current:
        if evidence.inputs["contract"] != model.contract_digest:
            stale |= {evidence.inputs["batch"]} if evidence.decision == "accepted" else set()
            continue
        if evidence.decision == "accepted" and (entry := overruled_by(quarantined, evidence)):
            evidence = replace(evidence, decision="rejected", reasons=(f"discarded since (quarantine {entry[:12]})",))
        decided = accepted if evidence.decision == "accepted" else refused
        decided[evidence.inputs["batch"]] = evidence
    for batch in sorted(stale - accepted.keys() - refused.keys()):
        raise RejectedError(
            f"{model.name}/training_set: batch {batch} was validated under another version of the model's definition; "
            f"materialize {model.name}/validated_dataset for it again"
        )
    if not accepted:
        why = "; ".join(f"{batch}: {'; '.join(refused[batch].reasons)}" for batch in sorted(refused))
        raise RejectedError(f"{model.name}/training_set: no batch is accepted ({why or 'none was validated yet'})")
    if model.split.batch not in accepted:
        against = refused.get(model.split.batch)
        why = f" ({'; '.join(against.reasons)}); ingest other bytes under its name" if against is not None else ""
        raise RejectedError(
            f"{model.name}/training_set: batch {model.split.batch}, which provides the holdout, is not accepted{why}"
        )
    return accepted, refused


def _found_personal(accepted: Iterable[Evidence]) -> set[str]:
    """Return the columns in which the data gate found personal data, in any batch."""
    findings = [finding for evidence in accepted for finding in cast("list[Json]", evidence.facts["findings"])]
    return personal_columns(cast("list[dict[str, Json]]", findings))


def _split_document(model: GuardedModel) -> dict[str, Json]:
    return {
        "batch": model.split.batch,
        "holdout_fraction": model.split.holdout_fraction,
        "live_fraction": model.split.live_fraction,
    }


def _render(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()


def _rows(model: GuardedModel, tables: dict[str, bytes]) -> dict[str, pl.DataFrame]:
    """Return features and label of the rows of each batch."""
    import polars as pl

    columns = [*model.features, model.label]
    return {batch: pl.read_parquet(io.BytesIO(content)).select(columns) for batch, content in tables.items()}


def _suspicious(model: GuardedModel, batches: dict[str, pl.DataFrame]) -> tuple[Finding, ...]:
    """Screen all rows of the accepted batches for poison. The batch that provides the holdout is the anchor."""
    import numpy as np
    import polars as pl

    from secure_ml.screening.poisoning import screen_poisoning

    rows = pl.concat(batches.values())
    x = rows.select(pl.col(model.features).cast(pl.Float64).fill_null(float("nan"))).to_numpy()
    y = model.positive(rows[model.label]).cast(pl.Int64).to_numpy()
    origins = [batch for batch, frame in batches.items() for _ in range(frame.height)]
    return screen_poisoning(np.ascontiguousarray(x), y, origins, anchor=model.split.batch)


def _split(model: GuardedModel, frames: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Choose rows by the digest of features and label. A row kept out of training is kept out in every batch."""
    import polars as pl

    kept_out: dict[Digest, str] = {}
    digests: dict[str, list[Digest]] = {}
    for batch, frame in frames.items():
        digests[batch] = [digest_of(list(row)) for row in _plain(frame).iter_rows()]
    holdout, live = model.split.holdout_fraction, model.split.live_fraction
    for digest in digests[model.split.batch]:
        bucket = int(digest[:8], 16) / _BUCKETS
        if bucket < holdout + live:
            kept_out[digest] = HOLDOUT_FILE if bucket < holdout else LIVE_FILE
    parts: dict[str, list[pl.DataFrame]] = {TRAINING_FILE: [], HOLDOUT_FILE: [], LIVE_FILE: []}
    for batch, frame in frames.items():
        places = pl.Series([kept_out.get(digest, TRAINING_FILE) for digest in digests[batch]], dtype=pl.String)
        for name, rows in parts.items():
            if name == TRAINING_FILE or batch == model.split.batch:
                rows.append(frame.filter(places == name))
    return {name: pl.concat(rows) for name, rows in parts.items()}


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Return rows that canonical JSON can hold. NaN counts as missing, as it does for the model."""
    import polars as pl
    import polars.selectors as cs

    other = cs.temporal() | cs.decimal() | cs.categorical() | cs.enum()
    return frame.with_columns(cs.float().fill_nan(None), other.cast(pl.String), cs.binary().bin.encode("hex"))
