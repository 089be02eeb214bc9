"""The contract of the orders, as a user writes it: 15 rules of mixed kind on 12 columns, besides types and nulls.

`SCHEMA` holds all; `build` leaves parts out, for the benchmarks that count uniqueness apart, price one rule alone or
put a pattern on every e-mail.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable

import pandera.polars as pa
import polars as pl

from secure_ml.contracts.checks import columns_compare, mean_between, null_fraction_at_most
from tests.benchmarks import orders_values as orders

__all__ = ["EMAIL", "RULES", "build"]

EMAIL = r"^[a-z0-9.]+@[a-z0-9]+\.[a-z0-9.]+$"
_TYPES = {
    "order_id": pl.Int64,
    "customer_id": pl.Int32,
    "quantity": pl.Int16,
    "price": pl.Float64,
    "discount": pl.Float64,
    "weight": pl.Float64,
    "rating": pl.Float64,
    "status": pl.String,
    "country": pl.String,
    "email": pl.String,
    "created": pl.Datetime("us"),
    "shipped": pl.Datetime("us"),
}
RULES: dict[str, tuple[str | None, Callable[[], pa.Check] | None]] = {
    "unique order_id": ("order_id", None),
    "customer_id in a range": ("customer_id", lambda: pa.Check.in_range(1, 1_000_000)),
    "quantity in a range": ("quantity", lambda: pa.Check.in_range(1, 100)),
    "price above 0": ("price", lambda: pa.Check.gt(0)),
    "mean of price": ("price", lambda: mean_between(*orders.MEAN_PRICE)),
    "discount in a range": ("discount", lambda: pa.Check.in_range(0, 1)),
    "share of nulls in rating": ("rating", lambda: null_fraction_at_most(0.2)),
    "status one of 6": ("status", lambda: pa.Check.isin(orders.STATUSES)),
    "every status occurs": ("status", lambda: pa.Check.unique_values_eq(orders.STATUSES)),
    "pattern of country": ("country", lambda: pa.Check.str_matches(orders.COUNTRY)),
    "country none of 2": ("country", lambda: pa.Check.notin(orders.FORBIDDEN_COUNTRIES)),
    "beginning of email": ("email", lambda: pa.Check.str_startswith("user")),
    "length of email": ("email", lambda: pa.Check.str_length(3, orders.MAX_EMAIL)),
    "created in a range": ("created", lambda: pa.Check.in_range(*map(datetime.datetime.fromisoformat, orders.CREATED))),
    "shipped not before created": (None, lambda: columns_compare("shipped", ">=", "created")),
}
"""Name, column (None: the whole table) and check (None: uniqueness) of each rule."""


def build(*, rules: tuple[str, ...] = tuple(RULES), nulls: bool = True, email: bool = False) -> pa.DataFrameSchema:
    """Build the schema with some of the rules, with or without the rules about nulls, with or without `EMAIL`."""
    checks: dict[str | None, list[pa.Check]] = {}
    for name in rules:
        column, check = RULES[name]
        if check is not None:
            checks.setdefault(column, []).append(check())
    if email:
        checks.setdefault("email", []).append(pa.Check.str_matches(EMAIL))
    columns = {
        name: pa.Column(
            kind,
            checks.get(name, []),
            nullable=not (nulls and name in orders.FILLED),
            unique=name == "order_id" and "unique order_id" in rules,
        )
        for name, kind in _TYPES.items()
    }
    return pa.DataFrameSchema(columns, checks=checks.get(None, []), name="orders")


SCHEMA = build()
