"""Strategies: contracts and tables that are awkward on purpose, with bounds that the cells really hit."""

from __future__ import annotations

import datetime
import decimal
import zoneinfo
from dataclasses import dataclass
from typing import Any

import pandera.polars as pa
import polars as pl
from hypothesis import strategies as st

from secure_ml.contracts.checks import columns_compare, null_fraction_at_most

__all__ = ["contracts_and_frames"]

MAX_ROWS = 12
_FLOATS = [0.0, -0.0, 1.0, -1.0, 0.1, 0.3, 1e-308, 5e-324, 1e308, 2.0**53, 2.0**53 + 2, float("inf"), float("-inf")]
_NAN = float("nan")
_WORDS = [
    "", " ", "a", "A", "b", "ab", "abc", "a b", "a\nb", "\n", "\t", "a\n", "é", "e\u0301", "ß", "SS", "İ", "i̇", "日本",
    "😀", "👩\u200d💻", "\ufeffa", "\u00a0", "a\x00b", "0", "01", "٣", "1.0", "NaN", "null", "user@example.org", "a.b",
    "%", "_", "'", '"', "\\", "$", "^", "[a]",
]  # fmt: skip
_PATTERNS = [
    "a", "^a", "a$", "^a$", "^[a-z]+$", "[^a]", ".", "^.$", "^..$", "a|b", "^(a|ab)$", r"\d", r"^\d+$", r"\s", r"\S",
    r"\.", "a*", "^a?b", "a{2}", "^[a-z]{1,2}$", "é", "^é$", "[à-ÿ]", "日", "^$", r"^[a-z0-9.]+@[a-z0-9]+\.[a-z]+$",
    r"\w", r"(?i)a", r"\bab\b", "a{2,3}?", "^(?:ab)+$", r"[\d_]", "[%_]", r"\\", "'",
]  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A type of column, the cells that it may hold, the bounds of its rules, and what its lists of values hold."""

    dtype: Any
    cells: st.SearchStrategy[Any]
    bounds: st.SearchStrategy[Any]
    text: bool = False
    ordered: bool = True
    listed: st.SearchStrategy[Any] | None = None


def _integers(dtype: Any, low: int, high: int) -> Kind:
    cells = st.sampled_from([low, low + 1, high, high - 1, *(v for v in (0, 1, 2, -1, 100) if low <= v <= high)])
    large = [2**53 + 1, -(2**53) - 1] if high > 2**53 else []
    cells = cells | st.sampled_from(large) if large and low < 0 else cells
    cells = cells | st.integers(max(low, -3), min(high, 3))
    bounds = cells | st.sampled_from([0.5, 1.0, -0.5])
    return Kind(dtype, cells, bounds, listed=cells)


def _moments(zone: str | None, unit: Any = "us") -> Kind:
    base = datetime.datetime(2024, 10, 27, 0, 30)
    offsets = [0, 1, 60, 3600, 7200, 86400, -86400, 86400 * 365 * 90, -86400 * 365 * 100]
    moments = [base + datetime.timedelta(seconds=offset) for offset in offsets]
    moments.append(base + datetime.timedelta(microseconds=1 if unit != "ms" else 1000))
    if zone is not None:
        moments = [moment.replace(tzinfo=datetime.UTC).astimezone(zoneinfo.ZoneInfo(zone)) for moment in moments]
    cells = st.sampled_from(moments)
    return Kind(pl.Datetime(unit, zone), cells, cells)


_DECIMALS = [*map(decimal.Decimal, ("0", "-0.01", "0.01", "1.00", "1.10", "12345678901234.56", "-99999999.99"))]
_floats = st.sampled_from(_FLOATS) | st.floats(-2, 2, width=32)
_dates = st.sampled_from([datetime.date(*day) for day in ((1900, 1, 1), (2024, 2, 29), (2024, 3, 1), (2100, 1, 1))])
_text = st.sampled_from(_WORDS) | st.text("aAbé\u0301ß日 .\n", max_size=4)
KINDS = {
    "int8": _integers(pl.Int8, -(2**7), 2**7 - 1),
    "int32": _integers(pl.Int32, -(2**31), 2**31 - 1),
    "int64": _integers(pl.Int64, -(2**63), 2**63 - 1),
    "uint64": _integers(pl.UInt64, 0, 2**64 - 1),
    "float32": Kind(
        pl.Float32,
        st.sampled_from([0.0, -0.0, 0.5, 1.0, float("inf"), float("-inf"), _NAN]) | st.floats(-2, 2, width=32),
        st.sampled_from([0.0, 0.5, 1.0, float("inf")]),
    ),
    "float64": Kind(pl.Float64, _floats | st.just(_NAN), _floats | st.sampled_from([0, 1])),
    "text": Kind(pl.String, _text, _text, text=True),
    "bool": Kind(pl.Boolean, st.booleans(), st.booleans(), ordered=False),
    "date": Kind(pl.Date, _dates, _dates),
    "datetime": _moments(None),
    "datetime-ms": _moments(None, "ms"),
    "utc": _moments("UTC"),
    "berlin": _moments("Europe/Berlin"),
    "decimal": Kind(pl.Decimal(18, 2), st.sampled_from(_DECIMALS), st.sampled_from(_DECIMALS)),
}


def _rules_of(kind: Kind) -> dict[str, st.SearchStrategy[pa.Check]]:
    """Name and strategy of each rule that a column of this kind may carry."""
    bound = kind.bounds
    several = st.lists(kind.bounds if kind.listed is None else kind.listed, min_size=1, max_size=4)
    made: dict[str, st.SearchStrategy[pa.Check]] = {
        "eq": bound.map(pa.Check.eq),
        "ne": bound.map(pa.Check.ne),
        "isin": several.map(pa.Check.isin),
        "notin": several.map(pa.Check.notin),
        "unique_values_eq": several.map(pa.Check.unique_values_eq),
        "null_fraction_at_most": st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]).map(null_fraction_at_most),
    }
    if kind.ordered:
        made |= {
            "gt": bound.map(pa.Check.gt),
            "ge": bound.map(pa.Check.ge),
            "lt": bound.map(pa.Check.lt),
            "le": bound.map(pa.Check.le),
            "in_range": st.tuples(bound, bound, st.booleans(), st.booleans()).map(_in_range),
        }
    if kind.text:
        patterns = st.sampled_from(_PATTERNS)
        sizes = st.tuples(st.integers(0, 2), st.integers(2, 4))
        made |= {
            "str_matches": patterns.map(pa.Check.str_matches),
            "str_contains": patterns.map(pa.Check.str_contains),
            "str_startswith": bound.map(pa.Check.str_startswith),
            "str_endswith": bound.map(pa.Check.str_endswith),
            "str_length": sizes.map(lambda pair: pa.Check.str_length(*pair))
            | st.integers(0, 3).map(lambda size: pa.Check.str_length(min_value=size))
            | st.integers(0, 3).map(lambda size: pa.Check.str_length(max_value=size))
            | st.integers(0, 3).map(lambda size: pa.Check.str_length(exact_value=size)),
        }
    return made


def _in_range(drawn: tuple[Any, Any, bool, bool]) -> pa.Check:
    low, high = sorted(drawn[:2])
    return pa.Check.in_range(low, high, drawn[2] or low == high, drawn[3] or low == high)


RULES = {name: _rules_of(kind) for name, kind in KINDS.items()}


@st.composite
def contracts_and_frames(draw: st.DrawFn) -> tuple[pa.DataFrameSchema, pl.DataFrame]:
    """Draw a contract and a table of its types, whose cells may break any of its rules."""
    rows = draw(st.integers(0, MAX_ROWS) | st.integers(3, MAX_ROWS))
    chosen = draw(st.lists(st.sampled_from([*KINDS, "text", "text", "text", "float64"]), min_size=1, max_size=3))
    columns: dict[str, pa.Column] = {}
    series: dict[str, pl.Series] = {}
    for number, kind_name in enumerate(chosen):
        kind, name = KINDS[kind_name], _name(number, kind_name)
        rules = RULES[kind_name]
        picked = draw(st.lists(st.sampled_from(sorted(rules)), unique=True, max_size=4))
        checks = [draw(rules[rule]) for rule in picked]
        for check in checks:
            if draw(st.booleans()):
                check.ignore_na = draw(st.booleans())
        nullable, unique = draw(st.sampled_from([True, True, False])), draw(st.sampled_from([False, False, True]))
        columns[name] = pa.Column(kind.dtype, checks, nullable=nullable, unique=unique)
        cells = draw(st.lists(st.none() | kind.cells | kind.cells, min_size=rows, max_size=rows))
        series[name] = _series(name, cells, kind.dtype)
    table_checks = []
    twins = [name for name in columns if columns[name].dtype == next(iter(columns.values())).dtype]
    if len(twins) > 1 and draw(st.booleans()):
        operator = draw(st.sampled_from(["<", "<=", "==", "!=", ">", ">="]))
        table_checks.append(columns_compare(twins[0], operator, twins[1]))
    together = draw(st.sampled_from([None, None, list(columns)]))
    schema = pa.DataFrameSchema(columns, checks=table_checks, unique=together)
    return schema, pl.DataFrame(series)


def _name(number: int, kind: str) -> str:
    awkward = ('"; drop table', "größe", "SELECT", "a b", "'")
    return f"{awkward[number]} {kind}"


def _series(name: str, cells: list[Any], dtype: Any) -> pl.Series:
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        utc = pl.Series(name, cells, dtype=pl.Datetime(dtype.time_unit, "UTC"))
        return utc.dt.convert_time_zone(dtype.time_zone)
    return pl.Series(name, cells, dtype=dtype)
