"""Small pictures as inline SVG: a histogram, the most frequent values, and the trend over batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from secure_ml.validation_docs.markup import Markup, element

__all__ = ["Bar", "Verdict", "draw_histogram", "draw_small_trend", "draw_trend", "draw_values", "figure", "share"]

Verdict = Literal["passed", "warned", "blocked"]

_WIDTH: Final = 260.0
_HEIGHT: Final = 76.0
_LINE: Final = 19.0
_SCALES: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Bar(NamedTuple):
    """One batch of a trend: its name and verdict, the share of rows that failed, and what to say of it."""

    name: str
    verdict: Verdict
    share: float
    said: str


def draw_histogram(bins: Sequence[tuple[float, float, int]], label: str) -> Markup:
    """Draw bins of equal width, with the lowest and highest edge under them.

    Args:
        bins: Lower edge, upper edge, count; at least one.
        label: What the picture shows, for who cannot see it.
    """
    highest = max(count for _, _, count in bins) or 1
    width = _WIDTH / len(bins)
    parts = []
    for index, (low, high, count) in enumerate(bins):
        if not count:
            continue
        height = _tall(count / highest, _HEIGHT)
        bar = element(
            "rect",
            x=_number(index * width + 0.5),
            y=_number(_HEIGHT - height),
            width=_number(width - 1),
            height=_number(height),
            _class="fill",
        )
        parts.append(element("g", element("title", f"{figure(low)} to {figure(high)}: {count}"), bar))
    parts.append(element("line", x1="0", x2=_number(_WIDTH), y1=_number(_HEIGHT), y2=_number(_HEIGHT), _class="axis"))
    parts.append(element("text", figure(bins[0][0]), x="0", y=_number(_HEIGHT + 14)))
    end = {"text-anchor": "end"}
    parts.append(element("text", figure(bins[-1][1]), x=_number(_WIDTH), y=_number(_HEIGHT + 14), **end))
    return _svg(_WIDTH, _HEIGHT + 18, label, parts)


def draw_values(values: Sequence[tuple[str, int]], total: int, label: str) -> Markup:
    """Draw one horizontal bar a value, with its share.

    Args:
        values: Value and count, in the order to draw.
        total: The count that is the whole.
        label: What the picture shows.
    """
    parts = []
    highest = max(count for _, count in values) or 1
    left = min(12 + 6.5 * max(len(_cut(value, 18)) for value, _ in values), 112.0)
    for index, (value, count) in enumerate(values):
        y = index * _LINE
        length = _tall(count / highest, _WIDTH - left - 44)
        bar = element(
            "rect", x=_number(left), y=_number(y + 3), width=_number(length), height=_number(_LINE - 7), _class="fill"
        )
        parts.append(element("g", element("title", f"{value}: {count}"), bar))
        parts.append(element("text", _cut(value, 18), x="0", y=_number(y + 13)))
        parts.append(element("text", share(count, total), x=_number(left + 4 + length), y=_number(y + 13)))
    return _svg(_WIDTH, len(values) * _LINE, label, parts)


def draw_trend(bars: Sequence[Bar], label: str) -> Markup:
    """Draw one bar a batch, oldest first: its height is the share of rows that failed, its colour the verdict.

    The scale ends at the first of 1, 2, 5, 10, 20, 50 and 100 % that no bar passes. Where there is no room for all
    names, the oldest and the newest are written.

    Args:
        bars: At least one.
        label: What the picture shows.
    """
    width, height, left = 640.0, 84.0, 40.0
    step = min((width - left) / len(bars), 72.0)
    end = {"text-anchor": "end"}
    top = next((end for end in _SCALES if all(bar.share <= end for bar in bars)), 1.0)
    parts = [
        element("text", share(top, 1), x=_number(left - 6), y="11", **end),
        element("text", "0 %", x=_number(left - 6), y=_number(height), **end),
        element("line", x1=_number(left), x2=_number(width), y1="0.5", y2="0.5", _class="axis"),
        element("line", x1=_number(left), x2=_number(width), y1=_number(height), y2=_number(height), _class="axis"),
    ]
    for index, bar in enumerate(bars):
        x = left + index * step
        scaled = bar._replace(share=bar.share / top)
        parts.append(_bar(scaled, x + step * 0.12, step * 0.76, height))
        if step >= _WIDTH / 5:
            middle = {"text-anchor": "middle"}
            parts.append(element("text", _cut(bar.name, 11), x=_number(x + step / 2), y=_number(height + 14), **middle))
    if step < _WIDTH / 5:
        parts.append(element("text", _cut(bars[0].name, 30), x=_number(left), y=_number(height + 14)))
        last = {"x": _number(left + step * len(bars)), "y": _number(height + 14), **end}
        parts.append(element("text", _cut(bars[-1].name, 30), **last))
    return _svg(width, height + 18, label, parts, "trend")


def draw_small_trend(bars: Sequence[Bar], label: str) -> Markup:
    """Draw the same for one line of text: the newest bar stands at the right."""
    width, height, step = 120.0, 26.0, 6.0
    first = width - step * len(bars)
    parts = [_bar(bar, first + index * step, step * 0.8, height) for index, bar in enumerate(bars)]
    return _svg(width, height, label, parts, "small")


def _bar(bar: Bar, x: float, width: float, height: float) -> Markup:
    tall = _tall(bar.share, height, least=3.0)
    place = {"x": _number(x), "y": _number(height - tall), "width": _number(width), "height": _number(tall)}
    return element("g", element("title", bar.said), element("rect", **place, _class=f"fill-{bar.verdict}"))


def figure(value: float) -> str:
    """Return a number as people read it, at most five significant digits."""
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e7 else f"{value:.5g}"


def share(part: float, whole: float) -> str:
    """Return a share in percent; what is neither none nor all is never shown as such."""
    percent = 100.0 * part / whole if whole else 0.0
    if 0 < percent < 0.1:
        return "<0.1 %"
    if 99.9 < percent < 100:
        return ">99.9 %"
    return f"{percent:.3g} %"


def _svg(width: float, height: float, label: str, parts: Sequence[Markup], kind: str = "") -> Markup:
    return element(
        "svg",
        *parts,
        viewBox=f"0 0 {_number(width)} {_number(height)}",
        role="img",
        aria_label=label,
        **({"_class": kind} if kind else {}),
    )


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _tall(part: float, height: float, *, least: float = 1.0) -> float:
    return max(min(part, 1.0) * height, least)


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
