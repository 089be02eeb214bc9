"""How a stage's evidence, or its refusal, is shown in the UI: metadata, data version, and the check of its gate."""

from __future__ import annotations

import base64
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import dagster as dg

from secure_ml.digests import sha256
from secure_ml.errors import SecureMLError, UnavailableError
from secure_ml.evidence import Evidence, EvidenceRejectedError
from secure_ml.home import Home
from secure_ml.installation import Installation
from secure_ml.orchestration.keys import asset_key
from secure_ml.safe_files import read_file
from secure_ml.stage_names import DATASET
from secure_ml.validation_docs import page_of, write_own_docs

__all__ = [
    "GATE",
    "Shown",
    "docs_index_link",
    "docs_link",
    "gate_of",
    "make_docs",
    "metadata_of",
    "plot_of",
    "report_link",
    "run_link",
    "show",
]

GATE = "gate"
_MAX_PLOT_BYTES = 40_000
Metadata = dict[str, Any]
Shown: TypeAlias = dg.AssetCheckResult | dg.MaterializeResult[Any]


def gate_of(
    model: str, stage: str, partitions: dg.PartitionsDefinition[str] | None = None, *, blocking: bool = True
) -> dg.AssetCheckSpec:
    """Return the check that shows what the gate of a stage found, for each partition where there are any."""
    with warnings.catch_warnings(category=dg.PreviewWarning, action="ignore"):  # partitioned checks
        return dg.AssetCheckSpec(
            GATE,
            asset=asset_key(model, stage),
            description="What the gate of this stage found. The gate itself is in the stage: it raises.",
            blocking=blocking,
            partitions_def=partitions,
        )


def show(
    decide: Callable[[], Evidence],
    more: Callable[[Evidence], Mapping[str, Any]] = lambda _: {},
    *,
    both: Callable[[Evidence], Mapping[str, Any]] = lambda _: {},
    rejected_is: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN,
    nothing_to_do: type[SecureMLError] | None = None,
) -> Iterator[Shown]:
    """Run a stage and show its evidence; a refusal shows red and materializes nothing.

    Args:
        decide: Runs the stage.
        more: Further metadata of the materialization, from the evidence.
        both: Further metadata of the materialization and of the check, also of a red one.
        rejected_is: How a decision against the candidate or window shows, where the stage itself did not refuse.
        nothing_to_do: The error that is no refusal: nothing is materialized, what follows is skipped.
    """
    try:
        evidence = decide()
    except SecureMLError as error:
        if nothing_to_do is not None and isinstance(error, nothing_to_do):
            yield dg.AssetCheckResult(passed=True, check_name=GATE, description=str(error))
            return
        metadata: Metadata = {"reason": str(error)}
        if isinstance(error, EvidenceRejectedError):
            metadata |= {**metadata_of(error.evidence), **both(error.evidence)}
        yield dg.AssetCheckResult(passed=False, check_name=GATE, metadata=metadata, description=str(error))
        raise dg.Failure(description=str(error), metadata=metadata, allow_retries=False) from None
    findings = _findings(evidence)
    accepted = evidence.decision == "accepted"
    said = f"accepted with {len(findings)} warnings" if findings else "accepted"
    yield dg.MaterializeResult(
        metadata={**metadata_of(evidence), **both(evidence), **more(evidence)},
        data_version=dg.DataVersion(evidence.cause),
        check_results=[
            dg.AssetCheckResult(
                passed=accepted and not findings,
                check_name=GATE,
                severity=dg.AssetCheckSeverity.WARN if accepted else rejected_is,
                metadata={**metadata_of(evidence), **both(evidence)},
                description="; ".join(evidence.reasons) or said,
            )
        ],
    )


def metadata_of(evidence: Evidence) -> Metadata:
    """Return what every stage shows: decision, digests, rows, columns, findings, figures."""
    metadata: Metadata = {
        "decision": evidence.decision,
        "evidence": dg.MetadataValue.path(str(evidence.path)),
        "evidence_digest": evidence.document,
        "made_at": evidence.made_at,
        "digests": _table(["file", "sha256"], [list(item) for item in evidence.subjects.items()]),
        "inputs": _table(["input", "value"], [list(item) for item in evidence.inputs.items()]),
    }
    if evidence.reasons:
        # No Markdown: a reason names columns of strangers, and a picture among them would be fetched from elsewhere.
        metadata["reasons"] = _table(["reason"], [[reason] for reason in evidence.reasons])
    for name, fact in evidence.facts.items():
        match name, fact:
            case "findings", list(found):
                rows = [
                    [str(item.get(field)) for field in ("tier", "column", "rule", "failed", "rows", "sentence")]
                    for item in found
                    if isinstance(item, dict)
                ]
                metadata["findings"] = _table(["tier", "column", "rule", "failed", "rows", "finding"], rows)
            case "columns", list(columns):
                metadata["dagster/column_schema"] = dg.TableSchema(
                    columns=[
                        dg.TableColumn(str(column[0]), str(column[1]))
                        if isinstance(column, list)
                        else dg.TableColumn(str(column))
                        for column in columns
                    ]
                )
            case "rows", int(rows_count):
                metadata["dagster/row_count"] = rows_count
            case _, dict(figures):
                metadata[name] = _table([name, "value"], [[key, str(value)] for key, value in figures.items()])
            case _, list():
                metadata[name] = dg.MetadataValue.json(fact)
            case _, None:
                pass
            case _:
                metadata[name] = fact
    return metadata


def plot_of(home: Home, evidence: Evidence) -> Metadata:
    """Return the plot that a stage drew, where it is still there as it was drawn: its name holds its digest."""
    name = evidence.facts.get("plot")
    if not isinstance(name, str):
        return {}
    path = home.reports / evidence.model / Path(name).name
    try:
        content = read_file(path, max_bytes=_MAX_PLOT_BYTES)
    except SecureMLError:
        return {}
    if sha256(content) not in name:
        return {}
    kind = "svg+xml" if path.suffix == ".svg" else "png"
    image = base64.b64encode(content).decode()
    return {"plot": dg.MetadataValue.md(f"![plot](data:image/{kind};base64,{image})")}


def run_link(evidence: Evidence) -> Metadata:
    """Return the link to the MLflow run, as `make ui` serves it."""
    match evidence.facts.get("mlflow"):
        case {"experiment": str(experiment), "run": str(run)}:
            url = f"http://127.0.0.1:{_port() + 2}/#/experiments/{experiment}/runs/{run}"
            return {"mlflow_run": dg.MetadataValue.url(url)}
    return {}


def report_link(evidence: Evidence) -> Metadata:
    """Return the link to the HTML report, as `make ui` serves it."""
    name = evidence.facts.get("report")
    if not isinstance(name, str):
        return {}
    return {"report": dg.MetadataValue.url(f"{_reports()}/{evidence.model}/{name}")}


def make_docs(place: Installation, batch: str | None = None) -> None:
    """Make the validation docs, of one batch or all; pages that cannot be written are derived, and refuse nothing."""
    try:
        write_own_docs(place, batch=batch)
    except UnavailableError as error:
        dg.get_dagster_logger().warning(str(error))


def docs_link(evidence: Evidence) -> Metadata:
    """Return the link to the page of a validation, or of a refusal, as `make ui` serves it."""
    if evidence.stage == DATASET and evidence.decision == "accepted":
        return {}
    return {"validation_docs": dg.MetadataValue.url(f"{_reports()}/validation/{page_of(evidence)}")}


def docs_index_link() -> Metadata:
    """Return the link to the index of the validation docs, as `make ui` serves it."""
    return {"validation_docs": dg.MetadataValue.url(f"{_reports()}/validation/index.html")}


def _reports() -> str:
    return f"http://127.0.0.1:{_port() + 1}"


def _port() -> int:
    return int(os.environ.get("SECURE_ML_UI_PORT") or 3000)


def _findings(evidence: Evidence) -> list[object]:
    found = evidence.facts.get("findings")
    return list(found) if isinstance(found, list) else []


def _table(columns: list[str], rows: list[list[str]]) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        records=[dg.TableRecord(dict(zip(columns, row, strict=True))) for row in rows],
        schema=dg.TableSchema(columns=[dg.TableColumn(name, "string") for name in columns]),
    )
