"""pandera on its own backends: `python -m tests.benchmarks.peers.run_pandera polars|pandas|ibis FILE`.

The same 15 rules on each; frames are read from Parquet, ibis reads through DuckDB as we do.
"""

from __future__ import annotations

import datetime
import importlib
import sys
from typing import Any

from tests.benchmarks import orders_values as orders
from tests.benchmarks.measuring import measured

BACKEND, FILE = sys.argv[1:]
TYPES = {
    "order_id": "int64",
    "customer_id": "int32",
    "quantity": "int16",
    "price": "float64",
    "discount": "float64",
    "weight": "float64",
    "rating": "float64",
    "status": "str",
    "country": "str",
    "email": "str",
    "created": "time",
    "shipped": "time",
}


def schema(pa: Any, types: dict[str, Any], null_share: Any, mean: Any, shipped_after: Any) -> Any:
    low, high = (datetime.datetime.fromisoformat(value) for value in orders.CREATED)
    checks = {
        "customer_id": [pa.Check.in_range(1, 1_000_000)],
        "quantity": [pa.Check.in_range(1, 100)],
        "price": [pa.Check.gt(0), mean],
        "discount": [pa.Check.in_range(0, 1)],
        "rating": [null_share],
        "status": [pa.Check.isin(orders.STATUSES), pa.Check.unique_values_eq(orders.STATUSES)],
        "country": [pa.Check.str_matches(orders.COUNTRY), pa.Check.notin(orders.FORBIDDEN_COUNTRIES)],
        "email": [pa.Check.str_startswith("user"), pa.Check.str_length(3, orders.MAX_EMAIL)],
        "created": [pa.Check.in_range(low, high)],
    }
    columns = {
        name: pa.Column(
            types[kind], checks.get(name, []), nullable=name not in orders.FILLED, unique=name == "order_id"
        )
        for name, kind in TYPES.items()
    }
    return pa.DataFrameSchema(columns, checks=[shipped_after])


def polars() -> tuple[Any, Any]:
    import pandera.polars as pa
    import polars as pl

    types = {
        "int64": pl.Int64, "int32": pl.Int32, "int16": pl.Int16, "float64": pl.Float64,
        "str": pl.String, "time": pl.Datetime("us"),
    }  # fmt: skip
    share = pa.Check(lambda given: given.lazyframe.select(pl.col(given.key).is_null().mean() <= 0.2), ignore_na=False)
    mean = pa.Check(lambda given: given.lazyframe.select(pl.col(given.key).mean().is_between(*orders.MEAN_PRICE)))
    after = pa.Check(lambda given: given.lazyframe.select(pl.col("shipped") >= pl.col("created")))
    return schema(pa, types, share, mean, after), lambda: pl.read_parquet(FILE)


def pandas() -> tuple[Any, Any]:
    import pandas as pd
    import pandera.pandas as pa

    types = {
        "int64": "int64", "int32": "int32", "int16": "int16", "float64": "float64", "str": "str",
        "time": "datetime64[us]",
    }  # fmt: skip
    share = pa.Check(lambda series: series.isna().mean() <= 0.2, ignore_na=False)
    mean = pa.Check(lambda series: orders.MEAN_PRICE[0] <= series.mean() <= orders.MEAN_PRICE[1])
    after = pa.Check(lambda frame: (frame["shipped"] >= frame["created"]) | frame["shipped"].isna())
    return schema(pa, types, share, mean, after), lambda: pd.read_parquet(FILE)


def ibis() -> tuple[Any, Any]:
    import ibis
    import ibis.expr.datatypes as dt
    import pandera.ibis as pa

    types = {
        "int64": dt.int64, "int32": dt.int32, "int16": dt.int16, "float64": dt.float64, "str": dt.string,
        "time": dt.Timestamp(scale=6),
    }  # fmt: skip
    share = pa.Check(lambda given: given.table[given.key].isnull().mean() <= 0.2, ignore_na=False)
    mean = pa.Check(lambda given: given.table[given.key].mean().between(*orders.MEAN_PRICE))
    after = pa.Check(lambda given: given.table.select(ok=given.table.shipped >= given.table.created))
    return schema(pa, types, share, mean, after), lambda: ibis.duckdb.connect().read_parquet(FILE)


def main() -> None:
    from pandera.config import ValidationDepth, config_context
    from pandera.errors import SchemaErrors

    given, read = {"polars": polars, "pandas": pandas, "ibis": ibis}[BACKEND]()
    importlib.import_module(f"pandera.{BACKEND}")

    def work() -> list[str]:
        frame = read()
        try:
            with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
                given.validate(frame, lazy=True)
        except SchemaErrors as errors:
            return sorted(f"{error.schema.name} {error.reason_code}" for error in errors.schema_errors)
        return []

    measured(work)


main()
