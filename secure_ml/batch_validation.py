"""Validation of one batch: contract, screens and tier rules, with failing rows split off. It records nothing.

A model that quarantines `rows` keeps the rows that pass. These rows are checked against the whole contract again until
nothing fails, so the accepted rows were accepted as they go on. A failed rule about the whole batch, such as a missing
column or an aggregate, rejects the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from secure_ml.contracts.contract_file import Contract
from secure_ml.contracts.findings import Finding, Report, unreadable
from secure_ml.contracts.relaxed_reports import relax_batch_report
from secure_ml.contracts.validate import validate
from secure_ml.errors import MalformedError
from secure_ml.profiles.document import Profile
from secure_ml.screening.personal_data import with_personal
from secure_ml.spec import GuardedModel
from secure_ml.tables.batch_files import frame_of, open_batch
from secure_ml.tables.data_files import table_of
from secure_ml.tables.opened_table import OpenedTable
from secure_ml.tiers import TierRules

if TYPE_CHECKING:
    import polars as pl

__all__ = ["RowSplit", "check_batch", "personal_columns", "split_rows"]

_MAX_PASSES: Final = 20
_BATCH_RULES: Final = ("null_fraction_at_most", "unique_values_eq")
_BATCH_CODES: Final = frozenset(
    {
        *("missing_column", "new_column", "low_uniqueness", "high_uniqueness", "aggregate", "row_count", "freshness"),
        *("vocabulary", "drift", "skew", "poisoning", "provenance", "unreadable"),
    }
)


@dataclass(frozen=True, slots=True)
class RowSplit:
    """A validated batch, split into accepted and failing rows.

    Attributes:
        report: Report on the whole batch.
        accepted: Report on the accepted rows, or None if the whole batch is rejected.
        failing_rows: Rows that violate the contract: row number from 1, reasons, and cells as text.
    """

    report: Report
    accepted: Report | None
    failing_rows: pl.DataFrame


def check_batch(
    model: GuardedModel,
    tier_rules: TierRules,
    content: bytes,
    batch: str,
    excluded_rows: Collection[int] = (),
    *,
    previous: Profile | None = None,
) -> RowSplit:
    """Check the bytes of a batch against the present contract and the screens. Bad data gives findings.

    Args:
        model: Model with the contract.
        tier_rules: Tier rules in force.
        content: Bytes of the batch.
        batch: Name of the batch, for messages.
        excluded_rows: Row numbers, from 1, that quarantine keeps aside. They are not checked.
        previous: Profile of the previous batch, or None to leave out the rules that need it.
    """

    def check(table: OpenedTable) -> Report:
        report = validate(table, Contract.of_model(model), previous=previous)
        return relax_batch_report(with_personal(report, model.schema), tier_rules, model.label)

    try:
        table = open_batch(content, model.batches, batch)
        if model.quarantine == "rows":
            is_text = table.is_text
            return split_rows(
                frame_of(table), lambda rows: check(table_of(rows, source=batch, is_text=is_text)), excluded_rows
            )
        report = check(table)
    except MalformedError as error:
        report = unreadable(str(error))
    accepted = report if report.accepted and report.frame is not None else None
    return RowSplit(report, accepted, report.failing_rows)


def split_rows(
    table: pl.DataFrame, check: Callable[[pl.DataFrame], Report], excluded_rows: Collection[int] = ()
) -> RowSplit:
    """Split the failing rows off a batch.

    Args:
        table: All columns as they stand in the file.
        check: Function that checks a table against the contract.
        excluded_rows: Row numbers, from 1, that an earlier contract set aside and nobody released.
    """
    import polars as pl

    whole = check(table)
    report, rest, failing = whole, table, [whole.failing_rows.clear()]
    numbers = pl.Series("row", range(1, table.height + 1), dtype=pl.Int64)
    if excluded_rows:
        included = ~numbers.is_in(list(excluded_rows))
        rest, numbers = table.filter(included), numbers.filter(included)
        report = check(rest)
    for _ in range(_MAX_PASSES):
        if report.accepted and report.frame is not None and rest.height:
            return RowSplit(whole, report, pl.concat(failing).sort("row"))
        if report.failing_rows.is_empty() or any(map(_is_about_batch, report.findings)):
            return RowSplit(whole, None, whole.failing_rows)
        wrong = report.failing_rows["row"] - 1
        failing.append(report.failing_rows.with_columns(numbers.gather(wrong).alias("row")))
        passing = ~pl.int_range(rest.height, eager=True).is_in(wrong.to_list())
        rest, numbers = rest.filter(passing), numbers.filter(passing)
        report = check(rest)
    sentence = f"rows still fail after {_MAX_PASSES} passes, so the whole batch is rejected"
    too_many = Finding(None, "rows_set_aside", whole.rows, whole.rows, "block", sentence, "row_count", "compiled")
    return RowSplit(replace(whole, findings=(too_many, *whole.findings)), None, whole.failing_rows)


def personal_columns(findings: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the columns with personal data, according to findings as evidence holds them."""
    return {finding["column"] for finding in findings if finding.get("code") == "personal" and finding["column"]}


def _is_about_batch(finding: Finding) -> bool:
    about_batch = finding.code in _BATCH_CODES or finding.rule.startswith(_BATCH_RULES)
    return finding.tier == "block" and about_batch
