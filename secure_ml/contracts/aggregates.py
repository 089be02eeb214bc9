"""Rules about a whole column or table: which figures the one pass takes, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from secure_ml.contracts.checks import oldest
from secure_ml.contracts.engine_functions import engine_aggregate
from secure_ml.contracts.expressions import Cell, Unportable, count_where, inside
from secure_ml.contracts.rules import Rule

if TYPE_CHECKING:
    from secure_ml.contracts.binding import Bound

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


def aggregate(rule: Rule, bound: Bound) -> Aggregate | None:
    """Compile a rule about a whole column or table; None where it is about each row.

    Raises:
        Unportable: It does not compile over this type.
    """
    given = rule.parameters
    said = rule.description or f"do not satisfy {rule.kind}"
    if rule.kind == "row_count_between":
        return Aggregate(rule, said, {}, lambda _, rows: None if given["low"] <= rows <= given["high"] else rows)
    make = _MAKERS.get(rule.kind)
    if make is None:
        return None
    if rule.column is None:
        raise Unportable("it is not a rule of one column")
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
        raise Unportable(f"{cell.dtype} has no mean or quantile")
    value = cell.value.cast("float64")
    measure = value.mean() if rule.kind == "mean_between" else value.quantile(rule.parameters["quantile"])
    return {"value": measure}, lambda figures, rows: None if _inside(rule, figures["value"]) else rows


def _inside(rule: Rule, value: Any) -> bool:
    return value is not None and bool(rule.parameters["low"] <= float(value) <= rule.parameters["high"])


def _fresh(rule: Rule, cell: Cell) -> Made:
    if not cell.dtype.is_temporal():
        raise Unportable(f"{cell.dtype} is not a time")

    def failed(figures: Figures, rows: int) -> int | None:
        newest = figures["newest"]
        if isinstance(newest, datetime):
            newest = newest.astimezone(UTC).replace(tzinfo=None) if newest.tzinfo else newest
        elif isinstance(newest, date):
            newest = datetime(newest.year, newest.month, newest.day)
        return None if newest is not None and newest >= oldest(rule.parameters["age_s"]) else rows

    return {"newest": cell.value.max()}, failed


def _share(rule: Rule, cell: Cell) -> Made:
    given = rule.parameters
    if rule.kind == "token_fraction_between":
        if str(cell.dtype) != "String":
            raise Unportable(f"a rule of text does not run over {cell.dtype}")
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
        raise Unportable(f"engines do not agree on which values of {cell.dtype} are different")
    least = rule.kind == "distinct_at_least"

    def failed(figures: Figures, rows: int) -> int | None:
        count = int(figures["distinct"])
        return None if (count >= rule.parameters["count"] if least else count <= rule.parameters["count"]) else rows

    return {"distinct": cell.value.nunique()}, failed


def _exact_values(rule: Rule, cell: Cell) -> Made:
    expected = list(rule.parameters["values"])
    if not expected or len(expected) > _MAX_EXPECTED:
        raise Unportable(f"it expects none or more than {_MAX_EXPECTED} values")
    if any(value is None or value != value for value in expected):
        raise Unportable("it expects a missing value or NaN")
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
