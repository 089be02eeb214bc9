"""Infer the types of a table whose cells are all text: the narrowest type that every cell of a column has.

This is for drafts only. A contract declares its types, and nothing is inferred there. A whole number that no 64-bit
integer holds, or that has a leading zero, is an identifier and stays text.

The cells of some columns are unnested into one long column, so that planning does not grow with the number of columns.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from secure_ml.tables.opened_table import OpenedTable
from secure_ml.tables.queries import fetch
from secure_ml.tables.text_types import typed

if TYPE_CHECKING:
    import polars as pl

__all__ = ["infer_types"]

_FRACTION = r"[.eE]"
_IDENTIFIER = r"^[+\-]?(0[0-9]+|[0-9]{19,})\z"
_NUMBERS = ("integer", "number")


def infer_types(opened: OpenedTable) -> OpenedTable:
    """Return the table with typed columns, or the same table if its columns have types.

    Raises:
        MalformedError: If the file cannot be read to its end.
    """
    import polars as pl

    if not opened.is_text:
        return opened
    table = opened.table
    kinds = _numbers(opened, table.columns)
    kinds |= _others(opened, [name for name in table.columns if name not in kinds])
    dtypes = {name: _types()[kinds[name]] if name in kinds else pl.String() for name in table.columns}
    # Every cell is known to be of its type, so the cast cannot fail.
    columns = [table[name].try_cast(_ENGINE[kinds[name]]) if name in kinds else table[name] for name in table.columns]
    typed_table = table.select([column.name(name) for column, name in zip(columns, table.columns, strict=True)])
    return replace(opened, table=typed_table, dtypes=dtypes, is_text=False)


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


def _numbers(opened: OpenedTable, names: Sequence[str]) -> dict[str, str]:
    kinds = {}
    for name, counts in _count(opened, names, _NUMBERS, {"fractions": _FRACTION, "identifiers": _IDENTIFIER}).items():
        if counts["cells"] and not counts["number"] and not counts["identifiers"]:
            kinds[name] = "number" if counts["integer"] or counts["fractions"] else "integer"
    return kinds


def _others(opened: OpenedTable, names: Sequence[str]) -> dict[str, str]:
    kinds = [kind for kind in _types() if kind not in _NUMBERS]
    fitting = {}
    for name, counts in _count(opened, names, kinds, {}).items():
        fits = [kind for kind in kinds if not counts[kind]]
        if counts["cells"] and fits:
            fitting[name] = fits[0]
    return fitting


def _count(
    opened: OpenedTable, names: Sequence[str], kinds: Collection[str], patterns: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Return per column the number of cells, of cells that are not of each kind, and of cells with each pattern."""
    import ibis

    counts: dict[str, dict[str, Any]] = {}
    table, at_once = opened.table, opened.limits.columns_at_once
    for start in range(0, len(names), at_once):
        some = [ibis.struct({"column": name, "cell": table[name]}) for name in names[start : start + at_once]]
        pairs = table.select(pair=ibis.array(some).unnest())
        cells = pairs.select(column=pairs["pair"]["column"], cell=pairs["pair"]["cell"])
        text = cells["cell"]
        measures = {"cells": text.count()}
        measures |= {kind: cells.count(where=typed("cell", text, _types()[kind]).unparsable) for kind in kinds}
        measures |= {what: cells.count(where=text.re_search(pattern)) for what, pattern in patterns.items()}
        counts |= {row.pop("column"): row for row in fetch(opened, cells.group_by("column").aggregate(**measures))}
    return counts
