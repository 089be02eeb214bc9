"""Ready pandera checks over a whole column or table, for contracts on Polars; each of them compiles.

A check of this file is an ordinary pandera check: pandera runs it on Polars as it stands. It carries its kind and its
figures, so that `contracts.rules` can compile it. Shares are of the cells that are not missing, but for
`null_fraction_at_most`. Where there is no value to judge, a rule about values fails: nothing is no evidence.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

import pandera.polars as pa
import polars as pl

from secure_ml.errors import PreconditionError

__all__ = [
    "COMPARISONS",
    "columns_compare",
    "distinct_at_least",
    "distinct_at_most",
    "fresh_within",
    "items_between",
    "mean_between",
    "no_duplicate_rows",
    "null_fraction_at_most",
    "oldest",
    "out_of_vocabulary_at_most",
    "quantile_between",
    "ready",
    "row_count_between",
    "token_fraction_between",
    "value_fraction_between",
]

COMPARISONS: dict[str, str] = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
"""Comparison between two columns to the name of its method, in Polars."""


def ready(check: Any) -> tuple[str, dict[str, Any]] | None:
    """Return kind and figures of a check that was made here, None for any other."""
    function = check._check_fn
    if isinstance(function, partial) and function.func is _run:
        kind, parameters = function.args
        return kind, parameters
    return None


def _run(kind: str, given: dict[str, Any], data: pa.PolarsData) -> pl.LazyFrame:
    """Return one column of booleans: one for the table, or one for each row."""
    return data.lazyframe.select(_expression(kind, given, pl.col(data.key)).alias("check_output"))


def _expression(kind: str, given: dict[str, Any], column: pl.Expr) -> Any:
    match kind:
        case "null_fraction_at_most":
            return (column.is_null().mean() <= given["fraction"]).fill_null(True)
        case "mean_between":
            return _between(column.mean(), given)
        case "quantile_between":
            return _between(column.quantile(given["quantile"], interpolation="linear"), given)
        case "row_count_between":
            return pl.len().is_between(given["low"], given["high"])
        case "fresh_within":
            newest = column.cast(pl.Datetime("us")).max()  # UTC without a zone, also where the column has one
            return (newest >= oldest(given["age_s"])).fill_null(False)
        case "value_fraction_between":
            return _between(column.is_in(list(given["values"])).mean(), given)
        case "token_fraction_between":
            return _between(column.str.contains(given["token"], literal=True).mean(), given)
        case "out_of_vocabulary_at_most":
            return (column.is_in(list(given["vocabulary"])).not_().mean() <= given["fraction"]).fill_null(False)
        case "distinct_at_least":
            return column.drop_nulls().n_unique() >= given["count"]
        case "distinct_at_most":
            return column.drop_nulls().n_unique() <= given["count"]
        case "items_between":
            return column.list.len().is_between(given["low"], given["high"])
        case "columns_compare":
            compare = getattr(pl.col(given["left"]), COMPARISONS[given["operator"]])
            return compare(pl.col(given["right"]))
        case "no_duplicate_rows":
            return pl.struct(pl.all()).is_first_distinct()
    raise PreconditionError(f"{kind}: no such check")


def _between(share: pl.Expr, given: dict[str, Any]) -> pl.Expr:
    return share.is_between(given["low"], given["high"]).fill_null(False)


def oldest(age_s: float) -> datetime:
    """Return the time so many seconds ago, in UTC, without a zone."""
    return datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=age_s)


def _check(kind: str, description: str, warn: bool, ignore_na: bool = False, **parameters: Any) -> pa.Check:
    shown = ", ".join(str(value) for value in parameters.values())
    return pa.Check(
        partial(_run, kind, parameters),
        name=f"{kind}({shown})"[:120] if parameters else kind,
        description=description,
        statistics=parameters,
        raise_warning=warn,
        ignore_na=ignore_na,
    )


def _in_order(values: Collection[Any]) -> tuple[Any, ...]:
    """Return values in the order given; a set has none, and the name of its rule is the same in every process."""
    return tuple(sorted(values, key=repr) if isinstance(values, set | frozenset) else values)


def _bounds(name: str, low: float, high: float) -> None:
    if math.isnan(low) or math.isnan(high) or low > high:
        raise PreconditionError(f"{name}: expected a lower bound that is no more than the upper one")


def _share(name: str, fraction: float) -> None:
    if not 0 <= fraction <= 1:
        raise PreconditionError(f"{name}: expected a share between 0 and 1")


def null_fraction_at_most(fraction: float, *, warn: bool = False) -> pa.Check:
    """At most this share of a column's cells is missing."""
    _share("null_fraction_at_most", fraction)
    return _check("null_fraction_at_most", f"null, more than {100 * fraction:g}%", warn, fraction=fraction)


def mean_between(low: float, high: float, *, warn: bool = False) -> pa.Check:
    """The mean of a column of numbers lies between two bounds, both inclusive."""
    _bounds("mean_between", low, high)
    return _check("mean_between", f"have a mean outside {low:g} to {high:g}", warn, low=float(low), high=float(high))


def quantile_between(quantile: float, low: float, high: float, *, warn: bool = False) -> pa.Check:
    """A quantile of a column of numbers, linearly interpolated, lies between two bounds, both inclusive."""
    _share("quantile_between", quantile)
    _bounds("quantile_between", low, high)
    said = f"have a {quantile:g} quantile outside {low:g} to {high:g}"
    return _check("quantile_between", said, warn, quantile=float(quantile), low=float(low), high=float(high))


def row_count_between(low: int, high: int, *, warn: bool = False) -> pa.Check:
    """The table has so many rows; a check of the schema, not of a column."""
    _bounds("row_count_between", low, high)
    return _check("row_count_between", f"are not {low} to {high} rows", warn, low=low, high=high)


def fresh_within(age: timedelta, *, warn: bool = False) -> pa.Check:
    """The newest time of a column, in UTC, is no older than this when the check runs."""
    if age <= timedelta(0):
        raise PreconditionError("fresh_within: expected an age above zero")
    return _check("fresh_within", f"are older than {age}", warn, age_s=age.total_seconds())


def value_fraction_between(
    values: Collection[Any] | str | float, low: float, high: float, *, warn: bool = False
) -> pa.Check:
    """The share of cells with this value, or one of these values, lies between two bounds."""
    several = (values,) if isinstance(values, str | int | float) else _in_order(values)
    _share("value_fraction_between", low)
    _share("value_fraction_between", high)
    _bounds("value_fraction_between", low, high)
    if not several:
        raise PreconditionError("value_fraction_between: expected at least one value")
    said = f"hold one of {len(several)} given values in a share outside {low:g} to {high:g}"
    return _check("value_fraction_between", said, warn, values=several, low=float(low), high=float(high))


def token_fraction_between(token: str, low: float, high: float, *, warn: bool = False) -> pa.Check:
    """The share of texts that hold this token, anywhere, lies between two bounds."""
    _share("token_fraction_between", low)
    _share("token_fraction_between", high)
    _bounds("token_fraction_between", low, high)
    if not token:
        raise PreconditionError("token_fraction_between: expected a token of at least one character")
    said = f"hold the given token in a share outside {low:g} to {high:g}"
    return _check("token_fraction_between", said, warn, token=token, low=float(low), high=float(high))


def out_of_vocabulary_at_most(vocabulary: Collection[Any], fraction: float, *, warn: bool = False) -> pa.Check:
    """At most this share of the cells is outside the vocabulary."""
    _share("out_of_vocabulary_at_most", fraction)
    known = _in_order(vocabulary)
    if not known:
        raise PreconditionError("out_of_vocabulary_at_most: expected at least one value")
    said = f"outside the {len(known)} values of the vocabulary, more than {100 * fraction:g}%"
    return _check("out_of_vocabulary_at_most", said, warn, vocabulary=known, fraction=float(fraction))


def distinct_at_least(count: int, *, warn: bool = False) -> pa.Check:
    """A column has at least so many different values."""
    return _check("distinct_at_least", f"have fewer than {count} different values", warn, count=count)


def distinct_at_most(count: int, *, warn: bool = False) -> pa.Check:
    """A column has at most so many different values."""
    return _check("distinct_at_most", f"have more than {count} different values", warn, count=count)


def items_between(low: int, high: int, *, warn: bool = False) -> pa.Check:
    """Each list of a column has so many items, both bounds inclusive. Missing lists are ignored."""
    _bounds("items_between", low, high)
    return _check("items_between", f"without {low} to {high} items", warn, ignore_na=True, low=low, high=high)


def columns_compare(
    left: str, operator: Literal["==", "!=", "<", "<=", ">", ">="], right: str, *, warn: bool = False
) -> pa.Check:
    """One column stands in this relation to another in each row; a check of the schema. Missing cells are ignored."""
    if operator not in COMPARISONS:
        raise PreconditionError(f"columns_compare: expected one of {', '.join(COMPARISONS)}")
    said = f"not {left} {operator} {right}"
    return _check("columns_compare", said, warn, ignore_na=True, left=left, operator=operator, right=right)


def no_duplicate_rows(*, warn: bool = True) -> pa.Check:
    """No row stands twice in the table."""
    return _check("no_duplicate_rows", "duplicated", warn)
