"""Geometry of small charts: a histogram, the most frequent values, and the trend over batches.

A function here computes where each bar, line and text stands. The template `chart.html` draws them as inline SVG.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

__all__ = [
    "Chart",
    "TrendBar",
    "Verdict",
    "format_number",
    "format_share",
    "histogram",
    "small_trend",
    "trend",
    "value_bars",
]

Verdict = Literal["passed", "warned", "blocked"]

_WIDTH: Final = 260.0
_HEIGHT: Final = 76.0
_LINE: Final = 19.0
_SCALES: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Bar(NamedTuple):
    """A rectangle with a tooltip. `style` is its CSS class."""

    x: str
    y: str
    width: str
    height: str
    style: str
    tooltip: str


class Line(NamedTuple):
    """A horizontal line."""

    left: str
    right: str
    y: str


class Text(NamedTuple):
    """A text. `anchor` is the SVG attribute `text-anchor`, empty for the default."""

    x: str
    y: str
    text: str
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, ready for the template `chart.html`.

    Attributes:
        width: Width of the view box.
        height: Height of the view box.
        label: Description for a reader who cannot see the chart.
        bars: Rectangles.
        lines: Axes.
        texts: Labels.
        size: CSS class of the chart, empty for the default size.
    """

    width: str
    height: str
    label: str
    bars: tuple[Bar, ...]
    lines: tuple[Line, ...] = ()
    texts: tuple[Text, ...] = ()
    size: str = ""


class TrendBar(NamedTuple):
    """One validation of a trend: its name, verdict, fraction of failed rows, and tooltip."""

    name: str
    verdict: Verdict
    fraction: float
    tooltip: str


def histogram(bins: Sequence[tuple[float, float, int]], label: str) -> Chart:
    """Chart bins of equal width, with the lowest and highest edge below them.

    Args:
        bins: Lower edge, upper edge and count. At least one.
        label: Description of the chart.
    """
    highest = max(count for _, _, count in bins) or 1
    width = _WIDTH / len(bins)
    bars = []
    for index, (low, high, count) in enumerate(bins):
        if not count:
            continue
        height = _scaled(count / highest, _HEIGHT)
        tooltip = f"{format_number(low)} to {format_number(high)}: {count}"
        bars.append(_bar(index * width + 0.5, _HEIGHT - height, width - 1, height, "fill", tooltip))
    below = _number(_HEIGHT + 14)
    return Chart(
        width=_number(_WIDTH),
        height=_number(_HEIGHT + 18),
        label=label,
        bars=tuple(bars),
        lines=(Line("0", _number(_WIDTH), _number(_HEIGHT)),),
        texts=(
            Text("0", below, format_number(bins[0][0])),
            Text(_number(_WIDTH), below, format_number(bins[-1][1]), "end"),
        ),
    )


def value_bars(values: Sequence[tuple[str, int]], total: int, label: str) -> Chart:
    """Chart one horizontal bar for each value, with its share.

    Args:
        values: Value and count, in the order of the chart. At least one.
        total: The count that is 100 %.
        label: Description of the chart.
    """
    highest = max(count for _, count in values) or 1
    left = min(12 + 6.5 * max(len(_cut(value, 18)) for value, _ in values), 112.0)
    bars, texts = [], []
    for index, (value, count) in enumerate(values):
        y = index * _LINE
        length = _scaled(count / highest, _WIDTH - left - 44)
        bars.append(_bar(left, y + 3, length, _LINE - 7, "fill", f"{value}: {count}"))
        texts.append(Text("0", _number(y + 13), _cut(value, 18)))
        texts.append(Text(_number(left + 4 + length), _number(y + 13), format_share(count, total)))
    return Chart(_number(_WIDTH), _number(len(values) * _LINE), label, tuple(bars), texts=tuple(texts))


def trend(validations: Sequence[TrendBar], label: str) -> Chart:
    """Chart one bar for each validation, oldest first. The height is the fraction of failed rows.

    The scale ends at the first of 1, 2, 5, 10, 20, 50 and 100 % that no bar exceeds. If the names of all validations
    do not fit, only the oldest and the newest are shown.

    Args:
        validations: At least one.
        label: Description of the chart.
    """
    width, height, left = 640.0, 84.0, 40.0
    step = min((width - left) / len(validations), 72.0)
    top = next((end for end in _SCALES if all(item.fraction <= end for item in validations)), 1.0)
    below = _number(height + 14)
    texts = [
        Text(_number(left - 6), "11", format_share(top, 1), "end"),
        Text(_number(left - 6), _number(height), "0 %", "end"),
    ]
    bars = []
    for index, item in enumerate(validations):
        x = left + index * step
        bars.append(_verdict_bar(item, item.fraction / top, x + step * 0.12, step * 0.76, height))
        if step >= _WIDTH / 5:
            texts.append(Text(_number(x + step / 2), below, _cut(item.name, 11), "middle"))
    if step < _WIDTH / 5:
        texts.append(Text(_number(left), below, _cut(validations[0].name, 30)))
        texts.append(Text(_number(left + step * len(validations)), below, _cut(validations[-1].name, 30), "end"))
    axes = tuple(Line(_number(left), _number(width), y) for y in ("0.5", _number(height)))
    return Chart(_number(width), _number(height + 18), label, tuple(bars), axes, tuple(texts), "trend")


def small_trend(validations: Sequence[TrendBar], label: str) -> Chart:
    """Chart the same on the height of one line of text. The newest bar stands at the right."""
    width, height, step = 120.0, 26.0, 6.0
    first = width - step * len(validations)
    bars = [
        _verdict_bar(item, item.fraction, first + index * step, step * 0.8, height)
        for index, item in enumerate(validations)
    ]
    return Chart(_number(width), _number(height), label, tuple(bars), size="small")


def format_number(value: float) -> str:
    """Return a number for people, with at most five significant digits."""
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e7 else f"{value:.5g}"


def format_share(part: float, whole: float) -> str:
    """Return a share in percent. Only zero is shown as 0 %, and only the whole as 100 %."""
    percent = 100.0 * part / whole if whole else 0.0
    if 0 < percent < 0.1:
        return "<0.1 %"
    if 99.9 < percent < 100:
        return ">99.9 %"
    return f"{percent:.3g} %"


def _verdict_bar(item: TrendBar, fraction: float, x: float, width: float, height: float) -> Bar:
    tall = _scaled(fraction, height, least=3.0)
    return _bar(x, height - tall, width, tall, f"fill-{item.verdict}", item.tooltip)


def _bar(x: float, y: float, width: float, height: float, style: str, tooltip: str) -> Bar:
    return Bar(_number(x), _number(y), _number(width), _number(height), style, tooltip)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _scaled(fraction: float, height: float, *, least: float = 1.0) -> float:
    return max(min(fraction, 1.0) * height, least)


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
