"""Every engine finds the same: DuckDB, Spark, pandera on Polars, and the service's rules over NumPy for what they hold.

Spark needs Java (Debian's default-jre-headless) and an environment of its own, made from its lock at the first run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from secure_ml.contracts.request_rules import RequestRules, request_rules
from secure_ml.contracts.validate import validate
from secure_ml.models.heart_disease import model as heart_disease
from secure_ml.profiles.distances import compare_profiles
from secure_ml.profiles.document import ColumnProfile, Moments, Profile, parse, render
from secure_ml.profiles.profiling import profile_table
from secure_ml.spec import GuardedModel
from secure_ml.tables.data_files import open_table
from tests.conformance.cases import CASES, Case
from tests.conformance.profiled import frame_to_profile
from tests.environments import interpreter
from tests.pandera_oracle import by_pandera, of_findings

ROOT = Path(__file__).parents[2]
LOCK = Path(__file__).with_name("spark.lock")
ROW_RULES = {
    "greater_than", "greater_than_or_equal_to", "less_than", "less_than_or_equal_to", "in_range", "isin",
}  # fmt: skip
each_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Spark finds in all cases."""
    if shutil.which("java") is None:
        pytest.skip("no Java here: install Debian's default-jre-headless")
    folder = tmp_path_factory.mktemp("spark")
    process = subprocess.run(
        [interpreter(LOCK), "-m", "tests.conformance.run_spark", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SPARK_LOCAL_IP": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    found: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return found


@each_case
def test_pandera_on_polars_finds_what_is_expected(case: Case) -> None:
    assert by_pandera(case.schema, case.frame) == (case.expected, set())


@each_case
def test_duckdb_finds_what_is_expected(case: Case, tmp_path: Path) -> None:
    case.frame.write_parquet(tmp_path / "table.parquet")
    report = validate(open_table(tmp_path / "table.parquet"), case.schema)
    assert (report.rows, of_findings(report.findings)) == (case.frame.height, case.expected)
    assert report.fallbacks == ()


@pytest.mark.spark
@each_case
def test_spark_finds_what_is_expected(case: Case, spark: dict[str, Any]) -> None:
    found = spark[case.name]
    verdict = {(column, rule): failed for column, rule, failed in found["verdict"]}
    assert (found["rows"], verdict) == (case.frame.height, case.expected)
    assert found["fallbacks"] == []


@pytest.fixture
def by_duckdb(tmp_path: Path) -> Profile:
    frame_to_profile().write_parquet(tmp_path / "table.parquet")
    return profile_table(open_table(tmp_path / "table.parquet"))


@pytest.mark.spark
def test_the_profile_of_one_partition_on_spark_is_that_of_duckdb(spark: dict[str, Any], by_duckdb: Profile) -> None:
    assert spark["profiles"]["whole"] == render(by_duckdb).decode()


@pytest.mark.spark
def test_the_profile_of_partitions_on_spark_is_that_of_duckdb_within_its_errors(
    spark: dict[str, Any], by_duckdb: Profile
) -> None:
    on_spark = parse(spark["profiles"]["parts"].encode())
    assert [column.approximate for column in on_spark.columns] == [column.approximate for column in by_duckdb.columns]
    assert {column.exact for column in by_duckdb.columns} == {True, False}
    for found, expected in zip(on_spark.columns, by_duckdb.columns, strict=True):
        for name in set(ColumnProfile.__slots__) - {"moments", "lengths", "tokens", "tally", "sketch"}:
            assert getattr(found, name) == getattr(expected, name), (found.name, name)
        for name in ("moments", "lengths", "tokens"):
            assert _rounded(getattr(found, name)) == _rounded(getattr(expected, name)), found.name
        assert (found.tally == expected.tally) or not expected.exact
        for distance in compare_profiles(Profile(0, (expected,)), Profile(0, (found,))):
            assert distance.value <= distance.bound, distance


@pytest.mark.spark
def test_the_profile_of_an_empty_table_on_spark_is_that_of_duckdb(spark: dict[str, Any], tmp_path: Path) -> None:
    frame_to_profile().clear().write_parquet(tmp_path / "table.parquet")
    assert spark["profiles"]["empty"] == render(profile_table(open_table(tmp_path / "table.parquet"))).decode()


def _rounded(moments: Moments | None) -> tuple[float | None, ...] | None:
    if moments is None:
        return None
    pair = (moments.mean, moments.squares)
    mean, squares = (number if number is None else float(f"{number:.10g}") for number in pair)
    return moments.count, moments.minimum, moments.maximum, mean, squares


def _for_requests(case: Case) -> bool:
    """Whether the case is one column of finite numbers with rules that hold for one row each."""
    column = case.schema.columns.get("x")
    return (
        column is not None
        and list(case.schema.columns) == ["x"]
        and case.frame["x"].dtype == pl.Float64
        and not case.frame["x"].is_infinite().any()
        and not case.frame["x"].is_nan().any()
        and not column.unique
        and {str(check.name) for check in column.checks} <= ROW_RULES
    )


HELD_BY_REQUESTS = [case for case in CASES if _for_requests(case)]


def test_the_rules_of_requests_hold_a_part_of_the_cases() -> None:
    assert len(HELD_BY_REQUESTS) >= 5


@pytest.mark.parametrize("case", HELD_BY_REQUESTS, ids=[case.name for case in HELD_BY_REQUESTS])
def test_the_rules_of_requests_find_what_is_expected(case: Case) -> None:
    document = request_rules(_with_contract(case))
    found = RequestRules.parse(document).check(case.frame["x"].to_numpy().astype(np.float64).reshape(-1, 1))
    assert len(found) == sum(case.expected.values())


def _with_contract(case: Case) -> GuardedModel:
    batches = replace(heart_disease.batches, columns=("x", "y"))
    return replace(heart_disease, batches=batches, contract=case.schema, features=("x",), label="y")
