"""Stage `validated_dataset`: the data gate. A batch that broke its contract is quarantined and goes no further."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from secure_ml.batch_validation import RowSplit, split_rows
from secure_ml.contracts.contract_file import Contract
from secure_ml.contracts.engine.declared_profiles import profile_frame
from secure_ml.contracts.engine.drift import needs_previous
from secure_ml.contracts.findings import Report, unreadable
from secure_ml.contracts.relaxed_reports import relax_batch_report
from secure_ml.contracts.validate import validate
from secure_ml.datasets.version_manifest import Manifest, render_manifest
from secure_ml.digests import Digest, Json, digest_of, parse_digest, sha256
from secure_ml.errors import MalformedError, RejectedError
from secure_ml.evidence import Evidence, EvidenceLog, read_exactly, read_subjects, require
from secure_ml.installation import Installation
from secure_ml.profiles.document import Profile, render
from secure_ml.profiles.document import parse as parse_profile
from secure_ml.quarantine.entries import HELD, ROWS_ASIDE, QuarantineEntry, entries, hold, overruled_by
from secure_ml.quarantine.folder import ROWS_FILE, render_quarantine
from secure_ml.screening.personal_data import with_personal
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import DATASET, VALIDATED_DATASET
from secure_ml.stages.dataset import accepted_intake, dataset_folder, read_batch
from secure_ml.tables.batch_files import frame_of, open_batch
from secure_ml.tables.data_files import table_of
from secure_ml.tables.opened_table import OpenedTable
from secure_ml.tiers import TierRules

__all__ = ["PROFILE_FILE", "TABLE_FILE", "examine", "found_personal", "judge", "validate_batch", "validation_cause"]

TABLE_FILE, PROFILE_FILE, MANIFEST_FILE = "table.parquet", "profile.json", "manifest.json"


def validation_cause(
    model: GuardedModel,
    batch: str,
    version: str,
    policy: TierRules,
    released: Mapping[str, str] | None = None,
    follows: str = "",
) -> Digest:
    """Return the cause of validating one version of a batch under the present contract, after these decisions.

    A version that came again, after the evidence that it `follows`, is validated again: it is the newest.
    """
    causes: dict[str, Json] = {
        "batch": batch,
        "version": version,
        "contract": model.contract_digest,
        "policy": policy,
    }
    if released:
        causes["released"] = dict(released)
    if follows:
        causes["follows"] = follows
    return digest_of(causes)


def validate_batch(installation: Installation, model: GuardedModel, batch: str) -> Evidence:
    """Hold the newest version of a batch against the contract.

    Raises:
        RejectedError: The contract is broken, the version is held in quarantine, or the dataset's evidence or bytes do
            not verify.
        UnavailableError: The batch was not taken in yet.
    """
    home, log = installation.home, EvidenceLog.of(installation, model.name)
    given, content = _given(log, model, batch)
    version = given.inputs["version"]
    inputs = {
        "batch": batch,
        "version": version,
        "contract": model.contract_digest,
        "policy": installation.policy,
        "evidence:dataset": given.document,
    }
    quarantined = entries(log)
    held = hold(installation, model, version, quarantined)
    cause = validation_cause(model, batch, version, installation.policy, held.released, given.inputs.get("follows", ""))
    known = log.find(VALIDATED_DATASET, cause)
    if known is None:
        before = _previous(installation, log, model, given, quarantined)
        if before is not None:
            inputs["previous"] = before.document
        profile = _profile_of(installation, before)
        sifted = judge(model, installation.policy, content, batch, held.rows, previous=profile)
        report, kept = sifted.report, sifted.kept
        reasons = _reasons(report) if kept is None else []
        aside = sifted.aside.height if kept is not None else 0
        if kept is not None and held.against:  # no new entry: the one that holds it is to be decided about
            kept, aside, reasons = None, 0, [held.against]
            inputs[HELD] = held.by
        files: dict[str, bytes] = {}
        if aside or (kept is None and HELD not in inputs):
            document = {
                "model": model.name,
                "stage": VALIDATED_DATASET,
                "batch": batch,
                "dataset": version,
                "contract": model.contract_digest,
                "policy": installation.policy,
            }
            refused = render_quarantine(report, document, sifted.aside)
            home.write_folder(home.quarantine / model.name / cause, refused)
            if aside:
                inputs[ROWS_ASIDE] = sha256(refused[ROWS_FILE])
        frame = (kept or report).frame
        if frame is not None:
            found = found_personal(map(asdict, report.findings))
            files[PROFILE_FILE] = render(profile_frame(frame, model.schema, found=found))
            if kept is not None:
                buffer = io.BytesIO()
                frame.write_parquet(buffer, compression="zstd")
                files[TABLE_FILE] = buffer.getvalue()
                files[MANIFEST_FILE] = render_manifest(_manifest(model, given, frame.height, files))
            home.write_folder(dataset_folder(home, model.name, cause), files)
        known = log.append(
            installation.signer(),
            stage=VALIDATED_DATASET,
            cause=cause,
            reasons=reasons,
            subjects={name: sha256(content) for name, content in files.items()},
            inputs={**inputs, **held.released},
            facts={
                **_facts(kept or report),
                "findings": [asdict(item) for item in report.findings],
                "refused_rows": report.rows - (kept.rows if kept is not None else 0),
            },
        )
    if known.inputs["evidence:dataset"] != given.document:
        raise RejectedError(
            f"{model.name}/validated_dataset of batch {batch}: rests on other evidence of the dataset than is there now"
        )
    require(known)
    if overruled := overruled_by(quarantined, known):
        raise RejectedError(
            f"{model.name}/validated_dataset of batch {batch}: was accepted before these bytes, or rows of them, were "
            f"discarded, never to go on (quarantine {overruled[:12]})"
        )
    read_subjects(known, dataset_folder(home, model.name, cause))
    return known


def examine(installation: Installation, model: GuardedModel, batch: str) -> tuple[str, RowSplit]:
    """Hold the newest version of a batch against the present contract, and record nothing.

    Returns:
        The version, and what became of it.

    Raises:
        RejectedError: The dataset's evidence or bytes do not verify.
        UnavailableError: The batch was not taken in yet.
    """
    log = EvidenceLog.of(installation, model.name)
    given, content = _given(log, model, batch)
    before = _previous(installation, log, model, given, entries(log))
    profile = _profile_of(installation, before)
    return given.inputs["version"], judge(model, installation.policy, content, batch, previous=profile)


def judge(
    model: GuardedModel,
    policy: TierRules,
    content: bytes,
    batch: str,
    held: Collection[int] = (),
    *,
    previous: Profile | None = None,
) -> RowSplit:
    """Hold the bytes of a batch against the present contract, without its rows that are `held` in quarantine.

    What the contract bounds by the previous batch is left out where `previous` is None.
    """

    def contract(table: OpenedTable) -> Report:
        report = validate(table, Contract.of_model(model), previous=previous)
        return relax_batch_report(with_personal(report, model.schema), policy, model.label)

    try:
        table = open_batch(content, model.batches, batch)
        if model.quarantine == "rows":
            is_text = table.is_text
            return split_rows(
                frame_of(table), lambda rows: contract(table_of(rows, source=batch, is_text=is_text)), held
            )
        report = contract(table)
    except MalformedError as error:
        report = unreadable(str(error))
    return RowSplit(report, report if report.accepted and report.frame is not None else None, report.failing_rows)


def _given(log: EvidenceLog, model: GuardedModel, batch: str) -> tuple[Evidence, bytes]:
    given = accepted_intake(log, model, batch)
    folder = dataset_folder(log.home, model.name, given.inputs["version"])
    return given, read_batch(given, folder)


def _previous(
    installation: Installation,
    log: EvidenceLog,
    model: GuardedModel,
    given: Evidence,
    quarantined: Sequence[QuarantineEntry],
) -> Evidence | None:
    """Return the evidence of the batch before this one, None where there is none or the contract asks for none.

    It is the last to be taken in of those taken in earlier and accepted under this policy. A batch that is
    validated again later has the same one; it is no part of the cause, so no later batch makes an old verdict stale.
    """
    if not needs_previous(model.schema):
        return None
    arrived: dict[str, str] = {}
    for taken in log.history(DATASET):
        if taken.made_at < given.made_at:
            arrived.setdefault(taken.inputs["version"], taken.made_at)
    earlier = [
        evidence
        for evidence in log.history(VALIDATED_DATASET)
        if evidence.decision == "accepted"
        and evidence.inputs["policy"] == installation.policy
        and evidence.inputs["batch"] != given.inputs["batch"]
        and evidence.inputs["version"] in arrived
        and not overruled_by(quarantined, evidence)
    ]
    return max(earlier, key=lambda evidence: (arrived[evidence.inputs["version"]], evidence.made_at), default=None)


def _profile_of(installation: Installation, evidence: Evidence | None) -> Profile | None:
    """Return the profile that was signed with a batch.

    Raises:
        RejectedError: It was changed or is missing.
    """
    if evidence is None or PROFILE_FILE not in evidence.subjects:
        return None
    folder = dataset_folder(installation.home, evidence.model, evidence.cause)
    return parse_profile(read_exactly(folder / PROFILE_FILE, evidence.subjects[PROFILE_FILE]))


def found_personal(findings: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the columns in which findings, as evidence holds them, say that there are personal data."""
    return {finding["column"] for finding in findings if finding.get("code") == "personal" and finding["column"]}


def _manifest(model: GuardedModel, given: Evidence, rows: int, files: Mapping[str, bytes]) -> Manifest:
    """Say what this version is made of: the bytes as they arrived are its one parent."""
    where = f"evidence of {given.inputs['batch']}"
    proof = given.inputs.get("manifest")
    return Manifest(
        model=model.name,
        stage=VALIDATED_DATASET,
        batch=given.inputs["batch"],
        files={name: sha256(content) for name, content in files.items()},
        rows=rows,
        profile=sha256(files[PROFILE_FILE]),
        contract=model.contract_digest,
        parents=(parse_digest(given.inputs["version"], where),),
        origin=given.inputs.get("origin", "files"),
        location=str(given.facts["source"]),
        proof=parse_digest(proof, where) if proof else None,
    )


def _reasons(report: Report) -> list[str]:
    found = [finding.sentence for finding in report.findings if finding.tier == "block"]
    return found or ["the table could not be typed"]


def _facts(report: Report) -> dict[str, Json]:
    columns: list[Json] = []
    if report.frame is not None:
        columns = [[name, str(dtype)] for name, dtype in report.frame.schema.items()]
    facts: dict[str, Json] = {
        "rows": report.rows,
        "findings": [asdict(finding) for finding in report.findings],
        "columns": columns,
    }
    return {**facts, "unjudged": [asdict(part) for part in report.unjudged]} if report.unjudged else facts
