"""Cells: one column of a table, as rules and typing see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Cell"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One column, as the rules see it.

    Attributes:
        name: The column.
        dtype: As Polars would hold it.
        value: An ibis value.
        missing: An ibis boolean: the cell is missing.
        wrong: An ibis boolean: the text is not of the declared type. None where the column is typed.
    """

    name: str
    dtype: pl.DataType
    value: Any
    missing: Any
    wrong: Any = None
