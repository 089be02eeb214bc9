"""What a data contract finds: a finding is one failed rule, with its count and never with a cell's value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "MAX_FAILING_ROWS",
    "MAX_FIRST_ROWS",
    "Fallback",
    "Finding",
    "ReasonCode",
    "Report",
    "Unjudged",
    "in_order",
    "prefix",
    "refusal",
    "unreadable",
]

MAX_FAILING_ROWS = 1000
"""Most rows that one report keeps for the quarantine."""
MAX_FIRST_ROWS = 20
"""Most row numbers that one finding names."""

ReasonCode = Literal[
    "missing_column",
    "new_column",
    "column_order",
    "wrong_type",
    "missing_values",
    "valency",
    "unexpected_value",
    "out_of_range",
    "pattern",
    "length",
    "duplicates",
    "low_uniqueness",
    "high_uniqueness",
    "row_rule",
    "aggregate",
    "row_count",
    "freshness",
    "vocabulary",
    "drift",
    "skew",
    "personal",
    "poisoning",
    "provenance",
    "unreadable",
    "check",
]
"""Why a rule failed, a closed list; `check` is a user's own Python check."""


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
        code: Why, from a closed list.
        by: `compiled`, `pandera` where the rule could not be compiled, or `screen` where it is no rule of the contract.
        first_rows: The numbers of the first rows that failed, at most 20, in order: the first row of data is 1. Empty
            for a rule about a whole column or table, in a slice, and where an engine keeps no order.
    """

    column: str | None
    rule: str
    failed: int
    rows: int
    tier: Literal["warn", "block"]
    sentence: str
    code: ReasonCode = "check"
    by: Literal["compiled", "pandera", "screen"] = "pandera"
    first_rows: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Fallback:
    """A rule that could not be compiled, and was run by pandera.

    Attributes:
        column: The column, None for a rule of the whole table.
        rule: The rule's name.
        why: For people.
    """

    column: str | None
    rule: str
    why: str


@dataclass(frozen=True, slots=True)
class Unjudged:
    """A part of the batch that has too few rows to be judged by itself.

    Attributes:
        slice: As it was asked for.
        part: Which part of it.
        rows: How many rows there are.
    """

    slice: str
    part: str
    rows: int


@dataclass(frozen=True, slots=True)
class Report:
    """All that a contract says about one batch.

    Attributes:
        rows: Rows in the batch.
        findings: Blocking ones first, then by failed rows, descending.
        frame: Typed columns of the contract, in its order. None if columns or types do not fit, or if the contract is
            not a model's, because any other table may exceed the memory.
        failing_rows: At most 1,000 rows that broke a blocking rule: row number, reasons, cells as text.
        fallbacks: Rules that pandera ran, and why.
        unjudged: Slices that have too few rows.
        passed: Column and name of each rule that the rows satisfy, without those about the table's shape.
    """

    rows: int
    findings: tuple[Finding, ...]
    frame: pl.DataFrame | None
    failing_rows: pl.DataFrame
    fallbacks: tuple[Fallback, ...] = ()
    unjudged: tuple[Unjudged, ...] = ()
    passed: tuple[tuple[str | None, str], ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether no blocking rule failed."""
        return all(finding.tier != "block" for finding in self.findings)


def prefix(column: str | None) -> str:
    """Return how a sentence about a column begins; empty for one about the whole table."""
    return f"{column}: " if column is not None else ""


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings as a `Report` holds them."""
    return tuple(sorted(findings, key=lambda finding: (finding.tier != "block", -finding.failed)))


def refusal(rule: str, sentence: str, code: ReasonCode) -> Report:
    """Return the report on what is refused as a whole, before or without a look at its rows."""
    import polars as pl

    finding = Finding(column=None, rule=rule, failed=0, rows=0, tier="block", sentence=sentence, code=code)
    return Report(0, (finding,), None, pl.DataFrame(schema={"row": pl.Int64, "reasons": pl.String}))


def unreadable(sentence: str) -> Report:
    """Return the report on a file that is no table."""
    return refusal("readable", sentence, "unreadable")
