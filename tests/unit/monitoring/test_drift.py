"""The drift alarm: its correction against a peer, its verdicts against planted windows, its figures measured again."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from secure_ml.errors import PreconditionError
from secure_ml.monitoring.drift import Window, _holm, compare
from secure_ml.spec import Drift
from tests.benchmarks.drift import measure


def window(seed: int, rows: int = 200, *, shift: float = 0.0, missing: float = 0.0, share: float = 0.5) -> Window:
    draw = np.random.default_rng(seed)
    number = draw.normal(shift, 1, rows)
    number[draw.random(rows) < missing] = math.nan
    return Window(("number", "flag"), np.column_stack([number, draw.random(rows) < share]), draw.random(rows))


def test_holms_correction_is_that_of_statsmodels() -> None:
    draw = np.random.default_rng(0)
    for count in (1, 2, 11, 40):
        p_values = [*(draw.random(count) ** 4).tolist(), 0.0, 1.0]
        expected = multipletests(p_values, method="holm")[1]
        assert _holm(p_values) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("current", "named"),
    [
        (window(2, shift=1.0), "number"),
        (window(2, missing=0.5), "number missing"),
        (window(2, share=0.9), "flag"),
    ],
)
def test_each_kind_of_drift_is_found_and_named(current: Window, named: str) -> None:
    report = compare(window(1), current, Drift())
    assert [item.name for item in report.comparisons if item.alarm] == [named]
    assert named in report.sentence


def test_an_effect_that_is_sure_but_small_raises_no_alarm() -> None:
    report = compare(window(1, 20_000), window(2, 20_000, shift=0.1), Drift())
    (number,) = (item for item in report.comparisons if item.name == "number")
    assert number.p_adjusted < 1e-6
    assert not report.alarm


def test_too_few_rows_give_no_verdict_and_say_so() -> None:
    report = compare(window(1), window(2, 29, shift=5.0), Drift())
    assert not report.alarm
    assert "too few rows for a verdict: expected at least 30, found 29" in report.sentence
    assert compare(window(1), window(2, 30, shift=5.0), Drift()).alarm


def test_an_empty_window_is_no_drift_and_an_empty_reference_is_refused() -> None:
    assert not compare(window(1), window(2, 0), Drift()).alarm
    with pytest.raises(PreconditionError, match="rows in the reference"):
        compare(window(1, 0), window(2), Drift())
    other = dataclasses.replace(window(2), features=("number", "other"))
    with pytest.raises(PreconditionError, match="same features"):
        compare(window(1), other, Drift())


@pytest.mark.parametrize("splits", [3, pytest.param(25, marks=pytest.mark.soak)])
def test_the_figures_of_the_document_hold_on_real_rows(splits: int) -> None:
    found = {(item.hospital, item.foreign, item.rows): item.share for item in measure(splits)}
    for rows in (30, 60, 100):
        assert found["cleveland", 0.0, rows] <= 0.04
        assert found["va", 1.0, rows] == 1.0
        assert found["hungarian", 1.0, rows] == 1.0
    assert found["va", 0.5, 100] >= 0.9
