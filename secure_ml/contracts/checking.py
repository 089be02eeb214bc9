"""A table of text against a model's contract, by the compiled engine: one report, and a typed frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from secure_ml.contracts.anomalies import with_comparisons
from secure_ml.contracts.compiled import run_rules
from secure_ml.contracts.findings import Report
from secure_ml.contracts.profile import Profile
from secure_ml.contracts.queries import fetch_polars
from secure_ml.contracts.rules import compile_rules
from secure_ml.contracts.slicing import Slice, with_slices
from secure_ml.contracts.tables import table_of
from secure_ml.spec import GuardedModel

if TYPE_CHECKING:
    import polars as pl

__all__ = ["check"]


def check(
    table: pl.DataFrame,
    model: GuardedModel,
    *,
    environment: str | None = None,
    previous: Profile | None = None,
    training: Profile | None = None,
    slices: Sequence[str | Slice] = (),
) -> Report:
    """Hold a table of text against the contract of `model`; bad data gives findings, never an exception.

    A column that the contract does not know is refused, whether the schema is strict or not: a batch has the columns
    that its model declares. For `previous`, `training` and `slices` see `find_anomalies`.
    """
    rules = replace(compile_rules(model.schema), strict=True)
    opened = table_of(table, where=model.name, text=True)
    report, bound = run_rules(opened, rules, environment=environment)
    fits = not any(finding.code in ("missing_column", "wrong_type") for finding in report.findings)
    frame = None
    if fits:
        columns = {item.name: (bound.keys[item.name], bound.cells[item.name].dtype) for item in bound.declared}
        frame = fetch_polars(bound.table, columns)
    report = with_comparisons(report, bound, model.schema, rules, previous=previous, training=training)
    report = with_slices(report, bound, opened, rules, environment=environment, more=slices)
    return replace(report, frame=frame)
