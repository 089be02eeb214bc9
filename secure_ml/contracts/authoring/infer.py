"""Infer a contract from a profile: domains, ranges, presence, uniqueness; a draft for a person to edit.

The table it was inferred from satisfies it, and it says no more than the table is evidence for:

* A range is the observed one and a margin: a tenth of its width, more where rows are few or the tail is long, there up
  to three times the distance from the median to the outer percentile, counted from that percentile (1 and 99; 5 and 95
  below 1,000 rows, where a hundredth of the rows is too few). A sign that was never seen stays refused.
  Integers that fill their range closely (days of the week) get no margin. Where a lone extreme makes the range
  useless, the quantile 0.999 is bounded too. A column that has always the same number only warns of another.
* Text and sparse integers get a domain only if new values are hardly expected: by Good and Turing, the share of values
  that occur once estimates the share of rows that hold a new value. Where some are expected, a new value only warns,
  and more of them than expected is refused. Free text gets no domain.
* Presence: a share of missing cells may grow by a fifth of itself, a hundredth, and three standard errors.
* A column is unique if all values differ and that is no accident: numbers that lie closely, or short texts.
* Times get no bounds, for the next batch is later. An empty table is refused, and one a hundred times as large.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from secure_ml.contracts.authoring.python_source import Call, Column, Shared, render_source
from secure_ml.profiles.document import ColumnProfile, Profile

if TYPE_CHECKING:
    import polars as pl

__all__ = ["infer_contract", "may_be_key"]

_ENOUGH = 100
"""Values below this number are no evidence for uniqueness, a closed domain or a least length."""
_REPEATS = 10
_MAX_DOMAIN = 200
_MAX_VALUE = 60
_MAX_KEY = 64
_CLOSED = 0.001
_OPEN = 0.02
_LARGER = 100
_TINY = 1e-300
"""A hundredth of a smaller width is no longer a float of full precision."""
_OUTLIERS = 1000
"""From this many values on, the quantile 0.999 is a figure and not one row."""

_PLAIN = {
    *("Boolean", "String", "Binary", "Categorical", "Date", "Time", "Float32", "Float64"),
    *(f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)),
}
_ZONE = re.compile(r"[A-Za-z0-9_+:/-]{1,64}")
_INTEGER = re.compile(r"(U?)Int(8|16|32|64)")


def infer_contract(
    profile: Profile, *, name: str, dtypes: Mapping[str, pl.DataType], unique: Collection[str] = ()
) -> str:
    """Infer a contract and return it as Python source, one pandera schema for Polars.

    Args:
        profile: Of the table.
        name: The contract's name.
        dtypes: The columns as Polars reads them.
        unique: Columns of which it was counted that all values differ, where the profile only estimates it.
    """
    columns = [
        _infer(column, dtypes[column.name], number, counted=column.name in unique)
        for number, column in enumerate(profile.columns, 1)
    ]
    about = [
        f"A data contract, inferred from {profile.rows:,} rows: read it, correct it, keep it in git.",
        "",
        "A bound is what was seen and a margin; what the figures say stands above each column.",
        "drift and skew are the distances from the previous batch and from the training data",
        "that are tolerated (text, booleans, domains: L-infinity; else Jensen-Shannon, in bits).",
        "",
        f"Profile: {profile.digest}",
    ]
    checks = [Call("row_count_between", (1, _LARGER * profile.rows))] if profile.rows else []
    return render_source(columns, name=name, about=about, checks=checks)


def may_be_key(column: ColumnProfile) -> bool:
    """Whether it is worth counting the different values: all seem to differ, and they look like identifiers."""
    if column.personal or column.missing or column.count < _ENOUGH or column.distinct is None:
        return False
    if column.distinct < (1.0 if column.distinct_exact else 0.93) * column.count:
        return False
    if column.kind == "integer" and column.moments is not None:
        # So many numbers drawn at random from this width would repeat: exp(-n * n / (2 * width)) is below 1 %.
        return column.moments.maximum - column.moments.minimum < column.count**2 / _REPEATS
    if column.kind == "text" and column.lengths is not None and column.tokens is not None:
        return column.lengths.maximum <= _MAX_KEY and column.tokens.maximum <= 1 and column.lengths.minimum > 0
    return False


@dataclass(frozen=True, slots=True)
class _Bounds:
    """A range for numbers, None for no bound, and whether it came out useless beside a lone extreme."""

    low: float | None
    high: float | None
    quantile: tuple[float, float, float] | None = None


def _infer(column: ColumnProfile, dtype: pl.DataType, number: int, *, counted: bool) -> Column:
    unique = bool(column.name) and may_be_key(column) and (column.distinct_exact or counted)
    evidence = [_presence_said(column)]
    checks: list[Call] = []
    settings: list[tuple[str, object]] = []
    if not column.name:
        evidence.append("a column without a name: pandera cannot look at its values, so give it one")
    elif column.personal:
        evidence.append("personal: only counts were kept, so there is no bound on its values")
        settings.append(("personal", True))
    elif unique:
        evidence.append("an identifier: all values differ")
        checks += _sign(column)
    else:
        for said, found in _value_rules(column, dtype, number):
            evidence.append(said)
            checks += found
        domain = any(call.name == "pa.Check.isin" for call in checks)
        settings += _distances(column, numeric=dtype.is_numeric(), domain=domain)
    checks += _presence(column) if column.name else []
    return Column(
        column.name,
        _dtype(dtype),
        tuple(evidence),
        tuple(checks),
        nullable=column.missing + column.nan > 0 or column.count == 0,
        unique=unique,
        settings=tuple(settings),
    )


def _presence_said(column: ColumnProfile) -> str:
    parts = [f"{column.count:,} values"]
    if column.distinct is not None and column.count:
        parts.append(f"{'' if column.distinct_exact else 'about '}{column.distinct:,} different")
    rows = column.count + column.missing
    parts.append(f"{column.missing:,} missing ({column.missing / rows:.2%})" if column.missing else "none missing")
    if column.nan or column.negative_infinite or column.positive_infinite:
        parts.append(f"{column.nan:,} NaN, {column.negative_infinite + column.positive_infinite:,} infinite")
    return ", ".join(parts)


def _presence(column: ColumnProfile) -> list[Call]:
    rows, share = column.count + column.missing, column.missing_fraction
    if not column.missing or not column.count:
        return []
    margin = max(0.01, share / 5) + 3 * math.sqrt(share * (1 - share) / rows)
    bound = math.ceil((share + margin) * 100) / 100
    return [Call("null_fraction_at_most", (bound,))] if bound < 1 else []


def _value_rules(column: ColumnProfile, dtype: pl.DataType, number: int) -> Iterator[tuple[str, list[Call]]]:
    match column.kind:
        case "integer" | "number" if column.moments is not None and dtype.is_numeric():
            yield from _number_rules(column, dtype)
        case "text" if column.count:
            yield from _text_rules(column, number)
        case "boolean" if column.moments is not None and column.moments.mean is not None:
            yield f"{column.moments.mean:.1%} true", []
        case "time" if column.count:
            yield "no bounds, as the next batch is later; fresh_within() can demand that it is", []
        case _ if column.count:
            yield from _list_rules(column, dtype)
    if not column.count:
        yield "empty: is it needed?", []


def _number_rules(column: ColumnProfile, dtype: pl.DataType) -> Iterator[tuple[str, list[Call]]]:
    assert column.moments is not None
    low, high = column.moments.minimum, column.moments.maximum
    if column.exact and _whole(column) and column.finite == column.count >= _ENOUGH:
        values = sorted(value for value in column.tally.values if not isinstance(value, str))
        repeats = column.count >= _REPEATS * len(values)
        if column.kind == "integer" and 1 < len(values) == high - low + 1 <= _ENOUGH and repeats and _walls(column):
            yield f"all whole numbers from {low:g} to {high:g} occur", [Call("pa.Check.in_range", (low, high))]
            return
        if repeats and len(values) <= _REPEATS and min(column.tally.counts) >= _REPEATS:
            said = f"each value occurs at least {min(column.tally.counts)} times"
            yield said, [Call("pa.Check.isin", (values,), warn=len(values) == 1)]
            return
    yield _numbers_said(column), _range(column, dtype, _bounds(column))


def _walls(column: ColumnProfile) -> bool:
    """Whether the smallest and the largest value occur about as often as others: counts that tail off have no wall."""
    counts = dict(zip(column.tally.values, column.tally.counts, strict=True))
    ends = counts[min(column.tally.values)], counts[max(column.tally.values)]
    return min(ends) >= column.count / len(counts) / 4


def _whole(column: ColumnProfile) -> bool:
    """Whether all values are whole numbers, as far as the profile knows."""
    if column.kind == "integer":
        return True
    return column.exact and all(isinstance(value, float) and value.is_integer() for value in column.tally.values)


def _numbers_said(column: ColumnProfile) -> str:
    at = dict(column.quantiles)
    assert column.moments is not None
    return (
        f"from {column.moments.minimum:.6g} to {column.moments.maximum:.6g};"
        f" 1 % at most {at[0.01]:.6g}, half {at[0.5]:.6g}, 99 % {at[0.99]:.6g}"
    )


def _bounds(column: ColumnProfile) -> _Bounds:
    assert column.moments is not None
    at = dict(column.quantiles)
    low, high = column.moments.minimum, column.moments.maximum
    width = high - low if column.count >= _ENOUGH else max(high - low, abs(high) / 10)
    margin = width * (0.1 + _REPEATS / column.finite)
    outer = 0.99 if column.finite >= _OUTLIERS else 0.95
    highest = _end(high, at[outer], at[0.5], margin)
    lowest = -_end(-low, -at[round(1 - outer, 2)], -at[0.5], margin)
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        return _Bounds(None, None)
    lowest, highest = _rounded(lowest, width, math.floor), _rounded(highest, width, math.ceil)
    if _whole(column):
        lowest, highest = math.floor(lowest), math.ceil(highest)
    lowest = max(lowest, 0) if low >= 0 else lowest
    highest = min(highest, 0) if high <= 0 else highest
    return _Bounds(min(lowest, low), max(highest, high), _tail(column))


def _end(extreme: float, outer: float, middle: float, margin: float) -> float:
    """Return the upper bound; mirrored, the lower one. `outer` is a percentile, `extreme` the largest value."""
    reach = extreme + 3 * (extreme - outer)
    fence = outer + 3 * (outer - middle) if outer > middle else reach
    return max(extreme + margin, min(fence, reach))


def _rounded(value: float, width: float, to: Callable[[float], int]) -> float:
    """Round outward, to a hundredth of the width or so; a bound like 163.0 is read more easily than 162.8134."""
    if 0 < width < _TINY:
        return value
    step = 10.0 ** math.floor(math.log10(width / 100)) if width > 0 else 1.0
    return float(f"{to(value / step) * step:.12g}")


def _tail(column: ColumnProfile) -> tuple[float, float, float] | None:
    """Bound the quantile 0.999 where the largest value is far out and the quantile is not."""
    held = column.distribution
    assert column.moments is not None
    if held is None or column.finite < _OUTLIERS or column.finite != column.count:
        return None
    at = dict(column.quantiles)
    fence = at[0.99] + 3 * (at[0.99] - at[0.5])
    need, seen = 0.999 * column.finite + held.error + 1, 0
    top: float = held.points[-1]
    for point, weight in zip(held.points, held.weights, strict=True):
        seen += weight
        if seen >= need:
            top = point
            break
    if not top < fence < column.moments.maximum:
        return None
    return 0.999, float(column.moments.minimum), _rounded(fence, fence - at[0.5], math.ceil)


def _range(column: ColumnProfile, dtype: pl.DataType, bounds: _Bounds) -> list[Call]:
    low, high = bounds.low, bounds.high
    if low is None or high is None:
        return []
    if limits := _INTEGER.fullmatch(str(dtype)):
        bits = int(limits[2])
        least, most = (0, 2**bits - 1) if limits[1] else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        low, high = math.floor(low), math.ceil(high)
        low, high = low if low > least else None, high if high < most else None
    elif dtype.is_float():
        low, high = float(low), float(high)
    else:
        low, high = math.floor(low), math.ceil(high)
    # NaN and infinities of the table itself must satisfy it: NaN counts as larger than any number.
    low = None if column.negative_infinite else low
    high = None if column.nan or column.positive_infinite else high
    found: list[Call] = []
    if low is not None and high is not None:
        found.append(Call("pa.Check.in_range", (low, high)))
    elif low is not None:
        found.append(Call("pa.Check.ge", (low,)))
    elif high is not None:
        found.append(Call("pa.Check.le", (high,)))
    if bounds.quantile is not None:
        found.append(Call("quantile_between", bounds.quantile))
    return found


def _sign(column: ColumnProfile) -> list[Call]:
    if column.kind == "integer" and column.moments is not None and column.moments.minimum >= 0:
        return [Call("pa.Check.ge", (0,))]
    return _lengths(column) if column.kind == "text" else []


def _text_rules(column: ColumnProfile, number: int) -> Iterator[tuple[str, list[Call]]]:
    values, counts = column.tally.values, column.tally.counts
    texts = sorted(value for value in values if isinstance(value, str))
    known = (
        column.exact
        and column.count >= max(_ENOUGH, _REPEATS * len(texts))
        and len(texts) <= _MAX_DOMAIN
        and all(len(text) <= _MAX_VALUE for text in texts)
    )
    new = sum(count == 1 for count in counts) / column.count
    if known and new <= _CLOSED:
        yield f"hardly any new values are expected ({new:.2%} of rows)", [Call("pa.Check.isin", (texts,))]
    elif known and new <= _OPEN:
        bound = math.ceil((3 * new + 0.01) * 100) / 100
        said = f"new values are expected in about {new:.2%} of rows, so a new one only warns"
        domain = Shared(f"VALUES_{number}", tuple(texts))
        yield said, [Call("pa.Check.isin", (domain,), warn=True), Call("out_of_vocabulary_at_most", (domain, bound))]
    else:
        yield "text without a domain", _lengths(column)


def _lengths(column: ColumnProfile) -> list[Call]:
    if column.lengths is None or column.count < _ENOUGH:
        return []
    shortest, longest = int(column.lengths.minimum), int(column.lengths.maximum)
    if shortest == longest:
        return [Call("pa.Check.str_length", (shortest, longest))]
    return [Call("pa.Check.str_length", (min(shortest, 1), 2 * longest))]


def _list_rules(column: ColumnProfile, dtype: pl.DataType) -> Iterator[tuple[str, list[Call]]]:
    if column.lengths is None or str(dtype.base_type()) != "List":
        yield "only its type and presence are looked at", []
        return
    low, high = int(column.lengths.minimum), int(column.lengths.maximum)
    found = [Call("items_between", (low, high) if low == high else (min(low, 1), 2 * high))]
    yield f"lists of {low:,} to {high:,} items", found if column.count >= _ENOUGH else []


def _distances(column: ColumnProfile, *, numeric: bool, domain: bool) -> list[tuple[str, object]]:
    """Tolerated distances, and more where a sample of this size lies that far from another of the same kind.

    A Jensen-Shannon divergence of 0.02 bits is about a population stability index of 0.1. Two samples of n rows lie
    more than 15 / n bits apart, over ten bins, about four times in a million (chi-squared with nine degrees of
    freedom); 3 / sqrt(2 n) is three standard errors of the difference of two shares of a half.
    """
    if column.count < _ENOUGH or not (numeric or column.kind in ("boolean", "text")):
        return []
    category = domain or not numeric
    bound = max(0.05, 3 / math.sqrt(2 * column.count)) if category else max(0.02, 15 / column.count)
    rounded = math.ceil(bound * 100) / 100
    return [("drift", rounded), ("skew", rounded)]


def _dtype(dtype: pl.DataType) -> str | None:
    """Return the Polars type as source; None for a type that a contract cannot name."""
    import polars as pl

    name = str(dtype.base_type())
    match dtype:
        case _ if name in _PLAIN:
            return f"pl.{name}"
        case pl.Datetime() if dtype.time_zone is None:
            return f'pl.Datetime("{dtype.time_unit}")'
        case pl.Datetime() if _ZONE.fullmatch(str(dtype.time_zone)):
            return f'pl.Datetime("{dtype.time_unit}", "{dtype.time_zone}")'
        case pl.Duration():
            return f'pl.Duration("{dtype.time_unit}")'
        case pl.Decimal():
            return f"pl.Decimal({dtype.precision}, {dtype.scale})"
        case pl.List():
            inner = _dtype(dtype.inner() if isinstance(dtype.inner, type) else dtype.inner)
            return f"pl.List({inner})" if inner else None
    return None
