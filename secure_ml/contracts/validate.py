"""A batch's table against a model's contract, by the compiled engine: one report, and a typed frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from secure_ml.contracts.contract_file import Contract
from secure_ml.contracts.engine.drift import with_comparisons
from secure_ml.contracts.engine.run import run_rules
from secure_ml.contracts.engine.slices import Slice, with_slices
from secure_ml.contracts.findings import Finding, Report, in_order
from secure_ml.contracts.rules import compile_rules
from secure_ml.profiles.document import Profile
from secure_ml.spec import GuardedModel
from secure_ml.tables.queries import fetch_polars

if TYPE_CHECKING:
    import ibis
    import polars as pl

    from secure_ml.contracts.engine.binding import Bound

__all__ = ["check", "check_table", "find_anomalies"]


def check_table(table: ibis.Table, contract: Any, *, environment: str | None = None) -> Report:
    """Hold a table against a contract; bad data gives findings, never an exception.

    Args:
        table: From `open_table`, or of any ibis engine.
        contract: A `Contract`, or a pandera schema for Polars or pandas.
        environment: Where the table comes from, such as `training` or `serving`; None leaves environments out.

    Returns:
        No frame: the table may be larger than memory.

    Raises:
        MalformedError: The file behind the table cannot be read to its end.
        PreconditionError: The contract itself is wrong.
    """
    rules = compile_rules(contract.schema if isinstance(contract, Contract) else contract)
    report, bound = run_rules(table, rules, environment=environment)
    if not rules.slices:
        return report
    return with_slices(report, bound, table, rules, environment=environment)


def find_anomalies(
    table: ibis.Table,
    contract: Any,
    *,
    environment: str | None = None,
    previous: Profile | None = None,
    training: Profile | None = None,
    slices: Sequence[str | Slice] = (),
) -> Report:
    """Hold a table against a contract, against other data, and slice by slice; bad data gives findings.

    Args:
        table: From `open_table`, or of any ibis engine.
        contract: A `Contract`, or a pandera schema.
        environment: Where the table comes from, such as `training` or `serving`.
        previous: What drift is measured from.
        training: What skew is measured from.
        slices: Beside those that the contract names, see `with_slices`.

    Raises:
        MalformedError: The file behind the table cannot be read to its end.
        PreconditionError: The contract is wrong, or a slice cannot be made.
    """
    rules = compile_rules(getattr(contract, "schema", contract))
    report, bound = run_rules(table, rules, environment=environment)
    compared = with_comparisons(report, bound, rules, previous=previous, training=training)
    return with_slices(compared, bound, table, rules, environment=environment, more=slices)


def check(
    table: ibis.Table,
    model: GuardedModel,
    *,
    environment: str | None = None,
    previous: Profile | None = None,
    training: Profile | None = None,
    slices: Sequence[str | Slice] = (),
) -> Report:
    """Hold a batch against the contract of `model`; bad data gives findings, never an exception.

    Two things are refused whatever the contract says. A column that it does not know: a batch has the columns that its
    model declares. An infinite number in a feature: no request can hold one, and in text it is no number. For
    `previous`, `training` and `slices` see `find_anomalies`.

    Raises:
        MalformedError: The file behind the table cannot be read to its end.
    """
    rules = replace(compile_rules(model.schema), strict=True)
    report, bound = run_rules(table, rules, environment=environment)
    fits = not any(
        finding.code in ("missing_column", "wrong_type") or finding.rule.startswith("coerce")
        for finding in report.findings
    )
    frame = _frame(bound) if fits else None
    infinite = _infinite(frame, model) if frame is not None else []
    report = replace(report, findings=in_order((*infinite, *report.findings)))
    report = with_comparisons(report, bound, rules, previous=previous, training=training)
    report = with_slices(report, bound, table, rules, environment=environment, more=slices)
    return replace(report, frame=frame)


def _frame(bound: Bound) -> pl.DataFrame:
    """Return the contract's columns in its order, each of its type."""
    import polars as pl

    columns = {
        item.name: (bound.keys[item.name], bound.cells[item.name].dtype if item.name in bound.cells else dtype)
        for item in bound.declared
        for dtype in [bound.dtypes[item.name]]
    }
    frame = fetch_polars(bound.table, columns)
    # What pandera judged as a whole, it changed first: the same is done here, and it found that it can be.
    for item in bound.declared:
        if item.name in bound.whole:
            column = pl.col(item.name)
            if item.coerce and item.dtype is not None:
                column = column.cast(item.dtype.type)
            frame = frame.with_columns(column if item.default is None else column.fill_null(item.default))
    return frame


def _infinite(frame: pl.DataFrame, model: GuardedModel) -> list[Finding]:
    """Find the features with an infinite number, which a typed file may hold."""
    import polars as pl
    import polars.selectors as cs

    floats = [name for name in model.features if name in cs.expand_selector(frame, cs.float())]
    counts = frame.select(pl.col(floats).is_infinite().sum()).to_dicts()[0] if floats else {}
    said = f"of {frame.height} rows infinite, and no request can hold that"
    return [
        Finding(name, "finite", count, frame.height, "block", f"{name}: {count} {said}", "out_of_range", "screen")
        for name, count in counts.items()
        if count
    ]
