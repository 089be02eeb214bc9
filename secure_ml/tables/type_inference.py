"""The types of a table whose cells are all text: the narrowest type that every cell has.

For inference only: a contract declares its types, and nothing is guessed there. A whole number that no 64-bit integer
holds, or that has a leading zero, is an identifier and stays text.

All cells of some columns stand in one long column while they are looked at, so that the work for the planner does not
grow with the number of columns.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from secure_ml.tables.data_files import dtypes_of, is_text
from secure_ml.tables.queries import COLUMNS_AT_ONCE, fetch
from secure_ml.tables.text_types import typed

if TYPE_CHECKING:
    import ibis
    import polars as pl

__all__ = ["with_guessed_types"]

_FRACTION = r"[.eE]"
_IDENTIFIER = r"^[+\-]?(0[0-9]+|[0-9]{19,})\z"
_NUMBERS = ("integer", "number")


def with_guessed_types(table: ibis.Table) -> tuple[ibis.Table, dict[str, pl.DataType]]:
    """Return the table with typed columns, and their types; one whose columns have types already is returned as it is.

    Raises:
        MalformedError: The file behind the table cannot be read to its end.
    """
    import polars as pl

    if not is_text(table):
        return table, dtypes_of(table)
    kinds = _numbers(table, table.columns)
    kinds |= _others(table, [name for name in table.columns if name not in kinds])
    dtypes = {name: _types()[kinds[name]] if name in kinds else pl.String() for name in table.columns}
    # Each cell is known to be of its type, so the cast is one that cannot fail.
    columns = [table[name].try_cast(_ENGINE[kinds[name]]) if name in kinds else table[name] for name in table.columns]
    return table.select([column.name(name) for column, name in zip(columns, table.columns, strict=True)]), dtypes


_ENGINE = {
    "integer": "int64",
    "number": "float64",
    "boolean": "boolean",
    "date": "date",
    "time": "timestamp(6)",
    "zoned": "timestamp('UTC', 6)",
}


def _types() -> dict[str, pl.DataType]:
    """Return the types to try, the narrowest first."""
    import polars as pl

    return {
        "integer": pl.Int64(),
        "number": pl.Float64(),
        "boolean": pl.Boolean(),
        "date": pl.Date(),
        "time": pl.Datetime("us"),
        "zoned": pl.Datetime("us", "UTC"),
    }


def _numbers(table: ibis.Table, names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name, counts in _count(table, names, _NUMBERS, {"fractions": _FRACTION, "identifiers": _IDENTIFIER}).items():
        if counts["cells"] and not counts["number"] and not counts["identifiers"]:
            found[name] = "number" if counts["integer"] or counts["fractions"] else "integer"
    return found


def _others(table: ibis.Table, names: Sequence[str]) -> dict[str, str]:
    kinds = [kind for kind in _types() if kind not in _NUMBERS]
    found = {}
    for name, counts in _count(table, names, kinds, {}).items():
        fits = [kind for kind in kinds if not counts[kind]]
        if counts["cells"] and fits:
            found[name] = fits[0]
    return found


def _count(
    table: ibis.Table, names: Sequence[str], kinds: Collection[str], patterns: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Return for each column its cells, those that are not of each kind, and those that hold each pattern."""
    import ibis

    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(names), COLUMNS_AT_ONCE):
        some = [ibis.struct({"column": name, "cell": table[name]}) for name in names[start : start + COLUMNS_AT_ONCE]]
        pairs = table.select(pair=ibis.array(some).unnest())
        cells = pairs.select(column=pairs["pair"]["column"], cell=pairs["pair"]["cell"])
        text = cells["cell"]
        measures = {"cells": text.count()}
        measures |= {kind: cells.count(where=typed("cell", text, _types()[kind]).wrong) for kind in kinds}
        measures |= {what: cells.count(where=text.re_search(pattern)) for what, pattern in patterns.items()}
        found |= {row.pop("column"): row for row in fetch(cells.group_by("column").aggregate(**measures))}
    return found
