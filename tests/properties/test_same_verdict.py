"""The compiled pass and pandera's Polars backend find the same, rule by rule and row by row, on whatever is drawn.

A few seconds in the normal suite; `SAME_VERDICT_EXAMPLES=20000` lets it run as long as one likes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, event, given, settings

from secure_ml.contracts.validate import check_table
from secure_ml.tables.data_files import open_table
from tests.pandera_oracle import by_pandera, of_findings
from tests.properties.strategies import contracts_and_frames

EXAMPLES = int(os.environ.get("SAME_VERDICT_EXAMPLES", "60"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("verdicts")


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="SAME_VERDICT_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
@given(drawn=contracts_and_frames())
def test_compiled_and_pandera_find_the_same(folder: Path, drawn: tuple[Any, pl.DataFrame]) -> None:
    schema, frame = drawn
    expected, cannot = by_pandera(schema, frame)
    path = folder / "table.parquet"
    frame.write_parquet(path)
    report = check_table(open_table(path), schema)
    event(f"{len(expected)} findings, {len(report.fallbacks)} fallbacks")
    assert report.rows == frame.height
    found = of_findings(report.findings)
    assert {key: count for key, count in found.items() if key not in cannot} == expected
