"""The types of a table whose cells are all text: the narrowest type that every cell has.

For inference only: a contract declares its types, and nothing is guessed there. A whole number that no 64-bit integer
holds, or that has a leading zero, is an identifier and stays text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from secure_ml.contracts.tables import dtypes_of, fetch, is_text
from secure_ml.contracts.typing_text import typed

if TYPE_CHECKING:
    import ibis
    import polars as pl

__all__ = ["with_guessed_types"]

_COLUMNS = 100
"""Columns in one scan: some hundred aggregates are as many as an engine plans well."""
_FRACTION = r"[.eE]"
_IDENTIFIER = r"^[+\-]?(0[0-9]+|[0-9]{19,})\z"


def with_guessed_types(table: ibis.Table) -> tuple[ibis.Table, dict[str, pl.DataType]]:
    """Return the table with typed columns, and their types; one whose columns have types already is returned as it is.

    Raises:
        MalformedError: The file behind the table cannot be read to its end.
    """
    if not is_text(table):
        return table, dtypes_of(table)
    dtypes: dict[str, pl.DataType] = {}
    for start in range(0, len(table.columns), _COLUMNS):
        names = table.columns[start : start + _COLUMNS]
        measures = {
            f"{index} {what}": measure
            for index, name in enumerate(names)
            for what, measure in _measures(table, name).items()
        }
        (counts,) = fetch(table.aggregate(**measures))
        for index, name in enumerate(names):
            dtypes[name] = _narrowest({what: counts[f"{index} {what}"] for what in _measures(table, name)})
    return table.select([typed(name, table[name], dtype).value.name(name) for name, dtype in dtypes.items()]), dtypes


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


def _measures(table: ibis.Table, name: str) -> dict[str, Any]:
    text = table[name]
    return {
        "cells": text.count(),
        "fractions": table.count(where=text.re_search(_FRACTION)),
        "identifiers": table.count(where=text.re_search(_IDENTIFIER)),
        **{kind: table.count(where=typed(name, text, dtype).wrong) for kind, dtype in _types().items()},
    }


def _narrowest(counts: Mapping[str, int]) -> pl.DataType:
    import polars as pl

    if not counts["cells"]:
        return pl.String()
    for kind, dtype in _types().items():
        fits = not counts[kind]
        if kind in ("integer", "number"):
            fits = fits and not counts["identifiers"] and (kind == "number" or not counts["fractions"])
        if fits:
            return dtype
    return pl.String()
