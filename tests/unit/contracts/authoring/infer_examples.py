"""Contracts inferred from small tables, as the tests of inference look at them."""

from __future__ import annotations

from typing import Any

import polars as pl

from secure_ml.contracts.authoring.infer import infer_contract
from secure_ml.profiles.document import Profile
from secure_ml.profiles.profiling import profile_batches


def profile_of(frame: pl.DataFrame, **more: Any) -> Profile:
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    return profile_batches(table.schema, table.to_batches(), **more)


def infer(frame: pl.DataFrame, **more: Any) -> str:
    return infer_contract(profile_of(frame), name="drawn", dtypes=dict(frame.schema), **more)


def schema_of(source: str) -> Any:
    space: dict[str, Any] = {}
    exec(compile(source, "contract.py", "exec"), space)
    return space["schema"]


def column_of(values: Any, **more: Any) -> Any:
    return schema_of(infer(pl.DataFrame({"x": values}), **more)).columns["x"]


def check_names(values: Any, **more: Any) -> list[str]:
    return [check.name.split("(")[0] for check in column_of(values, **more).checks]


def range_of(values: Any) -> tuple[Any, Any]:
    (check,) = [check for check in column_of(values).checks if check.name == "in_range"]
    return check.statistics["min_value"], check.statistics["max_value"]
