"""The cells of one column, as typing and rules see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Cell"]


@dataclass(frozen=True, slots=True)
class Cell:
    """The cells of one column.

    Attributes:
        name: The column.
        dtype: The type as Polars would hold it.
        value: An ibis value.
        missing: An ibis boolean: the cell is missing.
        unparsable: An ibis boolean: the text is not of the declared type. None if the column has a type.
    """

    name: str
    dtype: pl.DataType
    value: Any
    missing: Any
    unparsable: Any = None
