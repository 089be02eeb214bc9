"""Validate a table against a data contract: one report, for a file, a batch of a model, or a table of any engine."""

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
from secure_ml.tables.opened_table import OpenedTable
from secure_ml.tables.queries import fetch_polars

if TYPE_CHECKING:
    import ibis
    import polars as pl

    from secure_ml.contracts.engine.binding import BoundContract

__all__ = ["validate"]


def validate(
    table: ibis.Table | OpenedTable,
    contract: Any,
    *,
    environment: str | None = None,
    previous: Profile | None = None,
    training: Profile | None = None,
    slices: Sequence[str | Slice] = (),
) -> Report:
    """Validate a table against a contract. Bad data gives findings, never an exception.

    Args:
        table: A table from `open_table` or `open_batch`, or a table of any ibis engine.
        contract: A `Contract`, or a pandera schema for Polars or pandas. `Contract.of_model(model)` is the contract of
            a model.
        environment: Where the table comes from, such as `training` or `serving`. None ignores environments.
        previous: Profile of the previous batch, from which drift is measured.
        training: Profile of the training data, from which skew is measured.
        slices: Slices in addition to those of the contract, see `engine.slices`.

    Returns:
        The report. It holds a typed frame only if the contract is a model's: any other table may exceed the memory.

    Raises:
        MalformedError: If the file cannot be read to its end.
        PreconditionError: If the contract is invalid, or a slice cannot be made.
    """
    contract = contract if isinstance(contract, Contract) else Contract.of_schema(contract)
    rules = compile_rules(contract.schema)
    rules = replace(rules, strict=True) if contract.of_batch else rules
    report, bound = run_rules(OpenedTable.from_table(table), rules, environment=environment)
    frame = _typed_frame(bound, report) if contract.of_batch else None
    if frame is not None:
        report = replace(report, findings=in_order((*_infinite(frame, contract.finite), *report.findings)))
    report = with_comparisons(report, bound, rules, previous=previous, training=training)
    report = with_slices(report, bound, rules, environment=environment, more=slices)
    return replace(report, frame=frame)


def _typed_frame(bound: BoundContract, report: Report) -> pl.DataFrame | None:
    """Return the contract's columns in its order, each of its type, or None if columns or types do not fit."""
    import polars as pl

    if any(
        finding.code in ("missing_column", "wrong_type") or finding.rule.startswith("coerce")
        for finding in report.findings
    ):
        return None
    columns = {
        item.name: (bound.keys[item.name], bound.cells[item.name].dtype if item.name in bound.cells else dtype)
        for item in bound.declared
        for dtype in [bound.dtypes[item.name]]
    }
    frame = fetch_polars(bound.opened, bound.table, columns)
    # pandera changed these columns before it judged them, and found that it could. The same change is made here.
    for item in bound.declared:
        if item.name in bound.pandera_columns:
            column = pl.col(item.name)
            if item.coerce and item.dtype is not None:
                column = column.cast(item.dtype.type)
            frame = frame.with_columns(column if item.default is None else column.fill_null(item.default))
    return frame


def _infinite(frame: pl.DataFrame, names: Sequence[str]) -> list[Finding]:
    """Find the columns with an infinite number, which a typed file may hold and a request cannot."""
    import polars as pl
    import polars.selectors as cs

    floats = [name for name in names if name in cs.expand_selector(frame, cs.float())]
    counts = frame.select(pl.col(floats).is_infinite().sum()).to_dicts()[0] if floats else {}
    message = f"of {frame.height} rows infinite, and no request can hold that"
    return [
        Finding(name, "finite", count, frame.height, "block", f"{name}: {count} {message}", "out_of_range", "screen")
        for name, count in counts.items()
        if count
    ]
