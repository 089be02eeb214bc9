"""Charts of the validation docs."""

from __future__ import annotations

import pytest

from secure_ml.validation_docs.charts import Chart, TrendBar, format_number, format_share, trend, value_bars
from secure_ml.validation_docs.pages import template_environment


def draw(chart: Chart) -> str:
    return (
        template_environment().from_string('{% from "chart.html" import draw %}{{ draw(chart) }}').render(chart=chart)
    )


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [
        (0, 9, "0 %"),
        (9, 9, "100 %"),
        (1, 3, "33.3 %"),
        (1, 10_000, "<0.1 %"),
        (9_999_999, 10_000_000, ">99.9 %"),
        (0, 0, "0 %"),
    ],
)
def test_a_share_is_never_rounded_to_none_or_all(part: int, whole: int, expected: str) -> None:
    assert format_share(part, whole) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0, "0"), (1234567.0, "1,234,567"), (0.000123456, "0.00012346"), (1e300, "1e+300")]
)
def test_a_figure_is_short(value: float, expected: str) -> None:
    assert format_number(value) == expected


def test_a_long_value_is_cut_in_the_picture_and_whole_beside_it() -> None:
    drawn = draw(value_bars([("x" * 40, 5), ("y", 5)], 10, "values"))
    assert f"{'x' * 17}…</text>" in drawn
    assert f"<title>{'x' * 40}: 5</title>" in drawn


def test_the_scale_of_a_trend_fits_its_largest_share_and_its_ends_are_named() -> None:
    small = draw(trend([TrendBar(f"day_{day}", "warned", 0.001 * day, "") for day in range(30)], "trend"))
    assert ">5 %</text>" in small
    assert "100 %" not in small
    assert ">day_0</text>" in small
    assert ">day_29</text>" in small
    assert ">day_15</text>" not in small
    assert ">100 %</text>" in draw(trend([TrendBar("a", "blocked", 0.9, "")], "trend"))
    assert ">1 %</text>" in draw(trend([TrendBar("a", "passed", 0.0, "")], "trend"))
