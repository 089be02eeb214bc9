"""Reports under tier rules: `experiment` turns a blocking finding into a warning.

Two findings always block, whatever the tier rules: a table that could not be typed, and a missing label. No model
can be trained on either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from secure_ml.contracts.findings import Finding, Report, in_order
from secure_ml.tiers import TierRules

__all__ = ["relax_batch_report", "relax_table_report"]


def relax_batch_report(report: Report, tier_rules: TierRules, label: str) -> Report:
    """Return the report of a model's batch under the tier rules.

    Under `experiment` a blocking finding becomes a warning, whose sentence says that it blocks in production.

    Args:
        report: Report of the contract, with the typed frame if the batch could be typed.
        tier_rules: Tier rules in force.
        label: Name of the label column.
    """
    if tier_rules == "production" or report.frame is None:
        return report
    unlabelled = report.frame[label].null_count() > 0
    return _relax(report, lambda finding: finding.column == label and unlabelled)


def relax_table_report(report: Report, tier_rules: TierRules) -> Report:
    """Return the report of a table whose contract names no label; see `relax_batch_report`."""
    untyped = any(finding.code in ("missing_column", "wrong_type") for finding in report.findings)
    return report if tier_rules == "production" or untyped else _relax(report, lambda _: False)


def _relax(report: Report, always_blocks: Callable[[Finding], bool]) -> Report:
    def relaxed(finding: Finding) -> Finding:
        if finding.tier == "warn" or always_blocks(finding):
            return finding
        return replace(finding, tier="warn", sentence=f"{finding.sentence} (blocks in production)")

    return replace(report, findings=in_order(map(relaxed, report.findings)))
