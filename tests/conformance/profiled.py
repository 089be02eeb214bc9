"""One table with a column of each kind, whose profile is the same on every engine."""

from __future__ import annotations

import datetime
import decimal
import math

import numpy as np
import polars as pl

__all__ = ["frame_to_profile"]

_ROWS = 6000


def frame_to_profile() -> pl.DataFrame:
    """Make the table: columns that stay exact and columns that are sketched, with nulls, NaN and infinities."""
    generator = np.random.default_rng(3)
    numbers = [math.nan, math.inf, -math.inf, None, -0.0, *generator.normal(size=_ROWS - 5).tolist()]
    start = datetime.datetime(2024, 1, 1)
    times = [start + datetime.timedelta(seconds=i) for i in range(_ROWS)]
    return pl.DataFrame(
        {
            "number": numbers,
            "single": pl.Series(generator.normal(size=_ROWS), dtype=pl.Float32),
            "integer": generator.integers(-(2**62), 2**62, _ROWS),
            "small": pl.Series([i % 100 for i in range(_ROWS)], dtype=pl.Int8),
            "flag": [None if i % 5 == 0 else i % 2 == 0 for i in range(_ROWS)],
            "few": [["a", "é b", "", None][i % 4] for i in range(_ROWS)],
            "many": [f"user {i % 4000} ü" for i in range(_ROWS)],
            "time": pl.Series(times, dtype=pl.Datetime("us", "UTC")),
            "local": pl.Series(times, dtype=pl.Datetime("us")),
            "day": [start.date() + datetime.timedelta(days=i % 400) for i in range(_ROWS)],
            "money": pl.Series([decimal.Decimal(i) / 4 for i in range(_ROWS)], dtype=pl.Decimal(12, 2)),
            "listed": [[1] * (i % 3) for i in range(_ROWS)],
            "blob": [b"x" * (i % 5) for i in range(_ROWS)],
            "nothing": pl.Series([None] * _ROWS, dtype=pl.Int64),
        }
    )
