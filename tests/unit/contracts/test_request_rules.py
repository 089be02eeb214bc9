"""Which rules of a contract are held against request rows, and which documents of such rules are read."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandera.polars as pa
import polars as pl
import pytest

from secure_ml.contracts.request_rules import RequestRules, request_rules
from secure_ml.errors import MalformedError, PreconditionError
from secure_ml.models.heart_disease import model
from secure_ml.spec import GuardedModel

FEATURE = model.features[0]


def with_column(*checks: pa.Check, **settings: Any) -> GuardedModel:
    columns = {**model.schema.columns, FEATURE: pa.Column(pl.Float64, list(checks), **settings)}
    return replace(model, contract=pa.DataFrameSchema(columns))


@pytest.mark.parametrize(
    "check",
    [
        pa.Check.isin(["a"]),
        pa.Check.isin([math.nan, 1]),
        pa.Check.ge(math.inf),
        pa.Check.le(math.nan),
        pa.Check.in_range(dt.date(2020, 1, 1), dt.date(2021, 1, 1)),
        pa.Check.ge(10**400),
        pa.Check.ge(0, ignore_na=False),
        pa.Check.notin([1]),
    ],
    ids=str,
)
def test_a_blocking_rule_that_no_row_of_numbers_can_be_held_against_is_refused(check: pa.Check) -> None:
    with pytest.raises(PreconditionError, match="cannot be held against one request row"):
        request_rules(with_column(check))


def test_what_only_warns_of_a_batch_keeps_no_request_out() -> None:
    row = np.full((1, len(model.features)), np.nan)
    for tier, said in (("block", [f"{FEATURE}: missing"]), ("warn", [])):
        document = request_rules(
            with_column(pa.Check.ge(5, raise_warning=True), metadata={"secure_ml": {"tier": tier}})
        )
        found = [violation.sentence for violation in RequestRules.parse(document).check(row)]
        assert [sentence for sentence in found if sentence.startswith(f"{FEATURE}:")] == said


@pytest.mark.parametrize(
    "rule",
    [
        ["ge", math.inf],
        ["ge", math.nan],
        ["ge", 10**400],
        ["eq", 1],
        ["isin", []],
        ["isin", [math.nan]],
        ["isin", ["a"]],
        "ge",
    ],
    ids=lambda rule: str(rule)[:20],
)
def test_a_document_of_other_rules_is_malformed(rule: Any) -> None:
    with pytest.raises(MalformedError, match="a rule is not"):
        RequestRules.parse({"columns": [{"name": "a", "nullable": True, "rules": [rule]}]})


def test_a_number_that_is_not_finite_is_a_violation_whatever_the_rules_say() -> None:
    rules = RequestRules.parse({"columns": [{"name": "a", "nullable": True, "rules": []}]})
    found = rules.check(np.array([[1.0], [np.inf], [-np.inf], [np.nan]]))
    assert [(violation.row, violation.sentence) for violation in found] == [
        (1, "a: not a finite number"),
        (2, "a: not a finite number"),
    ]
