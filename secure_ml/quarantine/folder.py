"""The files of a quarantine entry: reasons and failing rows, for people. No gate reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from secure_ml.contracts.findings import Report
from secure_ml.digests import canonical_json
from secure_ml.tables.csv_output import render_csv

if TYPE_CHECKING:
    import polars as pl

__all__ = ["BYTES_FILE", "FINDINGS_FILE", "MAX_KEPT_BYTES", "ROWS_FILE", "render_quarantine"]

FINDINGS_FILE = "findings.json"
ROWS_FILE = "failing_rows.csv"
"""May hold personal data. It is never printed, and only its owner may read it."""
BYTES_FILE = "refused.bin"
"""First bytes of a rejected intake, as they arrived. May hold personal data."""
MAX_KEPT_BYTES = 16 << 20


def render_quarantine(
    report: Report | Sequence[str], document: Mapping[str, str], failing_rows: pl.DataFrame | None = None
) -> dict[str, bytes]:
    """Render the files of one quarantine entry.

    Args:
        report: Report of the contract, or the reasons if there is no table.
        document: Description of the rejected batch: model, stage, batch and digests.
        failing_rows: Rows that are set aside, by default those of the report.
    """
    if not isinstance(report, Report):
        return {FINDINGS_FILE: canonical_json({**document, "reasons": list(report), "findings": []})}
    blocking = [finding for finding in report.findings if finding.tier == "block"]
    return {
        FINDINGS_FILE: canonical_json(
            {
                **document,
                "rows": report.rows,
                "reasons": [finding.sentence for finding in blocking],
                "findings": [asdict(finding) for finding in report.findings],
            }
        ),
        ROWS_FILE: render_csv(report.failing_rows if failing_rows is None else failing_rows),
    }
