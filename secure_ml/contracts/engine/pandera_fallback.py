"""Rules that cannot be compiled: pandera runs them on Polars (a pandas schema's on pandas), its configuration pinned.

The columns that a rule needs are read into memory; the rest of the table is not. pandera can be switched off and its
backend exchanged from the environment, and its errors carry the whole frame: neither leaves this file.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from secure_ml.contracts.findings import MAX_FAILING_ROWS, MAX_FIRST_ROWS, Finding, ReasonCode, prefix
from secure_ml.contracts.rules import Rule, Rules
from secure_ml.tables.queries import fetch_polars

if TYPE_CHECKING:
    import polars as pl

    from secure_ml.contracts.engine.binding import BoundContract

__all__ = ["FallbackResult", "judge_check", "judge_column"]


@dataclass(frozen=True, slots=True)
class FallbackResult:
    """What pandera found.

    Attributes:
        findings: One for each failed rule.
        failing: For blocking rules, what to say and which rows, counted from 0.
    """

    findings: tuple[Finding, ...]
    failing: tuple[tuple[str, Sequence[int]], ...] = ()


@contextmanager
def _pinned() -> Iterator[None]:
    """pandera as it is meant to be, whatever the environment says."""
    import pandera.polars
    from pandera.config import CONFIG, ValidationDepth, config_context, set_config

    if CONFIG.use_narwhals_backend:
        set_config(use_narwhals_backend=False)
    with (
        warnings.catch_warnings(),
        config_context(
            validation_enabled=True,
            validation_depth=ValidationDepth.SCHEMA_AND_DATA,
            use_narwhals_backend=False,
        ),
    ):
        warnings.simplefilter("ignore", pandera.errors.SchemaWarning)
        yield


def judge_check(bound: BoundContract, rule: Rule, rows: int, *, pandas: bool, typed: bool) -> FallbackResult:
    """Run one check; a check that raises counts as failed by all rows.

    Args:
        bound: The contract over the table.
        rule: What is to be run.
        rows: Of the table.
        pandas: Whether the check was written for pandas.
        typed: Whether nothing that blocks was said of its columns' types; else a check that raises adds nothing.
    """
    from polars.exceptions import PanicException  # no `Exception`: what Polars says of a time that Python cannot hold

    alone = rule.column is not None and rule.check.groupby is None  # pandas: groups are made by other columns
    names = [str(rule.column)] if alone else list(rule.parameters.get("columns", bound.names))
    names = [name for name in names if name in bound.names]
    frame = fetch_polars(bound.opened, bound.table, {name: (bound.keys[name], _dtype(bound, name)) for name in names})
    try:
        with _pinned():
            passed = _run(rule, _changed(frame, bound), pandas=pandas)
    except (Exception, PanicException) as error:  # noqa: BLE001 - a user's own check may raise anything, as in pandera
        return FallbackResult((_not_run(rule.column, rule.name, rows, type(error).__name__),) if typed else ())
    return _judged(rule, passed, rows)


def _changed(frame: pl.DataFrame, bound: BoundContract) -> pl.DataFrame:
    """Coerce the columns that only pandera can, and fill in their defaults: a rule of the table sees them so."""
    import polars as pl
    from pandera.api.polars.types import PolarsData

    changed = frame.lazy()
    for column in bound.declared:
        if column.name not in bound.pandera_columns or column.name not in frame.columns:
            continue
        if column.default is not None:
            default = pl.lit(column.default, dtype=column.dtype.type)
            filled = pl.col(column.name)
            filled = filled.fill_nan(default) if frame[column.name].dtype.is_float() else filled
            changed = changed.with_columns(filled.fill_null(default))
        if column.coerce:
            changed = column.dtype.coerce(PolarsData(changed, column.name))
    return changed.collect()


def _run(rule: Rule, frame: pl.DataFrame, *, pandas: bool) -> pl.Series:
    import polars as pl

    if rule.kind == "multiple_fields_uniqueness":
        return ~frame.is_duplicated()
    if pandas:
        given = frame.to_pandas()
        of = (given, rule.column) if rule.check.groupby is not None else (given[rule.column] if rule.column else given,)
        output = rule.check(*of).check_output
        if hasattr(output, "columns"):
            output = output.all(axis="columns")
        return pl.Series([bool(output)] if not hasattr(output, "to_numpy") else output.to_numpy(), dtype=pl.Boolean)
    result = rule.check(frame.lazy(), *([rule.column] if rule.column is not None else []))
    frame = result.check_output.collect()
    return frame.to_series(frame.width - 1).fill_null(True)


def _dtype(bound: BoundContract, name: str) -> pl.DataType:
    return bound.cells[name].dtype if name in bound.cells else bound.dtypes[name]


def _not_run(column: str | None, rule: str, rows: int, error: str) -> Finding:
    said = f"were not looked at: the rule could not be run ({error}); mend the contract"
    return Finding(
        column, rule, rows, rows, "block", f"{prefix(column)}{rows} of {rows} rows {said}", "check", "pandera"
    )


def _judged(rule: Rule, passed: pl.Series, rows: int) -> FallbackResult:
    if bool(passed.all()):
        return FallbackResult(())
    said = rule.description or f"do not satisfy {rule.kind}"
    each = len(passed) == rows
    failed = int((~passed).sum()) if each else rows
    sentence = f"{prefix(rule.column)}{failed} of {rows} rows {said}"
    places = (~passed).arg_true().head(MAX_FAILING_ROWS).to_list() if each else []
    first = tuple(place + 1 for place in places[:MAX_FIRST_ROWS])
    finding = Finding(rule.column, rule.name, failed, rows, rule.tier, sentence, rule.code, "pandera", first)
    listed = places if rule.tier == "block" else []
    return FallbackResult((finding,), ((f"{prefix(rule.column)}{said}", listed),) if listed else ())


def judge_column(bound: BoundContract, rules: Rules, name: str, rows: int) -> FallbackResult:
    """Run all rules of a column that pandera changes before it judges, such as one that is coerced from text."""
    import polars as pl
    from pandera.errors import SchemaErrors

    column = next(item for item in bound.declared if item.name == name)
    own = [next(rule for rule in rules.rules if rule.check is check) for check in column.schema.checks]
    schema = copy.deepcopy(column.schema)
    for index, copied in enumerate(schema.checks):
        copied.raise_warning = False
        copied.place = index  # pandera copies a check before it names it in an error
    schema.name, schema.regex, schema.coerce = name, False, column.coerce
    frame: Any = fetch_polars(bound.opened, bound.table, {name: (bound.keys[name], bound.dtypes[name])})
    made = _schema_of(schema, name, pandas=rules.pandas)
    try:
        with _pinned():
            made.validate(frame.to_pandas() if rules.pandas else frame, lazy=True)
    except SchemaErrors as errors:
        judged: list[FallbackResult] = []
        for error in errors.schema_errors:
            place = getattr(error.check, "place", None)
            if place is not None:
                rule = replace(own[place], column=name)
            else:
                kind = str(error.check).split("(")[0]
                code = _CORE_CODES.get(kind, "wrong_type")
                said = {"not_nullable": "null", "field_uniqueness": "not unique"}.get(kind, "cannot be coerced")
                rule = Rule(name, kind, {}, column.tier, code, description=said)
            output = error.check_output
            if output is None and rule.code == "wrong_type":
                sentence = f"{name}: column is not of type {column.dtype}"
                judged.append(
                    FallbackResult((Finding(name, rule.name, rows, rows, rule.tier, sentence, "wrong_type"),))
                )
                continue
            if output is None:
                judged.append(FallbackResult((_not_run(name, rule.name, rows, "error"),)))
                continue
            output = output.collect() if isinstance(output, pl.LazyFrame) else output
            if isinstance(output, pl.DataFrame):
                output = output.to_series(output.width - 1)
            passed = pl.Series(output if isinstance(output, pl.Series) else output.to_numpy(), dtype=pl.Boolean)
            judged.append(_judged(rule, passed.fill_null(True), rows))
        return FallbackResult(
            tuple(finding for item in judged for finding in item.findings),
            tuple(failing for item in judged for failing in item.failing),
        )
    except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001 - see judge_check
        return FallbackResult((_not_run(name, "coerce", rows, type(error).__name__),))
    return FallbackResult(())


_CORE_CODES: dict[str, ReasonCode] = {"not_nullable": "missing_values", "field_uniqueness": "duplicates"}


def _schema_of(column: Any, name: str, *, pandas: bool) -> Any:
    if pandas:
        import pandera.pandas as of_pandas

        return of_pandas.DataFrameSchema({name: column})
    import pandera.polars as of_polars

    return of_polars.DataFrameSchema({name: column})
