"""Verdicts of two engines in one form, to hold them against each other: (column, kind of rule) -> failed rows.

A rule over a whole column or table (a mean, a share of nulls) has no failing rows: `WHOLE` stands for its count.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl

from secure_ml.contracts.findings import Finding

__all__ = ["WHOLE", "Verdict", "by_pandera", "of_findings"]

Verdict = dict[tuple[str | None, str], int]
WHOLE = -1
WHOLE_KINDS = frozenset(
    {
        "type",
        "column_present",
        "unique_values_eq",
        "null_fraction_at_most",
        "mean_between",
        "quantile_between",
        "row_count_between",
        "fresh_within",
        "value_fraction_between",
        "token_fraction_between",
        "distinct_at_least",
        "distinct_at_most",
        "out_of_vocabulary_at_most",
    }
)


def by_pandera(schema: Any, frame: pl.DataFrame) -> tuple[Verdict, set[tuple[str | None, str]]]:
    """Return what pandera's Polars backend finds, warnings too, and the rules that it cannot run.

    Each rule is run alone: pandera 0.35 fails to report together what fails in columns of different types.
    """
    verdict: Verdict = {}
    cannot: set[tuple[str | None, str]] = set()
    for column, part in _parts(schema):
        try:
            error = _first_error(part, frame)
        except (pl.exceptions.PolarsError, TypeError):
            cannot |= {(column, _name(check)) for check in _checks(part)}
            continue
        if error is None:
            continue
        kind = _kind(error)
        if error.reason_code.name == "CHECK_ERROR":
            cannot.add((column, kind))
        else:
            verdict[column, kind] = WHOLE if kind in WHOLE_KINDS else _failed(error)
    return verdict, cannot


def _parts(schema: Any) -> Iterator[tuple[str | None, Any]]:
    """Yield the column and a schema of one rule each."""
    import pandera.polars as pa

    for name, column in schema.columns.items():

        def alone(name: str = name, **rule: Any) -> Any:
            return pa.DataFrameSchema({name: pa.Column(nullable=rule.pop("nullable", True), **rule)})

        if column.required:
            yield name, alone()
        if column.dtype is not None:
            yield name, alone(dtype=column.dtype.type, required=False)
        if not column.nullable:
            yield name, alone(nullable=False, required=False)
        if column.unique:
            yield name, alone(unique=True, required=False)
        for check in column.checks:
            yield name, alone(checks=[_blocking(check)], required=False)
    if schema.unique:
        yield None, pa.DataFrameSchema(unique=schema.unique)
    for check in schema.checks:
        yield None, pa.DataFrameSchema(checks=[_blocking(check)])


def _blocking(check: Any) -> Any:
    twin = copy.copy(check)
    twin.raise_warning = False
    return twin


def _checks(part: Any) -> list[Any]:
    return [*part.checks, *(check for column in part.columns.values() for check in column.checks)]


def _first_error(part: Any, frame: pl.DataFrame) -> Any:
    from pandera.config import ValidationDepth, config_context
    from pandera.errors import SchemaError

    try:
        with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
            part.validate(frame)
    except SchemaError as error:
        return error
    return None


def _name(check: Any) -> str:
    return str(check.name).split("(")[0]


def _kind(error: Any) -> str:
    kind = error.check.split("(")[0] if isinstance(error.check, str) else _name(error.check)
    return {"dtype": "type", "column_in_dataframe": "column_present"}.get(kind, kind)


def _failed(error: Any) -> int:
    output = error.check_output
    if isinstance(output, pl.LazyFrame):
        output = output.collect()
    if output is None:
        return int(error.failure_cases.height)
    return int((~output.to_series(output.width - 1)).sum())


def of_findings(findings: Iterable[Finding]) -> Verdict:
    """Return findings as a verdict; a range that is reported below and above counts once."""
    verdict: Verdict = {}
    for finding in findings:
        key = finding.column, finding.rule.split("(")[0]
        verdict[key] = WHOLE if key[1] in WHOLE_KINDS else verdict.get(key, 0) + finding.failed
    return verdict
