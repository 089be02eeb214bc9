"""One rule over one column, or two, as an ibis expression that DuckDB and Spark both run, meaning what Polars means.

Only what is known to mean the same is compiled: a comparison of a column with a figure of its own kind. Polars ignores
a missing cell in every comparison, takes NaN for the greatest number and equal to itself, and so do both engines. Where
Polars would first change a type (Decimal with a float, a time with another unit or zone, a category), the rule falls
back. A float is never written as a number into the query, where DuckDB would read a decimal: it is cast from text.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any

from secure_ml.contracts.checks import COMPARISONS
from secure_ml.contracts.regex_subset import portable
from secure_ml.contracts.rules import Rule
from secure_ml.errors import PreconditionError
from secure_ml.tables.cells import Cell
from secure_ml.tables.engine_functions import engine_aggregate

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "FailureMode",
    "UnsupportedRule",
    "compare_columns",
    "count_where",
    "failing_parts",
    "inside",
    "literal",
    "passes",
    "type_name",
]

_ORDERED: dict[str, tuple[str, str, str]] = {
    "greater_than": ("gt", "min_value", "not above"),
    "greater_than_or_equal_to": ("ge", "min_value", "below"),
    "less_than": ("lt", "max_value", "not below"),
    "less_than_or_equal_to": ("le", "max_value", "above"),
    "equal_to": ("eq", "value", "not equal to"),
    "not_equal_to": ("ne", "value", "equal to"),
}
_MAX_TYPE = 120
_DIGITS = Context(prec=80)  # Python's own stops at 28


class UnsupportedRule(Exception):  # noqa: N818 - a reason, caught by the compiler
    """A rule does not mean the same in every engine over this type; the message says why."""


def type_name(dtype: pl.DataType) -> str:
    """Return a type of the table for a sentence: an enumeration's categories are cells, an extension holds any text."""
    text = str(dtype)
    hidden = len(text) > _MAX_TYPE or "Enum(" in text or "Extension(" in text
    return type(dtype).__name__ if hidden else text


@dataclass(frozen=True, slots=True)
class FailureMode:
    """One way in which rows fail a rule.

    Attributes:
        said: What to say, after "n of m rows".
        fails: Which rows, as an ibis boolean.
        present: Where only missing cells fail, how many are not missing: a count that needs no look at the cells.
    """

    said: str
    fails: Any
    present: Any = None


def count_where(condition: Any) -> Any:
    """Count the rows in which an ibis boolean is true.

    Both engines have `count_if`; in DuckDB a filtered `COUNT(*)` takes half as long again.
    """
    return engine_aggregate("count_if", "boolean", "int64")(condition).fill_null(0)  # null where there are no rows


def literal(value: Any, dtype: pl.DataType, *, exact: bool = False) -> Any:
    """Return a figure of a rule as an ibis value that compares with a column of type `dtype` as in Polars.

    Args:
        value: From the contract.
        dtype: The column's.
        exact: Whether a whole number does not stand for a float, nor the other way round, as in `isin`.

    Raises:
        UnsupportedRule: The two do not compare the same way everywhere.
    """
    import ibis
    import polars as pl

    match value:
        case bool() if dtype == pl.Boolean:
            return ibis.literal(value)
        case bool():
            pass
        case int() if dtype.is_integer() and (0 if dtype.is_unsigned_integer() else -(2**63)) <= value < 2**63:
            return ibis.literal(value)
        case float() if dtype.is_integer() and not exact:
            return _float(value, "float64")
        case float() if dtype.is_float():
            return _float(value, "float32" if dtype == pl.Float32 and not exact else "float64")
        case int() if dtype.is_float() and not exact and abs(value) < 2**63:
            return _float(float(value), "float32" if dtype == pl.Float32 else "float64")
        case str() if dtype == pl.String and "\x00" not in value:
            return ibis.literal(value)
        case datetime() if isinstance(dtype, pl.Datetime) and (  # Polars compares nanoseconds as microseconds
            dtype.time_unit == "us" or (dtype.time_unit == "ms" and value.microsecond % 1000 == 0)
        ):
            if (dtype.time_zone is None and value.tzinfo is None) or (dtype.time_zone == "UTC" and value.tzinfo == UTC):
                return ibis.literal(value)
        case date() if dtype == pl.Date and not isinstance(value, datetime):
            return ibis.literal(value)
        case int() | Decimal() if isinstance(dtype, pl.Decimal):
            return _decimal(Decimal(value), dtype)
    raise UnsupportedRule(
        f"a {type(value).__name__} does not compare the same way with {type_name(dtype)} in every engine"
    )


def _float(value: float, kind: str) -> Any:
    import ibis
    import numpy as np

    if kind == "float32":
        with np.errstate(over="ignore"):
            value = float(np.float32(value))
    text = repr(value) if math.isfinite(value) else "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"
    return ibis.literal(text).cast(kind)


def _decimal(value: Decimal, dtype: pl.Decimal) -> Any:
    import ibis

    scale, precision = dtype.scale, dtype.precision or 38
    unit = Decimal(1).scaleb(-scale)
    if (
        not value.is_finite()
        or abs(value) >= Decimal(10) ** (precision - scale)
        or value != value.quantize(unit, None, _DIGITS)
    ):
        raise UnsupportedRule(f"the figure is not one of {dtype}")
    return ibis.literal(str(value.quantize(unit, None, _DIGITS))).cast(f"decimal({precision}, {scale})")


def _as_compared(cell: Cell, value: Any) -> Any:
    """Return the column, as a float where Polars compares it as one."""
    return cell.value.cast("float64") if isinstance(value, float) and cell.dtype.is_integer() else cell.value


def _text(cell: Cell) -> Any:
    import polars as pl

    if cell.dtype != pl.String:
        raise UnsupportedRule(f"a rule of text does not run over {type_name(cell.dtype)}")
    return cell.value


def inside(cell: Cell, values: Collection[Any]) -> Any:
    """Return the ibis boolean that a cell holds one of the values; null where it is missing.

    Raises:
        UnsupportedRule: The list is empty, or a value is not of the column's own kind.
    """
    import polars as pl

    given = [literal(value, cell.dtype, exact=True) for value in values if value is not None]
    if not given:
        raise UnsupportedRule("the list is empty")
    # Polars compares a list with a column of single precision in double precision.
    value = cell.value.cast("float64") if cell.dtype == pl.Float32 else cell.value
    return value.isin(given)


def _length(cell: Cell, given: Mapping[str, Any]) -> Any:
    length = _text(cell).length()
    exact, low, high = given.get("exact_value"), given.get("min_value"), given.get("max_value")
    if exact is not None:
        return length == int(exact)
    if low is None:
        return length <= high
    return length >= low if high is None else (length >= low) & (length <= high)


def passes(rule: Rule, cell: Cell) -> Any:
    """Return the ibis boolean that a row satisfies a rule of one column; null where the cell is missing.

    Raises:
        UnsupportedRule: The rule does not compile over this type.
    """
    given = rule.parameters
    if rule.kind in _ORDERED:
        named, key, _ = _ORDERED[rule.kind]
        return getattr(operator, named)(_as_compared(cell, given[key]), literal(given[key], cell.dtype))
    match rule.kind:
        case "in_range":
            low, high = _range(rule, cell)
            return low & high
        case "isin":
            return inside(cell, given["allowed_values"])
        case "notin":
            return ~inside(cell, given["forbidden_values"])
        case "str_matches":
            pattern = getattr(given["pattern"], "pattern", given["pattern"])
            return _search(_text(cell), pattern if pattern.startswith("^") else f"^{pattern}")
        case "str_contains":
            return _search(_text(cell), getattr(given["pattern"], "pattern", given["pattern"]))
        case "str_startswith":
            return _text(cell).startswith(given["string"])
        case "str_endswith":
            return _text(cell).endswith(given["string"])
        case "str_length":
            return _length(cell, given)
        case "items_between":
            if cell.dtype.base_type() is not _list_type():
                raise UnsupportedRule(f"{type_name(cell.dtype)} has no items")
            return cell.value.length().between(given["low"], given["high"])
    raise UnsupportedRule("it is not a rule of each row")


def _list_type() -> Any:
    import polars as pl

    return pl.List


def _search(text: Any, pattern: str) -> Any:
    try:
        return text.re_search(portable(pattern))
    except PreconditionError as error:
        raise UnsupportedRule(str(error)) from None


def _range(rule: Rule, cell: Cell) -> tuple[Any, Any]:
    given = rule.parameters
    low, high = given["min_value"], given["max_value"]
    above = (operator.ge if given.get("include_min", True) else operator.gt)(
        _as_compared(cell, low), literal(low, cell.dtype)
    )
    below = (operator.le if given.get("include_max", True) else operator.lt)(
        _as_compared(cell, high), literal(high, cell.dtype)
    )
    return above, below


def _form(dtype: pl.DataType) -> str:
    """Say how text of a type is written, see `typing_text`."""
    import polars as pl

    if dtype.is_integer():
        return f"whole numbers such as 1234 ({dtype})"
    if isinstance(dtype, pl.Decimal):
        return f"numbers such as 1234 with at most {dtype.scale} digits after a point"
    if dtype.is_numeric():
        return "numbers such as 1234.5"
    if dtype == pl.Boolean:
        return "true or false"
    if dtype == pl.Date:
        return "dates such as 2026-01-31"
    if isinstance(dtype, pl.Datetime):
        return f"times such as 2026-01-31T12:30:15{'' if dtype.time_zone is None else '+01:00'}"
    return f"of type {type_name(dtype)}"


def failing_parts(rule: Rule, cell: Cell) -> tuple[FailureMode, ...]:
    """Return in which ways rows fail a rule of one column, said in plain words; no row is in two.

    Raises:
        UnsupportedRule: The rule does not compile over this type.
    """
    given = rule.parameters
    if rule.kind == "not_nullable":
        if cell.unparsable is None and not cell.dtype.is_float():
            return (FailureMode("null", cell.missing, cell.value.count()),)
        if cell.unparsable is None:
            return (FailureMode("null or NaN", cell.missing | cell.value.isnan()),)
        return (FailureMode("null", cell.missing),)
    if rule.kind == "type" and cell.unparsable is not None:
        return (FailureMode(f"not {_form(cell.dtype)}", cell.unparsable),)
    if rule.kind == "in_range" and rule.ignore_na:
        low, high = _range(rule, cell)
        return (
            FailureMode(f"below {given['min_value']}", ~low),
            FailureMode(f"above {given['max_value']}", low & ~high),
        )
    passed = passes(rule, cell)
    fails = ~passed if rule.ignore_na else ~passed.fill_null(False)
    if rule.kind in _ORDERED:
        _, key, words = _ORDERED[rule.kind]
        return (FailureMode(f"{words} {given[key]}", fails),)
    if rule.kind == "isin":
        return (FailureMode(f"outside the {len(given['allowed_values'])} allowed values", fails),)
    if rule.kind == "notin":
        return (FailureMode(f"among the {len(given['forbidden_values'])} forbidden values", fails),)
    return (FailureMode(rule.description or f"do not satisfy {rule.kind}", fails),)


def compare_columns(rule: Rule, left: Cell, right: Cell) -> FailureMode:
    """Return which rows break `columns_compare`.

    Raises:
        UnsupportedRule: The two types do not compare the same way everywhere.
    """
    import polars as pl

    a, b = left.dtype, right.dtype
    plain = (
        (a == b and (a.is_numeric() or a in (pl.String, pl.Boolean, pl.Date) or isinstance(a, pl.Datetime)))
        or (a.is_signed_integer() and b.is_signed_integer())
        or (pl.Float64 in (a, b) and (a.is_integer() or b.is_integer()))
    )
    if not plain:
        raise UnsupportedRule(f"{type_name(a)} and {type_name(b)} do not compare the same way in every engine")
    values = [
        cell.value.cast("float64") if cell.dtype.is_integer() and pl.Float64 in (a, b) else cell.value
        for cell in (left, right)
    ]
    passed = getattr(operator, COMPARISONS[rule.parameters["operator"]])(*values)
    return FailureMode(rule.description or "do not satisfy", ~passed if rule.ignore_na else ~passed.fill_null(False))
