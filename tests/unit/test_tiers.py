"""A policy decides what a broken blocking rule means; only `production` is ever taken for production."""

from __future__ import annotations

import polars as pl
import pytest

from secure_ml.contracts.findings import Finding, Report
from secure_ml.contracts.relaxed_reports import relax_batch_report
from secure_ml.errors import PreconditionError, RejectedError
from secure_ml.installation import Installation
from secure_ml.tiers import parse_tier_rules, require_production

BROKEN = Finding("chol", "in_range(50, 1000)", 3, 10, "block", "chol: 3 of 10 rows below 50")
WARNED = Finding("fbs", "null_fraction_at_most(0.05)", 2, 10, "warn", "fbs: 2 of 10 rows null")


def report(*findings: Finding, label: list[float | None] | None = None) -> Report:
    frame = pl.DataFrame({"chol": [0.0] * 10, "num": label or [1.0] * 10})
    return Report(10, findings, frame, frame.clear())


def test_the_default_policy_is_production(environment: dict[str, str]) -> None:
    assert Installation.from_environment(environment).policy == "production"
    assert Installation.for_verification(environment).policy == "production"
    assert Installation.from_environment({**environment, "SECURE_ML_POLICY": "experiment"}).policy == "experiment"


@pytest.mark.parametrize("text", ["Experiment", "experiment ", "prod", "none", "warn"])
def test_a_misspelt_policy_is_refused_before_anything_is_made(text: str, environment: dict[str, str]) -> None:
    with pytest.raises(PreconditionError, match="SECURE_ML_POLICY"):
        parse_tier_rules(text)
    with pytest.raises(PreconditionError, match="SECURE_ML_POLICY"):
        Installation.from_environment({**environment, "SECURE_ML_POLICY": text})


def test_production_changes_no_finding() -> None:
    given = report(BROKEN, WARNED)
    assert relax_batch_report(given, "production", "num") is given
    assert not given.accepted


def test_experiment_warns_where_production_blocks_and_says_so() -> None:
    taken = relax_batch_report(report(BROKEN, WARNED), "experiment", "num")
    assert taken.accepted
    assert [(item.tier, item.sentence) for item in taken.findings] == [
        ("warn", "chol: 3 of 10 rows below 50 (blocks in production)"),
        ("warn", "fbs: 2 of 10 rows null"),
    ]


def test_experiment_takes_no_table_that_could_not_be_typed() -> None:
    untyped = Report(10, (BROKEN,), None, pl.DataFrame())
    assert relax_batch_report(untyped, "experiment", "num") is untyped
    assert not relax_batch_report(untyped, "experiment", "num").accepted


def test_experiment_takes_no_row_without_a_label_and_an_unusual_label_with_a_warning() -> None:
    missing = Finding("num", "not_nullable", 1, 10, "block", "num: 1 of 10 rows null")
    assert not relax_batch_report(report(missing, BROKEN, label=[None, *[1.0] * 9]), "experiment", "num").accepted
    unusual = Finding("num", "isin", 1, 10, "block", "num: 1 of 10 rows outside the 5 allowed values")
    assert relax_batch_report(report(unusual, label=[7.0, *[1.0] * 9]), "experiment", "num").accepted


def test_only_production_signs_and_releases() -> None:
    require_production("production", "heart_disease/release")
    with pytest.raises(RejectedError, match="heart_disease/release: nothing is signed or released under policy"):
        require_production("experiment", "heart_disease/release")
