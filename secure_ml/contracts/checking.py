"""A table of text against a model's contract: types first, then the pandera schema, in one report.

pandera can be switched off from the environment, so its configuration is pinned here. Its errors carry the whole
frame; they never leave this file.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal

from secure_ml.contracts.findings import Finding, Report
from secure_ml.spec import GuardedModel

if TYPE_CHECKING:
    import polars as pl
    from pandera.errors import SchemaError

__all__ = ["check"]

_MAX_FAILING_ROWS = 1000
_MAX_NAME = 40


def check(table: pl.DataFrame, model: GuardedModel) -> Report:
    """Hold a table of text against the contract of `model`; bad data gives findings, never an exception."""
    import polars as pl

    rows = table.height
    schema = model.schema
    declared = list(schema.columns)
    shape = [
        Finding(None, f"column_present({name})", rows, rows, "block", f"{name}: column is missing")
        for name in declared
        if name not in table.columns and schema.columns[name].required
    ]
    shape += [
        Finding(None, "no_extra_column", rows, rows, "block", f"{name[:_MAX_NAME]!r}: column is not in the contract")
        for name in table.columns
        if name not in declared
    ]
    failing: dict[int, list[str]] = {}
    typed: dict[str, pl.Series] = {}
    findings = list(shape)
    for name in declared:
        if name not in table.columns:
            continue
        series, wrong = _cast(table[name], schema.columns[name].dtype)
        if wrong.any():
            kind = "numbers" if series.dtype.is_numeric() else f"of type {series.dtype}"
            count = int(wrong.sum())
            sentence = f"{name}: {count} of {rows} rows are not {kind}"
            findings.append(Finding(name, f"type({series.dtype})", count, rows, "block", sentence))
            _note(failing, wrong, f"{name}: not {kind}")
        typed[name] = series
    frame = pl.DataFrame(typed)
    if not findings:
        findings = _run(schema, frame, failing)
    findings.sort(key=lambda finding: (finding.tier != "block", -finding.failed))
    return Report(
        rows=rows,
        findings=tuple(findings),
        frame=frame if len(typed) == len(declared) and not any("type(" in item.rule for item in findings) else None,
        failing_rows=_failing_rows(table, failing),
    )


def _cast(text: pl.Series, dtype: Any) -> tuple[pl.Series, pl.Series]:
    """Return the typed column, and which cells are not of its type; NaN and infinities are no numbers."""
    import polars as pl

    native = getattr(dtype, "type", dtype)
    wanted = native if isinstance(native, pl.DataType) else native() if native is not None else pl.String()
    if wanted == pl.String():
        return text, pl.Series([False] * len(text), dtype=pl.Boolean)
    if wanted.is_integer():
        number = text.cast(pl.Float64, strict=False)
        series = text.cast(wanted, strict=False)
        whole = number.is_finite().fill_null(False) & (number == number.floor()).fill_null(False)
        series = series.fill_null(number.set(~whole, None).cast(wanted, strict=False))
    else:
        series = text.cast(wanted, strict=False)
    if wanted.is_float():
        series = series.set(~series.is_finite().fill_null(True), None)
    return series, text.is_not_null() & series.is_null()


def _run(schema: Any, frame: pl.DataFrame, failing: dict[int, list[str]]) -> list[Finding]:
    import polars as pl
    from pandera.config import ValidationDepth, config_context
    from pandera.errors import SchemaErrors

    strict = copy.deepcopy(schema)
    warn: dict[tuple[str | None, int], bool] = {}
    for column, part in [(None, strict), *strict.columns.items()]:
        for index, rule in enumerate(part.checks):
            warn[column, index] = bool(rule.raise_warning)
            rule.raise_warning = False
    try:
        with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
            strict.validate(frame, lazy=True)
    except SchemaErrors as errors:
        found: list[Finding] = []
        for error in errors.schema_errors:
            column = error.schema.name if error.schema.name in frame.columns else None
            warns = error.check_index is not None and warn.get((column, error.check_index), False)
            found += _findings(error, column, frame, "warn" if warns else "block", failing)
        return found
    except (pl.exceptions.PolarsError, TypeError, ValueError, AttributeError, KeyError) as error:
        sentence = f"the contract could not be run ({type(error).__name__}); mend the contract"
        return [Finding(None, "contract", frame.height, frame.height, "block", sentence)]
    return []


def _findings(
    error: SchemaError,
    column: str | None,
    frame: pl.DataFrame,
    tier: Literal["warn", "block"],
    failing: dict[int, list[str]],
) -> list[Finding]:
    import polars as pl

    rows = frame.height
    rule = error.check if isinstance(error.check, str) else getattr(error.check, "name", None) or "check"
    statistics = getattr(error.check, "statistics", None) or {}
    output = error.check_output
    if isinstance(output, pl.LazyFrame):
        output = output.collect()
    masks: list[tuple[str, pl.Series]] = []
    if isinstance(output, pl.DataFrame) and output.height == rows and output.width and rows > 1:
        wrong = ~output.to_series(output.width - 1).fill_null(True)
        masks = _plain(rule, statistics, frame[column] if column else None, wrong, error.check)
    elif column and rule.startswith("null_fraction"):
        masks = [(error.check.description, frame[column].is_null())]
    where = f"{column}: " if column else ""
    name = f"{rule}({', '.join(str(value) for value in statistics.values())})" if statistics else rule
    if not masks and output is None:
        said = "were not looked at: the rule could not be run; mend the contract"
        return [Finding(column, name, rows, rows, "block", f"{where}{rows} of {rows} rows {said}")]
    if not masks:
        said = getattr(error.check, "description", None) or f"do not satisfy {rule}"
        return [Finding(column, name, rows, rows, tier, f"{where}{rows} of {rows} rows {said}")]
    found = []
    for said, wrong in masks:
        count = int(wrong.sum())
        found.append(Finding(column, name, count, rows, tier, f"{where}{count} of {rows} rows {said}"))
        if tier == "block":
            _note(failing, wrong, f"{where}{said}")
    return found


def _plain(
    rule: str, statistics: dict[str, Any], series: pl.Series | None, wrong: pl.Series, given: Any
) -> list[tuple[str, pl.Series]]:
    """Say in plain words what a built-in rule found; a range is two rules."""
    low, high = statistics.get("min_value"), statistics.get("max_value")
    match rule:
        case "in_range" if series is not None:
            below = wrong & (series < low if statistics["include_min"] else series <= low)
            parts = [(f"below {low}", below), (f"above {high}", wrong & ~below)]
            return [(said, part) for said, part in parts if part.any()]
        case "greater_than_or_equal_to" | "greater_than":
            return [(f"{'below' if 'equal' in rule else 'not above'} {low}", wrong)]
        case "less_than_or_equal_to" | "less_than":
            return [(f"{'above' if 'equal' in rule else 'not below'} {high}", wrong)]
        case "isin":
            return [(f"outside the {len(statistics['allowed_values'])} allowed values", wrong)]
        case "not_nullable":
            return [("null", wrong)]
        case "field_uniqueness":
            return [("not unique", wrong)]
        case _:
            return [(getattr(given, "description", None) or f"do not satisfy {rule}", wrong)]


def _note(failing: dict[int, list[str]], wrong: pl.Series, reason: str) -> None:
    for index in wrong.arg_true().to_list():
        if index in failing or len(failing) < _MAX_FAILING_ROWS:
            failing.setdefault(index, []).append(reason)


def _failing_rows(table: pl.DataFrame, failing: dict[int, list[str]]) -> pl.DataFrame:
    import polars as pl

    indices = sorted(failing)
    picked = table[indices] if indices else table.clear()
    return picked.select(
        pl.Series("row", [index + 1 for index in indices], dtype=pl.Int64),
        pl.Series("reasons", ["; ".join(failing[index]) for index in indices], dtype=pl.String),
        *(pl.col(name).alias(f"cell_{name[:_MAX_NAME]}") for name in table.columns),
    )
