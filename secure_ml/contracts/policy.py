"""Policies: what a broken rule means where a stage runs. Research is not held up, and nothing unvalidated is released.

A rule has a tier, `warn` or `block`. `production`, the default, refuses a batch that broke a blocking rule.
`experiment` takes it with a warning, so that a model can be trained on it. The policy is part of the cause and of the
signed inputs of all that was decided under it, and a stage takes evidence of its own policy only: what `experiment`
let pass is validated afresh under `production`, and is neither signed nor released before.

What no policy lets pass: a table that could not be typed, and a missing label; nothing can be trained on these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from secure_ml.contracts.findings import Finding, Report, in_order
from secure_ml.errors import PreconditionError, RejectedError

__all__ = ["Policy", "parse_policy", "require_production", "table_under_policy", "under_policy"]

Policy = Literal["experiment", "production"]


def parse_policy(text: str) -> Policy:
    """Parse the name of a policy; an empty text is `production`.

    Raises:
        PreconditionError: There is no such policy. A misspelt one is never taken for another.
    """
    match text:
        case "" | "production":
            return "production"
        case "experiment":
            return "experiment"
    raise PreconditionError("SECURE_ML_POLICY: expected production or experiment, found neither")


def under_policy(report: Report, policy: Policy, label: str) -> Report:
    """Return the report of a batch of a model as `policy` takes it.

    Under `experiment` a blocking finding becomes a warning, whose sentence says that it blocks in production.
    """
    if policy == "production" or report.frame is None:
        return report
    unlabelled = report.frame[label].null_count() > 0
    return _relaxed(report, lambda finding: finding.column == label and unlabelled)


def table_under_policy(report: Report, policy: Policy) -> Report:
    """Return the report of a table whose contract names no label as `policy` takes it; see `under_policy`."""
    untyped = any(finding.code in ("missing_column", "wrong_type") for finding in report.findings)
    return report if policy == "production" or untyped else _relaxed(report, lambda _: False)


def _relaxed(report: Report, refused: Callable[[Finding], bool]) -> Report:
    def relaxed(finding: Finding) -> Finding:
        if finding.tier == "warn" or refused(finding):
            return finding
        return replace(finding, tier="warn", sentence=f"{finding.sentence} (blocks in production)")

    return replace(report, findings=in_order(map(relaxed, report.findings)))


def require_production(policy: Policy, where: str) -> None:
    """Refuse to sign or release under another policy than `production`.

    Raises:
        RejectedError: Always, under `experiment`.
    """
    if policy != "production":
        raise RejectedError(
            f"{where}: nothing is signed or released under policy {policy}; set SECURE_ML_POLICY=production, under "
            "which the batches are validated and the model is trained afresh"
        )
