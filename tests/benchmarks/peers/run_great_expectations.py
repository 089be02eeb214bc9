"""Great Expectations on pandas, its default engine: `python -m tests.benchmarks.peers.run_great_expectations FILE`.

On DuckDB (duckdb-engine 0.17 through SQLAlchemy) version 1.24 raises IndexError at its first metric, so its SQL engine
has no figure. On pandas all 15 rules have a counterpart; types are not held.
"""

from __future__ import annotations

import sys

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd

from tests.benchmarks import orders_values as orders
from tests.benchmarks.measuring import measured


def work() -> object:
    frame = pd.read_parquet(sys.argv[1])
    context = gx.get_context(mode="ephemeral")
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("orders")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    low, high = (pd.Timestamp(value) for value in orders.CREATED)
    rules = [
        gxe.ExpectColumnValuesToBeUnique(column="order_id"),
        gxe.ExpectColumnValuesToBeBetween(column="customer_id", min_value=1, max_value=1_000_000),
        gxe.ExpectColumnValuesToBeBetween(column="quantity", min_value=1, max_value=100),
        gxe.ExpectColumnValuesToBeBetween(column="price", min_value=0, strict_min=True),
        gxe.ExpectColumnMeanToBeBetween(column="price", min_value=orders.MEAN_PRICE[0], max_value=orders.MEAN_PRICE[1]),
        gxe.ExpectColumnValuesToBeBetween(column="discount", min_value=0, max_value=1),
        gxe.ExpectColumnProportionOfNonNullValuesToBeBetween(column="rating", min_value=0.8),
        gxe.ExpectColumnValuesToBeInSet(column="status", value_set=list(orders.STATUSES)),
        gxe.ExpectColumnDistinctValuesToEqualSet(column="status", value_set=list(orders.STATUSES)),
        gxe.ExpectColumnValuesToMatchRegex(column="country", regex=orders.COUNTRY),
        gxe.ExpectColumnValuesToNotBeInSet(column="country", value_set=list(orders.FORBIDDEN_COUNTRIES)),
        gxe.ExpectColumnValuesToMatchRegex(column="email", regex="^user"),
        gxe.ExpectColumnValueLengthsToBeBetween(column="email", min_value=3, max_value=orders.MAX_EMAIL),
        gxe.ExpectColumnValuesToBeBetween(column="created", min_value=low, max_value=high),
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A="shipped", column_B="created", or_equal=True, ignore_row_if="either_value_is_missing"
        ),
        *(gxe.ExpectColumnValuesToNotBeNull(column=name) for name in orders.FILLED),
    ]
    result = batch.validate(gx.ExpectationSuite(name="orders", expectations=rules))
    wrong = [item.exception_info for item in result.results if "exception_message" in str(item.exception_info)]
    wrong = [item for item in wrong if "'raised_exception': True" in str(item) or item.get("raised_exception")]
    if wrong:
        raise RuntimeError(f"{len(wrong)} rules could not be run: {wrong[0]}")
    failed: dict[str, int] = {}
    for item in result.results:
        if not item.success:
            column = item.expectation_config.kwargs.get("column") or "shipped"
            failed[column] = failed.get(column, 0) + item.result["unexpected_count"]
    return failed


measured(work)
