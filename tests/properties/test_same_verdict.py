"""The compiled pass and pandera's Polars backend find the same, rule by rule and row by row, on whatever is drawn.

`make test` draws the same few examples each time, `make soak` many new ones: as many as `SAME_VERDICT_EXAMPLES` says.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, event, given, settings

from secure_ml.contracts.validate import validate
from secure_ml.tables.data_files import open_table
from tests.pandera_oracle import by_pandera, of_findings
from tests.properties.strategies import contracts_and_frames

EXAMPLES = int(os.environ.get("SAME_VERDICT_EXAMPLES", "1000"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("verdicts")


def require_same_verdict(folder: Path, drawn: tuple[Any, pl.DataFrame]) -> None:
    schema, frame = drawn
    expected, cannot = by_pandera(schema, frame)
    path = folder / "table.parquet"
    frame.write_parquet(path)
    report = validate(open_table(path), schema)
    event(f"{len(expected)} findings, {len(report.fallbacks)} fallbacks")
    assert report.rows == frame.height
    found = of_findings(report.findings)
    assert {key: count for key, count in found.items() if key not in cannot} == expected


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(drawn=contracts_and_frames())
def test_compiled_and_pandera_find_the_same(folder: Path, drawn: tuple[Any, pl.DataFrame]) -> None:
    require_same_verdict(folder, drawn)


@pytest.mark.soak
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=contracts_and_frames())
def test_compiled_and_pandera_find_the_same_in_many_examples(folder: Path, drawn: tuple[Any, pl.DataFrame]) -> None:
    require_same_verdict(folder, drawn)
