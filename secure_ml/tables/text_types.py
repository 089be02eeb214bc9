"""Cells of text as values of the contract's types: what counts as a number, a time, a truth. Nothing is repaired.

number      [+-] digits [. digits] [e [+-] digits], finite once read; no thousands separator, no NaN, no infinity
integer     digits, or a number without a fraction below 2^53, such as 3.0 and 3e2
boolean     true or false
date        2026-01-31
time        2026-01-31, then T or a space, 12:30, :15 and .25 optional; an offset where the type has a zone
decimal     a number without exponent and no more digits after the point than the type has
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from secure_ml.errors import PreconditionError
from secure_ml.tables.cells import Cell
from secure_ml.tables.engine_functions import engine_function

if TYPE_CHECKING:
    import polars as pl

__all__ = ["readings", "typed"]

_NUMBER = r"^[+\-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+\-]?[0-9]+)?\z"
_EXACT = 2**53  # a larger number with a point or an exponent would be read as a neighbour
_WHOLE = r"^[+\-]?[0-9]+\z"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\z"
_HOUR = r"([01][0-9]|2[0-3])"
_CLOCK = _HOUR + r":[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"  # the engine takes 24:00, and an offset of 99:99
_TIME = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}([T ]{_CLOCK})?\z"
_ZONED = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ]{_CLOCK}(Z|[+\-]{_HOUR}(:?[0-5][0-9])?)\z"


def readings() -> Iterator[str]:
    """Yield the SQL that makes functions which read numbers known to DuckDB.

    A table may have thousands of columns of text: each is one call in a query, and the engine puts in the rest.
    """
    for bits in (8, 16, 32, 64):
        for kind in (f"int{bits}", f"uint{bits}"):
            number = "try_cast(text AS DOUBLE)"
            yield (
                f"CREATE MACRO as_{kind}(text) AS CASE WHEN regexp_matches(text, '{_WHOLE}') "
                f"THEN try_cast(text AS {kind}) WHEN regexp_matches(text, '{_NUMBER}') AND {number} % 1 = 0 "
                f"AND abs({number}) < {_EXACT} THEN try_cast({number} AS {kind}) END"
            )
    for kind, to in (("float32", "FLOAT"), ("float64", "DOUBLE")):
        yield (
            f"CREATE MACRO as_{kind}(text) AS CASE WHEN regexp_matches(text, '{_NUMBER}') "
            f"AND NOT isinf(try_cast(text AS {to})) THEN try_cast(text AS {to}) END"
        )


def typed(name: str, text: Any, dtype: pl.DataType | None) -> Cell:
    """Return a column of text as one of type `dtype`.

    Args:
        name: The column.
        text: An ibis value of type string.
        dtype: As declared, None for any.

    Raises:
        PreconditionError: No text stands for such a type.
    """
    import polars as pl

    missing = text.isnull()
    if dtype is None or dtype in (pl.String, pl.Categorical):
        return Cell(name, pl.String(), text, missing)
    value = _value(text, dtype, name)
    return Cell(name, dtype, value, missing, unparsable=value.isnull() & ~missing)


def _value(text: Any, dtype: pl.DataType, name: str) -> Any:
    import ibis
    import polars as pl

    def where(pattern: str, value: Any) -> Any:
        return text.re_search(pattern).ifelse(value, ibis.null(value.type()))

    unread = (pl.Int128, pl.UInt128, pl.Float16)
    if dtype.is_numeric() and not isinstance(dtype, pl.Decimal) and dtype not in unread:
        kind = str(dtype).lower()
        return engine_function(f"as_{kind}", "string", kind)(text)
    if isinstance(dtype, pl.Decimal):
        digits = rf"^[+\-]?[0-9]+(\.[0-9]{{0,{dtype.scale}}})?\z" if dtype.scale else _WHOLE
        return where(digits, text.try_cast(f"decimal({dtype.precision or 38}, {dtype.scale})"))
    if isinstance(dtype, pl.Enum):
        return text.isin(dtype.categories.to_list()).ifelse(text, ibis.null("string"))
    if dtype == pl.Boolean:
        return (text == "true").ifelse(True, (text == "false").ifelse(False, ibis.null("boolean")))
    if dtype == pl.Date:
        return where(_DATE, text.try_cast("date"))
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is None:
            return where(_TIME, text.try_cast("timestamp(6)"))
        return where(_ZONED, text.try_cast("timestamp('UTC', 6)"))
    raise PreconditionError(f"contract of {name}: no text stands for type {dtype}; use a Parquet or Arrow file")
