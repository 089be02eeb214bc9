"""Rules about a whole column or table: which figures the one pass takes, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

from secure_ml.contracts.checks import oldest
from secure_ml.contracts.engine.row_rules import UnsupportedRule, count_where, inside, type_name
from secure_ml.contracts.rules import Rule
from secure_ml.tables.cells import Cell
from secure_ml.tables.engine_functions import engine_aggregate

if TYPE_CHECKING:
    from secure_ml.contracts.engine.binding import BoundContract

__all__ = ["Aggregate", "aggregate"]

Figures = Mapping[str, Any]
_MAX_EXPECTED = 50


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A compiled rule about a whole column.

    Attributes:
        rule: The rule.
        said: What to say where it failed, after "n of m rows".
        measures: Name to ibis scalar.
        failed: From the figures and the number of rows, how many rows to name; None where the rule is satisfied.
    """

    rule: Rule
    said: str
    measures: dict[str, Any]
    failed: Callable[[Figures, int], int | None]


def aggregate(rule: Rule, bound: BoundContract) -> Aggregate | None:
    """Compile a rule about a whole column or table; None where it is about each row.

    Raises:
        UnsupportedRule: It does not compile over this type.
    """
    given = rule.parameters
    said = rule.description or f"do not satisfy {rule.kind}"
    if rule.kind == "row_count_between":
        return Aggregate(rule, said, {}, lambda _, rows: None if given["low"] <= rows <= given["high"] else rows)
    make = _MAKERS.get(rule.kind)
    if make is None:
        return None
    if rule.column is None:
        raise UnsupportedRule("it is not a rule of one column")
    measures, failed = make(rule, bound.cells[rule.column])
    return Aggregate(rule, said, measures, failed)


Made = tuple[dict[str, Any], Callable[[Figures, int], int | None]]


def _nulls(rule: Rule, cell: Cell) -> Made:
    fraction = rule.parameters["fraction"]

    def failed(figures: Figures, rows: int) -> int | None:
        nulls = int(figures["nulls"])
        return nulls if rows and not nulls / rows <= fraction else None

    return {"nulls": count_where(cell.missing)}, failed


def _value(rule: Rule, cell: Cell) -> Made:
    if not cell.dtype.is_numeric():
        raise UnsupportedRule(f"{type_name(cell.dtype)} has no mean or quantile")
    import numpy as np
    import polars as pl

    value = cell.value.cast("float64")
    single = cell.dtype == pl.Float32  # of which Polars takes every figure in single precision
    kind: Callable[[float], Any] = np.float32 if single else float
    measure = value.mean() if rule.kind == "mean_between" else value.quantile(rule.parameters["quantile"])
    low, high = kind(rule.parameters["low"]), kind(rule.parameters["high"])

    def failed(figures: Figures, rows: int) -> int | None:
        value = figures["value"]
        return None if value is not None and low <= kind(value) <= high else rows

    return {"value": measure}, failed


def _fresh(rule: Rule, cell: Cell) -> Made:
    import ibis
    import polars as pl

    since: Any = oldest(rule.parameters["age_s"])
    match cell.dtype:
        case pl.Date():
            since = (since + timedelta(days=1, microseconds=-1)).date()  # a day is its midnight
        case pl.Datetime(time_unit="us" | "ms", time_zone=zone):
            since = since if zone is None else since.replace(tzinfo=UTC)
        case _:
            raise UnsupportedRule(f"{type_name(cell.dtype)} does not compare the same way with a time in every engine")
    # The engine compares: it holds times that Python cannot, such as one in the year 10000.
    fresh = cell.value.max() >= ibis.literal(since)
    return {"fresh": fresh}, lambda figures, rows: None if figures["fresh"] else rows


def _share(rule: Rule, cell: Cell) -> Made:
    given = rule.parameters
    if rule.kind == "token_fraction_between":
        if str(cell.dtype) != "String":
            raise UnsupportedRule(f"a rule of text does not run over {type_name(cell.dtype)}")
        hit = cell.value.contains(given["token"])
    else:
        known = given["values"] if rule.kind == "value_fraction_between" else given["vocabulary"]
        hit = inside(cell, known) if rule.kind == "value_fraction_between" else ~inside(cell, known)

    def failed(figures: Figures, rows: int) -> int | None:
        hits, valid = int(figures["hits"]), int(figures["valid"])
        if not valid:
            return rows
        if rule.kind == "out_of_vocabulary_at_most":
            return None if hits / valid <= given["fraction"] else hits
        return None if given["low"] <= hits / valid <= given["high"] else rows

    return {"hits": count_where(hit), "valid": cell.value.count()}, failed


def _distinct(rule: Rule, cell: Cell) -> Made:
    if cell.dtype.is_float() or cell.dtype.is_nested():
        raise UnsupportedRule(f"engines do not agree on which values of {type_name(cell.dtype)} are different")
    least = rule.kind == "distinct_at_least"

    def failed(figures: Figures, rows: int) -> int | None:
        count = int(figures["distinct"])
        return None if (count >= rule.parameters["count"] if least else count <= rule.parameters["count"]) else rows

    return {"distinct": cell.value.nunique()}, failed


def _exact_values(rule: Rule, cell: Cell) -> Made:
    expected = list(rule.parameters["values"])
    if not expected or len(expected) > _MAX_EXPECTED:
        raise UnsupportedRule(f"it expects none or more than {_MAX_EXPECTED} values")
    if any(value is None or value != value for value in expected):
        raise UnsupportedRule("it expects a missing value or NaN")
    import ibis

    bits = [(inside(cell, [value]), ibis.literal(1 << index, "int64")) for index, value in enumerate(expected)]
    another = (cell.value.notnull(), ibis.literal(1 << len(expected), "int64"))

    def failed(figures: Figures, rows: int) -> int | None:
        return None if figures["seen"] == (1 << len(expected)) - 1 else rows

    return {"seen": engine_aggregate("bit_or", "int64", "int64")(ibis.cases(*bits, another))}, failed


_MAKERS: dict[str, Callable[[Rule, Cell], Made]] = {
    "null_fraction_at_most": _nulls,
    "mean_between": _value,
    "quantile_between": _value,
    "fresh_within": _fresh,
    "value_fraction_between": _share,
    "token_fraction_between": _share,
    "out_of_vocabulary_at_most": _share,
    "unique_values_eq": _exact_values,
    "distinct_at_least": _distinct,
    "distinct_at_most": _distinct,
}
