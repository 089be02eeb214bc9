"""The integrity check of everything in use: bytes, evidence and data against digests, trust root and contract."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from secure_ml import stage_names
from secure_ml.batch_validation import check_batch
from secure_ml.digests import sha256
from secure_ml.errors import RejectedError, SecureMLError
from secure_ml.evidence import Evidence, EvidenceLog, read_subjects
from secure_ml.installation import Installation
from secure_ml.quarantine.entries import ROWS_ASIDE, QuarantineEntry, entries, hold, rows_aside
from secure_ml.releases import SIGNATURE, current_release, read_released, releases
from secure_ml.safe_files import read_file
from secure_ml.signing.model_signature import verify_model
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import RELEASE
from secure_ml.stages.dataset import dataset_folder, find_batch
from secure_ml.stages.inference_log import segment_folder
from secure_ml.tiers import parse_tier_rules

__all__ = ["check_stage"]


def check_stage(installation: Installation, model: GuardedModel, stage: str) -> tuple[int, list[str]]:
    """Check every document of one stage, and every file that it is about.

    Returns:
        Number of checked documents, and one sentence for each fault.
    """
    log = EvidenceLog.open(installation, model.name)
    documents = log.audit(stage)
    quarantined = cache(lambda: entries(log))  # read for the first accepted batch, and shared by all others
    problems: list[str] = []
    for document in documents:
        try:
            if isinstance(document, SecureMLError):
                raise document
            _check_bytes(installation, model, document, quarantined)
        except SecureMLError as error:
            problems.append(str(error))
    if stage == RELEASE:
        try:
            _check_release(installation, model)
        except SecureMLError as error:
            problems.append(str(error))
    return len(documents), problems


def _check_bytes(
    installation: Installation,
    model: GuardedModel,
    evidence: Evidence,
    quarantined: Callable[[], list[QuarantineEntry]],
) -> None:
    home = installation.home
    if not evidence.subjects:
        return
    match evidence.stage:
        case stage_names.DATASET:
            read_subjects(evidence, dataset_folder(home, model.name, evidence.inputs["version"]))
        case stage_names.VALIDATED_DATASET:
            read_subjects(evidence, dataset_folder(home, model.name, evidence.cause))
            if evidence.decision == "accepted" and evidence.inputs["contract"] == model.contract_digest:
                _check_contract(installation, model, evidence, quarantined())
        case stage_names.TRAINING_SET:
            read_subjects(evidence, dataset_folder(home, model.name, evidence.cause))
        case stage_names.TRAINED_MODEL | stage_names.SIGNED_MODEL | stage_names.RELEASE:
            files = read_subjects(evidence, home.models / model.name / evidence.inputs["model"])
            if SIGNATURE in files:
                signature = files.pop(SIGNATURE)
                verify_model(files, signature, installation.trust)
        case stage_names.INFERENCE_LOG:
            read_subjects(evidence, segment_folder(installation, model))
        case stage_names.DRIFT_REPORT:
            read_subjects(evidence, home.reports / model.name)


def _check_contract(
    installation: Installation, model: GuardedModel, evidence: Evidence, quarantined: list[QuarantineEntry]
) -> None:
    """Check an accepted batch against the contract again, from the bytes that arrived."""
    version, batch = evidence.inputs["version"], evidence.inputs["batch"]
    path = find_batch(dataset_folder(installation.home, model.name, version))
    content = read_file(path)
    if sha256(content) != version:
        raise RejectedError(f"datasets/{version[:12]}/{path.name}: changed, expected digest {version[:12]}")
    excluded_rows = hold(installation, model, version, quarantined).rows
    if ROWS_ASIDE in evidence.inputs:
        excluded_rows |= rows_aside(installation.home, evidence)
    split = check_batch(model, parse_tier_rules(evidence.inputs.get("policy", "")), content, batch, excluded_rows)
    if split.accepted is None:
        raise RejectedError(
            f"batch {batch}: accepted before, but violates the contract now: {split.report.findings[0].sentence}"
        )


def _check_release(installation: Installation, model: GuardedModel) -> None:
    if releases(installation.home, installation.trust, model.name):
        read_released(
            installation.home, installation.trust, current_release(installation.home, installation.trust, model.name)
        )
