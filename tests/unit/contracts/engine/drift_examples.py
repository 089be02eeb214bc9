"""Small tables and contracts for the tests of anomalies and slices."""

from __future__ import annotations

from typing import Any

import pandera.polars as pa
import polars as pl

from secure_ml.contracts.engine.declared_profiles import profile_as_declared
from secure_ml.contracts.findings import Report
from secure_ml.contracts.validate import validate
from secure_ml.profiles.document import Profile
from secure_ml.tables.data_files import table_of


def column(dtype: Any, *checks: Any, nullable: bool = True, **settings: Any) -> pa.Column:
    return pa.Column(dtype, list(checks), nullable=nullable, metadata={"secure_ml": settings})


def contract(**columns: pa.Column) -> pa.DataFrameSchema:
    return pa.DataFrameSchema(columns, strict=True)


def find(frame: pl.DataFrame, schema: pa.DataFrameSchema, **more: Any) -> Report:
    return validate(table_of(frame), schema, **more)


def profile(frame: pl.DataFrame, schema: pa.DataFrameSchema) -> Profile:
    return profile_as_declared(table_of(frame), schema)


def said(report: Report) -> list[tuple[str, str | None, str]]:
    return [(finding.code, finding.column, finding.tier) for finding in report.findings]


def paid(cash: int, card: int) -> pl.DataFrame:
    return pl.DataFrame({"kind": ["Cash"] * cash + ["Card"] * card})
