"""What a data contract finds: a finding is one failed rule, with its count and never with a cell's value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Finding", "Report"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One failed rule.

    Attributes:
        column: The column, None for a rule of the whole table.
        rule: The rule's name, such as `greater_than_or_equal_to(50)`.
        failed: Rows that failed.
        rows: Rows that were looked at.
        tier: `block` keeps the batch out, `warn` does not.
        sentence: For people, such as "chol: 123 of 123 rows below 50".
    """

    column: str | None
    rule: str
    failed: int
    rows: int
    tier: Literal["warn", "block"]
    sentence: str


@dataclass(frozen=True, slots=True)
class Report:
    """All that a contract says about one batch.

    Attributes:
        rows: Rows in the batch.
        findings: Blocking ones first, then by failed rows, descending.
        frame: Typed, the contract's columns in its order; None where columns or types do not fit.
        failing_rows: At most 1,000 rows that broke a blocking rule: row number, reasons, cells as text.
    """

    rows: int
    findings: tuple[Finding, ...]
    frame: pl.DataFrame | None
    failing_rows: pl.DataFrame

    @property
    def accepted(self) -> bool:
        """Whether no blocking rule failed, and the table could be typed."""
        return self.frame is not None and all(finding.tier != "block" for finding in self.findings)
