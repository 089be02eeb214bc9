"""Stage `validated_dataset`: the data gate. A batch that violates its contract is quarantined and goes no further."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from secure_ml.batch_validation import RowSplit, check_batch, personal_columns
from secure_ml.contracts.engine.declared_profiles import profile_frame
from secure_ml.contracts.engine.drift import needs_previous
from secure_ml.contracts.findings import Report
from secure_ml.datasets.version_manifest import Manifest, render_manifest
from secure_ml.digests import Digest, Json, digest_of, parse_digest, sha256
from secure_ml.errors import RejectedError
from secure_ml.evidence import Evidence, EvidenceLog, read_exactly, read_subjects, require
from secure_ml.installation import Installation
from secure_ml.profiles.document import Profile, render
from secure_ml.profiles.document import parse as parse_profile
from secure_ml.quarantine.entries import (
    HELD,
    ROWS_ASIDE,
    QuarantineEntry,
    QuarantineHold,
    entries,
    hold,
    overruled_by,
)
from secure_ml.quarantine.folder import ROWS_FILE, render_quarantine
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import DATASET, VALIDATED_DATASET
from secure_ml.stages.dataset import accepted_intake, dataset_folder, read_batch
from secure_ml.tiers import TierRules

if TYPE_CHECKING:
    import polars as pl

__all__ = ["PROFILE_FILE", "TABLE_FILE", "check_newest_version", "validate_batch", "validation_cause"]

TABLE_FILE, PROFILE_FILE, MANIFEST_FILE = "table.parquet", "profile.json", "manifest.json"


@dataclass(frozen=True, slots=True)
class _Intake:
    """The newest accepted version of a batch.

    Attributes:
        evidence: Evidence of the intake.
        content: Bytes of the batch, verified.
    """

    evidence: Evidence
    content: bytes

    @property
    def batch(self) -> str:
        """Name of the batch."""
        return self.evidence.inputs["batch"]

    @property
    def version(self) -> str:
        """Digest of the bytes."""
        return self.evidence.inputs["version"]


@dataclass(frozen=True, slots=True)
class _Verdict:
    """The decision about a batch, before it is recorded.

    Attributes:
        report: Report on the whole batch.
        accepted: Report on the accepted rows, or None if the batch is rejected.
        failing_rows: Rows that go to quarantine.
        reasons: Reasons of a rejection. Empty if the batch is accepted.
        held_by: Id of the quarantine entry that keeps back a batch which the contract accepts, or empty.
    """

    report: Report
    accepted: Report | None
    failing_rows: pl.DataFrame
    reasons: tuple[str, ...]
    held_by: str

    @property
    def sets_rows_aside(self) -> bool:
        """Whether the batch goes on without some of its rows."""
        return self.accepted is not None and self.failing_rows.height > 0

    @property
    def is_quarantined(self) -> bool:
        """Whether a quarantine entry is written. A batch that is held has an entry already."""
        return self.sets_rows_aside or (self.accepted is None and not self.held_by)


def validation_cause(
    model: GuardedModel,
    batch: str,
    version: str,
    tier_rules: TierRules,
    released: Mapping[str, str] | None = None,
    follows: str = "",
) -> Digest:
    """Return the cause of validating one version of a batch under the present contract.

    Args:
        model: Model with the contract.
        batch: Name of the batch.
        version: Digest of the bytes.
        tier_rules: Tier rules in force.
        released: Quarantine decisions that the validation rests on, see `QuarantineHold.released`.
        follows: Evidence that a version which came again follows. Such a version is validated again.
    """
    causes: dict[str, Json] = {
        "batch": batch,
        "version": version,
        "contract": model.contract_digest,
        "policy": tier_rules,
    }
    if released:
        causes["released"] = dict(released)
    if follows:
        causes["follows"] = follows
    return digest_of(causes)


def validate_batch(installation: Installation, model: GuardedModel, batch: str) -> Evidence:
    """Validate the newest version of a batch: the data gate.

    1. Take the accepted intake of the batch, and verify its bytes.
    2. Ask quarantine what it holds of these bytes.
    3. Look for evidence of this cause. If it does not exist,
    4. check the batch against the contract and decide,
    5. write the quarantine entry and the validated files, and record the decision.
    6. Require that the evidence rests on this intake, is an acceptance that no discard overrules, and that its files
       are unchanged.

    Raises:
        RejectedError: If the batch violates the contract or is held in quarantine, or evidence or bytes do not verify.
        UnavailableError: If the batch was not ingested yet.
    """
    log = EvidenceLog.open(installation, model.name)
    # 1. Intake.
    intake = _read_intake(log, model, batch)
    # 2. Quarantine.
    quarantined = entries(log)
    quarantine = hold(installation, model, intake.version, quarantined)
    # 3. Evidence of this cause.
    follows = intake.evidence.inputs.get("follows", "")
    cause = validation_cause(model, batch, intake.version, installation.policy, quarantine.released, follows)
    evidence = log.find(VALIDATED_DATASET, cause)
    if evidence is None:
        # 4. Check and decide.
        previous = _find_previous(log, installation.policy, model, intake, quarantined)
        profile = _read_profile(log, previous)
        split = check_batch(model, installation.policy, intake.content, batch, quarantine.rows, previous=profile)
        verdict = _decide(split, quarantine)
        # 5. Write and record.
        rows_digest = _write_quarantine(installation, model, intake, verdict, cause)
        files = _write_files(log, model, intake, verdict, cause)
        inputs = {
            "batch": batch,
            "version": intake.version,
            "contract": model.contract_digest,
            "policy": installation.policy,
            "evidence:dataset": intake.evidence.document,
            **({"previous": previous.document} if previous is not None else {}),
            **({HELD: verdict.held_by} if verdict.held_by else {}),
            **({ROWS_ASIDE: rows_digest} if rows_digest else {}),
            **quarantine.released,
        }
        evidence = log.append(
            installation.signer(),
            stage=VALIDATED_DATASET,
            cause=cause,
            reasons=verdict.reasons,
            subjects={name: sha256(content) for name, content in files.items()},
            inputs=inputs,
            facts=_facts(verdict),
        )
    # 6. Require.
    _require_valid(evidence, intake, quarantined)
    read_subjects(evidence, dataset_folder(log.home, model.name, cause))
    return evidence


def check_newest_version(installation: Installation, model: GuardedModel, batch: str) -> tuple[str, RowSplit]:
    """Check the newest version of a batch against the present contract, without recording anything.

    Returns:
        Digest of the version, and its rows split by the contract.

    Raises:
        RejectedError: If evidence or bytes of the intake do not verify.
        UnavailableError: If the batch was not ingested yet.
    """
    log = EvidenceLog.open(installation, model.name)
    intake = _read_intake(log, model, batch)
    previous = _find_previous(log, installation.policy, model, intake, entries(log))
    profile = _read_profile(log, previous)
    return intake.version, check_batch(model, installation.policy, intake.content, batch, previous=profile)


def _read_intake(log: EvidenceLog, model: GuardedModel, batch: str) -> _Intake:
    evidence = accepted_intake(log, model, batch)
    return _Intake(evidence, read_batch(evidence, dataset_folder(log.home, model.name, evidence.inputs["version"])))


def _find_previous(
    log: EvidenceLog,
    tier_rules: TierRules,
    model: GuardedModel,
    intake: _Intake,
    quarantined: Sequence[QuarantineEntry],
) -> Evidence | None:
    """Return the evidence of the batch before this one, or None if it does not exist or is not needed.

    It is the newest batch that was ingested before this one and accepted under these tier rules. A batch that is
    validated again later has the same previous batch. The previous batch is no part of the cause, so a later batch
    never makes an older decision stale.
    """
    if not needs_previous(model.schema):
        return None
    ingested_at: dict[str, str] = {}
    for item in log.history(DATASET):
        if item.made_at < intake.evidence.made_at:
            ingested_at.setdefault(item.inputs["version"], item.made_at)
    earlier = [
        item
        for item in log.history(VALIDATED_DATASET)
        if item.decision == "accepted"
        and item.inputs["policy"] == tier_rules
        and item.inputs["batch"] != intake.batch
        and item.inputs["version"] in ingested_at
        and not overruled_by(quarantined, item)
    ]
    return max(earlier, key=lambda item: (ingested_at[item.inputs["version"]], item.made_at), default=None)


def _read_profile(log: EvidenceLog, evidence: Evidence | None) -> Profile | None:
    """Return the profile that was signed with a batch.

    Raises:
        RejectedError: If the profile was changed or is missing.
    """
    if evidence is None or PROFILE_FILE not in evidence.subjects:
        return None
    folder = dataset_folder(log.home, evidence.model, evidence.cause)
    return parse_profile(read_exactly(folder / PROFILE_FILE, evidence.subjects[PROFILE_FILE]))


def _decide(split: RowSplit, quarantine: QuarantineHold) -> _Verdict:
    """Decide about a batch by its contract and by what quarantine holds of it."""
    if split.accepted is None:
        sentences = [finding.sentence for finding in split.report.findings if finding.tier == "block"]
        reasons = tuple(sentences) or ("the table could not be typed",)
        return _Verdict(split.report, None, split.failing_rows, reasons, "")
    if quarantine.against:  # the entry that holds these bytes has to be decided about
        return _Verdict(split.report, None, split.failing_rows, (quarantine.against,), quarantine.entry)
    return _Verdict(split.report, split.accepted, split.failing_rows, (), "")


def _write_quarantine(
    installation: Installation, model: GuardedModel, intake: _Intake, verdict: _Verdict, cause: Digest
) -> str:
    """Write the quarantine entry, if there is one, and return the digest of the rows that were set aside, or empty."""
    if not verdict.is_quarantined:
        return ""
    document = {
        "model": model.name,
        "stage": VALIDATED_DATASET,
        "batch": intake.batch,
        "dataset": intake.version,
        "contract": model.contract_digest,
        "policy": installation.policy,
    }
    files = render_quarantine(verdict.report, document, verdict.failing_rows)
    installation.home.write_folder(installation.home.quarantine / model.name / cause, files)
    return sha256(files[ROWS_FILE]) if verdict.sets_rows_aside else ""


def _write_files(
    log: EvidenceLog, model: GuardedModel, intake: _Intake, verdict: _Verdict, cause: Digest
) -> dict[str, bytes]:
    """Write profile, table and manifest of the batch. A rejected batch has a profile only, if it could be typed."""
    frame = (verdict.accepted or verdict.report).frame
    if frame is None:
        return {}
    personal = personal_columns(map(asdict, verdict.report.findings))
    files = {PROFILE_FILE: render(profile_frame(frame, model.schema, found=personal))}
    if verdict.accepted is not None:
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd")
        files[TABLE_FILE] = buffer.getvalue()
        files[MANIFEST_FILE] = render_manifest(_manifest(model, intake.evidence, frame.height, files))
    log.home.write_folder(dataset_folder(log.home, model.name, cause), files)
    return files


def _require_valid(evidence: Evidence, intake: _Intake, quarantined: Sequence[QuarantineEntry]) -> None:
    where = f"{evidence.model}/{VALIDATED_DATASET} of batch {intake.batch}"
    if evidence.inputs["evidence:dataset"] != intake.evidence.document:
        raise RejectedError(
            f"{where}: rests on other evidence of the intake, expected document {intake.evidence.document[:12]}, found "
            f"{evidence.inputs['evidence:dataset'][:12]}; restore that evidence"
        )
    require(evidence)
    if overruled := overruled_by(quarantined, evidence):
        raise RejectedError(
            f"{where}: accepted before these bytes, or rows of them, were discarded (quarantine {overruled[:12]}); "
            "a discard is final"
        )


def _manifest(model: GuardedModel, intake: Evidence, rows: int, files: Mapping[str, bytes]) -> Manifest:
    """Describe this version. The bytes as they arrived are its only parent."""
    where = f"evidence of {intake.inputs['batch']}"
    proof = intake.inputs.get("manifest")
    return Manifest(
        model=model.name,
        stage=VALIDATED_DATASET,
        batch=intake.inputs["batch"],
        files={name: sha256(content) for name, content in files.items()},
        rows=rows,
        profile=sha256(files[PROFILE_FILE]),
        contract=model.contract_digest,
        parents=(parse_digest(intake.inputs["version"], where),),
        origin=intake.inputs.get("origin", "files"),
        location=str(intake.facts["source"]),
        proof=parse_digest(proof, where) if proof else None,
    )


def _facts(verdict: _Verdict) -> dict[str, Json]:
    report = verdict.accepted or verdict.report
    frame = report.frame
    facts: dict[str, Json] = {
        "rows": report.rows,
        "findings": [asdict(finding) for finding in verdict.report.findings],
        "columns": [] if frame is None else [[name, str(dtype)] for name, dtype in frame.schema.items()],
        "refused_rows": verdict.report.rows - (verdict.accepted.rows if verdict.accepted is not None else 0),
    }
    return {**facts, "unjudged": [asdict(part) for part in report.unjudged]} if report.unjudged else facts
