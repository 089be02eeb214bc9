"""What was refused, with the reasons and the failing rows: for people, and of no weight in any gate."""

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
"""Holds personal data: it is never printed, and its owner alone reads it."""
BYTES_FILE = "refused.bin"
"""The first bytes of what was refused before it was a version, as they came; may hold personal data too."""
MAX_KEPT_BYTES = 16 << 20


def render_quarantine(
    found: Report | Sequence[str], document: Mapping[str, str], aside: pl.DataFrame | None = None
) -> dict[str, bytes]:
    """Return the files of one quarantine folder.

    Args:
        found: The contract's report, or the reasons where there is no table.
        document: What was refused: model, stage, batch, digests.
        aside: The rows that are kept back; by default those of the report.
    """
    if not isinstance(found, Report):
        return {FINDINGS_FILE: canonical_json({**document, "reasons": list(found), "findings": []})}
    blocking = [finding for finding in found.findings if finding.tier == "block"]
    return {
        FINDINGS_FILE: canonical_json(
            {
                **document,
                "rows": found.rows,
                "reasons": [finding.sentence for finding in blocking],
                "findings": [asdict(finding) for finding in found.findings],
            }
        ),
        ROWS_FILE: render_csv(found.failing_rows if aside is None else aside),
    }
