"""Stage `validated_dataset`: the data gate. A batch that broke its contract is quarantined and goes no further."""

from __future__ import annotations

import io
from dataclasses import asdict

from secure_ml.contracts.checking import check
from secure_ml.contracts.findings import Report
from secure_ml.contracts.policy import Policy, under_policy
from secure_ml.contracts.reading import parse_batch
from secure_ml.datasets.quarantine import render_quarantine
from secure_ml.digests import Digest, Json, digest_of, sha256
from secure_ml.errors import RejectedError
from secure_ml.gates import Evidence, find, latest, read_subjects, record, require
from secure_ml.installation import Installation
from secure_ml.spec import GuardedModel
from secure_ml.stages.dataset import BATCH_FILE, dataset_folder

__all__ = ["TABLE_FILE", "validated_dataset", "validation_cause"]

TABLE_FILE = "table.parquet"


def validation_cause(model: GuardedModel, batch: str, version: str, policy: Policy) -> Digest:
    """Return the cause of validating one version of a batch under the present contract."""
    return digest_of({"batch": batch, "version": version, "contract": model.contract_digest, "policy": policy})


def validated_dataset(installation: Installation, model: GuardedModel, batch: str) -> Evidence:
    """Hold the newest version of a batch against the contract.

    Raises:
        RejectedError: The contract is broken, or the dataset's evidence or bytes do not verify.
        UnavailableError: The batch was not taken in yet.
    """
    home, trust = installation.home, installation.trust
    given = latest(home, trust, model.name, "dataset", batch=batch)
    require(given)
    version = given.inputs["version"]
    content = read_subjects(given, dataset_folder(home, model.name, version))[BATCH_FILE]
    inputs = {
        "batch": batch,
        "version": version,
        "contract": model.contract_digest,
        "policy": installation.policy,
        "evidence:dataset": given.document,
    }
    cause = validation_cause(model, batch, version, installation.policy)
    known = find(home, trust, model.name, "validated_dataset", cause)
    if known is None:
        report = check(parse_batch(content, model.batches, batch), model)
        report = under_policy(report, installation.policy, model.label)
        reasons = [finding.sentence for finding in report.findings if finding.tier == "block"]
        subjects: dict[str, Digest] = {}
        if reasons or report.frame is None:
            document = {
                "model": model.name,
                "stage": "validated_dataset",
                "batch": batch,
                "dataset": version,
                "contract": model.contract_digest,
                "policy": installation.policy,
            }
            home.write_folder(home.quarantine / model.name / cause, render_quarantine(report, document))
        else:
            buffer = io.BytesIO()
            report.frame.write_parquet(buffer, compression="zstd")
            table = buffer.getvalue()
            subjects = {TABLE_FILE: sha256(table)}
            home.write_folder(dataset_folder(home, model.name, cause), {TABLE_FILE: table})
        known = record(
            home,
            installation.signer(),
            trust,
            model=model.name,
            stage="validated_dataset",
            cause=cause,
            reasons=reasons,
            subjects=subjects,
            inputs=inputs,
            facts=_facts(report),
        )
    if known.inputs["evidence:dataset"] != given.document:
        raise RejectedError(
            f"{model.name}/validated_dataset of batch {batch}: rests on other evidence of the dataset than is there now"
        )
    require(known)
    read_subjects(known, dataset_folder(home, model.name, cause))
    return known


def _facts(report: Report) -> dict[str, Json]:
    columns: list[Json] = []
    if report.frame is not None:
        columns = [[name, str(dtype)] for name, dtype in report.frame.schema.items()]
    return {
        "rows": report.rows,
        "findings": [asdict(finding) for finding in report.findings],
        "columns": columns,
    }
